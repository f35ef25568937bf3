"""Every exception of the package, split by who is to blame.

    ZuoraJobsError
      ConfigurationError            the caller: wrong settings or arguments; raised before any request
        InvalidHandle               a job's handle that is not kind:id
        CancellationNotSupported    a kind of job that Zuora offers no way to cancel
      WatcherClosed                 the caller: used outside, or left behind by, its `async with`
      TransportError                nobody answered
        ConnectionFailed            refused, reset, cut; `.sent` tells whether the request may have arrived
        ResponseTimeout             no answer in time
      ApiError                      Zuora answered no: .status .code .reasons .request_id .retry_after
        Unauthorized                the token, or the credentials, were not accepted
          TokenRefused              though they were before: Zuora has still to say so for a while to be believed
        Forbidden                   this user may not
        NotFound                    no such job, invoice or file
        RateLimited                 too many requests, by rate or at once
        ServerError                 Zuora could not do it now: 5xx, a lock, an internal or temporary error
        Rejected                    any other refusal
      MalformedResponse             Zuora's answer makes no sense: .problems
      SubmitUncertain               whether Zuora has begun a job is not known: .request .idempotency_key .find_out
      NotProved                     a job ended well, and what it should have done is not to be seen: .outcome
      DownloadError                 a result file could not be had whole: .handle .path
        FileGone                    Zuora does not keep it any more, or its URL has expired for good
        WrongContent                it is whole, but not what it should be: damaged, or with other records than Zuora counted
        CannotSave                  the disk: no room, or a file that may not be written
      JournalError                  the disk: the journal cannot be read or written
        JournalInUse                another process writes to it
        NewerJournal                a later version of this package wrote it
        CorruptJournal              it is damaged, or no journal at all
      UnknownStatus                 a status that the job's kind does not list, for too long
      WatchTimedOut                 the caller's own timeout; the job was left alone
      JobError                      raised by Outcome.unwrap() only: .outcome
        JobFailed JobCancelled JobLost

An error that the caller could have avoided is a ConfigurationError; the rest happens to the best of programs.
Which of them deserve another try is not written here but in one table, `transport/retry.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@frozen
class Reason:
    """Why Zuora refused a call, or why a job failed."""

    code: str | None = None
    """Zuora's code as text, whether it was sent as 50000040, "50000040" or "ObjectNotFound"."""
    message: str | None = None

    @property
    def category(self) -> int | None:
        """The last two digits of an eight-digit code, or the whole of a two-digit one; None for any other.

        AQuA's five-digit codes (900xx) have no categories.
        https://developer.zuora.com/docs/guides/error-codes
        """
        if self.code is not None and self.code.isascii() and self.code.isdigit() and len(self.code) in {2, 8}:
            return int(self.code[-2:])
        return None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.message) if part) or "no reason given"


class ZuoraJobsError(Exception):
    """Whatever this package raises. Can be pickled, so that it may cross to another process."""

    sent = True
    """False when the request cannot have reached Zuora: then anything may be sent again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[ZuoraJobsError], args: tuple[Any, ...], state: dict[str, Any]) -> ZuoraJobsError:
    error = kind.__new__(kind, *args)
    error.args = args  # which an OSError takes from its __init__ only
    error.__dict__.update(state)
    return error


class ConfigurationError(ZuoraJobsError, ValueError):
    """Settings or arguments that cannot work; raised before any request was made."""


class InvalidHandle(ConfigurationError):
    """Text that is not the handle of a job, such as `aqua:e20b07474688ad5001468daf10e501de`."""


class CancellationNotSupported(ConfigurationError):
    """Zuora offers no way to cancel this kind of job. No request was made."""


class WatcherClosed(ZuoraJobsError, RuntimeError):
    """The watcher or client is not, or no longer, inside its `async with`."""


class TransportError(ZuoraJobsError):
    """Nobody answered. Says nothing about the job."""


class ConnectionFailed(TransportError, ConnectionError):
    """The connection was refused, reset, or cut before the whole answer was read."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class ResponseTimeout(TransportError, TimeoutError):
    """No whole answer came in time. The request may have been carried out."""


class ApiError(ZuoraJobsError):
    """Zuora answered, and the answer is no.

    Args:
        message: one line that says what was asked and what was answered.
        status: the HTTP status, which may be 200: Zuora says no in the body as well.
        reasons: Zuora's own reasons, perhaps none.
        request_id: what to quote to Zuora's support.
        retry_after: seconds that the server asked to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reasons: Sequence[Reason] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reasons = tuple(reasons)
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def code(self) -> str | None:
        """The first reason's code."""
        return next((reason.code for reason in self.reasons if reason.code), None)

    @property
    def categories(self) -> frozenset[int]:
        """The categories of all reasons; see `Reason.category`."""
        return frozenset(reason.category for reason in self.reasons if reason.category is not None)


class Unauthorized(ApiError):
    """The token or the credentials were not accepted."""


class TokenRefused(Unauthorized):
    """A new token, or the credentials, were not accepted, though this client's have been before.

    You do not get this for the first refusal of a token, which only means that it has ended.
    """


class Forbidden(ApiError):
    """The user that the token stands for may not do this."""


class NotFound(ApiError):
    """There is no such job, invoice or file, or it is not visible to this user."""


class RateLimited(ApiError):
    """Too many requests: over the tenant's rate, or too many at once."""


class ServerError(ApiError):
    """Zuora could not do it now: a 5xx, a lock, an internal or a temporary error."""


class Rejected(ApiError):
    """Zuora refuses this request, and would refuse it again."""


class MalformedResponse(ZuoraJobsError):
    """Zuora's answer makes no sense: no JSON, or a document without what it must have.

    You do not get this for a field that Zuora has added, nor for a status it has invented.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        """What is wrong and where, such as `required field missing @ $.status`."""


class SubmitUncertain(ZuoraJobsError):
    """Zuora may have begun a job, or may not: the request was sent, and no answer that can be understood came back.

    It is not sent again, since that could do twice what should be done once. `__cause__` says what came instead.
    """

    def __init__(
        self,
        message: str,
        *,
        request: Any,
        find_out: str,
        idempotency_key: str | None = None,
        from_journal: bool = False,
        doubt: str | None = None,
    ) -> None:
        super().__init__(message)
        self.doubt = doubt or message
        """The message without how to submit it anew, for who has a way of his own."""
        self.request = request
        """What was submitted."""
        self.find_out = find_out
        """How to find out whether it was carried out."""
        self.idempotency_key = idempotency_key
        """For 24 hours the same request with this key does nothing twice; None: Zuora offers no such key for it."""
        self.from_journal = from_journal
        """Whether it was sent in an earlier run, and not in this one."""


class NotProved(ZuoraJobsError):
    """A job says that it succeeded, and the business object it was about says otherwise."""

    def __init__(self, message: str, *, outcome: Any) -> None:
        super().__init__(message)
        self.outcome = outcome
        """Of the job; None where there was none."""


class DownloadError(ZuoraJobsError):
    """A result file could not be had whole. What is there of it stays in its part file, and the next try goes on from it."""

    def __init__(self, message: str, *, handle: Any = None, path: Path | None = None) -> None:
        super().__init__(message)
        self.handle = handle
        """Of the job whose file it is."""
        self.path = path
        """Where it was to be, or, of a `WrongContent`, where it is kept for you to look at."""


class FileGone(DownloadError):
    """Zuora does not keep the file any more (three days, as a rule), or gives no URL that works: submit the job again."""


class WrongContent(DownloadError):
    """The file came whole, but is not what it should be: damaged, or with another number of records than Zuora counted."""


class CannotSave(DownloadError):
    """The disk says no: no room for the file, or it may not be written there."""


class JournalError(ZuoraJobsError):
    """The journal cannot be written or read. What is in it stays, and what was not told is in it or will be asked again."""

    sent = False


class JournalInUse(JournalError):
    """Another process, or another watcher of this one, writes to the journal."""


class NewerJournal(JournalError):
    """A later version of this package wrote the journal."""

    def __init__(self, message: str, *, version: int) -> None:
        super().__init__(message)
        self.version = version
        """Of the journal."""


class CorruptJournal(JournalError):
    """The file is damaged, or is no journal at all. It has not been touched."""


class UnknownStatus(ZuoraJobsError):
    """The job has had a status its kind does not list for longer than was allowed."""

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class WatchTimedOut(ZuoraJobsError, TimeoutError):
    """The watch's own timeout passed. The job was left alone and may well end yet."""


class JobError(ZuoraJobsError):
    """The job did not succeed, as far as we know. `.outcome` has all that is known."""

    def __init__(self, message: str, *, outcome: Any) -> None:
        super().__init__(message)
        self.outcome = outcome


class JobFailed(JobError):
    """The job ended, and failed."""


class JobCancelled(JobError):
    """The job ended because somebody cancelled it."""


class JobLost(JobError):
    """We stopped knowing about the job; it may have ended well, badly, or not at all. `__cause__` says why."""
