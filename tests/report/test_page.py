"""The page as text: well-formed, on its own, and safe whatever it is made of."""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from attrs import evolve, field, frozen

from zuora_jobs.errors import Reason
from zuora_jobs.journal.history import Change, History, JobRecord, Run
from zuora_jobs.report.page import MOST_LISTED, render
from zuora_jobs.report.summary import summarize

VOID = {"meta", "link", "input", "br", "hr", "img"}
HOSTILE = (
    "</script></style></title><script>hacked=1</script><img src=x onerror=hacked=1> \"'&amp;{{7*7}}{%raw%} "
    "\u202e\x00\x1b[31m\u2028\ud800 ]]> <!--"
)


@frozen
class Element:
    tag: str
    attributes: dict[str, Any]
    text: list[str] = field(factory=list)


class Reader(HTMLParser):
    """Reads a page, and minds that all that opens closes."""

    def __init__(self, html):
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), attrs
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        for element in self.open:
            element.text.append(data)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        return [
            element
            for element in self.elements
            if element.tag == tag and all(element.attributes.get(name) == value for name, value in attributes.items())
        ]

    def data(self):
        return json.loads("".join(self.all("script", type="application/json")[0].text))


def hostile(history):
    """*history* with hostile text wherever text comes from outside."""
    return evolve(
        history,
        jobs=tuple(
            evolve(
                job,
                kind=HOSTILE if number % 3 else job.kind,
                id=HOSTILE,
                changes=(Change(at=job.accepted, status=HOSTILE, phase=None),),
                ended=job.accepted + timedelta(seconds=number),
                outcome="failed" if number % 2 else "lost",
                reasons=(Reason(HOSTILE, HOSTILE), Reason(None, "x" * 100_000)),
                error=(HOSTILE, HOSTILE),
            )
            for number, job in enumerate(history.jobs)
        ),
    )


def each(history, **changes):
    return evolve(history, jobs=tuple(evolve(job, **changes) for job in history.jobs))


CASES: dict[str, Callable[[History], History]] = {
    "as it is": lambda history: history,
    "nothing": lambda history: History(jobs=(), minutes=(), runs=()),
    "no jobs": lambda history: evolve(history, jobs=()),
    "no minutes": lambda history: evolve(history, minutes=()),
    "no runs": lambda history: evolve(history, runs=()),
    "one job": lambda history: History(jobs=history.jobs[:1], minutes=(), runs=()),
    "one open job": lambda history: History(
        jobs=(JobRecord(kind="aqua", id="a", accepted=history.jobs[0].accepted),),
        minutes=(),
        runs=(Run(began=history.jobs[0].accepted, ended=None, rate=1, concurrency=1),),
    ),
    "all lost": lambda history: each(history, outcome="lost", ended=history.jobs[-1].accepted, error=("E", "gone")),
    "all at once": lambda history: each(
        history, accepted=history.jobs[0].accepted, ended=history.jobs[0].accepted, changes=(), outcome="succeeded"
    ),
    "a kind each": lambda history: evolve(
        history, jobs=tuple(evolve(job, kind=f"kind-{number}") for number, job in enumerate(history.jobs))
    ),
    "for weeks": lambda history: each(history, ended=history.jobs[-1].accepted + timedelta(days=300)),
    "backwards": lambda history: each(history, ended=history.jobs[0].accepted - timedelta(days=3)),
    "hostile": hostile,
}


@pytest.fixture(params=CASES)
def case(request, night):
    return CASES[request.param](night(200))


# --- form


def test_the_page_is_well_formed_and_names_what_it_refers_to(case):
    page = Reader(render(case))
    ids = Counter(element.attributes["id"] for element in page.elements if "id" in element.attributes)
    assert set(ids.values()) <= {1}
    for element in page.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert {*(element.attributes.get(name) or "").split()} <= {*ids, "kind", "outcome", "trouble"}
        if (element.attributes.get("href") or "").startswith("#"):
            assert element.attributes["href"][1:] in ids
    assert next(element.tag for element in page.elements if re.fullmatch(r"h\d", element.tag)) == "h1"
    for landmark in ("header", "main", "footer", "h1", "title"):
        assert (
            len([element for element in page.all(landmark) if landmark != "title" or "id" not in element.attributes])
            == 1
        )


def test_nothing_is_asked_of_any_other_place(case):
    html = render(case)
    page = Reader(html)
    for element in page.elements:
        assert not {"src", "srcset", "action", "formaction", "background", "ping"} & element.attributes.keys()
        assert element.tag not in {"link", "iframe", "img", "object", "embed", "base"}
        assert (element.attributes.get("href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in element.attributes)
    style = "".join(page.all("style")[0].text)
    assert "url(" not in style
    assert "@import" not in style
    ours = "".join(text for script in page.all("script", type="module") for text in script.text)
    assert {*re.findall(r"\w+://[^\"']*", ours)} <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import|eval|innerHTML|localStorage|cookie)\b", ours)


def test_only_this_very_script_may_run(night):
    page = Reader(render(night(10)))
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    (script,) = page.all("script", type="module")
    digest = base64.b64encode(hashlib.sha256("".join(script.text).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy.attributes["content"]
    assert policy.attributes["content"].startswith("default-src 'none';")
    assert page.elements.index(policy) < page.elements.index(page.all("style")[0])


@pytest.mark.parametrize("allowed", [1200, 24_000])
def test_every_chart_has_a_text_to_it(night, allowed):
    page = Reader(render(night(300, allowed=allowed)))
    images = page.all("svg", role="img")
    assert len(images) == 1 + 4 + 1 + 1  # the timeline, a histogram a kind, requests, throttled seconds
    assert all(image.attributes.get("aria-label") or image.attributes.get("aria-labelledby") for image in images)
    others = [svg for svg in page.all("svg") if svg not in images]
    assert all(svg.attributes.get("aria-hidden") == "true" for svg in others)
    assert all(header.attributes.get("scope") for header in page.all("th"))


# --- what is said


def test_the_figures_are_there(night):
    html = render(night(1000), title="Nightly billing")
    summary = summarize(night(1000))
    page = Reader(html)
    assert "".join(page.all("h1")[0].text) == "Nightly billing"
    figures = [" ".join("".join(element.text).split()) for element in page.all("dd")]
    assert figures[:4] == ["1,000", "6 h 30 min", f"{summary.requests:,}", f"{summary.refused:,}"]
    assert figures[5] == "2 1 cut short"
    for kind in summary.kinds:
        assert f'<th scope="row">{kind.name}</th><td>{kind.jobs}</td>' in html


def test_reasons_of_failures_and_losses_are_there_without_a_script(night):
    page = Reader(render(night(1000)))
    said = "".join(page.all("section", **{"class": "static"})[0].text)
    for job in night(1000).jobs:
        if job.outcome in {"failed", "lost"}:
            assert job.handle in said
            assert all(reason.message in said for reason in job.reasons if reason.message)
    assert page.all("noscript")


def test_more_failures_than_can_be_listed_are_counted(night):
    html = render(each(night(MOST_LISTED + 5), outcome="lost", ended=night(1).jobs[0].accepted, error=("E", "gone")))
    assert f"The first 1,000 of {MOST_LISTED + 5:,}." in html
    assert html.count('<bdi class="reason">') == MOST_LISTED


def test_an_allowance_off_the_scale_is_said_in_words(night):
    html = render(night(100, allowed=24_000))
    assert "24,000" in html
    assert "leaves this scale at the top" in html
    assert "off this scale" in render(evolve(night(100), minutes=tuple(
        evolve(minute, allowed=24_000) for minute in night(100).minutes
    )))  # fmt: skip


def test_gaps_and_a_run_without_an_end_are_said_in_words(night):
    assert re.search(r"No process was at work for 1[4-6] min", render(night(1000)))
    assert "The last process wrote no end" not in render(night(1000))
    assert "The last process wrote no end" in render(evolve(night(1000), runs=night(1000).runs[:1]))


def test_the_script_gets_every_job_and_each_text_once(night):
    data = Reader(render(night(1000))).data()
    jobs = {job.handle: job for job in night(1000).jobs}
    handles = [
        f"{kind}:{data['id'][job]}" for kind, _, _, first, count in data["bands"] for job in range(first, first + count)
    ]
    assert sorted(handles) == sorted(jobs)
    assert len(set(data["reasonTexts"])) == len(data["reasonTexts"])
    for number, handle in enumerate(handles):
        job = jobs[handle]
        assert data["polls"][number] == job.polls
        assert [data["statusTexts"][at] for at in data["changes"][number][1::2]] == [
            change.status for change in job.changes
        ]
        assert data["took"][number] == (None if job.seconds is None else pytest.approx(job.seconds, abs=0.06))
        assert data["zero"] + data["began"][number] == pytest.approx(job.accepted.timestamp(), abs=0.06)
    assert None in data["took"]


# --- size and hostility


def test_ten_thousand_jobs_are_a_page_of_three_megabytes_at_most(night):
    html = render(night(10_000))
    assert len(html.encode()) < 3_000_000
    assert Reader(html).all("path").__len__() < 60


def test_hostile_text_stays_text(night):
    html = render(hostile(night(50)), title=HOSTILE)
    html.encode()
    page = Reader(html)
    assert len(page.all("script")) == 2
    assert not page.all("img")
    assert not set(html) & set("\x00\x1b\u202e\u2028\ud800")
    assert "".join(page.all("h1")[0].text).startswith("</script></style></title><script>hacked=1</script>")
    assert page.data()["id"][0].startswith("</script>")
    assert "49" not in "".join(page.all("h1")[0].text)  # no template within the template
    assert "x… (100,000 characters)" in html
    assert len(html) < 2_000_000
