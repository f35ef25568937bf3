"""kill -9, for real, in the middle of many submits: each is carried out once or told as uncertain, and none is lost."""

import signal
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from zuora_jobs import emulator
from zuora_jobs.emulator import Fault, LoseReply

KILLED = "killed_submits.py"
KILLS = 16
EACH = 12
"""Requests of each kind."""

POSTS = ("aqua", "bulk-pdf")
NAMES = (*POSTS, "invoice-delete", "invoice-reverse", "credit-memo-apply")

Asked = tuple[str, str]
"""The name of a submit, and the key of what it is about."""


@pytest.fixture
async def zuora() -> AsyncIterator[emulator.Emulator]:
    """A tenant whose answers take a little, so that there is something to be killed in between; its jobs never end."""
    async with emulator.running(
        rate_limits=(), concurrency_limit=None, aqua_jobs_at_once=None, latency=0.003
    ) as running:
        running.add_invoice(InvoiceNumber="INV00000001", Balance=Decimal(10**9))
        for name in NAMES:
            running.on_submit(name, seconds=10**9)
        yield running


class Voyage:
    """The same requests and one journal, killed and begun again until a run has told of every one."""

    def __init__(self, zuora: emulator.Emulator, folder: Path) -> None:
        self.zuora = zuora
        self.folder = folder
        self.token = zuora.issue_token(10**6)
        self.requests: list[Asked] = []
        for number in range(EACH):
            self.requests += [
                ("aqua", f"{folder.name}-{number}"),
                ("bulk-pdf", zuora.add_invoice()),
                ("invoice-delete", zuora.add_invoice()),
                ("invoice-reverse", zuora.add_invoice()),
                ("credit-memo-apply", zuora.add_credit_memo(amount=Decimal(1000))),
            ]
        self.runs = 0

    def order(self, after: float | None, again: list[Asked]) -> dict[str, Any]:
        self.runs += 1
        return {
            "journal": str(self.folder / "run.db"),
            "told": str(self.told_path),
            "requests": self.requests,
            "again": again,
            "at_once": 20,
            "url": self.zuora.url,
            "token": self.token,
            "after": after,
        }

    @property
    def told_path(self) -> Path:
        return self.folder / f"told-{self.runs}"

    def told(self) -> dict[Asked, str | None]:
        """What the last run told: the handle of each, None where it was uncertain."""
        lines = self.told_path.read_text().splitlines() if self.told_path.exists() else []
        told: dict[Asked, str | None] = {}
        for line in lines:
            _, name, key, *handle = line.split()
            assert (name, key) not in told, "told twice in one run"
            told[name, key] = handle[0] if handle else None
        return told

    def carried_out(self) -> dict[Asked, list[str]]:
        """What the tenant has done of each: the handles of its jobs."""
        mine = set(self.requests)
        done: dict[Asked, list[str]] = {asked: [] for asked in self.requests}
        for one in self.zuora.submitted:
            key = one.key or (one.body["name"] if one.name == "aqua" else one.body["documents"][0]["objectIds"][0])
            if (one.name, key) in mine:
                done[one.name, key].append(one.handle)
        return done

    def check(self) -> Counter[str]:
        """See that what the last run told is true, and nothing was done twice."""
        done, told = self.carried_out(), self.told()
        seen: Counter[str] = Counter()
        for asked, handle in told.items():
            if handle is not None:
                assert done[asked] == [handle], "told as begun, and it was not just that"
                seen["begun"] += 1
            else:
                assert asked[0] not in POSTS, "a POST was given up, though it has a key"
                seen["uncertain, and done" if done[asked] else "uncertain, and not done"] += 1
        assert max(map(len, done.values())) <= 1, "carried out twice"
        return seen


async def until_all_are_told(voyage: Voyage, killed: Any, rng: Random, kills: int) -> tuple[int, Counter[str]]:
    """Kill and begin again; in the end let it run, and look at what was told of every request."""
    struck, seen = 0, Counter[str]()
    for _ in range(kills):
        status = await killed(voyage.order(rng.choice([rng.uniform(0.005, 0.05), rng.uniform(0.02, 0.25)]), []))
        assert status in {0, -signal.SIGKILL}
        struck += status == -signal.SIGKILL
        voyage.check()
    assert await killed(voyage.order(None, [])) == 0
    seen += voyage.check()
    assert voyage.told().keys() == set(voyage.requests), "a request was lost"
    return struck, seen


async def test_however_often_it_is_killed_nothing_is_begun_twice_and_nothing_is_lost(zuora, killed, tmp_path):
    rng = Random(20261124)
    struck, voyages, seen = 0, 0, Counter[str]()
    while struck < KILLS or not seen["uncertain, and done"]:  # the latter is what all this is about
        voyages += 1
        assert voyages < 40, seen
        folder = tmp_path / f"v{voyages}"
        folder.mkdir()
        voyage = Voyage(zuora, folder)
        more, told = await until_all_are_told(voyage, killed, rng, rng.randint(2, 6))
        struck += more
        seen += told
        # whoever finds out that what is uncertain was not done submits that anew; then all is done, once
        not_done = [asked for asked, handles in voyage.carried_out().items() if not handles]
        assert await killed(voyage.order(None, not_done)) == 0
        voyage.check()
        assert {len(handles) for handles in voyage.carried_out().values()} == {1}
    assert seen["begun"] > 10 * EACH, seen


async def test_killed_while_answers_are_lost_as_well_nothing_is_begun_twice(zuora, killed, tmp_path):
    rng = Random(7)
    zuora.fault(Fault(LoseReply(), path="^/v1/", probability=0.05))
    struck = 0
    for number in range(2):
        folder = tmp_path / f"lost-{number}"
        folder.mkdir()
        more, _ = await until_all_are_told(Voyage(zuora, folder), killed, rng, 3)
        struck += more
    assert struck >= 2
