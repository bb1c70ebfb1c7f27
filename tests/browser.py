"""A real browser for tests, where there is one: Debian's chromium, or Google's."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PICTURES = os.environ.get("MATRIX_ALIGN_PICTURES")
"""A folder for screenshots; without it none are made."""


@contextmanager
def browsing() -> Iterator[Any]:
    """The browser, started."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def page_of(browser: Any, height: int = 900) -> Iterator[Any]:
    """A new page that is given time."""
    page = browser.new_page(viewport={"width": 1200, "height": height})
    page.set_default_timeout(60_000)
    yield page
    page.close()


def picture(page: Any, name: str) -> None:
    """Keep what is seen, if pictures are wanted."""
    if PICTURES:
        page.screenshot(path=Path(PICTURES, f"{name}.png"))
