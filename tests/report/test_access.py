"""The page for everyone, in Chromium: any scheme, no mouse, no scripts, paper; and whatever the history holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from playwright.async_api import Page

    from zuora_jobs.journal.history import History

    Opened = Callable[..., AbstractAsyncContextManager[Page]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def view_box(page: Page) -> list[float]:
    return [float(number) for number in (await page.get_attribute("#bars", "viewBox") or "").split()]


async def test_the_keyboard_reaches_everything_and_it_shows(opened: Opened, night):
    async with opened(night(100)) as page:
        reached, outlined = [], []
        for _ in range(60):
            await page.keyboard.press("Tab")
            found = await page.evaluate(
                "(e => [e.id || e.dataset.sort || e.className || e.tagName, getComputedStyle(e).outlineStyle])"
                "(document.activeElement)"
            )
            reached.append(found[0])
            outlined.append(found[1])
            if "next" in reached:
                break
        assert reached[0] == "skip"
        order = ["q", "kind", "outcome", "trouble", "in", "plot", "scroll", "SUMMARY", "job", "polls", "next"]
        assert [reached.index(name) for name in order] == sorted(reached.index(name) for name in order)
        assert "none" not in outlined


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const [r, g, b] = rgb(color).slice(0, 3).map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3] === 255) return c; } };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const box = e.getBoundingClientRect(), own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!box.width || e.disabled || ["SCRIPT", "STYLE", "TITLE", "DESC", "NOSCRIPT", "OPTION"].includes(e.tagName.toUpperCase())) continue;
    if (own) found.push(["text", e.tagName + "." + e.className, ratio(getComputedStyle(e).color, behind(e))]);
  }
  for (const e of document.querySelectorAll("main path:not(.hole)")) {
    const {fill, stroke} = getComputedStyle(e);
    found.push(["mark", e.getAttribute("class"), ratio(fill === "none" ? stroke : fill, behind(e.closest("figure, section, body")))]);
  }
  for (const e of document.querySelectorAll(".share span"))
    found.push(["mark", e.className, ratio(getComputedStyle(e).color, behind(e.parentElement))]);
  return found;
}"""


async def test_colours_change_with_the_scheme_and_contrast_is_enough_in_both(opened: Opened, night):
    papers = {}
    for scheme in ("light", "dark"):
        async with opened(night(300), color_scheme=scheme) as page:
            papers[scheme] = await page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor")
            found = await page.evaluate(CONTRASTS)
            assert {kind for kind, _, _ in found} == {"text", "mark"}
            assert len(found) > 200
            least = {"text": 4.5, "mark": 3.0}
            assert [(scheme, *item) for item in found if item[2] < least[item[0]]] == []
    assert papers["light"] == "rgb(255, 255, 255)"
    assert papers["dark"] != papers["light"]


async def test_no_outcome_and_no_phase_is_told_by_colour_alone(opened: Opened, night):
    async with opened(night(300)) as page:
        shapes = await page.eval_on_selector_all(
            "symbol path", "paths => paths.map(path => path.getAttribute('d') + path.getAttribute('fill-rule'))"
        )
        assert len(set(shapes)) == len(shapes) == 10
        lines = await page.eval_on_selector_all(
            "#bars path:not(.end)",
            "paths => paths.map(path => (({strokeWidth, strokeDasharray}) => strokeWidth + strokeDasharray)(getComputedStyle(path)))",
        )
        assert len(set(lines)) == len(lines) == 4


async def test_motion_is_only_for_those_who_do_not_mind(opened: Opened, night):
    for preference, expected in [("reduce", "auto"), ("no-preference", "smooth")]:
        async with opened(night(10), reduced_motion=preference) as page:
            assert await page.eval_on_selector("html", "html => getComputedStyle(html).scrollBehavior") == expected


async def test_paper_gets_no_controls_light_colours_and_the_failures(opened: Opened, night):
    async with opened(night(300), color_scheme="dark", suffix="#outcome=lost") as page:
        await page.focus("#plot")
        await page.keyboard.press("+")
        await page.emulate_media(media="print", color_scheme="dark")
        for controls in ("#filter", "#list", ".zoom", "#readout"):
            assert not await page.locator(controls).is_visible()
        assert await page.locator(".static").is_visible()
        assert (
            await page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor")
            == "rgb(255, 255, 255)"
        )
        assert await page.eval_on_selector("#bars", "bars => getComputedStyle(bars).opacity") == "1"
        assert (await page.pdf()).startswith(b"%PDF")
        assert (await view_box(page))[2] == 100_000  # the whole, though it was zoomed


async def test_without_scripts_all_is_there_but_the_controls(opened: Opened, night):
    async with opened(night(300), java_script_enabled=False) as page:
        for there in ("#bars", ".static", "noscript p", ".histograms", ".requests", ".bands span >> nth=0"):
            assert await page.locator(there).first.is_visible(), there
        for gone in ("#filter", "#list", ".zoom", "#readout"):
            assert not await page.locator(gone).is_visible(), gone
        assert await page.locator("main a").count() == 0 or not await page.locator("main a").first.is_visible()


# --- whatever the history


async def test_hostile_text_shows_as_text(opened: Opened, night):
    evil = "</script><img src=x onerror=hacked=1> \u202e\x1b \"'& <b>bold</b>" + "w" * 500
    history = night(40)
    jobs = tuple(
        evolve(
            job,
            kind=evil,
            changes=tuple(evolve(change, status=evil) for change in job.changes),
            ended=job.accepted,
            outcome="lost",
            error=(evil, evil),
        )
        for job in history.jobs
    )
    for width in (1280, 390):
        async with opened(evolve(history, jobs=jobs), width=width, title=evil) as page:
            assert await page.evaluate("typeof hacked") == "undefined"
            assert await page.locator("img, main script, td b").count() == 0
            assert "<img src=x onerror=hacked=1> \\u202e␛ \"'& <b>bold</b>www" in await page.inner_text(
                "#rows tr >> nth=0"
            )
            await page.focus("#plot")
            await page.keyboard.press("Home")
            assert "<b>bold</b>" in await page.inner_text("#readout")
            await page.fill("#q", "onerror=hacked")
            assert await page.inner_text("#count") == "40 of 40 jobs"
            assert await page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("case", ["nothing", "one", "open", "lost", "at once", "a kind each"])
async def test_odd_histories_raise_no_error(opened: Opened, night, case):
    jobs = night(300).jobs
    began = jobs[0].accepted
    odd: dict[str, tuple[Any, ...]] = {
        "nothing": (),
        "one": jobs[:1],
        "open": (evolve(jobs[0], changes=(), ended=None, outcome=None),),
        "lost": tuple(evolve(job, ended=job.accepted, outcome="lost", error=("E", job.id)) for job in jobs),
        "at once": tuple(evolve(job, accepted=began, changes=(), ended=began, outcome="succeeded") for job in jobs),
        "a kind each": tuple(evolve(job, kind=f"kind-{job.id}") for job in jobs),
    }
    history: History = evolve(night(300), jobs=odd[case], minutes=(), runs=())
    async with opened(history) as page:
        if odd[case]:
            await page.focus("#plot")
            for key in ("Home", "+", "+", "ArrowDown", "PageDown", "End", "-", "0"):
                await page.keyboard.press(key)
            assert "NaN" not in (await page.inner_html("main")) + str(await view_box(page))
        else:
            assert "Nothing is written down." in await page.inner_text("main")
