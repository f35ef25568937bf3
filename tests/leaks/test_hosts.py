"""The token goes to the configured host and nowhere else, and over https unless that host is this machine."""

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from zuora_jobs import (
    AQUA,
    BULK_PDF,
    ConfigurationError,
    JobWatcher,
    Lost,
    Patience,
    Rejected,
    Settings,
    ZuoraClient,
    ZuoraJobsError,
)

IMPATIENT = Patience(again=0, throttled=0, briefly=0)
REDIRECTS = [301, 302, 303, 307, 308]

CALLS: dict[str, Callable[[ZuoraClient], Any]] = {
    "a look": lambda client: client.job(BULK_PDF.handle("j1")),
    "a cancellation": lambda client: client.cancel_job(AQUA.handle("j1")),
    "an invoice": lambda client: client.invoice("i1"),
}

# where a redirect may lead: to another port of this host, to another name of it, to whoever has a name
TARGETS = {
    "a port": "http://127.0.0.1:{port}/v1/x?access_token={token}",
    "a name": "http://localhost:{port}/v1/x?access_token={token}",
    "no scheme": "//127.0.0.1:{port}/v1/x?access_token={token}",
    "a user": "http://{token}@127.0.0.1:{port}/v1/x",
}


@pytest.mark.parametrize(
    ("status", "call", "target"),
    [(status, "a look", "a port") for status in REDIRECTS]
    + [(307, call, "a name") for call in CALLS]
    + [(302, "a look", target) for target in ("no scheme", "a user")],
)
async def test_a_redirect_to_another_host_is_refused(status, call, target, marked, peer, with_token, ears):
    other = peer(marked.answer(200, marked.bulk_pdf()))
    where = TARGETS[target].format(port=other.port, token=marked.token)
    zuora = peer(marked.answer(status, b"", Location=where))
    async with ZuoraClient(with_token(zuora.url), patience=IMPATIENT) as client:
        with pytest.raises(Rejected, match=f"HTTP {status}") as caught:
            await CALLS[call](client)
    assert zuora.was_told(f"Bearer {marked.token}")
    assert zuora.told(where)
    assert (other.connections, other.heard) == (0, []), "nothing at all, with the token or without it"
    ears.hear(caught.value)
    ears.assert_no_secret(logged=f"HTTP {status}")


@pytest.mark.parametrize("status", REDIRECTS)
async def test_the_secret_follows_no_redirect_and_a_job_is_lost_instead(
    status, marked, peer, with_secret, ears, quick, talkative_loop
):
    other = peer(marked.answer(200, marked.bulk_pdf()))
    where = f"{other.url}/oauth/token?client_secret={marked.client_secret}"
    zuora = peer(marked.answer(200, marked.bulk_pdf()), tokens=[marked.answer(status, b"", Location=where)])
    async with (
        ZuoraClient(with_secret(zuora.url), rng=quick) as client,
        JobWatcher(client, observers=[ears.hear]) as watcher,
    ):
        outcome = await watcher.watch(BULK_PDF.handle("j1"), timeout=0.3)
    assert isinstance(outcome, Lost)
    assert zuora.was_told(marked.client_secret)
    assert zuora.told(where)
    assert not zuora.was_told("Authorization")
    assert (other.connections, other.heard) == (0, [])
    ears.hear(outcome, outcome.error)
    ears.assert_no_secret(logged=f"HTTP {status}")


async def test_pages_and_headers_that_lead_elsewhere_lead_nowhere(marked, peer, with_token, ears):
    other = peer(marked.answer(200, marked.bulk_pdf()))
    page = f"<html><head><meta http-equiv='refresh' content='0; url={other.url}'></head></html>".encode()
    links = {"Refresh": f"0; url={other.url}", "Link": f"<{other.url}>; rel=next", "Content_Location": other.url}
    alternative = {"Alt_Svc": f'h2=":{other.port}"'}
    zuora = peer(marked.answer(200, page, Content_Type="text/html", **links, **alternative))
    async with ZuoraClient(with_token(zuora.url), patience=IMPATIENT) as client:
        for _ in range(2):
            with pytest.raises(ZuoraJobsError):
                await client.job(BULK_PDF.handle("j1"))
    assert zuora.told(other.url)
    assert len(zuora.heard) == 2
    assert other.connections == 0


async def test_no_cookie_is_kept_or_sent(marked, peer, with_token):
    zuora = peer(marked.answer(200, marked.bulk_pdf()))
    async with ZuoraClient(with_token(zuora.url)) as client:
        await client.job(BULK_PDF.handle("j1"))
        await client.job(BULK_PDF.handle("j1"))
    assert zuora.told("Set-Cookie")
    assert len(zuora.heard) == 2
    assert not any(b"cookie" in request.lower() for request in zuora.heard)


async def test_no_proxy_and_no_netrc_of_the_environment_gets_the_token(
    marked, peer, with_secret, monkeypatch, tmp_path
):
    proxy = peer(marked.answer(200, marked.bulk_pdf()))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(name.lower(), proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    zuora = peer(marked.answer(200, marked.bulk_pdf()))
    async with ZuoraClient(with_secret(zuora.url)) as client:
        await client.job(BULK_PDF.handle("j1"))
    assert zuora.was_told(f"Authorization: Bearer {marked.fetched}")
    assert not zuora.was_told("Basic ")
    assert (proxy.connections, proxy.heard) == (0, [])


async def test_the_host_is_told_what_it_must_be_and_no_more(marked, peer, with_secret):
    zuora = peer(marked.answer(200, marked.bulk_pdf()))
    async with ZuoraClient(with_secret(zuora.url)) as client:
        await client.job(BULK_PDF.handle("j1"))
    token_request, look = zuora.heard
    assert token_request.startswith(b"POST /oauth/token HTTP/1.1\r\n"), "no secret in the URL"
    assert marked.client_secret.encode() in token_request.partition(b"\r\n\r\n")[2]
    assert look.startswith(b"GET /v1/operations/bulk-pdf/j1 HTTP/1.1\r\n"), "no token in the URL"
    assert marked.client_secret.encode() not in look


# --- https, except on this machine


def _is_this_machine(host: str) -> bool:
    """Our own reading, of the host that aiohttp would connect to."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or bool(mapped and mapped.is_loopback)


LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map("[{}]".format)
NEARLY = st.sampled_from(["localhost", "127.0.0.1", "[::1]", "LocalHost", "a.localhost", "127.9.9.9"])
ODD = st.text("localhst127.0:@/\\?#[]%&;,'\" \t\r\n\0。①é-_x", max_size=14)
TRICKS = st.sampled_from(
    ["{}.evil.example", "evil.example/{}", "evil.example#{}", "evil.example?{}", "{}@evil.example", "evil.example@{}",
     "{}\\@evil.example", "{}:80@evil.example", "{}%2eevil.example", "{}%00.evil.example", "{}\tevil.example",
     "{}:8080", "{}:99999", "{}:80:90", "{}.", ".{}", "{}..", "evil-{}", "{}-evil", "[{}]", "[{}%25eth0]", "{}/../x"]
)  # fmt: skip
HOSTS = NAMES | ADDRESSES | NEARLY | ODD | st.builds(str.format, TRICKS, NEARLY | NAMES | ADDRESSES)
SCHEMES = st.sampled_from(
    ["http://", "https://", "HTTP://", "HttpS://", "http:/", "http:", "//", "", "ws://", "ftp://"]
)


@pytest.mark.unmeasured
@settings(max_examples=1000, deadline=None)
@given(scheme=SCHEMES, host=HOSTS)
@example(scheme="http://", host="127.1")
@example(scheme="http://", host="2130706433")
@example(scheme="http://", host="0x7f000001")
@example(scheme="http://", host="0.0.0.0")
@example(scheme="http://", host="[::ffff:8.8.8.8]")
@example(scheme="http://", host="localhost.evil.example")
@example(scheme="http://", host="127.0.0.1.evil.example")
@example(scheme="http://", host="127.0.0.1\\@evil.example")
@example(scheme="http://", host="evil.example\\@127.0.0.1")
@example(scheme="http://", host="①27.0.0.1")
@example(scheme="http://", host="notlocalhost")
def test_whatever_base_url_is_taken_is_https_or_this_machine_as_aiohttp_reads_it(scheme, host):
    try:
        taken = Settings(base_url=scheme + host, access_token="t").base_url
    except ConfigurationError:
        return
    try:
        url = URL(taken + "/v1/operations/jobs/x", encoded=True)  # the way `http.py` makes one
    except ValueError:
        return  # nothing will be sent
    assert url.scheme in {"http", "https"}
    assert url.host
    assert url.scheme == "https" or _is_this_machine(url.host)
    assert url.user is None
    assert url.password is None


@settings(max_examples=300, deadline=None)
@given(host=NAMES | ADDRESSES)
def test_http_is_taken_for_this_machine_and_refused_for_any_other(host):
    try:
        URL(f"http://{host}")
    except ValueError:
        return  # no host
    here = _is_this_machine(URL(f"http://{host}").host or "")
    if here:
        assert Settings(base_url=f"http://{host}", access_token="t").base_url == f"http://{host}"
    else:
        with pytest.raises(ConfigurationError):
            Settings(base_url=f"http://{host}", access_token="t")


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "localhost:80", "[::1]:8080", "127.255.255.254"])
def test_this_machine_needs_no_https(host):
    assert Settings(base_url=f"http://{host}", access_token="t").base_url == f"http://{host}"


@pytest.mark.parametrize("host", ["rest.zuora.com", "10.0.0.1", "192.168.0.1", "169.254.1.1", "[fe80::1]", "0.0.0.0"])
def test_any_other_does(host):
    with pytest.raises(ConfigurationError, match="is not https"):
        Settings(base_url=f"http://{host}", access_token="t")


def test_what_is_wrong_with_the_settings_is_said_without_the_secrets(marked, ears):
    right: dict[str, Any] = {
        "base_url": "https://rest.zuora.com",
        "client_id": marked.client_id,
        "client_secret": marked.client_secret,
    }
    wrong: list[dict[str, Any]] = [
        {"client_secret": marked.client_secret + "\n"},
        {"client_secret": marked.client_secret + "é"},
        {"client_secret": f" {marked.client_secret}"},
        {"client_secret": [marked.client_secret]},
        {"client_secret": marked.client_secret.encode()},
        {"client_id": None},
        {"access_token": marked.token},
        {"access_token": marked.token + " ", "client_id": None, "client_secret": None},
        {"access_token": {"token": marked.token}, "client_id": None, "client_secret": None},
        {"base_url": f"https://user:{marked.client_secret}@rest.zuora.com"},
        {"base_url": f"https://rest.zuora.com/?token={marked.token}"},
        {"base_url": f"https://rest.zuora.com/#{marked.token}"},
        {"base_url": marked.url},
        {"track_id": "a:b"},
        {"request_timeout": 0},
    ]
    for change in wrong:
        with pytest.raises(ConfigurationError) as caught:
            Settings(**(right | change))
        ears.hear(caught.value)
        environ = {
            "ZUORA_BASE_URL": "https://rest.zuora.com",
            "ZUORA_CLIENT_SECRET": marked.client_secret,
            "ZUORA_TRACK_ID": "a:b",
        }
        with pytest.raises(ConfigurationError) as from_env:
            Settings.from_env(environ)
        ears.hear(from_env.value)
    ears.hear(Settings(**right))
    ears.assert_no_secret()
