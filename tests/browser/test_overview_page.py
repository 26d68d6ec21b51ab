"""The overview: what is stuck, why, and what can be done; how fresh it is."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.town import Town
from tests.support.browser import Chromium, Visit

DRAWN = re.compile("^M.*L")


def test_what_is_stuck_stands_first_with_its_reason_and_what_helps(
    visit: Visit, town: Town
) -> None:
    main = visit.open("overview")
    first = main.locator("section").first
    expect(first.get_by_role("heading", level=2)).to_contain_text("stuck")
    news = first.get_by_role("listitem").filter(has_text="Channel news")
    expect(news).to_contain_text("suspended by an operator")
    expect(news).to_contain_text("postroom channel resume news")
    expect(news).to_contain_text(re.compile(r"\d+ recipients wait"))
    expect(first).to_contain_text("on a blocklist")
    expect(first).to_contain_text("unusual rate")
    expect(visit.page.get_by_text("Live", exact=True)).to_be_visible()
    expect(main.get_by_role("heading", name="Backlog")).to_be_visible()
    expect(main.locator(".spark .line").first).to_have_attribute("d", DRAWN)

    source = first.get_by_role("listitem").filter(has_text="Source west")
    source.get_by_role("button", name="Resume: west").click()
    visit.said("Source west is resumed")
    expect(source).to_have_count(0)
    pause = {"name": "west", "site": "", "for_s": 7200.0, "reason": "on a blocklist"}
    town.daemon.control("source pause", pause)
    expect(source).to_have_count(1)


def test_it_looks_right_in_the_dark_and_on_a_phone(chromium: Chromium, town: Town) -> None:
    with chromium.visit(town.operator, dark=True) as visit:
        main = visit.open("overview")
        expect(main.locator(".spark .line").first).to_have_attribute("d", DRAWN)
        ground = "getComputedStyle(document.body).backgroundColor"
        assert visit.page.evaluate(ground) == "rgb(14, 18, 23)"
        visit.button("Theme: system").click()
        expect(visit.button("Theme: light")).to_be_visible()
        assert visit.page.evaluate(ground) == "rgb(244, 245, 247)"
        visit.page.reload()
        expect(visit.button("Theme: light")).to_be_visible()
    with chromium.visit(town.operator, phone=True) as visit:
        visit.open("overview")
        expect(visit.page.get_by_role("link", name="Channels", exact=True)).to_be_hidden()
        visit.button("Menu").click()
        visit.page.get_by_role("link", name="Channels", exact=True).click()
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("Channels")


def test_each_part_of_the_backlog_leads_to_its_messages(visit: Visit) -> None:
    for part in ("waiting", "deferred", "scheduled", "held", "quarantined"):
        main = visit.open("overview")
        main.get_by_role("link", name=part, exact=True).click()
        expect(visit.page.get_by_label("Filter", exact=True)).to_have_value(f"state={part}")
        expect(main.get_by_text("Asking the server")).to_have_count(0)
        expect(main.get_by_role("alert")).to_be_empty()


def test_an_address_without_a_page_says_so(visit: Visit) -> None:
    main = visit.open("nosuch")
    expect(main).to_contain_text("There is nothing at this address")
    main.get_by_role("link", name="To the overview").click()
    expect(visit.page).to_have_title(re.compile("Overview"))
