"""The pictures of docs/how-to/console.md: `make screenshots` takes them anew."""

from __future__ import annotations

import os
import re

import pytest
from playwright.sync_api import expect

from tests.browser.town import Town
from tests.support.browser import Chromium, Visit

pytestmark = pytest.mark.skipif(
    not os.environ.get("POSTROOM_SCREENSHOTS"), reason="'make screenshots' takes them anew"
)
LONG = re.compile(r"(L[0-9.,]+){45}")


def _grow(visit: Visit, town: Town) -> None:
    """Send mail until the lines of the rates have some length."""
    main = visit.open("overview")
    line = main.locator(".spark .line").first
    for number in range(1000):
        if LONG.search(line.get_attribute("d") or ""):
            return
        many = 4 + number % 7
        town.daemon.send_each("bounces@sender.example", ["reader@lists.example"] * many)
        visit.page.wait_for_timeout(300)
    raise AssertionError("no lines")


@pytest.mark.timeout(400)
def test_the_pictures(chromium: Chromium) -> None:
    with Town(is_hostile=False) as town:
        with chromium.visit(town.operator, signed_in=False) as visit:
            visit.page.goto(f"{visit.base}/")
            expect(visit.page.get_by_label("Token")).to_be_focused()
            visit.shoot("sign-in")
        with chromium.visit(town.operator) as visit:
            visit.allowed.append("409")
            _grow(visit, town)
            visit.shoot("overview", whole=True)
            visit.page.emulate_media(color_scheme="dark")
            visit.shoot("overview-dark", whole=True)
            visit.page.emulate_media(color_scheme="light")
            visit.page.set_viewport_size({"width": 360, "height": 740})
            visit.shoot("overview-phone")
            visit.page.set_viewport_size({"width": 1280, "height": 800})
            for view in ("sites", "channels", "queues", "relays", "sources"):
                visit.open(view)
                visit.shoot(view)
            _take_limits(visit)
            _take_messages(visit, town)


def _take_limits(visit: Visit) -> None:
    main = visit.open("channel/news")
    main.get_by_label("Connections of the channel").fill("3")
    visit.button("Forecast").click()
    main.get_by_label("Length of one attempt in seconds").fill("2")
    visit.button("Forecast").click()
    expect(visit.row("As asked")).to_be_visible()
    visit.shoot("limits")


def _take_messages(visit: Visit, town: Town) -> None:
    main = visit.open("messages?q=domain%3Dnews.example")
    expect(main.get_by_role("rowheader").first).to_be_visible()
    visit.shoot("messages")
    visit.button("Delete …").click()
    expect(visit.dialog()).to_contain_text("would be deleted")
    visit.shoot("delete")
    visit.page.keyboard.press("Escape")
    [late] = town.operator.get("/messages", filter="recipient=late0@a.example")["items"]
    visit.open(f"message/{late['id']}")
    expect(visit.row("late0@a.example")).to_be_visible()
    visit.shoot("message")
