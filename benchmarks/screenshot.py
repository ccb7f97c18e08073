"""The picture of the report that the README shows: parts of a run's report.html, as Chromium draws it.

    python benchmarks/screenshot.py --report build/smoke/out/report.html --picture docs/images/report.png

Needs ``chromium`` (or ``NNBOX_CHROMIUM``, the path of one). The README's picture is of a ``make smoke`` run.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright
from skimage import io as pictures

_DESK, _PHONE = (1040, 1000), (390, 1000)
_GAP = 24


def shoot(report: Path) -> np.ndarray:
    """Return the report's beginning on a desk beside its cases on a phone at night, as RGB pixels."""
    path = os.environ.get("NNBOX_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        parts = []
        for (width, height), scheme, part in ((_DESK, "light", "h1"), (_PHONE, "dark", "#cases")):
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(report.resolve().as_uri())
            parts.append(_pixels(page, part))
        browser.close()
    gap = np.full((_DESK[1], _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([parts[0], gap, parts[1]], axis=1)


def _pixels(page: Page, part: str) -> np.ndarray:
    page.evaluate(f"window.scrollTo(0, document.querySelector({part!r}).getBoundingClientRect().top - 40)")
    page.wait_for_timeout(500)
    return pictures.imread(io.BytesIO(page.screenshot()))[..., :3]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--picture", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    pictures.imsave(arguments.picture, shoot(arguments.report), check_contrast=False)


if __name__ == "__main__":
    main()
