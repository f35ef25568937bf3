"""The page in Chromium at every size: the filter, the list, the timeline, by key and by pointer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from zuora_jobs.report.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from playwright.async_api import Page

    Opened = Callable[..., AbstractAsyncContextManager[Page]]

PAGE = 25
"""Rows of the list at once."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def rows(page: Page) -> list[list[str]]:
    cells: list[list[str]] = await page.eval_on_selector_all(
        "#rows tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    return cells


async def view_box(page: Page) -> list[float]:
    return [float(number) for number in (await page.get_attribute("#bars", "viewBox") or "").split()]


# --- at every size


@pytest.mark.parametrize("count", [10, 1_000, 10_000])
async def test_it_loads_and_stays_small(opened: Opened, night, count):
    async with opened(night(count)) as page:
        assert await page.inner_text("#count") == f"{count:,} of {count:,} jobs"
        assert len(await rows(page)) == min(count, PAGE)
        assert await page.evaluate("document.querySelectorAll('#rows *').length") < 30 * PAGE
        assert await page.evaluate("document.querySelectorAll('#list *, svg *').length") < 1_000
        await page.fill("#q", "e")  # a keystroke shows no more than a page either
        assert len(await rows(page)) <= PAGE
        assert await page.evaluate("document.querySelectorAll('#matches *').length") <= 12


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_nothing_is_wider_than_the_window(opened: Opened, night, width):
    async with opened(night(300), width=width) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") == width


# --- the filter


async def test_the_filter_filters_the_list_and_fades_the_rest_of_the_timeline(opened: Opened, night):
    history = night(1_000)
    kinds = {kind.name: kind for kind in summarize(history).kinds}
    async with opened(history) as page:
        assert not await page.locator("#matches path").count()
        await page.fill("#q", "BULK-pdf")
        assert await page.inner_text("#count") == f"{kinds['bulk-pdf'].jobs} of 1,000 jobs"
        assert all(cells[0].startswith("bulk-pdf:") for cells in await rows(page))
        assert float(await page.eval_on_selector("#bars", "bars => getComputedStyle(bars).opacity")) < 0.3
        ends = await page.eval_on_selector("#matches .succeeded", "path => path.getAttribute('d').match(/M/g).length")
        assert ends == kinds["bulk-pdf"].outcomes["succeeded"]
        await page.fill("#q", "")
        await page.select_option("#kind", "operation")
        await page.select_option("#outcome", "failed")
        assert await page.inner_text("#count") == f"{kinds['operation'].outcomes['failed']} of 1,000 jobs"
        assert {cells[1] for cells in await rows(page)} == {"failed"}
        await page.fill("#q", "no such text")
        assert await page.inner_text("#shown") == "No job matches the filter."
        assert await rows(page) == []
        await page.click("#clear")
        assert await page.inner_text("#count") == "1,000 of 1,000 jobs"
        assert float(await page.eval_on_selector("#bars", "bars => getComputedStyle(bars).opacity")) == 1


async def test_what_is_drawn_of_the_matching_jobs_lies_where_they_were(opened: Opened, night):
    """The script draws again what Python has drawn: both must agree."""
    paths = "paths => Object.fromEntries(paths.map(path => [path.getAttribute('class'), path.getAttribute('d')]))"
    async with opened(night(300)) as page:
        before = await page.eval_on_selector_all("#bars path", paths)
        await page.fill("#q", ":")  # in each handle, so all match, and nothing has to stand out
        assert await page.eval_on_selector_all("#matches path", paths) == {}
        await page.select_option("#kind", "aqua")
        after = await page.eval_on_selector_all("#matches path", paths)
        assert [*after][-1] == "end hole"  # over the marks that it makes hollow
        del after["end hole"]
        assert {"pending", "running", "end succeeded", "end failed"} <= after.keys()
        for name, path in after.items():
            theirs = [re.findall(r"[\d.]+", part) for part in path.split("M")[1:]]
            ours = [re.findall(r"[\d.]+", part) for part in before[name].split("M")[1:]]
            for x, y, *length in theirs:
                near = [part for part in ours if part[1] == y and abs(float(part[0]) - float(x)) < 2]
                assert near or length == ["1"], (name, x, y)  # so short that rounding decides whether it is there
                assert not near or not length or any(abs(float(part[2]) - float(length[0])) < 3 for part in near)


async def test_the_axis_and_the_names_stay_when_the_script_takes_over(opened: Opened, night):
    places = """all => all.filter(part => !part.hidden).map(part =>
        [part.innerText, ...["x", "width"].map(side => Math.round(part.getBoundingClientRect()[side]))])"""
    later = evolve(night(300), jobs=night(300).jobs[3:40], minutes=(), runs=night(300).runs)
    for history in (night(10), later):
        drawn = []
        for scripts in (False, True):
            async with opened(history, java_script_enabled=scripts) as page:
                parts = (".timeline .marks span", "#bands span", "#gaps span")
                drawn.append([await page.eval_on_selector_all(part, places) for part in parts])
        assert all(drawn[0])
        assert drawn[0] == drawn[1]


async def test_a_link_keeps_the_filter(opened: Opened, night):
    async with opened(night(1_000), suffix="#kind=aqua&outcome=succeeded&q=completed") as page:
        expected = summarize(night(1_000)).kinds[2]
        assert expected.name == "aqua"
        assert await page.inner_text("#count") == f"{expected.outcomes['succeeded']} of 1,000 jobs"
        await page.select_option("#outcome", "")
        assert page.url.endswith("#q=completed&kind=aqua")
        await page.click("text=Change the filter")  # a link within the page leaves it alone
        assert await page.input_value("#q") == "completed"


async def count_becomes(page: Page, text: str) -> None:
    """Wait until the list has followed the address, which it is told of a moment after the click."""
    await page.wait_for_function("text => document.querySelector('#count').innerText === text", arg=text)


async def test_a_trouble_and_an_outcome_lead_to_their_jobs(opened: Opened, night):
    trouble = summarize(night(1_000)).troubles[2]
    async with opened(night(1_000)) as page:
        await page.click(f".troubles a:text-is({trouble.text!r})")
        await count_becomes(page, f"{trouble.count} of 1,000 jobs")
        await page.click(".outcomes a:has-text('lost')")
        await count_becomes(page, f"{summarize(night(1_000)).total.outcomes['lost']} of 1,000 jobs")
        assert {cells[1] for cells in await rows(page)} == {"lost"}
        assert await page.input_value("#trouble") == ""


async def test_failures_say_why_in_full(opened: Opened, night):
    async with opened(night(1_000), suffix="#outcome=failed") as page:
        shown = {cells[0].split("\n")[0]: cells[0] for cells in await rows(page)}
        failed = {job.handle: job for job in night(1_000).jobs if job.outcome == "failed"}
        assert len(shown) == PAGE
        assert all(str(failed[handle].reasons[0]) in text for handle, text in shown.items())


# --- the list


async def test_headings_sort_by_key_and_say_so(opened: Opened, night):
    async with opened(night(300)) as page:
        header = page.locator("th.c-polls")
        await header.locator("button").focus()
        await page.keyboard.press("Enter")
        assert await header.get_attribute("aria-sort") == "ascending"
        polls = sorted(job.polls for job in night(300).jobs)
        assert [int(cells[5]) for cells in await rows(page)] == polls[:PAGE]
        await page.keyboard.press("Enter")
        assert await header.get_attribute("aria-sort") == "descending"
        assert [int(cells[5]) for cells in await rows(page)] == polls[: -PAGE - 1 : -1]
        assert await page.locator("[aria-sort]").count() == 1


async def test_the_list_has_pages(opened: Opened, night):
    async with opened(night(60)) as page:
        seen = [cells[0] for cells in await rows(page)]
        assert await page.is_disabled("#previous")
        await page.click("#next")
        seen += [cells[0] for cells in await rows(page)]
        await page.click("#next")
        assert await page.inner_text("#shown") == "51 to 60 of 60"
        assert await page.is_disabled("#next")
        seen += [cells[0] for cells in await rows(page)]
        assert len({text.split("\n")[0] for text in seen}) == 60


# --- the timeline


async def test_keys_zoom_and_go_from_job_to_job(opened: Opened, night):
    async with opened(night(300)) as page:
        whole = await view_box(page)
        await page.focus("#plot")
        await page.keyboard.press("Home")
        first = await page.inner_text("#readout .handle")
        await page.keyboard.press("ArrowRight")
        assert await page.inner_text("#readout .handle") != first
        await page.keyboard.press("ArrowLeft")
        assert await page.inner_text("#readout .handle") == first
        assert await page.get_attribute("#readout", "aria-live") == "polite"
        await page.keyboard.press("+")
        assert (await view_box(page))[2] == whole[2] / 2
        await page.keyboard.press("+")
        left = (await view_box(page))[0]
        await page.keyboard.press("Shift+ArrowRight")
        assert (await view_box(page))[0] > left
        await page.keyboard.press("End")  # far away, and brought into view
        x, y, width, height = await view_box(page)
        row, end = [float(await page.get_attribute("#cursor", name) or 0) for name in ("y", "x")]
        assert x <= end <= x + width
        assert y <= row <= y + height
        for _ in range(20):
            await page.keyboard.press("Shift+ArrowRight")
        assert (await view_box(page))[0] + width == whole[2]  # no further than to the edge
        await page.keyboard.press("-")
        assert (await view_box(page))[2] == 2 * width
        await page.keyboard.press("0")
        assert await view_box(page) == whole


async def test_buttons_zoom_as_far_as_there_is_something_to_see(opened: Opened, night):
    async with opened(night(300)) as page:
        whole = await view_box(page)
        assert await page.is_disabled("#out")
        await page.click("#in")
        await page.click("#out")
        assert await page.is_disabled("#fit")
        await page.focus("#plot")
        for _ in range(20):
            await page.keyboard.press("+")
        assert await page.is_disabled("#in")
        assert await view_box(page) != whole


async def test_a_pointer_reads_and_zooms(opened: Opened, night):
    async with opened(night(300)) as page:
        await page.locator("#plot").scroll_into_view_if_needed()
        box = await page.locator("#plot").bounding_box()
        assert box
        await page.mouse.move(box["x"] + 5, box["y"] + 34)
        assert (await page.inner_text("#readout .handle")).startswith("aqua:")
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 150)
        assert await page.locator(".brush").count() == 1
        await page.mouse.up()
        assert await page.locator(".brush").count() == 0
        whole, (_, _, width, height) = float(100_000), await view_box(page)
        assert 0.4 * whole < width < 0.6 * whole
        assert height < 0.5 * (await page.evaluate("+document.querySelector('#bars').viewBox.baseVal.height * 2"))
