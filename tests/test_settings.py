"""Settings: everything that can be wrong is said at once, before any request, with what to do about it."""

from __future__ import annotations

import traceback
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zuora_jobs.errors import ConfigurationError
from zuora_jobs.settings import ENVIRONMENTS, Settings, environment_url

URL = "https://rest.test.zuora.com"


def tenant(**changes: Any) -> Settings:
    return Settings(**{"base_url": URL, "access_token": "token", **changes})


# --- where


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("prod-na", "https://rest.na.zuora.com"),
        ("sbx-na", "https://rest.sandbox.na.zuora.com"),
        ("prod", "https://rest.zuora.com"),
        ("sbx", "https://rest.apisandbox.zuora.com"),
        ("csbx", "https://rest.test.zuora.com"),
        ("pt1", "https://rest.pt1.zuora.com"),
        ("prod-eu", "https://rest.eu.zuora.com"),
        ("sbx-eu", "https://rest.sandbox.eu.zuora.com"),
        ("csbx-eu", "https://rest.test.eu.zuora.com"),
        ("prod-ap", "https://rest.ap.zuora.com"),
        ("csbx-ap", "https://rest.test.ap.zuora.com"),
    ],
)
def test_every_data_centre_has_a_short_name(name: str, url: str) -> None:
    vendors_own = name.upper().replace("-", "_")
    assert environment_url(name) == environment_url(vendors_own) == environment_url(f" {name.title()} ") == url
    assert Settings.from_env({"ZUORA_ENVIRONMENT": name, "ZUORA_ACCESS_TOKEN": "t"}).base_url == url


def test_there_are_eleven_data_centres_and_each_is_a_base_url() -> None:
    assert len(ENVIRONMENTS) == len(set(ENVIRONMENTS.values())) == 11
    assert all(tenant(base_url=url).base_url == url for url in ENVIRONMENTS.values())


@pytest.mark.parametrize("name", ["", "production", "prod na", "https://rest.zuora.com"])
def test_an_unknown_environment_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigurationError, match="unknown environment") as caught:
        environment_url(name)
    assert all(known in str(caught.value) for known in ENVIRONMENTS)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://rest.zuora.com", "https://rest.zuora.com"),
        ("https://rest.zuora.com/", "https://rest.zuora.com"),
        ("https://rest.zuora.com//", "https://rest.zuora.com"),
        ("https://proxy.example:8443/zuora/", "https://proxy.example:8443/zuora"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://zuora.localhost", "http://zuora.localhost"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("https://10.0.0.1", "https://10.0.0.1"),
    ],
)
def test_https_goes_anywhere_and_http_to_loopback(url: str, kept: str) -> None:
    assert tenant(base_url=url).base_url == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://rest.zuora.com",
        "http://10.0.0.1",
        "http://0.0.0.0:80",
        "http://localhost.evil.example",
        "http://notlocalhost",
        "http://127.0.0.1.evil.example",
        "http://[::ffff:8.8.8.8]",
    ],
)
def test_http_to_anywhere_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="http would send the token in the clear, and is for loopback only"):
        tenant(base_url=url)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "is not an https address"),
        ("rest.zuora.com", "is not an https address"),
        ("//rest.zuora.com", "is not an https address"),
        ("ftp://rest.zuora.com", "is not an https address"),
        ("https://", "is not an https address"),
        ("https:///path", "is not an https address"),
        ("https://:443", "is not an https address"),
        ("file:///etc/passwd", "is not an https address"),
        ("https://rest.zuora.com?x=1", "has a query, a fragment"),
        ("https://rest.zuora.com/#top", "has a query, a fragment"),
        ("https://rest.zuora.com/a b", "blanks"),
        (" https://rest.zuora.com", "blanks"),
        ("https://rest.zuora.com\n", "blanks"),
        ("https://rest.zuora.com\t", "blanks"),
        ("https://rest.zuörä.com", "outside ASCII"),
        ("https://rest.zuora.com:port", "cannot be read"),
        ("https://rest.zuora.com:99999", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("http://[::1].evil.example", "cannot be read"),
        ("https://rest.zuora.com%2eevil.example", "cannot be read"),
        (None, "must be text, not NoneType"),
        (b"https://rest.zuora.com", "must be text, not bytes"),
        (7, "must be text, not int"),
    ],
)
def test_what_is_no_base_url_is_refused_with_an_example(url: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        tenant(base_url=url)
    assert "rest.zuora.com" in str(caught.value) or not isinstance(url, str)


@pytest.mark.parametrize("url", ["https://canary@rest.zuora.com", "https://user:canary@rest.zuora.com", "//u:canary@x"])
def test_a_base_url_with_a_password_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must not carry a user or a password: use ZUORA_CLIENT_ID") as caught:
        tenant(base_url=url)
    assert "canary" not in str(caught.value)


def test_a_base_url_with_a_password_and_no_scheme_is_not_quoted_either() -> None:
    with pytest.raises(ConfigurationError) as caught:
        tenant(base_url="user:canary@rest.zuora.com")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://rest.zuora.com?", "https://rest.zuora.com/?", "https://rest.zuora.com#"])
def test_an_empty_query_or_fragment_is_refused_or_dropped(url: str) -> None:
    try:
        kept = tenant(base_url=url).base_url
    except ConfigurationError:
        return
    assert kept == "https://rest.zuora.com"


@pytest.mark.parametrize(
    "url", ["\x00https://rest.zuora.com", "https://rest.zu\x7fora.com", "https://rest.zuora.com\\x"]
)
def test_a_base_url_with_control_characters_or_backslashes_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        tenant(base_url=url)


# --- as whom


@pytest.mark.parametrize(
    ("credentials", "sentence"),
    [
        ({}, "no credentials: set ZUORA_CLIENT_ID and ZUORA_CLIENT_SECRET, or ZUORA_ACCESS_TOKEN"),
        ({"client_id": "canary-id"}, r"half the credentials: client_secret is missing \(ZUORA_CLIENT_SECRET\)"),
        ({"client_secret": "canary"}, r"half the credentials: client_id is missing \(ZUORA_CLIENT_ID\)"),
        ({"access_token": "canary", "client_id": "c", "client_secret": "canary"}, "not both"),
        ({"access_token": "canary", "client_secret": "canary"}, "not both"),
        ({"access_token": "canary", "client_id": "c"}, "not both"),
        ({"access_token": ""}, "access_token is empty or has blanks"),
        ({"access_token": " "}, "access_token is empty or has blanks"),
        ({"access_token": "canary token"}, "was it copied whole"),
        ({"access_token": "canary\n"}, "access_token is empty or has blanks"),
        ({"access_token": "canary\r\nX-Evil: 1"}, "access_token is empty or has blanks"),
        ({"access_token": "canäry"}, "non-ASCII"),
        ({"client_id": "c", "client_secret": ""}, "client_secret is empty or has blanks"),
        ({"client_id": "c", "client_secret": "canary\t"}, "client_secret is empty or has blanks"),
        ({"client_id": "", "client_secret": "canary"}, "client_id '' cannot be sent"),
        ({"client_id": "a b", "client_secret": "canary"}, "client_id 'a b' cannot be sent"),
    ],
)
def test_missing_half_or_garbled_credentials_are_refused_without_quoting_secrets(
    credentials: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        Settings(base_url=URL, **credentials)
    text = "".join(traceback.format_exception(caught.value))
    assert "canary" not in str(caught.value).replace("canary-id", "")
    assert "canary'" not in text


def test_secrets_are_in_no_text_form() -> None:
    for found in (tenant(access_token="canary"), tenant(access_token=None, client_id="c", client_secret="canary")):
        for text in (repr(found), str(found), f"{found}", repr([found])):
            assert "canary" not in text
            assert URL in text


@pytest.mark.parametrize("secret", [b"canary", ["canary"], {"canary": 1}], ids=repr)
@pytest.mark.parametrize("name", ["access_token", "client_secret"])
def test_a_secret_that_is_no_text_is_refused_without_quoting_it(name: str, secret: Any) -> None:
    credentials = {"access_token": secret} if name == "access_token" else {"client_id": "c", "client_secret": secret}
    with pytest.raises((ConfigurationError, TypeError)) as caught:
        Settings(base_url=URL, **credentials)
    assert "canary" not in str(caught.value)
    assert isinstance(caught.value, ConfigurationError)
    assert name in str(caught.value)


# --- in which scope


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, ()),
        ((), ()),
        ([], ()),
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        (" a , b ", ("a", "b")),
        (["a", " b"], ("a", "b")),
        (("a", "b"), ("a", "b")),
    ],
)
def test_org_ids_may_be_a_sequence_or_text_with_commas(sent: Any, kept: tuple[str, ...]) -> None:
    assert tenant(org_ids=sent).org_ids == kept


@pytest.mark.parametrize("bad", ["", ",", "a,,b", "a,", ["a,b"], ["a b"], ["é"], [""], ["a", "\x00"]])
def test_org_ids_that_cannot_be_a_header_are_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="org_ids"):
        tenant(org_ids=bad)


@pytest.mark.parametrize("name", ["entity_id", "zuora_version", "wsdl_version"])
@pytest.mark.parametrize("bad", ["", " ", "a b", "a\r\nX-Evil: 1", "é", "\x7f", "a\t"])
def test_what_cannot_be_sent_in_a_header_is_refused_by_name(name: str, bad: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        tenant(**{name: bad})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "good"), [("entity_id", "2c92-1"), ("zuora_version", "2025-08-12"), ("zuora_version", "341.0")]
)
def test_what_can_be_sent_is_kept(name: str, good: str) -> None:
    assert getattr(tenant(**{name: good}), name) == good


@pytest.mark.parametrize("version", [118, "118"], ids=repr)
def test_a_wsdl_version_may_be_a_number(version: Any) -> None:
    assert tenant(wsdl_version=version).wsdl_version == "118"


@pytest.mark.parametrize("bad", ["a:b", "a;b", 'a"b', "a'b", "é", "a\n", "\x00", "2026-01-01T10:00:00", "\x7f", "💸"])
def test_a_track_id_zuora_refuses_is_refused_first(bad: str) -> None:
    with pytest.raises(ConfigurationError, match=r"only ASCII, and none of : ; \" '"):
        tenant(track_id=bad)


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (64, True), (65, False), (1000, False)])
def test_a_track_id_has_1_to_64_characters(length: int, fits: bool) -> None:
    if fits:
        assert tenant(track_id="x" * length).track_id == "x" * length
    else:
        with pytest.raises(ConfigurationError, match=f"the track id has {length} characters: Zuora takes 1 to 64"):
            tenant(track_id="x" * length)


@pytest.mark.parametrize("good", ["3f2c1a9e-8c1b-4a52-9a57-0d6a4e0f8a11", "a b", "night_run-7/2026", "~!@#$%^&*()"])
def test_a_track_id_zuora_takes_is_taken(good: str) -> None:
    assert tenant(track_id=good).track_id == good


# --- how long


@pytest.mark.parametrize("name", ["connect_timeout", "request_timeout"])
@pytest.mark.parametrize("bad", [0, -1, float("nan"), "10", None, True, 10**400], ids=lambda bad: f"{bad!r:.9}")
def test_a_timeout_that_is_no_time_is_refused(name: str, bad: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        tenant(**{name: bad})


@pytest.mark.parametrize("name", ["connect_timeout", "request_timeout"])
def test_a_request_always_has_a_timeout(name: str) -> None:
    with pytest.raises(ConfigurationError):
        tenant(**{name: float("inf")})


def test_by_default_a_request_may_take_as_long_as_zuora_lets_it() -> None:
    assert tenant().request_timeout > 120


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("entity_id", 5),
        ("track_id", 5),
        ("zuora_version", 341.0),
        ("wsdl_version", 118.0),
        ("org_ids", 5),
        ("org_ids", [1]),
        ("client_id", 5),
    ],
)
def test_a_setting_of_the_wrong_type_is_refused_by_name(name: str, bad: Any) -> None:
    others = {"access_token": None, "client_secret": "s"} if name == "client_id" else {}
    with pytest.raises(ConfigurationError, match=name.replace("track_id", "track.id")):
        tenant(**others, **{name: bad})


def test_settings_are_frozen_and_compare_by_value() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        tenant().base_url = "https://evil.example"  # type: ignore[misc]
    assert tenant() == tenant()
    assert tenant() != tenant(entity_id="e")


# --- from the environment

EVERYTHING = {
    "ZUORA_BASE_URL": URL,
    "ZUORA_CLIENT_ID": "client",
    "ZUORA_CLIENT_SECRET": "secret",
    "ZUORA_ENTITY_ID": "entity",
    "ZUORA_ORG_IDS": "a, b",
    "ZUORA_VERSION": "2025-08-12",
    "ZUORA_WSDL_VERSION": "127",
    "ZUORA_TRACK_ID": "night run",
    "OTHER": "ignored",
}


def test_everything_can_come_from_the_environment() -> None:
    assert Settings.from_env(EVERYTHING) == Settings(
        base_url=URL,
        client_id="client",
        client_secret="secret",
        entity_id="entity",
        org_ids=("a", "b"),
        zuora_version="2025-08-12",
        wsdl_version="127",
        track_id="night run",
    )


def test_the_environment_is_the_processs_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZUORA_ACCESS_TOKEN", "ZUORA_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in EVERYTHING.items():
        monkeypatch.setenv(name, value)
    assert Settings.from_env() == Settings.from_env(EVERYTHING)


def test_what_is_given_goes_before_the_environment_unless_it_is_none() -> None:
    found = Settings.from_env(EVERYTHING, base_url="https://rest.zuora.com", entity_id=None, request_timeout=5.0)
    assert (found.base_url, found.entity_id, found.request_timeout) == ("https://rest.zuora.com", "entity", 5.0)


def test_a_given_base_url_settles_what_the_environment_is_of_two_minds_about() -> None:
    environ = {"ZUORA_BASE_URL": URL, "ZUORA_ENVIRONMENT": "prod", "ZUORA_ACCESS_TOKEN": "t"}
    assert Settings.from_env(environ, base_url="https://rest.eu.zuora.com").base_url == "https://rest.eu.zuora.com"


def test_blanks_around_a_variable_are_dropped_and_an_empty_one_counts_as_absent() -> None:
    environ = {
        "ZUORA_ENVIRONMENT": " csbx\n",
        "ZUORA_BASE_URL": "",
        "ZUORA_ACCESS_TOKEN": " token\n",
        "ZUORA_CLIENT_ID": "",
        "ZUORA_CLIENT_SECRET": "  ",
        "ZUORA_ORG_IDS": "",
        "ZUORA_TRACK_ID": "",
    }
    assert Settings.from_env(environ) == Settings(base_url=URL, access_token="token")


def test_both_names_of_one_tenant_agree() -> None:
    environ = {"ZUORA_BASE_URL": URL + "/", "ZUORA_ENVIRONMENT": "CSBX", "ZUORA_ACCESS_TOKEN": "t"}
    assert Settings.from_env(environ).base_url == URL


TOKEN = {"ZUORA_ACCESS_TOKEN": "canary"}


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "no tenant: set ZUORA_BASE_URL, or ZUORA_ENVIRONMENT to one of prod, "),
        (TOKEN, "no tenant: set ZUORA_BASE_URL, or ZUORA_ENVIRONMENT"),
        ({"ZUORA_BASE_URL": URL}, "no credentials: set ZUORA_CLIENT_ID and ZUORA_CLIENT_SECRET, or ZUORA_ACCESS_TOKEN"),
        ({"ZUORA_BASE_URL": URL, "ZUORA_CLIENT_ID": "c"}, "ZUORA_CLIENT_SECRET"),
        ({"ZUORA_BASE_URL": URL, "ZUORA_CLIENT_SECRET": "canary"}, "ZUORA_CLIENT_ID"),
        ({"ZUORA_BASE_URL": URL, "ZUORA_CLIENT_ID": "c", **TOKEN}, "not both"),
        ({"ZUORA_ENVIRONMENT": "moon", **TOKEN}, "unknown environment 'moon'"),
        ({"ZUORA_BASE_URL": "http://rest.zuora.com", **TOKEN}, "is not https"),
        (
            {"ZUORA_BASE_URL": "https://rest.zuora.com", "ZUORA_ENVIRONMENT": "csbx", **TOKEN},
            "ZUORA_BASE_URL and ZUORA_ENVIRONMENT=csbx name different tenants: unset one of them",
        ),
        ({"ZUORA_BASE_URL": URL, "ZUORA_TRACK_ID": "a:b", **TOKEN}, "track id"),
        ({"ZUORA_BASE_URL": URL, "ZUORA_ORG_IDS": "a,,b", **TOKEN}, "org_ids"),
    ],
)
def test_what_the_environment_lacks_or_garbles_is_said(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        Settings.from_env(environ)
    assert "canary" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(
    url=st.text(max_size=30)
    | st.text(max_size=15).map("https://{}".format)
    | st.text(max_size=9).map("http://{}".format)
)
def test_any_base_url_is_taken_or_refused_by_us(url: str) -> None:
    try:
        kept = tenant(base_url=url).base_url
    except ConfigurationError:
        return
    assert kept.lower().startswith(("https://", "http://localhost", "http://127.", "http://[::1]"))


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=70))
def test_any_track_id_is_taken_as_it_is_or_refused(text: str) -> None:
    try:
        kept = tenant(track_id=text).track_id
    except ConfigurationError:
        return
    assert kept == text
    assert 1 <= len(text) <= 64
    assert text.isascii()
    assert not set(text) & set(":;\"'\r\n\0")
