"""Windows of a real browser for the tests of pages, and what goes wrong in them."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine: the page is not looked at"
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Window:
    """A tab of its own in the browser, and what went wrong in it."""

    page: Any
    wrong: list[str]

    @contextlib.contextmanager
    def at(self, address: str) -> Iterator:
        """The page freshly loaded; nothing may go wrong on it."""
        self.wrong.clear()
        self.page.goto(address)
        yield self.page
        assert self.wrong == []


@pytest.fixture
def page(window: Window, address: str) -> Iterator:
    """The page at the `address` of the tests, in their `window`."""
    with window.at(address) as page:
        yield page


@contextlib.contextmanager
def open_window(
    browser, width: int, height: int, *, dark: bool, only_errors: bool = False, **options: object
) -> Iterator[Window]:
    """A window where requests of the network, errors and console messages (errors, or any) are wrong.

    Opening one takes longer than most tests, which therefore share it and load the page anew.
    """
    size, scheme = {"width": width, "height": height}, "dark" if dark else "light"
    context = browser.new_context(viewport=size, color_scheme=scheme, **options)
    page, wrong = context.new_page(), []
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" or not only_errors else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    yield Window(page, wrong)
    context.close()
