"""How ci/ is laid out: which script starts which module, and which folder may need which."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path for path in (ROOT / "scripts").iterdir() if path.is_file() and path.suffix != ".py"
)
STARTED = re.compile(r'^_bootstrap\.start\("([\w.]+)"', re.MULTILINE)

# The folders of ci/, from what people start to what needs none of the others. A module imports
# its own folder and those of later rows; those of one row know nothing of each other.
ORDER = (
    ("commands",),
    ("jobs",),
    ("bench", "fuzz", "upstream_tests"),
    ("publish",),
    ("layers", "pages", "proof"),
    ("images",),
)
# What the other packages must not import.
FORBIDDEN = {"builders": ("ci", "smoke_lambda"), "smoke_lambda": ("ci",)}

FOLDERS = [folder for row in ORDER for folder in row]


def modules(package: str) -> dict[str, Path]:
    """The modules of a package, by their dotted names."""
    paths = sorted((ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}


def imports(module: str, text: str) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it: modules, or what is in them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the module's own package, each further dot the one above.
            own = module.split(".")[: -node.level] if node.level else []
            origin = [*own, node.module] if node.module else own
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def folder_of(name: str) -> str:
    """The folder of ci/ that a dotted name is in; empty for any other name."""
    parts = name.split(".")
    return parts[1] if parts[0] == "ci" and len(parts) > 1 else ""


def row_of(folder: str) -> int:
    return next(number for number, row in enumerate(ORDER) if folder in row)


def may_import(one: str, other: str) -> bool:
    """Whether modules of one folder may import those of another."""
    return one == other or row_of(one) < row_of(other)


@functools.cache
def imported_by(package: str) -> list[tuple[str, str]]:
    """Each module of a package, with each name that it imports."""
    return [
        (module, name)
        for module, path in modules(package).items()
        for name in imports(module, path.read_text())
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_starts_the_command_of_its_name(script: Path) -> None:
    (started,) = STARTED.findall(script.read_text())
    assert started == f"ci.commands.{script.name.replace('-', '_')}"
    assert started in modules("ci")


def test_every_command_has_a_script() -> None:
    names = {path.stem for path in (ROOT / "ci/commands").glob("*.py")} - {"__init__"}
    assert names == {script.name.replace("-", "_") for script in SCRIPTS}


def test_every_folder_has_a_place_in_the_order() -> None:
    found = {path.parent.name for path in (ROOT / "ci").glob("*/__init__.py")}
    assert found == set(FOLDERS)
    assert len(FOLDERS) == len(set(FOLDERS))
    loose = {path.name for path in (ROOT / "ci").glob("*.py")}
    assert loose == {"__init__.py"}, "a module of ci/ belongs into one of its folders"


def test_nothing_imports_a_command() -> None:
    for package in ("builders", "smoke_lambda", "ci"):
        for module, name in imported_by(package):
            if folder_of(name) == "commands":
                assert folder_of(module) == "commands", f"{module} imports {name}"


def test_no_command_imports_another() -> None:
    names = {module for module in modules("ci") if folder_of(module) == "commands"}
    for module, name in imported_by("ci"):
        if module in names:
            assert folder_of(name) != "commands", f"{module} imports {name}"


def test_folders_import_only_what_comes_after_them() -> None:
    for module, name in imported_by("ci"):
        one, other = folder_of(module), folder_of(name)
        if other:
            assert other in FOLDERS, f"{module} imports {name}"
            assert may_import(one, other), f"{module} imports {name}"


@pytest.mark.parametrize("package", FORBIDDEN)
def test_what_is_below_does_not_import_what_is_above(package: str) -> None:
    for module, name in imported_by(package):
        assert name.split(".")[0] not in FORBIDDEN[package], f"{module} imports {name}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import ci.jobs.plan", ["ci.jobs.plan"]),
        ("from ci import jobs, proof", ["ci.jobs", "ci.proof"]),
        ("def f():\n    from ci.jobs import plan as p", ["ci.jobs.plan"]),
        ("from . import smoker", ["ci.proof.smoker"]),
        ("from .smoker import Smoker", ["ci.proof.smoker.Smoker"]),
        ("from .. import jobs", ["ci.jobs"]),
        ("from ..jobs.plan import plan", ["ci.jobs.plan.plan"]),
    ],
)
def test_every_form_of_import_is_seen(text: str, names: list[str]) -> None:
    assert list(imports("ci.proof.prove", text)) == names


def test_the_order_has_no_way_back() -> None:
    assert may_import("commands", "jobs")
    assert may_import("proof", "proof")
    assert not may_import("proof", "publish")
    assert not may_import("proof", "layers")
    assert not any(
        may_import(a, b) and may_import(b, a) for a in FOLDERS for b in FOLDERS if a != b
    )
