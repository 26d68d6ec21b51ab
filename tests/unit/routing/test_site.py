"""Names of sites."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroom.routing.site import NAME_MAX, mx_site


def test_one_host_is_its_own_site() -> None:
    assert mx_site(["mx.example.org"]) == "mx.example.org"
    assert mx_site(["mx.example.org"], port=2525) == "mx.example.org:2525"


def test_hosts_below_one_domain_are_written_together() -> None:
    hosts = ["alt2.gmail-smtp-in.l.google.com", "gmail-smtp-in.l.google.com"]
    assert mx_site(hosts) == "{alt2.gmail-smtp-in,gmail-smtp-in}.l.google.com"


def test_hosts_with_nothing_in_common_are_listed() -> None:
    assert mx_site(["mx.example.org", "mx.example.net"]) == "mx.example.net+mx.example.org"
    assert mx_site(["a.example.net", "b.sample.net"]) == "a.example.net+b.sample.net"
    assert mx_site(["example.org", "mx.example.org"]) == "example.org+mx.example.org"


def test_a_long_set_is_cut_and_stays_unique() -> None:
    names = [mx_site([f"host{n}.mail{n}.example{n}.org" for n in range(m)]) for m in (20, 21)]
    assert all(len(name) <= NAME_MAX for name in names)
    assert names[0] != names[1]


hosts = st.sets(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join), min_size=1, max_size=4
)


@given(hosts, hosts)
def test_different_sets_have_different_names(one: set[str], other: set[str]) -> None:
    assert (mx_site(one) == mx_site(other)) == (one == other)
