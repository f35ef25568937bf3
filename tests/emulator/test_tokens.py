"""POST /oauth/token, and what becomes of its tokens."""

import asyncio
from typing import Any

import pytest


def credentials(zuora: Any, **changes: Any) -> Any:
    form = {
        "client_id": zuora.tokens.client_id,
        "client_secret": zuora.tokens.client_secret,
        "grant_type": "client_credentials",
    }
    return {name: value for name, value in {**form, **changes}.items() if value is not None}


async def test_credentials_buy_a_token(calling: Any) -> None:
    async with calling() as caller:
        async with caller.session.post("/oauth/token", data=credentials(caller.zuora)) as response:
            token = await response.json()
        assert response.status == 200
        assert set(token) == {"access_token", "token_type", "expires_in", "scope", "jti"}
        assert (token["token_type"], token["expires_in"]) == ("bearer", 3600)
        assert response.headers["RateLimit-Limit"].startswith("100, 100;w=60")
        assert "Concurrency-Limit-Limit" not in response.headers
        job = caller.zuora.add_job("operation")
        good = await caller.get(
            f"/v1/operations/jobs/{job.id}", headers={"Authorization": f"bearer {token['access_token']}"}
        )
        assert good.status == 200
        assert caller.zuora.token_requests == 1


@pytest.mark.parametrize(
    ("changes", "status", "keys"),
    [
        ({"client_id": "who"}, 401, {"message"}),
        ({"client_secret": "psst"}, 401, {"message"}),
        ({"client_secret": None}, 400, {"code", "message"}),
        ({"grant_type": None}, 400, {"code", "message"}),
        ({"grant_type": "password"}, 400, {"code", "message"}),
    ],
)
async def test_bad_credentials_do_not(changes: Any, status: Any, keys: Any, calling: Any) -> None:
    async with calling() as caller:
        async with caller.session.post("/oauth/token", data=credentials(caller.zuora, **changes)) as response:
            assert response.status == status
            assert set(await response.json()) == keys
        async with caller.session.post("/oauth/token", json=credentials(caller.zuora)) as response:
            assert response.status == 400
        async with caller.session.get("/oauth/token") as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")


@pytest.mark.looptime
async def test_a_token_dies_of_age_to_the_second(calling: Any, looptime: Any) -> None:
    async with calling(token_lifetime=60) as caller:
        old = {"Authorization": f"Bearer {caller.zuora.issue_token()}"}
        job = caller.zuora.add_job("operation", seconds=1000)
        await asyncio.sleep(59.9)
        assert (await caller.get(f"/v1/operations/jobs/{job.id}", headers=old)).status == 200
        await asyncio.sleep(0.1)
        refused = await caller.get(f"/v1/operations/jobs/{job.id}", headers=old)
        assert refused.status == 401
        assert await refused.json() == {"message": "Authentication error"}
        assert "Bearer" in refused.headers["WWW-Authenticate"]
    assert looptime == 60


async def test_tokens_can_be_revoked(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("operation")
        caller.zuora.revoke_tokens()
        assert (await caller.get(f"/v1/operations/jobs/{job.id}")).status == 401
        assert job.polls == 0
        caller.authorization = {"Authorization": f"Bearer {caller.zuora.issue_token()}"}
        assert (await caller.get(f"/v1/operations/jobs/{job.id}")).status == 200


@pytest.mark.parametrize("header", [{}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer "}])
async def test_nothing_else_opens_the_door(header: Any, calling: Any) -> None:
    async with calling() as caller:
        caller.authorization = header
        for path in ("/v1/operations/jobs/1", "/v1/batch-query/jobs/1", "/v1/object/invoice/1", "/v1/files/1"):
            assert (await caller.get(path)).status == 401


async def test_token_requests_have_limits_of_their_own(calling: Any) -> None:
    async with calling(rate_limits=[(1, 60)]) as caller:
        statuses = []
        for _ in range(101):
            async with caller.session.post("/oauth/token", data=credentials(caller.zuora)) as response:
                statuses.append(response.status)
        assert statuses == [200] * 100 + [429]


async def test_secrets_stay_out_of_sight(calling: Any) -> None:
    async with calling(client_secret="hush-hush") as caller:
        token = caller.zuora.issue_token()
        await caller.get("/v1/files/1", headers={"Authorization": f"Bearer {token}"})
        async with caller.session.post("/oauth/token", data=credentials(caller.zuora)) as response:
            issued = (await response.json())["access_token"]
        zuora = caller.zuora
        seen = repr([zuora, zuora.options, zuora.requests, zuora.statistics(), zuora.tokens])
        assert all(secret not in seen for secret in (token, issued, "hush-hush"))
        assert "Authorization" not in zuora.requests[0].headers
        assert [record.authorized for record in zuora.requests] == [True, False]
        assert zuora.environment()["ZUORA_CLIENT_SECRET"] == "hush-hush"
