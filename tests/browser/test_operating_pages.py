"""Sites, channels, queues, relays and sources: what they show, and what their buttons do."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from tests.browser.town import Town
from tests.support.browser import Visit


def test_sites_are_filtered_and_ordered_by_the_address_and_tried_again(
    visit: Visit, town: Town
) -> None:
    main = visit.open("sites")
    expect(visit.row("relay:out")).to_be_visible()
    provider = visit.row("relay:strict")
    expect(provider).to_contain_text("unusual rate")
    main.get_by_label("Name contains").fill("strict")
    expect(main.get_by_role("rowheader")).to_have_count(1)
    expect(visit.page).to_have_url(re.compile("text=strict"))
    main.get_by_label("Order").select_option("backlog")
    expect(visit.page).to_have_url(re.compile("order=backlog"))
    visit.page.reload()
    expect(main.get_by_label("Name contains")).to_have_value("strict")
    expect(main.get_by_role("rowheader")).to_have_count(1)
    before = town.strict.counters.connections
    provider.get_by_role("button", name="Try relay:strict now").click()
    visit.said("relay:strict is tried now")
    expect(provider).to_contain_text("slow by rule too-many-connections")
    provider.get_by_role("button", name="Forget the lessons about relay:strict").click()
    visit.said("What replies said of relay:strict is forgotten")
    town.daemon.wait_until(lambda: town.strict.counters.connections > before, what="tried")
    main.get_by_label("Name contains").fill("nosuch")
    expect(main).to_contain_text("No site matches")
    main.get_by_role("link", name="Show all sites").click()
    expect(visit.row("relay:out")).to_be_visible()
    expect(provider).to_be_visible()


def _channel(town: Town, name: str) -> Any:
    return next(
        one["channel"]
        for one in town.operator.get("/channels")["items"]
        if one["channel"]["name"] == name
    )


def test_channels_are_sorted_suspended_and_resumed(visit: Visit, town: Town) -> None:
    main = visit.open("channels")
    names = main.get_by_role("rowheader")
    expect(names.first).to_contain_text("news")
    main.get_by_role("columnheader", name="Channel").get_by_role("button").click()
    expect(names.first).to_contain_text("default")
    expect(main.get_by_role("columnheader", name="Channel")).to_have_attribute(
        "aria-sort", "ascending"
    )
    expect(visit.page).to_have_url(re.compile("sort=name"))
    spare = visit.row("spare")
    spare.get_by_role("button", name="Suspend channel spare").click()
    visit.said("Channel spare is suspended")
    expect(spare).to_contain_text("suspended")
    assert _channel(town, "spare")["is_suspended"]
    spare.get_by_role("button", name="Resume channel spare").click()
    visit.said("Channel spare is resumed")
    expect(spare).to_contain_text("running")
    assert not _channel(town, "spare")["is_suspended"]


def test_limits_are_changed_after_a_forecast_and_taken_back(visit: Visit, town: Town) -> None:
    visit.allowed.append("409")
    main = visit.open("channel/news")
    connections = main.get_by_label("Connections of the channel")
    connections.fill("3")
    main.get_by_label("Rate of the channel").fill("60/1m")
    visit.button("Forecast").click()
    attempt = main.get_by_label("Length of one attempt in seconds")
    expect(attempt).to_be_visible()
    expect(main.get_by_role("alert").filter(has_text="pace of channel news")).to_be_visible()
    attempt.fill("2")
    visit.button("Forecast").click()
    expect(visit.row("As asked")).to_contain_text("3 at once, 60/1m")
    expect(visit.row("As asked")).to_contain_text("s")
    expect(connections).to_have_value("3")
    visit.button("Change the limits").click()
    expect(visit.dialog()).to_contain_text("Connections of the channel: 3")
    visit.dialog().get_by_role("button", name="Change them").click()
    visit.said("The limits of channel news are changed")
    assert _channel(town, "news")["concurrency_override"] == 3
    visit.button("Back to the configuration").click()
    visit.dialog().get_by_role("button", name="Change them").click()
    expect(visit.button("Back to the configuration")).to_have_count(0)
    assert _channel(town, "news")["concurrency_override"] is None


def test_a_limit_that_is_none_is_refused_with_what_was_expected(visit: Visit) -> None:
    visit.allowed.append("422")
    main = visit.open("channel/spare")
    main.get_by_label("Rate of the channel").fill("fast")
    visit.button("Forecast").click()
    expect(main.get_by_role("alert").filter(has_text="fast")).to_contain_text("Expected")


def test_queues_are_held_and_enabled_after_a_question(visit: Visit, town: Town) -> None:
    visit.open("queues")
    row = visit.row("queue3")
    hold = row.get_by_role("button", name="Hold queue3")
    hold.click()
    expect(visit.dialog()).to_contain_text("takes mail and attempts nothing")
    visit.page.keyboard.press("Escape")
    expect(visit.dialog()).to_have_count(0)
    expect(hold).to_be_focused()
    assert str(town.daemon.queue(3).queue_state) == "enabled"
    hold.click()
    visit.dialog().get_by_role("button", name="Hold queue3").click()
    visit.said("queue3 is held")
    expect(row).to_contain_text("held")
    assert str(town.daemon.queue(3).queue_state) == "held"
    row.get_by_role("button", name="Enable queue3").click()
    visit.said("queue3 is enabled")
    expect(row).to_contain_text("running")
    for verb, said in (("Drain", "draining"), ("Take offline", "offline")):
        row.get_by_role("button", name=f"{verb} queue3").click()
        visit.dialog().get_by_role("button", name=f"{verb} queue3").click()
        expect(row).to_contain_text(said)
        row.get_by_role("button", name="Enable queue3").click()
        expect(row.get_by_role("button", name="Hold queue3")).to_be_visible()


def test_delivery_is_suspended_as_a_whole_and_resumed(visit: Visit, town: Town) -> None:
    visit.open("queues")
    visit.button("Suspend delivery").click()
    visit.dialog().get_by_role("button", name="Suspend delivery").click()
    resume = visit.button("Resume delivery")
    expect(resume).to_be_visible()
    assert town.daemon.status().delivery == "suspended"
    resume.click()
    expect(visit.button("Suspend delivery")).to_be_visible()
    assert town.daemon.status().delivery == "running"


def test_a_relay_that_is_down_is_shown_and_tried_now(visit: Visit, town: Town) -> None:
    main = visit.open("relays")
    route = main.get_by_role("region", name="Route out")
    down = route.get_by_role("row").filter(has_text="127.0.0.1:1").filter(has_text="refused")
    expect(down).to_contain_text("down")
    expect(down).to_contain_text("of 30 % meant")
    down.get_by_role("button", name="Try 127.0.0.1:1 now").click()
    visit.said("127.0.0.1:1 is tried now")


def test_a_source_is_paused_towards_one_site_and_resumed(visit: Visit, town: Town) -> None:
    visit.open("sources")
    visit.row("east").get_by_role("button", name="Pause source east").click()
    dialog = visit.dialog()
    expect(dialog.get_by_label("Towards one site only")).to_be_focused()
    dialog.get_by_label("Towards one site only").fill("mx.big.example")
    dialog.get_by_label("For how many hours").fill("2")
    dialog.get_by_label("Why").fill("too many complaints")
    dialog.get_by_role("button", name="Pause east").click()
    visit.said("Source east is paused")
    row = visit.row("east")
    expect(row).to_contain_text("towards mx.big.example: too many complaints")
    row.get_by_role("button", name="Resume source east towards mx.big.example").click()
    visit.said("Source east is resumed")
    expect(row).not_to_contain_text("too many complaints")
