"""The life of one message: recipients, why they wait, events, transcript, content."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.town import MARKUP, Town
from tests.support.browser import Chromium, Visit, download_of


def _hostile(town: Town) -> str:
    found = town.operator.get("/messages", filter="recipient=hostile@lists.example")["items"]
    return str(found[0]["id"])


def test_a_message_shows_what_became_of_each_recipient_and_why(
    visit: Visit, town: Town, tmp_path: Path
) -> None:
    queue_id = _hostile(town)
    main = visit.open(f"message/{queue_id}")
    expect(main.get_by_role("heading", level=1)).to_contain_text(queue_id)
    hostile = visit.row("hostile@lists.example")
    expect(hostile).to_contain_text("451 4.7.1 <img src=x onerror=")
    second = visit.row("second@news.example")
    expect(second).to_contain_text("channel news is suspended by an operator")
    expect(main).to_contain_text('"<b>bold</b>"@sender.example')
    timeline = main.get_by_role("region", name="What happened")
    expect(timeline.get_by_role("listitem").first).to_contain_text("accepted")
    expect(timeline).to_contain_text("deferred")
    visit.button("Show it").click()
    expect(main.get_by_label("Transcript", exact=True)).to_contain_text(
        "RCPT TO:<hostile@lists.example>"
    )
    content = download_of(
        visit.page, main.get_by_role("link", name="Download"), tmp_path / "content.eml"
    )
    assert MARKUP.encode() in content
    assert visit.page.locator("img, iframe, b").count() == 0
    assert "pwned" not in visit.page.title()


def test_a_viewer_reads_no_content(chromium: Chromium, town: Town) -> None:
    with chromium.visit(town.viewer) as visit:
        main = visit.open(f"message/{_hostile(town)}")
        expect(visit.row("hostile@lists.example")).to_be_visible()
        expect(main.get_by_role("link", name="Download")).to_have_count(0)
        expect(main.get_by_role("button", name="Show it")).to_have_count(0)
        expect(main.get_by_role("group", name="Do something to it")).to_have_count(0)


def test_a_message_is_held_and_deleted_from_its_page(visit: Visit, town: Town) -> None:
    visit.allowed.append("404")
    town.daemon.send("alone@bulk.example", ["reader@news.example"])
    [one] = town.operator.get("/messages", filter="sender=alone@bulk.example")["items"]
    main = visit.open(f"message/{one['id']}")
    visit.button("Hold …").click()
    visit.dialog().get_by_role("button", name="Hold 1 message").click()
    visit.said("1 message held")
    expect(main.get_by_role("region", name="State")).to_contain_text("held")
    visit.button("Delete …").click()
    visit.dialog().get_by_label("Type 1 to confirm").fill("1")
    visit.dialog().get_by_role("button", name="Delete 1 message").click()
    visit.said("1 message deleted")
    expect(main).to_contain_text("It is in no queue")
    expect(main.get_by_role("region", name="What happened")).to_contain_text("accepted")
