import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zuora_jobs.emulator import Step
from zuora_jobs.emulator.lives import Life
from zuora_jobs.errors import ConfigurationError

THREE = (Step("submitted", 1), Step("executing", 2), Step("completed"))


def test_a_step_lasts_its_seconds_and_shares_its_last_moment_with_the_next() -> None:
    life = Life(THREE, begins_at=10)
    assert [life.at(now).status for now in (10, 10.9, 11, 12.9, 13, 10**9)] == [
        "submitted", "submitted", "executing", "executing", "completed", "completed",
    ]  # fmt: skip
    assert [moment for moment, _ in life.lived(99)] == [10, 11, 13]


def test_a_step_is_shown_exactly_as_often_as_it_says() -> None:
    life = Life([Step("Pending", polls=2), Step("Processing", polls=1), Step("Completed")], 0)
    assert [life.show(now).status for now in range(5)] == ["Pending", "Pending", "Processing", "Completed", "Completed"]


def test_after_a_counted_step_the_next_begins_when_the_last_showing_was() -> None:
    life = Life([Step("a", polls=1), Step("b", 5), Step("c")], 0)
    assert life.show(7).status == "a"
    assert (life.at(7).status, life.at(11.9).status, life.at(12).status) == ("b", "b", "c")


def test_sums_of_floats_do_not_stretch_a_step() -> None:
    life = Life([Step("a", 0.1), Step("b", 0.2), Step("c")], 0)
    assert life.at(0.3).status == "c"


def test_a_step_of_no_length_is_never_seen() -> None:
    assert Life([Step("a", 0), Step("b")], 0).at(0).status == "b"


def test_progress_runs_from_nought_to_one() -> None:
    life = Life(THREE, 0)
    assert [life.progress(now) for now in (0, 0.5, 1, 2, 2.5, 3, 9)] == [0, 0.5, 0, 0.5, 0.75, 0, 0]


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Step("a", 1, 2), "not both"),
        (lambda: Step("a", -1), "not -1"),
        (lambda: Step("a", float("nan")), "not nan"),
        (lambda: Step("a", polls=0), "at least once"),
        (lambda: Life([], 0), "at least one"),
        (lambda: Life([Step("a"), Step("b")], 0), "last for ever"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_is_refused(make: Any, complaint: Any) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make()


lengths = st.lists(st.floats(0, 100), max_size=6)
moments = st.lists(st.floats(0, 1000), max_size=20).map(sorted)


@given(lengths, moments)
def test_looking_often_changes_nothing(seconds: Any, looks: Any) -> None:
    steps = [*(Step(str(number), length) for number, length in enumerate(seconds)), Step("end")]
    often, once = Life(steps, 0), Life(steps, 0)
    for now in looks:
        often.at(now)
    assert often.at(10_000) == once.at(10_000) == steps[-1]
    assert often.lived(10_000) == once.lived(10_000)


@given(st.lists(st.integers(1, 5), max_size=5))
def test_counted_lives_are_exact(polls: Any) -> None:
    steps = [*(Step(str(number), polls=count) for number, count in enumerate(polls)), Step("end")]
    life = Life(steps, 0)
    expected = [str(number) for number, count in enumerate(polls) for _ in range(count)]
    assert [life.show(0).status for _ in expected] == expected
    assert life.at(0).status == "end"


@pytest.mark.looptime
async def test_a_job_lives_in_loop_time(calling: Any, looptime: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("aqua", life=THREE)
        seen = []
        for _ in range(7):
            seen.append((await caller.poll(job))["status"])
            await asyncio.sleep(0.5)
        assert seen == ["submitted"] * 2 + ["executing"] * 4 + ["completed"]
        assert (job.polls, job.status, job.ended, job.ended_at) == (7, "completed", True, 3)
        assert [record.at for record in caller.zuora.requests] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert looptime == 3.5


@pytest.mark.looptime
async def test_any_text_is_a_status_and_fields_stay(calling: Any) -> None:
    async with calling() as caller:
        steps = [Step("Meditating", polls=1, fields={"mood": "calm"}), Step("Completed", fields={"objectId": "x"})]
        job = caller.zuora.add_job("operation", life=steps, fields={"objectType": "DebitMemo"})
        first, second = await caller.poll(job), await caller.poll(job)
        assert (first["status"], first["mood"], first["objectType"]) == ("Meditating", "calm", "DebitMemo")
        assert (second["status"], second["mood"], second["objectId"]) == ("Completed", "calm", "x")


@pytest.mark.looptime
async def test_a_job_can_be_driven_by_hand(calling: Any) -> None:
    async with calling() as caller:
        job = caller.zuora.add_job("operation", life=[Step("Pending")])
        assert job.ended_at is None
        await asyncio.sleep(4)
        job.become("Completed", objectType="CreditMemo")
        assert (await caller.poll(job))["objectType"] == "CreditMemo"
        assert job.ended_at == 4
        assert "Completed" in repr(job)
