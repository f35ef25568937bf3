"""Spans of requests, by aiohttp's own instrumentation: each has one, in the right place, and none has a signature."""

import asyncio

import pytest
from opentelemetry import context
from opentelemetry.baggage import set_baggage
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.trace import SpanKind

from zuora_jobs import Downloader, JobHandle, Settings
from zuora_jobs.emulator import Fault, Step
from zuora_jobs.integrations.opentelemetry import names
from zuora_jobs.protocol.messages import Request
from zuora_jobs.transport.http import HttpTransport

OURS = {"host", "accept", "accept-encoding", "user-agent"}


def handle_of(job):
    return JobHandle.parse(job.handle)


def requests_of(lab):
    return [span for span in lab.exporter.get_finished_spans() if span.kind is SpanKind.CLIENT]


def url_of(span):
    return span.attributes.get("url.full") or span.attributes["http.url"]


@pytest.fixture(params=["", "http"], ids=["old conventions", "new conventions"])
def conventions(request, monkeypatch):
    """Which names the instrumentation gives."""
    from opentelemetry.instrumentation import _semconv

    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", request.param)
    monkeypatch.setattr(_semconv._OpenTelemetrySemanticConventionStability, "_initialized", False)


@pytest.mark.looptime
@pytest.mark.usefixtures("conventions", "instrumented")
async def test_every_request_has_its_span_and_every_look_belongs_to_its_watch(zuora, watching, lab):
    jobs = [handle_of(zuora.add_job("aqua", ends="completed", seconds=seconds)) for seconds in (5, 9)]
    zuora.fault(Fault("bad-gateway", times=2, path="batch-query"))
    async with watching(zuora) as watcher:
        with lab.tracer.start_as_current_span("asks"):
            await asyncio.gather(*map(watcher.watch, jobs))
    spans = requests_of(lab)
    assert len(spans) == len(zuora.requests)
    watches = {span.context.span_id: span.attributes[names.ID] for span in lab.spans()}
    looks = [span for span in spans if "batch-query" in url_of(span)]
    assert len(looks) == len(spans) - 1
    for look in looks:
        assert look.parent is not None
        assert watches[look.parent.span_id] in url_of(look)


@pytest.mark.usefixtures("instrumented")
async def test_a_presigned_url_is_followed_with_its_query_and_told_without(zuora, watching, lab, tmp_path):
    job = handle_of(zuora.add_job("bulk-pdf", life=[Step("Completed")]))
    token = context.attach(set_baggage("customer", "in confidence"))
    async with watching(zuora) as watcher:
        outcome = await watcher.watch(job)
        async with Downloader(watcher.client, tmp_path) as downloader:
            saved = await downloader.files_of(outcome)
    context.detach(token)
    assert saved
    assert all(one.path is not None and one.path.exists() for one in saved)
    at_store = [record for record in zuora.requests if record.door == "store"]
    assert at_store
    for record in at_store:
        assert record.status in {200, 206}, "the signature was right"
        assert {name.lower() for name in record.headers} <= OURS | {"range", "if-range"}, "and nobody was told more"
    stored = [span for span in requests_of(lab) if "batch-query" not in url_of(span) and "/v1/" not in url_of(span)]
    assert len(requests_of(lab)) == len(zuora.requests)
    assert len([span for span in stored if "oauth" not in url_of(span)]) == len(at_store)
    text = "".join(span.to_json() for span in lab.exporter.get_finished_spans())
    for signed in outcome.files:
        path, _, query = (signed.url or "").partition("?")
        assert path in text
        assert query
        assert query not in text
        for pair in query.split("&"):
            assert pair.partition("=")[2] not in text
    to_zuora = [record for record in zuora.requests if record.door != "store" and "traceparent" in record.headers]
    assert len(to_zuora) == len(zuora.requests) - len(at_store), "Zuora gets it, with each request"


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n"], ids=["a cut", "nonsense"]
)
async def test_a_presigned_url_is_not_told_by_what_goes_wrong_either(answer, lab):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/file.zip?X-Amz-Signature=k4n4r1e"
    async with server, HttpTransport(Settings(base_url=f"http://127.0.0.1:{port}", access_token="t0ken-t0ken")) as send:
        with pytest.raises(Exception, match="GET"):
            await send(Request("GET", "/file.zip", url=url))
    (span,) = requests_of(lab)
    assert "exception" in span.to_json()
    assert "k4n4r1e" not in span.to_json()
    assert "X-Amz" not in span.to_json()


async def test_no_token_and_no_secret_is_in_any_span_though_headers_are_captured(zuora, watching, lab, monkeypatch):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST", ".*")
    AioHttpClientInstrumentor().instrument(tracer_provider=lab.tracer_provider)
    job = zuora.add_job("aqua", ends="completed", seconds=100)
    try:
        async with watching(zuora) as watcher:
            await watcher.cancel(handle_of(job))
            secrets = watcher.client.secrets
    finally:
        AioHttpClientInstrumentor().uninstrument()
    text = "".join(span.to_json() for span in lab.exporter.get_finished_spans())
    assert len(secrets) >= 2
    assert "http.request.header.user_agent" in text
    assert "oauth/token" in text
    assert "DELETE" in text
    for secret in secrets:
        assert secret not in text
    assert all(record.bore_authorization for record in zuora.requests if record.door == "api")


@pytest.mark.looptime
async def test_the_short_way_is_left_only_where_somebody_traces(zuora, watching, lab):
    async with HttpTransport(zuora.settings()) as plain:
        assert plain._express is not None
    AioHttpClientInstrumentor().instrument(tracer_provider=lab.tracer_provider)
    try:
        async with HttpTransport(zuora.settings()) as traced:
            assert traced._express is None
    finally:
        AioHttpClientInstrumentor().uninstrument()
    async with HttpTransport(zuora.settings()) as plain:
        assert plain._express is not None


@pytest.mark.looptime
async def test_without_telemetry_of_ours_requests_have_spans_all_the_same(zuora, watching, lab, instrumented):
    async with watching(zuora, observers=[]) as watcher:
        await watcher.watch(handle_of(zuora.add_job("aqua", ends="completed", seconds=3)))
    assert len(requests_of(lab)) == len(zuora.requests)
    assert lab.spans() == []


async def test_a_signed_query_goes_out_as_it_was_signed(zuora, lab, instrumented):
    """To the last escape, whatever an URL library thinks of it."""
    heard = []

    async def serve(reader, writer):
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    target = "/a%2Fb%20c.zip?X-Amz-Credential=a%2F1%2fus+x%20y&X-Amz-Signature=0%3D&b&c="
    async with server, HttpTransport(Settings(base_url=origin, access_token="t0ken-t0ken")) as send:
        await send(Request("GET", "/a", url=origin + target, headers={"Range": "bytes=1-"}))
    assert heard[0].split(b"\r\n")[0] == f"GET {target} HTTP/1.1".encode()
    assert b"Range: bytes=1-" in heard[0]
    assert b"traceparent" not in heard[0]
