"""Options of the test run."""

from __future__ import annotations

from hypothesis import settings

from tests.support.examples import DEFAULT_COUNT, examples
from tests.support.seed_table import pytest_addoption, pytest_configure

__all__ = ["pytest_addoption", "pytest_configure"]

settings.register_profile("postroom", examples(DEFAULT_COUNT))
settings.load_profile("postroom")
