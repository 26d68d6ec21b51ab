"""What holds of every page: accessible by axe, fit for a phone, and inert text of others."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.town import Town
from tests.support.browser import Chromium, Visit

VIEWS = (
    "overview", "messages", "message", "sites", "channels", "channel/lists", "queues", "relays",
    "sources", "nosuch",
)  # fmt: skip
TOO_WIDE = """
    const right = (one) => one.getBoundingClientRect().right;
    return [...document.querySelectorAll('.panel table, .panel pre, .panel dl')]
        .filter((one) => right(one) > right(one.closest('.panel')) + 1)
        .map((one) => one.innerText);
"""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def _check_axe(visit: Visit, *rules: str) -> None:
    only = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else RULES
    found = Axe().run(visit.page, options=only)
    assert not found.violations_count, found.generate_report()


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_is_accessible_in_light_and_dark_and_fits_a_phone(
    view: str, visit: Visit, town: Town
) -> None:
    if view == "message":
        view = f"message/{town.operator.get('/messages', limit=1)['items'][0]['id']}"
    visit.open(view)
    expect(visit.page).to_have_title(re.compile(r".+ - Postroom"))
    assert visit.page.get_by_role("heading", level=1).count() == 1
    _check_axe(visit)
    for width in (1280, 1024, 800):
        visit.page.set_viewport_size({"width": width, "height": 800})
        assert visit.page.evaluate(f"() => {{ {TOO_WIDE} }}") == [], width
    visit.page.emulate_media(color_scheme="dark")
    _check_axe(visit, "color-contrast", "link-in-text-block")
    visit.page.set_viewport_size({"width": 360, "height": 740})
    expect(visit.button("Menu")).to_be_visible()
    width, inner = visit.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner
    _check_axe(visit, "color-contrast", "target-size", "aria-required-children")


def test_the_sign_in_is_accessible(chromium: Chromium, town: Town) -> None:
    for phone in (False, True):
        with chromium.visit(town.operator, signed_in=False, phone=phone) as visit:
            visit.page.goto(f"{visit.base}/")
            expect(visit.page.get_by_label("Token")).to_be_visible()
            _check_axe(visit)


def test_dialogs_are_accessible(visit: Visit) -> None:
    visit.open("queues")
    visit.button("Drain queue2").click()
    expect(visit.dialog()).to_be_visible()
    _check_axe(visit)


def test_text_of_hostile_hosts_never_becomes_markup(visit: Visit) -> None:
    main = visit.open("sites")
    expect(main).to_contain_text("onerror=\"document.title='pwned'\"")
    assert visit.page.locator("img, iframe, object").count() == 0
    assert "pwned" not in visit.page.title()


def test_everything_is_done_by_keys_alone(chromium: Chromium, town: Town) -> None:
    with chromium.visit(town.operator, signed_in=False) as visit:
        page = visit.page
        page.goto(f"{visit.base}/#/overview")
        expect(page.get_by_label("Token")).to_be_focused()
        page.keyboard.insert_text(town.operator.token)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
        _tab_to(visit, "Channels", "Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Channels")
        expect(page.locator("main#main")).to_be_focused()
        _tab_to(visit, "Suspend channel spare", "Tab")
        page.keyboard.press("Enter")
        visit.said("Channel spare is suspended")
        expect(visit.button("Resume channel spare")).to_be_focused()
        page.keyboard.press("Space")
        visit.said("Channel spare is resumed")


def test_what_is_typed_stays_while_figures_come(visit: Visit) -> None:
    main = visit.open("messages")
    visit.page.get_by_label("Filter", exact=True).press_sequentially("state=deferred", delay=250)
    expect(visit.page.get_by_label("Filter", exact=True)).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.page).to_have_url(re.compile("q=state%3Ddeferred"))
    expect(main.get_by_role("cell", name="deferred").first).to_be_visible()
    visit.open("sources")
    visit.button("Pause source east").click()
    visit.dialog().get_by_label("Why").press_sequentially("too many", delay=400)
    expect(visit.dialog().get_by_label("Why")).to_have_value("too many")
    expect(visit.dialog().get_by_label("Why")).to_be_focused()
    visit.open("sites")
    visit.page.get_by_label("Name contains").press_sequentially("strict", delay=400)
    expect(visit.page.get_by_label("Name contains")).to_be_focused()
    expect(visit.page.get_by_role("rowheader")).to_have_count(1)


TABS_MAX = 80
NAMED = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"


def _tab_to(visit: Visit, name: str, key: str) -> None:
    for _ in range(TABS_MAX):
        visit.page.keyboard.press(key)
        if visit.page.evaluate(NAMED).strip() == name:
            return
    raise AssertionError(f"{TABS_MAX} times {key} do not lead to {name}")
