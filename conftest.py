"""Options of the test run."""

from __future__ import annotations

from hypothesis import settings

from tests.support.seed_table import pytest_addoption, pytest_configure

__all__ = ["pytest_addoption", "pytest_configure"]

# No test is timed: another program may have the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
