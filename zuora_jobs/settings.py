"""Which tenant, as whom, and in which scope: everything that is known before the first request.

All of it is checked here, at once and before any I/O, and each complaint says what to do. Secrets stay out of `repr`.
Sources: base URLs https://developer.zuora.com/docs/get-started/introduction (section "Access to the API"), headers
https://developer.zuora.com/v1-api-reference/api/operation/DELETE_BatchQueryJob/ .
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import SplitResult, urlsplit

from attrs import Attribute, field, frozen

from zuora_jobs.checks import is_number
from zuora_jobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENTS: Final[dict[str, str]] = {
    "prod": "https://rest.zuora.com",
    "prod-na": "https://rest.na.zuora.com",
    "prod-eu": "https://rest.eu.zuora.com",
    "prod-ap": "https://rest.ap.zuora.com",
    "sbx": "https://rest.apisandbox.zuora.com",
    "sbx-na": "https://rest.sandbox.na.zuora.com",
    "sbx-eu": "https://rest.sandbox.eu.zuora.com",
    "csbx": "https://rest.test.zuora.com",
    "csbx-eu": "https://rest.test.eu.zuora.com",
    "csbx-ap": "https://rest.test.ap.zuora.com",
    "pt1": "https://rest.pt1.zuora.com",
}
"""Short names of Zuora's data centres, after those in the vendor's own client."""

_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]*)?", re.ASCII)
"""What every reader of URLs takes for the same host; `[::1].example.com` is loopback to some."""

_WSDL_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,2})?", re.ASCII)

TRACK_ID_LENGTH: Final = 64
TRACK_ID_FORBIDDEN: Final = frozenset(":;\"'")


def environment_url(name: str) -> str:
    """Give the base URL of a data centre by its short name, ignoring case and taking `_` for `-`."""
    try:
        return ENVIRONMENTS[name.strip().lower().replace("_", "-")]
    except KeyError:
        known = ", ".join(ENVIRONMENTS)
        message = f"unknown environment {name!r}: use one of {known}, or give a base URL instead"
        raise ConfigurationError(message) from None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult | None:
    """Take *url* apart; None where readers of URLs could take it for different hosts, or for none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it is what checks it
    except ValueError:
        return None
    return parts if not parts.hostname or _HOST_AND_PORT.fullmatch(parts.netloc) else None


def is_secret_on_its_way(url: str) -> bool:
    """Tell whether nobody on the way to *url* can read it: https, or http on loopback; and that it has one reading only."""
    parts = _split(url) if url.isascii() and url.isprintable() and " " not in url and "\\" not in url else None
    if parts is None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def _check_base_url(url: object) -> str:
    if not isinstance(url, str):
        message = f"the base URL must be text, not {type(url).__name__}"
        raise ConfigurationError(message)
    advice = "give one such as https://rest.zuora.com"
    if not url.isascii() or not url.isprintable() or any(c in url for c in " \\?#"):
        message = f"the base URL has a query, a fragment, blanks, backslashes or characters outside ASCII: {advice}"
        raise ConfigurationError(message)
    if "@" in url:
        message = "the base URL must not carry a user or a password: use ZUORA_CLIENT_ID and ZUORA_CLIENT_SECRET"
        raise ConfigurationError(message)
    parts = _split(url)
    if parts is None:
        message = f"the base URL cannot be read: {advice}"
        raise ConfigurationError(message)
    host = parts.hostname or ""
    if parts.scheme not in {"https", "http"} or not host:
        message = f"the base URL {url!r} is not an https address: {advice}"
        raise ConfigurationError(message)
    if parts.scheme == "http" and not _is_loopback(host):
        message = f"the base URL {url!r} is not https: http would send the token in the clear, and is for loopback only"
        raise ConfigurationError(message)
    return url.rstrip("/")


def _is_one_word(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and value != "" and " " not in value


def _check_track_id(_: object, __: Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        message = f"the track_id must be text, not {type(value).__name__}"
        raise ConfigurationError(message)
    if not value or len(value) > TRACK_ID_LENGTH:
        message = f"the track id has {len(value)} characters: Zuora takes 1 to {TRACK_ID_LENGTH}"
        raise ConfigurationError(message)
    if not value.isascii() or not value.isprintable() or TRACK_ID_FORBIDDEN & set(value):
        message = f"the track id {value!r} is refused by Zuora: only ASCII, and none of : ; \" '"
        raise ConfigurationError(message)


def _check_header_text(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and not _is_one_word(value):
        message = f"{attribute.name} {value!r:.80} cannot be sent in a header: give visible ASCII text without blanks"
        raise ConfigurationError(message)


def _check_wsdl_version(instance: object, attribute: Attribute[Any], value: object) -> None:
    _check_header_text(instance, attribute, value)
    if isinstance(value, str) and not _WSDL_VERSION.fullmatch(value):
        message = f"wsdl_version {value!r:.80} is no number: give one such as 118"
        raise ConfigurationError(message)


def _check_secret(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and not _is_one_word(value):
        message = f"{attribute.name} is empty or has blanks, control or non-ASCII characters: was it copied whole?"
        raise ConfigurationError(message)


def _org_ids(value: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        message = f"org_ids must be text with commas, or a list of texts, not {value!r:.80}"
        raise ConfigurationError(message)
    return tuple(part.strip() for part in parts)


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_org_ids(instance: object, attribute: Attribute[Any], value: tuple[str, ...]) -> None:
    for org in value:
        _check_header_text(instance, attribute, org)
        if "," in org:
            message = f"org_ids {org!r} has a comma: give a sequence of ids, or one text with commas between them"
            raise ConfigurationError(message)


@frozen(kw_only=True)
class Settings:
    """How to reach one tenant.

    Args:
        base_url: `https://` and the host of the tenant's data centre; `http://` is for loopback only.
        access_token: a bearer token that something else keeps fresh; instead of the client's credentials.
        client_id: of an OAuth client (36 characters in Zuora).
        client_secret: of the same client.
        entity_id: header Zuora-Entity-Ids, where Multi-entity is on and the token covers several.
        org_ids: header Zuora-Org-Ids: a sequence, or text with commas.
        zuora_version: header Zuora-Version, such as `2025-08-12` or `341.0`; absent: the tenant's default.
        wsdl_version: header X-Zuora-WSDL-Version, which gates fields of the invoice (118, 127).
        track_id: header Zuora-Track-Id, echoed by Zuora: at most 64 ASCII characters, none of `: ; " '`.
        connect_timeout: seconds for a connection to stand.
        request_timeout: seconds from sending a request to the last byte of its answer. Zuora cuts a call after 120.

    Raises:
        ConfigurationError: something is missing, half given, or cannot work.
    """

    base_url: str = field(converter=_check_base_url)
    access_token: str | None = field(default=None, repr=False, validator=_check_secret)
    client_id: str | None = field(default=None, validator=_check_header_text)
    client_secret: str | None = field(default=None, repr=False, validator=_check_secret)
    entity_id: str | None = field(default=None, validator=_check_header_text)
    org_ids: tuple[str, ...] = field(default=(), converter=_org_ids, validator=_check_org_ids)
    zuora_version: str | None = field(default=None, validator=_check_header_text)
    wsdl_version: str | None = field(default=None, converter=_as_text, validator=_check_wsdl_version)
    track_id: str | None = field(default=None, validator=_check_track_id)
    connect_timeout: float = field(default=10.0, validator=is_number(above=0))
    request_timeout: float = field(default=130.0, validator=is_number(above=0))

    def __attrs_post_init__(self) -> None:
        if self.access_token is not None and (self.client_id is not None or self.client_secret is not None):
            message = "give either an access token or a client id with its secret, not both"
            raise ConfigurationError(message)
        if (self.client_id is None) != (self.client_secret is None):
            missing = "client_secret" if self.client_secret is None else "client_id"
            message = f"half the credentials: {missing} is missing (ZUORA_{missing.upper()})"
            raise ConfigurationError(message)
        if self.access_token is None and self.client_id is None:
            message = (
                "no credentials: set ZUORA_CLIENT_ID and ZUORA_CLIENT_SECRET, or ZUORA_ACCESS_TOKEN"
                " (in Python: client_id and client_secret, or access_token)"
            )
            raise ConfigurationError(message)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Read the settings from environment variables; *overrides* that are not None win.

        `ZUORA_BASE_URL` or `ZUORA_ENVIRONMENT` (a key of `ENVIRONMENTS`); `ZUORA_CLIENT_ID` with `ZUORA_CLIENT_SECRET`,
        or `ZUORA_ACCESS_TOKEN`; `ZUORA_ENTITY_ID`, `ZUORA_ORG_IDS`, `ZUORA_VERSION`, `ZUORA_WSDL_VERSION`,
        `ZUORA_TRACK_ID`. An empty variable counts as absent.

        Raises:
            ConfigurationError: as for the class; also where both the base URL and the environment are set, and differ.
        """
        env = {key: value.strip() for key, value in (os.environ if environ is None else environ).items()}
        given = {
            name: env.get(variable) or None
            for name, variable in {
                "access_token": "ZUORA_ACCESS_TOKEN",
                "client_id": "ZUORA_CLIENT_ID",
                "client_secret": "ZUORA_CLIENT_SECRET",
                "entity_id": "ZUORA_ENTITY_ID",
                "org_ids": "ZUORA_ORG_IDS",
                "zuora_version": "ZUORA_VERSION",
                "wsdl_version": "ZUORA_WSDL_VERSION",
                "track_id": "ZUORA_TRACK_ID",
            }.items()
        }
        given.update({name: value for name, value in overrides.items() if value is not None})
        if "base_url" not in given:
            given["base_url"] = _base_url_of(env)
        return cls(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def _base_url_of(env: Mapping[str, str]) -> str:
    url, name = env.get("ZUORA_BASE_URL"), env.get("ZUORA_ENVIRONMENT")
    if url and name and _check_base_url(url) != environment_url(name):
        message = f"ZUORA_BASE_URL and ZUORA_ENVIRONMENT={name} name different tenants: unset one of them"
        raise ConfigurationError(message)
    if url:
        return url
    if name:
        return environment_url(name)
    message = "no tenant: set ZUORA_BASE_URL, or ZUORA_ENVIRONMENT to one of " + ", ".join(ENVIRONMENTS)
    raise ConfigurationError(message)
