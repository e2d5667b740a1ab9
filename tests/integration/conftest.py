"""In which order integration tests run."""

from __future__ import annotations

import pytest

LONGEST = "test_docker_build.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: files run side by side, and are taken in this order."""
    items.sort(key=lambda item: item.path.name != LONGEST)
