"""A connection of Airflow's as the tenant that it means: pure, and checked before any request."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from attrs import frozen

from zuora_jobs.errors import ConfigurationError
from zuora_jobs.settings import Settings, environment_url
from zuora_jobs.transport.limits import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping


class Connection(Protocol):
    """What is used of one; Airflow's Connection has it."""

    conn_id: str
    host: str | None
    port: int | None
    login: str | None
    password: str | None
    extra: str | None


@frozen(kw_only=True)
class Tenant:
    """Which tenant, as whom, and what may be spent on it; equal for all that may share one client."""

    settings: Settings
    budget: Budget | None = None
    """None: what suits the tenant."""


HTTPS: Final = 443

_PASSED_ON: Final = ("access_token", "entity_id", "org_ids", "zuora_version", "wsdl_version", "track_id")

_KNOWN: Final = ("environment", *_PASSED_ON, "rate", "concurrency")


def tenant_of(connection: Connection) -> Tenant:
    """Read *connection*.

    Raises:
        ConfigurationError: something is missing, half given, or cannot work; it says what, in the words of the form.
    """
    try:
        extra = _extra_of(connection)
        _check_credentials(connection, extra)
        settings = Settings(
            base_url=_base_url(connection, extra.get("environment")),
            client_id=connection.login or None,
            client_secret=connection.password or None,
            **{name: extra[name] for name in _PASSED_ON if name in extra},
        )
        budget = _budget(extra.get("rate"), extra.get("concurrency"), settings)
    except ConfigurationError as error:
        message = f"the connection {connection.conn_id!r} cannot be used: {error}"
        raise ConfigurationError(message) from None
    return Tenant(settings=settings, budget=budget)


def _extra_of(connection: Connection) -> Mapping[str, Any]:
    """Give the fields beside Airflow's own that are not empty; not by `extra_dejson`, which talks to the supervisor.

    Numbers may stand for texts: who writes JSON by hand does not put 2025 into quotes.
    """
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        message = "its extra is no JSON object"
        raise ConfigurationError(message)
    for name in extra.keys() - set(_KNOWN):
        alike = get_close_matches(name.casefold(), _KNOWN, n=1)
        advice = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(_KNOWN)}"
        message = f"its extra has {name!r:.60}, which is no field of it: {advice}"
        raise ConfigurationError(message)
    given = {name: value for name, value in extra.items() if value not in (None, "")}
    return {name: _as_text(value) if name in _PASSED_ON else value for name, value in given.items()}


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _check_credentials(connection: Connection, extra: Mapping[str, Any]) -> None:
    has_token = "access_token" in extra
    if connection.login and not connection.password:
        message = "its password, the secret of the OAuth client that is its login, is missing"
    elif connection.password and not connection.login:
        message = "its login, the id of the OAuth client whose secret is its password, is missing"
    elif not connection.login and not has_token:
        message = "it has no credentials: an OAuth client's id and secret as login and password, or an access token"
    elif connection.login and has_token:
        message = "it has an OAuth client and an access token: leave one of them empty"
    else:
        return
    raise ConfigurationError(message)


def _base_url(connection: Connection, environment: Any) -> str:
    host = (connection.host or "").strip().rstrip("/")
    if "@" in host:
        message = "its host must not name a user or a password: they are its login and password"
        raise ConfigurationError(message)
    if host:
        host = _with_port(host if "://" in host else f"https://{host}", connection.port)
    if environment is None:
        if not host:
            message = "it names no tenant: fill in the REST base URL (host), or the environment"
            raise ConfigurationError(message)
        return host
    url = environment_url(str(environment))
    if host and host != url:
        message = f"the base URL {host!r} and the environment {environment!r} name different tenants: leave one empty"
        raise ConfigurationError(message)
    return url


def _with_port(host: str, port: int | None) -> str:
    """Put the port into an URL; https has one of its own.

    Many connections name that one: the form's Test button works only for those that name a port (Airflow 3.3.2).
    """
    try:
        parts = urlsplit(host)
        named = parts.port
    except ValueError:
        return host  # which Settings refuse
    if named is not None and port and named != port:
        message = f"its host names the port {named}, and its port is {port}: leave one empty"
        raise ConfigurationError(message)
    bare = parts.netloc.removesuffix(f":{named}")
    port = named or port
    is_usual = not port or (port == HTTPS and parts.scheme == "https")
    return parts._replace(netloc=bare if is_usual else f"{bare}:{port}").geturl()


def _budget(rate: Any, concurrency: Any, settings: Settings) -> Budget | None:
    if rate is None and concurrency is None:
        return None
    return Budget.for_tenant(
        settings.base_url,
        rate=_number("rate", rate) if rate is not None else None,
        concurrency=_whole("concurrency", concurrency) if concurrency is not None else None,
    )


def _whole(name: str, value: Any) -> int:
    number = _number(name, value)
    return int(number) if number.is_integer() else number  # type: ignore[return-value]  # Budget says what is wrong


def _number(name: str, value: Any) -> float:
    try:
        return float("no number" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        message = f"{name} must be a number, not {value!r:.40}"
        raise ConfigurationError(message) from None
