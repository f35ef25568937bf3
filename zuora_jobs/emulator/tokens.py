"""The token office: client credentials in, a bearer token for an hour out.

Source: https://developer.zuora.com/v1-api-reference/api/operation/createToken/

- The body is a form; 400 is `{code, message}` and 401 `{message}`, as the vendor's generated client types them (the
  page itself shows no error body).
- A token dies by age, or all at once by `revoke()`. Neither a token nor the secret ever appears in a `repr`.
"""

from __future__ import annotations

import hmac
import math
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from zuora_jobs.emulator.replies import BAD_REQUEST, Reply, refused_flatly, unauthorized

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

FAKE_CLIENT_ID = "fa4e0000-0000-4000-8000-00000000fa4e"
FAKE_CLIENT_SECRET = "not-a-secret=emulator-only"  # noqa: S105 - says so itself
SCOPE = "user.0a1b2c3d entity.11e643f4-a3ee-8bad-b061-0025904c57d6 platform.write service.genesis.read"
FORM = "application/x-www-form-urlencoded"
CODE_MISSING = 50000022
CODE_VALUE = 50000020


class TokenOffice:
    """Issues bearer tokens and knows which are still good."""

    def __init__(self, client_id: str, client_secret: str, lifetime: float, rng: random.Random) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.lifetime = lifetime
        self.asked = 0
        """Requests for a token so far, refused ones included."""
        self._rng = rng
        self._expiry: dict[str, float] = {}

    def issue(self, now: float, lifetime: float | None = None) -> str:
        """A fresh token, good for *lifetime* seconds from *now*."""
        token = f"{self._rng.getrandbits(128):032x}"
        self._expiry[token] = now + (self.lifetime if lifetime is None else lifetime)
        return token

    def revoke(self) -> None:
        """Refuse every token issued so far."""
        self._expiry.clear()

    def accepts(self, authorization: str, now: float) -> bool:
        """Whether the header's value is a bearer token that is still good."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and now < self._expiry.get(token.strip(), -math.inf)

    def answer(self, headers: Mapping[str, str], body: bytes, now: float) -> Reply:
        """Answer a request for a token.

        Wire: POST /oauth/token, a form -> {"access_token", "token_type", "expires_in", "scope", "jti"}
        """
        self.asked += 1
        if headers.get("Content-Type", "").partition(";")[0].strip().lower() != FORM:
            return refused_flatly(BAD_REQUEST, CODE_VALUE, f"The request body must be {FORM}")
        form = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        for name in ("client_id", "client_secret", "grant_type"):
            if name not in form:
                return refused_flatly(BAD_REQUEST, CODE_MISSING, f"Missing required field: {name}")
        if form["grant_type"] != "client_credentials":
            return refused_flatly(BAD_REQUEST, CODE_VALUE, "Only the grant type client_credentials is supported")
        if not _same(form["client_id"], self.client_id):
            return unauthorized("Invalid client id")
        if not _same(form["client_secret"], self.client_secret):
            return unauthorized("Invalid client secret")
        document = {
            "access_token": self.issue(now),
            "token_type": "bearer",
            "expires_in": math.floor(self.lifetime),
            "scope": SCOPE,
            "jti": f"{self._rng.getrandbits(128):032x}",
        }
        return Reply(body=document)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
