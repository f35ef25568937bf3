"""The tries of one submit: whether any of them is in doubt, and which Idempotency-Key the next one bears.

Source: https://developer.zuora.com/docs/guides/idempotent-requests
"""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from zuora_jobs.errors import ApiError
from zuora_jobs.protocol import submits
from zuora_jobs.transport.retry import was_not_carried_out

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from zuora_jobs.errors import ZuoraJobsError


class Tries:
    """The tries of one submit, and the Idempotency-Key that each of them bears.

    The key stays while any try is in doubt. Zuora keeps its answer for a key, a refusal as well; so after a refusal that
    leaves no doubt the next try takes another.

    Args:
        request: what is submitted.
        key: of an earlier try, or a new one; None: a new one is made.
        key_age: how many seconds ago that earlier try was; None: there was none.
        before: awaited before each try goes out, with the key that it bears.
        refused: told when it is certain that nothing came of all tries so far, before the next is waited for.
        on_retry: told each failure that is going to be tried again, and in how many seconds.
    """

    def __init__(
        self,
        request: object,
        key: str | None = None,
        *,
        key_age: float | None = None,
        before: Callable[[str | None], Awaitable[object]] | None = None,
        refused: Callable[[], object] | None = None,
        on_retry: Callable[[ZuoraJobsError, float], None] | None = None,
    ) -> None:
        self.request = request
        self._has_key = submits.submit_kind(request).has_idempotency_key
        self.in_doubt = key_age is not None and (key is not None or not self._has_key)
        """Whether a try may have been carried out of which nothing is known."""
        self._key = key if key is not None else str(uuid4())
        self._forgotten_at = get_running_loop().time() + submits.KEY_LASTS - (key_age or 0.0)
        self._is_spent = False
        self._before = before
        self._refused = refused
        self._on_retry = on_retry

    @property
    def key_sent(self) -> str | None:
        """The last try's key, where it bore one."""
        return self._key if self._has_key else None

    async def header(self) -> dict[str, str]:
        """Give the header with the next try's key, if it bears one, once all is ready for it to go out."""
        if self.in_doubt and get_running_loop().time() > self._forgotten_at:
            why = "Zuora has forgotten the key of the first try by now"
            raise submits.uncertain(why, self.request, None)
        if self._is_spent:
            self._key, self._is_spent = str(uuid4()), False
            self._forgotten_at = get_running_loop().time() + submits.KEY_LASTS
        if self._before is not None:
            await self._before(self.key_sent)
        return {submits.KEY_HEADER: self._key} if self._has_key else {}

    @contextmanager
    def on_the_way(self) -> Iterator[None]:
        """Send a try in this block: while it is on its way, and when it was cut off there, it is in doubt."""
        before, self.in_doubt = self.in_doubt, True
        try:
            yield
        except CancelledError:
            raise
        except BaseException:  # what it says of the try, `failed` knows
            self.in_doubt = before
            raise
        self.in_doubt = before

    def failed(self, error: ZuoraJobsError, delay: float) -> None:
        """Take note of a failure that is going to be tried again."""
        self.in_doubt = self.in_doubt or not was_not_carried_out(error)
        self._is_spent = self._has_key and not self.in_doubt and isinstance(error, ApiError) and error.sent
        if not self.in_doubt and self._refused is not None:
            self._refused()
        if self._on_retry is not None:
            self._on_retry(error, delay)
