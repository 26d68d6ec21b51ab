"""Which address a client has, and what it may do by it."""

from __future__ import annotations

import pytest

from postroom.ingress.access import Networks, normal_address
from postroom.ingress.policy import ListenPolicy
from postroom.ingress.settings import ListenSettings


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:a01:203", "10.1.2.3"),
        ("::FFFF:A01:203", "10.1.2.3"),
        ("0:0:0:0:0:ffff:10.1.2.3", "10.1.2.3"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("10.1.2.3", "10.1.2.3"),
        ("", ""),
    ],
)
def test_one_client_has_one_address_however_it_is_written(written: str, meant: str) -> None:
    assert normal_address(written) == meant
    if meant == "10.1.2.3":
        assert Networks(["10.0.0.0/8"]).contains(normal_address(written))


def test_a_client_that_a_proxy_names_has_the_rights_of_its_address_alone() -> None:
    policy = ListenPolicy(
        name="smtp", relay_from=("10.0.0.0/8", "127.0.0.0/8"), xclient=("10.0.0.5",)
    )
    settings = ListenSettings(policy)
    proxy = settings.rights("10.0.0.5")
    assert settings.rights_named(proxy, "::ffff:a01:203").may_relay
    for address in ("198.51.100.7", "::ffff:198.51.100.7", "::ffff:c633:6407", "", "::"):
        assert not settings.rights_named(proxy, address).may_relay, address
