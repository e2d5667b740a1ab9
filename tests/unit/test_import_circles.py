"""No module imports, anywhere in it, a module that imports it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest
from imports import PACKAGES, imported_by, modules

EVERY = {name for package in PACKAGES for name in modules(package)}


def module_of(name: str) -> str | None:
    """Return the module of an imported name; None if it is not ours."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        for candidate in (".".join(parts[:count]), ".".join([*parts[:count], "__init__"])):
            if candidate in EVERY:
                return candidate
    return None


def needs() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in EVERY}
    for package in PACKAGES:
        for module, name in imported_by(package):
            needed = module_of(name)
            if needed is not None and needed != module:
                found[module].add(needed)
    return found


def test_modules_can_be_put_in_an_order() -> None:
    try:
        order = [*TopologicalSorter(needs()).static_order()]
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")
    assert set(order) == EVERY
    assert order.index("builders.engines.graph") < order.index("builders.engines.engine")


def test_a_name_in_a_module_is_of_that_module() -> None:
    assert module_of("builders.engines.engine.Job") == "builders.engines.engine"
    assert module_of("builders.engines") == "builders.engines.__init__"
    assert module_of("pathlib.Path") is None
