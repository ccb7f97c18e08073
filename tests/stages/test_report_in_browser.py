"""The report as a person sees it: in Chromium, on a desk and on a phone, by day and by night, and on paper.

Needs Debian's ``chromium`` (or ``NNBOX_CHROMIUM``, the path of one). Screenshots are kept in ``build/report``.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from nnbox.intake.options import IntakeOptions
from nnbox.report.render import render
from nnbox.report.report import data_report
from nnbox.stages.inspect import inspect_root

_KEPT = Path(__file__).resolve().parent.parent.parent / "build" / "report"
_SEEN = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
_CONTRAST = """() => {
  const parse = (color) => {
    const found = color.match(/[\\d.]+/g).map(Number);
    return {rgb: found.slice(0, 3), alpha: found.length > 3 ? found[3] : 1};
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.alpha === 1) return color.rgb;
    }
    return [255, 255, 255];
  };
  const low = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const svg = element.closest('svg') !== null;
    const pair = [parse(svg ? style.fill : style.color).rgb, ground(element)];
    const [one, other] = pair.map(luminance).sort((a, b) => a - b);
    const ratio = (other + 0.05) / (one + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push([walker.currentNode.data.trim().slice(0, 40), ratio]);
  }
  return {low, seen};
}"""
_WIDER = """() => [...document.querySelectorAll('body *')]
  .filter((e) => !e.closest('.scroll, .skip'))
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((e) => e.tagName + '.' + e.className)"""


@pytest.fixture(scope="module")
def browser():
    """Chromium; where there is none the tests are left out, except on CI."""
    path = os.environ.get("NNBOX_CHROMIUM") or shutil.which("chromium")
    if path is None or not Path(path).exists():
        words = "no Chromium: apt-get install chromium, or set NNBOX_CHROMIUM to the path of one"
        if os.environ.get("CI_REQUIRE_SHARED") == "1":
            pytest.fail(words)
        pytest.skip(words)
    with sync_playwright() as driver:
        # Inside a container there is no sandbox to be had; the page is our own.
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


class _View:
    """A page with what it complained of and asked for."""

    def __init__(self, browser, file, width, scheme):
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        self.page = context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def close(self):
        self.page.context.close()


@pytest.fixture(scope="module", params=_SEEN, ids=lambda seen: f"{seen[0]}-{seen[1]}")
def view(request, browser, finished):
    width, scheme = request.param
    found = _View(browser, finished[0] / "report.html", width, scheme)
    found.name = f"{width}-{scheme}"
    yield found
    found.close()


def test_it_opens_without_a_complaint_and_asks_for_nothing(view):
    assert view.complaints == []
    assert [url for url in view.requests if not url.startswith(("file://", "data:"))] == []
    assert len([url for url in view.requests if url.startswith("file://")]) == 1


def test_nothing_is_wider_than_the_page(view):
    width = view.page.evaluate("document.documentElement.clientWidth")
    assert view.page.evaluate("document.documentElement.scrollWidth") <= width
    assert view.page.evaluate(_WIDER) == []
    view.page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    assert view.page.evaluate("document.documentElement.scrollWidth") <= width
    assert view.page.evaluate(_WIDER) == []
    view.page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = false; })")


def test_all_text_has_contrast(view):
    found = view.page.evaluate(_CONTRAST)
    assert found["seen"] > 500
    assert found["low"] == []


def test_every_image_is_whole(view):
    assert view.page.evaluate("[...document.images].length") >= 6
    assert view.page.evaluate("[...document.images].filter((e) => !e.complete || e.naturalWidth < 8).length") == 0


def test_it_can_be_used_with_the_keyboard_alone(view):
    page = view.page
    page.evaluate("window.scrollTo(0, 0); document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.tagName + ':' + document.activeElement.textContent.trim()")
        )
    assert reached[0] == "A:Skip to the content"
    assert "A:The plan" in reached
    assert any(name.startswith("SUMMARY:") for name in reached)
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('details').open")
    page.keyboard.press("Enter")
    assert not page.evaluate("document.querySelector('details').open")


def test_the_checks_can_fail(browser, tmp_path):
    file = tmp_path / "bad.html"
    file.write_text(
        "<body style='background: #fff'><p style='color: #888'>pale</p><p style='width: 2000px'>wide</p>"
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('oh')</script>"
    )
    view = _View(browser, file, 390, "light")
    assert [words for words, _ in view.page.evaluate(_CONTRAST)["low"]] == ["pale"]
    assert view.page.evaluate(_WIDER) == ["P."]
    assert "oh" in view.complaints
    assert any(url.startswith("http://") for url in view.requests)
    view.close()


def test_a_picture_of_it_is_kept(view):
    _KEPT.mkdir(parents=True, exist_ok=True)
    file = _KEPT / f"report-{view.name}.png"
    view.page.screenshot(path=str(file), full_page=True)
    assert file.stat().st_size > 50_000


def test_it_prints_on_paper(browser, finished):
    view = _View(browser, finished[0] / "report.html", 1280, "dark")
    _KEPT.mkdir(parents=True, exist_ok=True)
    view.page.emulate_media(media="print")
    assert view.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert view.page.evaluate(_CONTRAST)["low"] == []
    paper = view.page.pdf(path=str(_KEPT / "report.pdf"), format="A4", print_background=True)
    assert paper.startswith(b"%PDF")
    view.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_data_set_alone_is_as_good(browser, finished, tmp_path, width):
    (found,) = inspect_root(finished[1].input, IntakeOptions(), recipe="2019", planning_memory_gb=None, workers=0)
    file = tmp_path / "data.html"
    file.write_text(render(data_report(found.data, datetime.now().astimezone(), "nnbox")))
    view = _View(browser, file, width, "light")
    assert view.complaints == []
    assert view.page.evaluate("document.documentElement.scrollWidth") <= width
    assert view.page.evaluate(_CONTRAST)["low"] == []
    view.page.screenshot(path=str(_KEPT / f"data-{width}.png"), full_page=True)
    view.close()
