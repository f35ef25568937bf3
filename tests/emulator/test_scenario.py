import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from zuora_jobs import emulator
from zuora_jobs.errors import ConfigurationError

TOML = """
[limits]
rate = [[100, 60], [5000, 3600.0]]
concurrency = 20

[[jobs]]
kind = "aqua"
id = "e20b07474688ad5001468daf10e501de"
life = [{ status = "submitted", seconds = 1.5 }, { status = "executing", polls = 3 }, { status = "completed" }]
cancel_takes = 2
fields = { name = "June10" }

[[jobs]]
kind = "bulk-pdf"
count = 3
ends = "PartialComplete"
seconds = 60

[[invoices]]
Id = "2c92c8955bd63cc1015bd7c151af02ab"
Amount = 0.10

[[documents]]
kind = "operation"
document = { id = "1", status = "Completed", success = true }

[[credit_memos]]
id = "m-1"
amount = 12.50
appliedAmount = 0.10

[[submits]]
name = "aqua"
at_once = true
fields = { batches = [{ recordCount = 3 }] }

[[submits]]
name = "aqua"
life = [{ status = "submitted", seconds = 1.5 }, { status = "aborted" }]
times = 1

[[faults]]
effect = { kind = "cut-after", bytes = 5 }
path = "/v1/files"

[[faults]]
effect = "lose-reply"
path = "/v1/nowhere"

[[faults]]
effect = "unavailable"
path = "/v1/operations"
times = 1

[[faults]]
effect = { kind = "delay", seconds = 2.5 }
probability = 0.5
lasts = 60

[[faults]]
effect = { kind = "trickle", seconds = 0.5 }
path = "/v1/object"

[[faults]]
effect = { kind = "patch", remove = ["status"], raw = '"status": "Pending", "status": "Failed"' }
path = "/v1/object"

[[faults]]
effect = { kind = "answer", status = 200, body = { ok = true }, bare = true }
path = "/v1/object"
"""


@pytest.mark.looptime
async def test_toml(tmp_path: Any, calling: Any) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(TOML)
    async with calling(scenario=path) as caller:
        zuora = caller.zuora
        assert [job.kind for job in zuora.jobs] == ["aqua", "bulk-pdf", "bulk-pdf", "bulk-pdf", "operation"]
        aqua = zuora.job("aqua:e20b07474688ad5001468daf10e501de")
        await asyncio.sleep(60)
        assert (aqua.status, aqua.document()["name"]) == ("executing", "June10")
        assert {job.status for job in zuora.jobs[1:4]} == {"PartialComplete"}
        assert zuora.stock.invoices["2c92c8955bd63cc1015bd7c151af02ab"]["Amount"] == Decimal("0.10")
        first, second = [(await caller.get("/v1/operations/jobs/1")) for _ in range(2)]
        assert (first.status, second.status) == (503, 200)
        assert second.headers["RateLimit-Limit"] == "100, 100;w=60, 5000;w=3600"
        assert second.headers["Concurrency-Limit-Limit"] == "20"
        assert zuora.credit_memo("m-1")["unappliedAmount"] == Decimal("12.40")
        query = {"queries": [{"name": "q", "query": "select Id from Invoice"}]}
        answers = [(await caller.send("POST", "/v1/batch-query/", query))[1] for _ in range(2)]
        assert [(made["status"], made["batches"][0].get("recordCount")) for made in answers] == [
            ("submitted", None), ("completed", 3),
        ]  # fmt: skip
        before = asyncio.get_running_loop().time()
        said = b'{"ok": true, "status": "Pending", "status": "Failed"}'
        assert await caller.read("/v1/object/invoice/2c92c8955bd63cc1015bd7c151af02ab") == said
        assert asyncio.get_running_loop().time() - before in {0.5 * (len(said) - 1), 0.5 * (len(said) - 1) + 2.5}


async def test_json_and_mappings(tmp_path: Any) -> None:
    scenario = {"jobs": [{"kind": "operation"}], "invoices": [{"Id": "1", "Amount": 0.1}]}
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps(scenario))
    async with emulator.running() as one, emulator.running() as two:
        one.load_scenario(path)
        two.load_scenario(scenario)
        assert len(one.jobs) == len(two.jobs) == 1
        assert one.stock.invoices["1"]["Amount"] == Decimal("0.1")


@pytest.mark.parametrize(
    ("scenario", "complaint"),
    [
        (
            {"job": []},
            "there is no 'job' here; there are limits, jobs, invoices, documents, faults, submits, credit_memos",
        ),
        ({"jobs": {}}, "jobs: a list is needed, not {}"),
        ({"jobs": [1]}, "jobs[0]: a table is needed, not 1"),
        ({"jobs": [{}]}, "jobs[0]: 'kind' is missing"),
        ({"jobs": [{"kind": "aqau"}]}, "jobs[0].kind: there is no kind of job called 'aqau'; there are operation,"),
        ({"jobs": [{"kind": "aqua", "colour": 1}]}, "jobs[0]: there is no 'colour' here"),
        ({"jobs": [{"kind": "aqua", "life": [{"seconds": 1}]}]}, "jobs[0].life[0]: 'status' is missing"),
        (
            {"jobs": [{"kind": "aqua", "life": [{"status": "a", "seconds": -1}]}]},
            "jobs[0].life[0]: the step 'a' must last",
        ),
        ({"jobs": [{"kind": "aqua", "life": [{"status": "a", "seconds": "1"}]}]}, "jobs[0].life[0].seconds: a number"),
        (
            {"jobs": [{"kind": "aqua", "life": [{"status": "a", "polls": 1.5}]}]},
            "jobs[0].life[0].polls: a whole number",
        ),
        ({"jobs": [{"kind": "aqua", "life": []}]}, "jobs[0]: a life needs at least one step"),
        ({"jobs": [{"kind": "aqua", "life": [{"status": "a"}, {"status": "b"}]}]}, "jobs[0]: the step 'a' would last"),
        ({"jobs": [{"kind": "aqua", "seconds": 1, "polls": 1}]}, "jobs[0]: a life lasts either"),
        (
            {"jobs": [{"kind": "aqua", "id": "1"}, {"kind": "aqua", "id": "1"}]},
            "jobs[1]: there is already a job aqua:1",
        ),
        ({"jobs": [{"kind": "aqua", "id": "1", "count": 2}]}, "jobs[0]: several jobs cannot share one id"),
        ({"documents": [{"kind": "aqua", "document": {}}]}, "documents[0]: the document of the kind 'aqua'"),
        ({"limits": {"rate": [[1]]}}, "limits.rate[0]: a rate limit is a pair"),
        ({"limits": {"rate": [[0, 1]]}}, "limits.rate[0]: a rate limit needs"),
        ({"limits": {"concurrency": True}}, "limits.concurrency: a whole number"),
        ({"faults": [{"effect": "gremlins"}]}, "faults[0]: there is no fault named 'gremlins'"),
        ({"faults": [{"effect": {"kind": "gremlin"}}]}, "faults[0].effect: there is no effect of the kind 'gremlin'"),
        ({"faults": [{"effect": {"kind": "delay"}}]}, "faults[0].effect: "),
        ({"faults": [{"effect": {"kind": "trickle", "seconds": -1}}]}, "faults[0].effect: the bytes of a trickle"),
        ({"faults": [{"effect": {"kind": "flood", "size": "big"}}]}, "faults[0].effect: "),
        ({"submits": [{"ends": "completed"}]}, "submits[0]: 'name' is missing"),
        ({"submits": [{"name": "aqau"}]}, "submits[0].name: there is no submit called 'aqau'"),
        ({"submits": [{"name": "aqua", "at_once": 1}]}, "submits[0].at_once: true or false"),
        ({"submits": [{"name": "aqua", "times": 0}]}, "submits[0]: a rule is for one submit at least"),
        ({"submits": [{"name": "aqua", "at_once": True, "polls": 1}]}, "submits[0]: a job that has ended at once"),
        ({"credit_memos": [1]}, "credit_memos[0]: a table is needed"),
        ({"credit_memos": [{"amount": "much"}]}, "credit_memos[0]: "),
        ({"faults": [{"effect": {"kind": "cut-after", "bytes": -1}}]}, "faults[0].effect: an answer is cut"),
        ({"faults": [{"effect": "slow", "path": "("}]}, "faults[0]: the path '(' is not a regular expression"),
    ],
    ids=str,
)
async def test_nonsense_is_refused_with_its_place_and_nothing_is_used(scenario: Any, complaint: Any) -> None:
    async with emulator.running() as zuora:
        with pytest.raises(ConfigurationError) as caught:
            zuora.load_scenario({**scenario, "invoices": [{"Id": "1"}]} if "job" not in scenario else scenario)
        assert str(caught.value).startswith(complaint)
        assert "\n" not in str(caught.value)
        assert (zuora.jobs, zuora.stock.invoices, zuora.stock.credit_memos) == ([], {}, {})


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.yaml", "", "ending in .toml or .json"),
        ("a.toml", "[[jobs]", "cannot be read"),
        ("a.json", "[]", "a table is needed"),
        ("a.toml", "jobs = 1", "jobs: a list is needed"),
        ("gone.toml", None, "cannot be read"),
    ],
)
async def test_bad_files(name: Any, text: Any, complaint: Any, tmp_path: Any) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        async with emulator.running(scenario=path):
            pass
    assert str(caught.value).startswith(f"{path}: ")
