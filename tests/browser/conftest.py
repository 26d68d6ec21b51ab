"""One browser and one server for all tests of a process; a test that breaks one has its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.town import Town
from tests.support.browser import Chromium, Visit, missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser where there is none, and say how to get one."""
    why = missing()
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker(pytest.mark.peer)
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    with Chromium() as one:
        yield one


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    with Town() as one:
        yield one


@pytest.fixture
def visit(chromium: Chromium, town: Town) -> Iterator[Visit]:
    """A page of an operator who is signed in."""
    with chromium.visit(town.operator) as one:
        yield one
