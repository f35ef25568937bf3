"""Draws the README's picture of a report: the page of a night of 1,000 jobs, as Chromium shows the top of it.

python tests/readme/page.py .images/report.png
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from zuora_jobs.report.page import render

NIGHTS = Path(__file__).parents[1] / "report" / "conftest.py"


def draw(target: Path) -> None:
    spec = importlib.util.spec_from_file_location("nights", NIGHTS)
    assert spec is not None
    assert spec.loader is not None
    nights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nights)
    with tempfile.TemporaryDirectory() as folder:
        page_file = Path(folder, "report.html")
        page_file.write_text(render(nights.night_of(1000), title="Nightly billing"), encoding="utf-8")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=nights.CHROMIUM, args=nights.OPTIONS)
            page = browser.new_page(viewport={"width": 1280, "height": 1185})
            page.goto(page_file.as_uri())
            page.screenshot(path=target)
            browser.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
