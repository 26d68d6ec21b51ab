"""The tenant of a message is the first that a rule of names, or the default one, or none."""

from __future__ import annotations

from postroom.groups.tenants import TenantPolicy, TenantTable

SHOP = TenantPolicy("shop", users=("shop",), senders=("orders@example.com",))
CLUB = TenantPolicy("club", senders=(".example.com",), listeners=("club",), origin="x.toml:4")


def test_a_tenant_is_found_by_user_sender_and_listener_and_the_first_wins() -> None:
    table = TenantTable((SHOP, CLUB))
    assert table.name_of("a@b.example", "smtp", "shop") == "shop"
    assert table.name_of("orders@EXAMPLE.com", "club", "") == "shop"
    assert table.name_of("a@example.com", "smtp", "") == "club"
    assert table.name_of("a@b.example", "club", "") == "club"
    assert str(table.reason("a@b.example", "club", "")) == 'tenant club (x.toml:4): listener "club"'


def test_other_mail_has_no_tenant_unless_there_is_a_default_one() -> None:
    assert TenantTable().is_empty and TenantTable().name_of("a@b.example", "", "shop") == ""
    table = TenantTable((SHOP, CLUB))
    assert table.name_of("", "smtp", "") == "" and table.reason("", "smtp", "") is None
    table = TenantTable((TenantPolicy("default"), SHOP))
    assert table.name_of("", "smtp", "") == "default"
    assert table.name_of("", "smtp", "shop") == "shop"
