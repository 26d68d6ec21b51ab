"""Pages say when what they show is old, and when the server is gone."""

from __future__ import annotations

import os
import re
import signal

from playwright.sync_api import expect

from postroom.control.tokens import Role
from tests.support.browser import Chromium
from tests.support.daemon import Daemon
from tests.support.http import CONSOLE, Http


def test_old_figures_and_a_server_that_is_gone_are_told(chromium: Chromium) -> None:
    with Daemon(queues=1, config=CONSOLE) as daemon:
        http = Http.of(daemon, Role.VIEWER)
        with chromium.visit(http) as visit:
            visit.allowed += ["Failed to load resource", "ERR_"]
            main = visit.open("overview")
            live = visit.page.get_by_text("Live", exact=True)
            expect(live).to_be_visible()
            expect(main).to_contain_text("Nothing is stuck")
            [console] = [one.pid for one in daemon.status().companions]
            os.kill(console, signal.SIGSTOP)
            try:
                expect(main).to_contain_text("Nothing new has come since")
                expect(visit.page.locator(".pulse")).to_contain_text("old")
            finally:
                os.kill(console, signal.SIGCONT)
            expect(visit.page.locator(".pulse")).to_have_text(re.compile("Live|Every"))
            expect(main).not_to_contain_text("Nothing new has come since")
            daemon.stop()
            expect(main).to_contain_text("The server does not answer")
            expect(main).to_contain_text("postroom status")
            expect(visit.page.locator(".pulse")).to_have_text("No answer")
