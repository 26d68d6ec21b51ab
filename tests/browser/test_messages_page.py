"""Messages: found by the filter language, page by page; verbs over many, counted first."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.town import Town
from tests.support.browser import Chromium, Visit


def _mail(town: Town, sender: str, many: int, to: str = "reader") -> None:
    """Have mail wait in the suspended channel."""
    town.daemon.send_each(f"{sender}@bulk.example", [f"{to}{n}@news.example" for n in range(many)])


def _messages(town: Town, filter: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = town.operator.get("/messages", filter=filter)["items"]
    return found


def _search(visit: Visit, filter: str) -> None:
    box = visit.page.get_by_label("Filter", exact=True)
    box.fill(filter)
    box.press("Enter")


def test_a_filter_finds_messages_and_stays_in_the_address(visit: Visit, town: Town) -> None:
    _mail(town, "found", 3)
    main = visit.open("messages")
    _search(visit, "sender=found@bulk.example")
    rows = main.get_by_role("rowheader")
    expect(rows).to_have_count(3)
    expect(visit.page).to_have_url(re.compile("q=sender"))
    visit.page.reload()
    expect(rows).to_have_count(3)
    expect(visit.page.get_by_label("Filter", exact=True)).to_have_value("sender=found@bulk.example")
    _search(visit, "sender=nobody@bulk.example")
    expect(main).to_contain_text("No message matches")
    visit.page.go_back()
    expect(rows).to_have_count(3)


def test_a_filter_that_means_nothing_is_told_and_help_is_there(visit: Visit) -> None:
    visit.allowed += ["400", "422"]
    main = visit.open("messages")
    _search(visit, "stat=deferred")
    wrong = main.get_by_role("alert")
    expect(wrong).to_contain_text("stat")
    expect(wrong).to_contain_text("Expected")
    expect(visit.page.get_by_label("Filter", exact=True)).to_have_attribute("aria-invalid", "true")
    main.get_by_text("How to write a filter").click()
    visit.page.get_by_label("Filter", exact=True).fill("")
    main.get_by_role("button", name="Add state=deferred").click()
    expect(visit.page.get_by_label("Filter", exact=True)).to_have_value("state=deferred")
    visit.page.keyboard.press("Enter")
    expect(main.get_by_role("cell", name="deferred").first).to_be_visible()


def test_a_long_listing_comes_in_parts(visit: Visit, town: Town) -> None:
    _mail(town, "parts", 60)
    main = visit.open("messages?q=sender%3Dparts@bulk.example")
    rows = main.get_by_role("rowheader")
    expect(rows).to_have_count(50)
    main.get_by_role("link", name="Next part").click()
    expect(rows).to_have_count(10)
    main.get_by_role("link", name="First part").click()
    expect(rows).to_have_count(50)


def test_a_viewer_searches_and_changes_nothing(chromium: Chromium, town: Town) -> None:
    with chromium.visit(town.viewer) as visit:
        main = visit.open("messages?q=domain%3Dnews.example")
        expect(main.get_by_role("rowheader").first).to_be_visible()
        expect(main.get_by_role("checkbox")).to_have_count(0)
        expect(main.get_by_role("group", name="Do something to them")).to_have_count(0)


VERBS = {
    "hold": ("Hold", "held"),
    "release": ("Release", "released"),
    "quarantine": ("Quarantine", "quarantined"),
    "reroute": ("Reroute", "rerouted"),
    "run": ("Try now", "due now"),
    "move": ("Move", "moved"),
    "bounce": ("Bounce", "bounced"),
    "delete": ("Delete", "deleted"),
}


def _prepare(town: Town, verb: str) -> str:
    """Have three messages that the verb can be done to; return their filter."""
    filter = f"sender={verb}@bulk.example"
    if verb == "run":
        town.daemon.send_each("run@bulk.example", [f"late-run{n}@a.example" for n in range(3)])
        town.daemon.wait_until(lambda: len(_messages(town, f"{filter} state=deferred")) == 3)
    else:
        _mail(town, verb, 3)
    if verb == "release":
        town.operator.post("/mail/hold", {"filter": filter, "reason": "test"})
    return filter


def _is_done(town: Town, verb: str, filter: str) -> bool:
    found = _messages(town, filter)
    match verb:
        case "hold" | "quarantine":
            return len(found) == 3 and all("complaints" in str(one["hold"]) for one in found)
        case "release" | "reroute":
            return len(found) == 3 and not any(one["hold"] for one in found)
        case "run":
            return all(one["recipients"][0]["attempts"] >= 2 for one in found)  # type: ignore[index]
        case "move":
            return [one["queue"] for one in found] == [1, 1, 1]
        case _:
            return not found


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_counted_confirmed_by_its_number_and_done(
    verb: str, visit: Visit, town: Town
) -> None:
    label, done = VERBS[verb]
    filter = _prepare(town, verb)
    visit.open("messages")
    _search(visit, filter)
    expect(visit.page.get_by_role("rowheader")).to_have_count(3)
    visit.button(f"{label} …").click()
    dialog = visit.dialog()
    if verb == "move":
        dialog.get_by_label("To queue").select_option("1")
        moved = sum(one["queue"] != 1 for one in _messages(town, filter))
    else:
        moved = 3
    count = f"{moved} message" + ("s" if moved != 1 else "")
    if moved:
        expect(dialog).to_contain_text(f"{count} would be {done}")
        expect(dialog.get_by_role("listitem").first).to_contain_text(f"{verb}@bulk.example")
        yes = dialog.get_by_role("button", name=f"{label} {count}")
        if verb in ("bounce", "delete"):
            expect(yes).to_be_disabled()
            dialog.get_by_label(f"Type {moved} to confirm").fill(str(moved))
        if verb in ("hold", "quarantine"):
            dialog.get_by_label("Why").fill("too many complaints")
        yes.click()
        visit.said(f"{count} {done}")
    town.daemon.wait_until(lambda: _is_done(town, verb, filter), what=verb)


def test_only_the_messages_that_are_picked_are_meant(visit: Visit, town: Town) -> None:
    _mail(town, "picked", 3)
    main = visit.open("messages?q=sender%3Dpicked@bulk.example")
    boxes = main.get_by_role("checkbox", name=re.compile("^Select (?!all)"))
    expect(boxes).to_have_count(3)
    boxes.nth(0).check()
    boxes.nth(2).check()
    expect(main.get_by_text("2 messages picked")).to_be_visible()
    visit.button("Hold …").click()
    visit.dialog().get_by_role("button", name="Hold 2 messages").click()
    visit.said("2 messages held")
    assert len(_messages(town, "sender=picked@bulk.example state=held")) == 2
    main.get_by_role("checkbox", name="Select all on this page").check()
    expect(main.get_by_text("3 messages picked")).to_be_visible()


def test_what_matches_nothing_is_not_done(visit: Visit, town: Town) -> None:
    _mail(town, "nothing", 1)
    visit.open("messages?q=sender%3Dnothing@bulk.example")
    expect(visit.page.get_by_role("rowheader")).to_have_count(1)
    town.operator.post("/mail/delete", {"filter": "sender=nothing@bulk.example"})
    visit.button("Hold …").click()
    expect(visit.dialog()).to_contain_text("No message would be held")
    visit.page.keyboard.press("Escape")
    expect(visit.dialog()).to_have_count(0)
    expect(visit.button("Hold …")).to_be_focused()


def test_what_is_much_is_done_queue_by_queue(visit: Visit, town: Town) -> None:
    _mail(town, "much", 1100)
    asked: list[str] = []
    visit.page.on(
        "request",
        lambda request: asked.append(request.post_data or "") if "/mail/" in request.url else None,
    )
    visit.open("messages?q=sender%3Dmuch@bulk.example")
    expect(visit.page.get_by_role("rowheader")).to_have_count(50)
    visit.button("Hold …").click()
    visit.dialog().get_by_role("button", name="Hold 1,100 messages").click()
    visit.said("1,100 messages held")
    done = [one for one in asked if "dry_run" not in one]
    assert [re.findall(r"queue=\d", one) for one in done] == [["queue=1"], ["queue=2"], ["queue=3"]]
    counted = {"filter": "sender=much@bulk.example state=held", "dry_run": True}
    assert town.operator.post("/mail/delete", counted)["count"] == 1100
