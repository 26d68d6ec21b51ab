"""A browser for tests: Debian's Chromium, driven by Playwright, and what a page may not do.

    with Chromium() as chromium, chromium.visit(http) as visit:
        visit.open("channels")

Every console error, every violation of the Content-Security-Policy, every script that fails and
every request to another host fails the test. What `make screenshots` makes is made here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.support.daemon import ROOT
from tests.support.http import Http

CHROMIUM = os.environ.get("POSTROOM_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",  # it runs as root in containers
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
IMAGES = ROOT / "docs" / "images"
WAIT_MS = 30_000
"""For a slow machine: states are waited for, not times."""
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

expect.set_options(timeout=WAIT_MS)


def missing() -> str:
    """Return why there is no browser; "" where there is one."""
    return "" if shutil.which(CHROMIUM) else f"{CHROMIUM} is not there: 'make peers' installs it"


class Visit:
    """One page, seen by one user, with what went wrong in it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.base = page, base
        self.wrong: list[str] = []
        self.allowed: list[str] = []
        """Parts of console errors that a test expects."""
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda one: self._said(one.type, one.text))
        page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(one in text for one in self.allowed):
            self.wrong.append(f"console: {text}")

    def _asked(self, url: str) -> None:
        if not url.startswith((f"{self.base}/", "data:", "blob:")):
            self.wrong.append(f"another host: {url}")

    def open(self, view: str = "overview") -> Locator:
        """Go to a page of the console; return its main part once its figures are there."""
        self.page.goto(f"{self.base}/#/{view}")
        main = self.page.locator("main.main")
        expect(main.locator("h1")).to_be_visible()
        expect(main.get_by_text("Asking the server")).to_have_count(0)
        return main

    def button(self, name: str, *, exact: bool = True) -> Locator:
        """Return a button by the name that a screen reader says."""
        return self.page.get_by_role("button", name=name, exact=exact)

    def dialog(self) -> Locator:
        """Return the dialog that is open."""
        return self.page.get_by_role("dialog")

    def said(self, text: str) -> None:
        """Wait for a notice."""
        expect(self.page.locator("#notices")).to_contain_text(text)

    def row(self, name: str) -> Locator:
        """Return the row of a table whose head has this name."""
        head = self.page.get_by_role("rowheader").filter(has_text=name)
        return self.page.get_by_role("row").filter(has=head)

    def shoot(self, name: str, *, whole: bool = False) -> None:
        """Take a screenshot for the documentation, of what is seen or of the whole page."""
        IMAGES.mkdir(exist_ok=True)
        path = IMAGES / f"console-{name}.png"
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=path, full_page=whole, animations="disabled")

    def seen(self) -> str:
        """Return what the page shows, and what went wrong in it."""
        return "\n".join([self.page.url, self.page.inner_text("body"), *self.wrong])

    def check(self) -> None:
        """Fail where something went wrong."""
        assert not self.wrong, "\n".join(self.wrong)


class Chromium:
    """One browser for many visits."""

    def __init__(self) -> None:
        self._playwright = sync_playwright().start()
        self._browser: Browser = self._playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=60_000
        )
        self._states: dict[tuple[int, str], Any] = {}

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._browser.close()
        self._playwright.stop()

    @contextmanager
    def visit(
        self, http: Http, *, signed_in: bool = True, phone: bool = False, dark: bool = False
    ) -> Iterator[Visit]:
        """Open a page for the owner of a token."""
        host, port = http.address
        base = f"http://{host}:{port}"
        state = self._signed_in(http, base) if signed_in else None
        context = self._browser.new_context(
            viewport=PHONE if phone else WIDE,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            timezone_id="Europe/Berlin",
            locale="en-GB",
            storage_state=state,
        )
        try:
            visit = Visit(context.new_page(), base)
            try:
                yield visit
            except BaseException as error:
                error.add_note(visit.seen())
                raise
            visit.check()
        finally:
            context.close()

    def _signed_in(self, http: Http, base: str) -> Any:
        """Return what a browser keeps of a session; it is begun once for each token."""
        key = (http.address[1], http.token)
        if key not in self._states:
            context = self._browser.new_context()
            page = context.new_page()
            page.goto(f"{base}/")
            page.get_by_label("Token").fill(http.token)
            page.get_by_role("button", name="Sign in").click()
            page.locator("main.main h1").wait_for(timeout=WAIT_MS)
            self._states[key] = context.storage_state()
            context.close()
        return self._states[key]


def download_of(page: Page, link: Locator, to: Path) -> bytes:
    """Press a link that downloads; return the octets."""
    with page.expect_download() as waiting:
        link.click()
    waiting.value.save_as(to)
    return to.read_bytes()
