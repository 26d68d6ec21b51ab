"""Options of the test run."""

from __future__ import annotations

from tests.support.seed_table import pytest_addoption, pytest_configure

__all__ = ["pytest_addoption", "pytest_configure"]
