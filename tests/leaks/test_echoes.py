"""Zuora's own words are shown, unless they send back what is ours: the token, the secret, the query of a presigned URL."""

from collections.abc import Callable
from typing import Any

import pytest

from zuora_jobs import (
    BULK_PDF,
    JobWatcher,
    Patience,
    Rejected,
    ZuoraClient,
    ZuoraJobsError,
)

HANDLE = BULK_PDF.handle("j1")
IMPATIENT = Patience(again=0, throttled=0, briefly=0)


def reasons(code, message="Nothing to see here"):
    return {"success": False, "reasons": [{"code": code, "message": message}]}


ECHOES: dict[str, Callable[[Any, str], bytes]] = {
    "as a message": lambda m, secret: m.answer(401, {"message": f"Nobody knows {secret}"}),
    "as a reason": lambda m, secret: m.answer(403, reasons(50000010, f"not with Bearer {secret}")),
    "as a code": lambda m, secret: m.answer(400, reasons(secret)),
    "as of RFC 6749": lambda m, secret: m.answer(
        400, {"error": "invalid_client", "error_description": f"client_secret={secret}&grant_type=client_credentials"}
    ),
    "as a refusal under 200": lambda m, secret: m.answer(200, reasons(50000020, f"what is {secret}?")),
    "as a CRUD error": lambda m, secret: m.answer(400, {"Errors": [{"Code": "NO", "Message": secret}]}),
    "as a title": lambda m, secret: m.page(403, f"No entry with {secret}"),
    "as a title under 200": lambda m, secret: m.page(200, f"Signed in with {secret}"),
    "as a type": lambda m, secret: m.answer(500, b"?", Content_Type=f"text/{secret}"),
    "as a request's id": lambda m, secret: m.answer(400, {**reasons(50000020), "requestId": secret}),
    "as a header": lambda m, secret: m.answer(400, reasons(50000020), Zuora_Request_Id=secret),
}


@pytest.mark.parametrize("case", ECHOES)
async def test_our_own_token_sent_back_is_not_shown(case, marked, peer, with_secret, ears, quick):
    zuora = peer(ECHOES[case](marked, marked.fetched))
    async with ZuoraClient(with_secret(zuora.url), patience=IMPATIENT, rng=quick) as client:
        with pytest.raises(ZuoraJobsError) as caught:
            await client.job(HANDLE)
        async with JobWatcher(client, observers=[ears.hear]) as watcher:
            outcome = await watcher.watch(HANDLE, timeout=0.2)
    ears.hear(caught.value, outcome)
    assert zuora.was_told(f"Bearer {marked.fetched}")
    assert zuora.told(marked.fetched)
    ears.assert_no_secret()


@pytest.mark.parametrize("case", ECHOES)
async def test_our_own_secret_sent_back_is_not_shown(case, marked, peer, with_secret, ears, quick):
    zuora = peer(marked.answer(200, marked.bulk_pdf()), tokens=[ECHOES[case](marked, marked.client_secret)])
    async with ZuoraClient(with_secret(zuora.url), patience=IMPATIENT, rng=quick) as client:
        with pytest.raises(ZuoraJobsError) as caught:
            await client.job(HANDLE)
        async with JobWatcher(client, observers=[ears.hear]) as watcher:
            outcome = await watcher.watch(HANDLE, timeout=0.2)
    ears.hear(caught.value, outcome)
    assert zuora.was_told(marked.client_secret)
    assert zuora.told(marked.client_secret)
    ears.assert_no_secret()


@pytest.mark.parametrize("case", ["as a message", "as a reason", "as a refusal under 200"])
async def test_a_presigned_url_quoted_by_a_refusal_is_not_shown(case, marked, peer, with_token, ears):
    zuora = peer(ECHOES[case](marked, marked.url))
    async with ZuoraClient(with_token(zuora.url), patience=IMPATIENT) as client:
        with pytest.raises(ZuoraJobsError) as caught:
            await client.job(HANDLE)
    ears.hear(caught.value)
    assert zuora.told(marked.url)
    ears.assert_no_secret()


async def test_zuoras_own_words_are_shown(marked, peer, with_token, ears):
    zuora = peer(marked.answer(400, reasons(50000020, "The invoice INV00000042 is not draft")))
    async with ZuoraClient(with_token(zuora.url), patience=IMPATIENT) as client:
        with pytest.raises(Rejected, match="50000020: The invoice INV00000042 is not draft"):
            await client.job(HANDLE)
    ears.assert_no_secret()
