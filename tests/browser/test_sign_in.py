"""Signing in with a token, and out; what each role sees."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from postroom.control.tokens import Role
from tests.browser.town import Town
from tests.support.browser import Chromium
from tests.support.http import Http

CHANGES = re.compile(
    r"^(Resume|Suspend|Pause|Hold|Release|Drain|Take|Enable|Try|Forget|Delete|Bounce|Move|Reroute"
    r"|Quarantine|Limits$|Change|Back)"
)


def test_a_wrong_token_is_told_and_a_right_one_signs_in_and_out(
    chromium: Chromium, town: Town
) -> None:
    with chromium.visit(town.operator, signed_in=False) as visit:
        page = visit.page
        visit.allowed.append("401")
        page.goto(f"{visit.base}/#/queues")
        expect(page.get_by_label("Token")).to_be_focused()
        page.get_by_label("Token").fill("prm_wrong")
        page.keyboard.press("Enter")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("The token is not valid", ignore_case=True)
        expect(alert).to_contain_text("postroom token create")

        page.get_by_label("Token").fill(town.operator.token)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Queues and disks")
        expect(page.get_by_role("banner")).to_contain_text("anna")
        expect(page.get_by_role("banner")).to_contain_text("operator")
        assert town.operator.token not in page.content()
        assert town.operator.token not in str(page.evaluate("JSON.stringify(localStorage)"))

        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("Queues and disks")
        visit.button("Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        assert page.evaluate("fetch('/api/v1/session').then(r => r.status)") == 401


def test_a_viewer_sees_every_page_and_no_button_that_changes_anything(
    chromium: Chromium, town: Town
) -> None:
    with chromium.visit(town.viewer) as visit:
        for view in (
            "overview",
            "sites",
            "channels",
            "channel/news",
            "queues",
            "relays",
            "sources",
        ):
            visit.open(view)
            names = visit.page.get_by_role("button").all_inner_texts()
            assert not [name for name in names if CHANGES.match(name)], (view, names)
        expect(visit.page.get_by_role("banner")).to_contain_text("viewer")


def test_an_injector_is_told_what_token_is_needed(chromium: Chromium, town: Town) -> None:
    injector = Http.of(town.daemon, Role.INJECTOR, "app")
    with chromium.visit(injector, signed_in=False) as visit:
        visit.page.goto(f"{visit.base}/")
        visit.page.get_by_label("Token").fill(injector.token)
        visit.button("Sign in").click()
        expect(visit.page.get_by_role("alert")).to_contain_text("--role viewer")


def test_a_session_that_ends_leads_back_to_the_same_page(chromium: Chromium, town: Town) -> None:
    with chromium.visit(town.operator, signed_in=False) as visit:
        visit.allowed += ["401", "ERR_"]
        page = visit.page
        page.goto(f"{visit.base}/#/sites?order=backlog")
        page.get_by_label("Token").fill(town.operator.token)
        visit.button("Sign in").click()
        expect(page.get_by_label("Order")).to_have_value("backlog")
        page.context.clear_cookies()
        expect(page.get_by_text("The session is over")).to_be_visible()
        page.get_by_label("Token").fill(town.operator.token)
        visit.button("Sign in").click()
        expect(page.get_by_label("Order")).to_have_value("backlog")
