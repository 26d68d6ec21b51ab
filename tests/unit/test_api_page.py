"""docs/api.md and docs/openapi.json are what the table of routes makes of them."""

from __future__ import annotations

from postroom.api.openapi import document
from postroom.api.route import Nothing
from postroom.api.routes import ROUTES
from tools import make_openapi


def test_the_page_and_the_document_are_current() -> None:
    assert make_openapi.current(), "run: python tools/make_openapi.py --write"


def test_every_operation_has_a_name_of_its_own() -> None:
    made = document(ROUTES)
    names = [one["operationId"] for path in made["paths"].values() for one in path.values()]
    assert len(names) == len(set(names)) == len(ROUTES)


def test_paths_and_their_types_agree() -> None:
    for route in ROUTES:
        fields = route.path_type.__struct_fields__
        assert ("{" in route.path) == (route.path_type is not Nothing), route.path
        assert all("{" + name + "}" in route.path for name in fields), route.path


def test_only_health_login_and_the_document_need_no_token() -> None:
    free = {route.full_path for route in ROUTES if route.roles is None}
    assert free == {"/healthz", "/readyz", "/api/v1/session", "/api/v1/openapi.json"}


def test_what_changes_anything_is_for_operators() -> None:
    for route in ROUTES:
        if route.method != "GET" and route.tag not in ("access", "send"):
            assert route.roles == {"operator"}, route.path
