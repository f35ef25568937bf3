"""azure-core's AsyncLROPoller, with the policies that the generated SDKs install."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from _cost_aiohttp import session_for
from _cost_work import HEADERS, Tasks, Work
from azure.core import AsyncPipelineClient
from azure.core.pipeline import policies
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.polling import AsyncLROPoller
from azure.core.polling.async_base_polling import AsyncLROBasePolling
from azure.core.rest import HttpRequest


@asynccontextmanager
async def poller(work: Work) -> AsyncIterator[Tasks]:
    """Poll as a client of Azure does; only the token is a plain header, since that policy insists on https."""
    async with session_for(work) as session:
        client = AsyncPipelineClient(
            work.base_url,
            policies=[
                policies.RequestIdPolicy(),
                policies.HeadersPolicy(HEADERS),
                policies.UserAgentPolicy("benchmark"),
                policies.ProxyPolicy(),
                policies.ContentDecodePolicy(),
                policies.AsyncRedirectPolicy(),
                policies.AsyncRetryPolicy(),
                policies.CustomHookPolicy(),
                policies.NetworkTraceLoggingPolicy(),
                policies.DistributedTracingPolicy(),
                policies.SensitiveHeaderCleanupPolicy(),
                policies.HttpLoggingPolicy(),
            ],
            transport=AioHttpTransport(session=session, session_owner=False),
        )

        async def watch(job: str) -> object:
            submitted = await client.send_request(HttpRequest("POST", work.url(job)), _return_pipeline_response=True)
            polling = AsyncLROBasePolling(timeout=work.pause)
            return await AsyncLROPoller(client, submitted, lambda said: said.http_response.json(), polling).result()

        yield Tasks(watch)
