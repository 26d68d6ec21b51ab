"""The sites and their hosts, as all queues together see them, and a purge that has them tried."""

from __future__ import annotations

import time

import pytest

from tests.scenarios.test_relay_pools import pool, relay, send
from tests.support.command_line import in_json, postroom
from tests.support.daemon import Daemon
from tests.support.ports import free_port
from tests.support.sink import SinkThread


@pytest.mark.seed(39)
def test_sites_are_listed_with_their_hosts_and_a_purge_has_them_tried_at_once() -> None:
    port = free_port()
    host = f"127.0.0.1:{port}"
    with SinkThread() as other:
        config = pool(relay(port, "weight = 1")).replace('probe = "2s"', 'probe = "1h"') + (
            "[channel.default]\nretry = 'list 1h for 5d'\n"
            f"[route.other]\ntype = 'relay'\nhost = '127.0.0.1:{other.port}'\n"
            "[channel.other]\nmatch = ['other.example']\nroute = 'other'\n"
        )
        with Daemon(queues=2, config=config) as daemon:
            assert postroom(daemon, "site", "list") == (
                0,
                "no site has mail, and no host is down\n",
            )
            send(daemon, 0, 20)
            daemon.send_each("a@example.org", ["x@other.example"])
            other.wait_for(1)
            daemon.wait_for_event("host-down")
            daemon.wait_until(lambda: len(daemon.events("deferred")) >= 20, what="deferred")

            code, text = postroom(daemon, "site", "list")
            assert code == 1 and "DOWN" in text and "refused" in text
            down, up = in_json(daemon, "site", "list")
            assert (down["site"], down["host"], down["state"]) == ("relay:default", host, "down")
            assert 0 < time.time() - down["since"] < 60 and "refused" in down["reply"]
            assert 3000 < down["next_at"] - time.time() <= 1.2 * 3600
            assert (up["site"], up["state"], up["connections"]) == ("relay:other", "up", 1)
            assert in_json(daemon, "site", "list", "relay:o*") == [up]
            assert [one["host"] for one in in_json(daemon, "site", "list", "127.0.0.1:*")] == [
                host, up["host"],
            ]  # fmt: skip
            assert in_json(daemon, "site", "list", "nosuch") == []

            assert postroom(daemon, "site", "purge")[0] == 2
            assert postroom(daemon, "site", "purge", "x", "--all")[0] == 2
            code, text = postroom(daemon, "site", "purge", "nosuch")
            assert code == 1 and "postroom site list" in text
            code, text = postroom(daemon, "site", "purge", "relay:other")
            assert code == 0 and "works" in text
            with SinkThread(port=port) as main:
                code, text = postroom(daemon, "site", "purge", "--all", "--dry-run")
                assert code == 0 and "1 host would be tried" in text and host in text
                assert in_json(daemon, "site", "list", host)[0]["state"] == "down"
                time.sleep(0.3)
                assert not main.messages
                code, text = postroom(daemon, "site", "purge", host)
                assert code == 0 and "1 host will be tried" in text
                main.wait_for(20)
                assert in_json(daemon, "site", "list", host)[0]["state"] == "spared"
