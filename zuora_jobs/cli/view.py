"""What a person sees: live bars on a terminal, a quiet line now and then elsewhere, and a table at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from zuora_jobs.cli.eta import in_words
from zuora_jobs.cli.exits import ReaderGone
from zuora_jobs.cli.transfers import Transfers
from zuora_jobs.protocol.messages import one_line
from zuora_jobs.report.text import STYLES
from zuora_jobs.watching import events
from zuora_jobs.watching.outcome import Failed, Lost, Outcome, Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from zuora_jobs.cli.eta import Eta
    from zuora_jobs.downloads import Progress as FileProgress
    from zuora_jobs.protocol.kinds import JobHandle
    from zuora_jobs.watching.watch import Statistics

QUIET_INTERVAL: Final = 10.0
"""Seconds between two progress lines where nobody watches live."""

NARROW, ROOMY = 100, 160
"""Columns from which there is room for figures, and for remarks, beside a handle of 50."""

WIDE: Final = 10_000
"""Columns for output that is not a terminal: nothing is wrapped or cut."""


class View(Protocol):
    """Shows how a run goes, while it goes."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""

    def __call__(self, event: events.Event) -> None:
        """Show *event*."""

    def moved(self, progress: FileProgress) -> None:
        """Show how far a file has come."""

    @property
    def transfers(self) -> Transfers:
        """The files that are being fetched."""


def view_of(
    handles: Iterable[JobHandle[Any]],
    console: Console,
    statistics: Callable[[], Statistics],
    eta: Eta | None = None,
) -> View:
    """Choose the view that suits *console*; where there is an *eta*, it tells how long the rest will take."""
    return (LiveView if console.is_terminal else QuietView)(handles, console, statistics, eta)


class _Tally:
    """What both views count."""

    def __init__(
        self,
        handles: Iterable[JobHandle[Any]],
        console: Console,
        statistics: Callable[[], Statistics],
        eta: Eta | None = None,
    ) -> None:
        self.console = console
        self.statistics = statistics
        self._eta = eta
        self._left = ""
        self._estimate_at = 0.0
        self.transfers = Transfers(console)
        self.totals = Counter(handle.kind.name for handle in handles)
        self.ended: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.notice = ""
        self._status_of: dict[JobHandle[Any], str] = {}
        self._statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def take(self, event: events.Event) -> None:
        """Count *event*."""
        match event:
            case events.JobSubmitted():
                self.totals[event.handle.kind.name] += 1
            case events.Observed():
                self._count(event.handle, one_line(event.status, 24))
            case events.Finished():
                self._count(event.handle, None)
                self.ended[event.handle.kind.name] += 1
                self.outcomes[word(event.outcome)] += 1
                if self._eta is not None:
                    self._eta.ended(event.outcome, known_before=event.from_journal)
            case events.Stalled():
                self.notice = f"{event.handle} has been {one_line(event.status, 24)} for {in_words(event.seconds)}"
            case events.Throttled():
                self.notice = f"throttled: the server asks to wait {event.seconds:.0f} s"
            case events.LostContact():
                self.notice = f"no answer for {event.seconds:.0f} s, watching on: {event.error}"
            case events.Recovered():
                self.notice = f"answered again after {event.seconds:.0f} s"

    def left(self) -> str:
        """How long the rest will take, where that is known; estimated anew each second."""
        now = time.perf_counter()
        if self._eta is not None and now - self._estimate_at >= 1:
            self._estimate_at = now
            seconds, late = self._eta.left(now), self._eta.overdue(now)
            but = f", but for {late} that took longer than any before" if late else ""
            self._left = f" · about {in_words(seconds)} left{but}" if seconds else ""
        return self._left

    def statuses(self, kind: str) -> str:
        """How many open jobs of *kind* have which status."""
        counts = self._statuses[kind].copy()  # the live view asks from a thread of its own
        return " · ".join(f"{status} {count}" for status, count in counts.most_common(3) if count)

    def _count(self, handle: JobHandle[Any], status: str | None) -> None:
        counts, before = self._statuses[handle.kind.name], self._status_of.pop(handle, None)
        if before is not None:
            counts[before] -= 1
        if status is not None:
            self._status_of[handle] = status
            counts[status] += 1

    def ends(self) -> str:
        """How many jobs have ended how."""
        return ", ".join(f"{count} {name}" for name in STYLES if (count := self.outcomes[name])) or "none ended yet"


class LiveView(_Tally):
    """A bar a kind, redrawn in place."""

    def __init__(
        self,
        handles: Iterable[JobHandle[Any]],
        console: Console,
        statistics: Callable[[], Statistics],
        eta: Eta | None = None,
    ) -> None:
        super().__init__(handles, console, statistics, eta)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),  # which goes by the speed so far
            TextColumn("[dim]{task.fields[statuses]}"),
            console=console,
            auto_refresh=False,
        )
        self._bars: dict[str, TaskID] = {}
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # else the results would go to stderr, where the view is drawn
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: events.Event) -> None:
        """Show *event*."""
        self.take(event)

    def moved(self, progress: FileProgress) -> None:
        """Show how far a file has come."""
        self.transfers.take(progress)

    def _draw(self) -> Group:
        for kind, total in self.totals.copy().items():  # it may grow meanwhile
            if kind not in self._bars:
                self._bars[kind] = self._progress.add_task(kind, statuses="")
            statuses = escape(self.statuses(kind))
            self._progress.update(self._bars[kind], total=total, completed=self.ended[kind], statuses=statuses)
        spent = self.statistics()
        fetched = f" · {self.transfers.told()}" if self.transfers else ""
        told = f"{self.ends()} · {spent.requests} requests, {spent.looking} under way{fetched}{self.left()}"
        foot = Text(told, style="dim")
        parts = [self._progress.get_renderable(), *self.transfers.bars(), foot]
        if self.notice:
            parts.append(Text(self.notice, style="yellow"))
        return Group(*parts)


class QuietView(_Tally):
    """A line every now and then, and one for what a person should know."""

    def __enter__(self) -> Self:
        self._last = time.perf_counter()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: events.Event) -> None:
        """Show *event*."""
        self.take(event)
        if self.notice:
            self._say(self.notice)
            self.notice = ""
        else:
            self._say_how_far()

    def moved(self, progress: FileProgress) -> None:
        """Show how far a file has come."""
        self.transfers.take(progress)
        self._say_how_far()

    def _say_how_far(self) -> None:
        if time.perf_counter() - self._last >= QUIET_INTERVAL:
            self._last = time.perf_counter()
            spent = self.statistics()
            fetched = f", {self.transfers.told()}" if self.transfers else ""
            self._say(
                f"{self.ended.total()} of {self.totals.total()} ended ({self.ends()}),"
                f" {spent.requests} requests{fetched}{self.left()}"
            )

    def _say(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)


def result_console(width: int | None = None) -> Console:
    """Give the console for results: the terminal as it is; where stdout is none, lines of any length."""
    console = _ResultConsole(highlight=False, width=width)
    return console if console.is_terminal or width else _ResultConsole(highlight=False, width=WIDE)


class _ResultConsole(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command how it ends."""
        raise ReaderGone


def print_outcomes(outcomes: Iterable[Outcome[Any]], console: Console | None = None) -> None:
    """Print how each job ended: where there is room a line a job, else what there is to remark on lines beneath it."""
    console = console or result_console()
    roomy = console.width >= ROOMY
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("job", overflow="fold")
    table.add_column("outcome")
    table.add_column("status")
    if console.width >= NARROW:
        table.add_column("polls", justify="right")
        table.add_column("seconds", justify="right")
    if roomy:
        table.add_column("why, and what it left", overflow="fold")
    for outcome in outcomes:
        remark = Text(_remark(outcome), style="" if roomy else "dim")
        job = Text(str(outcome.handle))
        cells = [
            Group(job, Padding(remark, (0, 0, 0, 2))) if remark and not roomy else job,
            Text(word(outcome), style=STYLES[outcome.name]),
            Text(one_line(outcome.status or "-", 40)),
            Text(str(outcome.polls)),
            Text(f"{outcome.elapsed:.1f}"),
            remark,
        ]
        table.add_row(*cells[: len(table.columns)])
    console.print(table)


def _remark(outcome: Outcome[Any]) -> str:
    said = []
    if isinstance(outcome, Failed):
        said.append(one_line("; ".join(map(str, outcome.reasons))) or "Zuora gives no reason")
    if isinstance(outcome, Lost):
        said.append(f"{type(outcome.error).__name__}: {one_line(str(outcome.error))}")
    if outcome.files:
        said.append(plural(len(outcome.files), "file"))
    return "; ".join(said)


def word(outcome: Outcome[Any]) -> str:
    """Say in a word how a job ended; a success that left something out is one of its own."""
    return "partly" if isinstance(outcome, Succeeded) and outcome.partial else outcome.name


def summary(outcomes: Iterable[Outcome[Any]], statistics: Statistics) -> str:
    """Say how a run went, in a line."""
    counts = Counter(map(word, outcomes))
    ends = ", ".join(f"{counts[name]} {name}" for name in STYLES if counts[name])
    waited = f", {statistics.held_seconds:.0f} s throttled" if statistics.held_seconds else ""
    return (
        f"{plural(counts.total(), 'job')}: {ends}; {plural(statistics.polls, 'poll')},"
        f" {plural(statistics.requests, 'request')}{waited}"
    )


def plural(number: int, noun: str) -> str:
    """Count: 1 job, 2 jobs."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
