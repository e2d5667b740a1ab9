"""How ci/ is laid out: which script starts which module, and which folder may need which."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from imports import PACKAGES, ROOT, folder_of, imported_by, imports, may_import, modules, wrong_ways

SCRIPTS = sorted(
    path for path in (ROOT / "scripts").iterdir() if path.is_file() and path.suffix != ".py"
)
STARTED = re.compile(r'^_bootstrap\.start\("([\w.]+)"', re.MULTILINE)

ORDER = (
    ("commands",),
    ("jobs",),
    ("compare",),
    ("bench", "fuzz", "upstream_tests"),
    ("engines", "publish"),
    ("layers", "pages", "proof", "remote"),
    ("images",),
    ("",),
)
# What the other packages must not import.
FORBIDDEN = {"builders": ("ci", "smoke_lambda"), "smoke_lambda": ("ci",)}

FOLDERS = [folder for row in ORDER for folder in row if folder]


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
            if folder_of("ci", name) == "commands":
                assert folder_of("ci", module) == "commands", f"{module} imports {name}"


def test_no_command_imports_another() -> None:
    names = {module for module in modules("ci") if folder_of("ci", module) == "commands"}
    for module, name in imported_by("ci"):
        if module in names:
            assert folder_of("ci", name) != "commands", f"{module} imports {name}"


def test_folders_import_only_what_comes_after_them() -> None:
    assert wrong_ways("ci", ORDER) == []


@pytest.mark.parametrize("package", FORBIDDEN)
def test_what_is_below_does_not_import_what_is_above(package: str) -> None:
    for module, name in imported_by(package):
        assert name.split(".")[0] not in FORBIDDEN[package], f"{module} imports {name}"


@pytest.mark.parametrize(
    ("name", "reader", "others"),
    [
        # What another revision of this repository has is no file.
        ("tomllib", "builders.tables", {"ci.jobs.changes", "ci.images.standin.make"}),
        ("packaging.utils.parse_wheel_filename", "builders.wheelname", set()),
    ],
)
def test_what_is_read_in_one_place(name: str, reader: str, others: set[str]) -> None:
    found = {module for package in PACKAGES for module, n in imported_by(package) if n == name}
    assert found == {reader, *others}


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
    assert may_import(ORDER, "commands", "jobs")
    assert may_import(ORDER, "proof", "proof")
    assert not may_import(ORDER, "proof", "publish")
    assert not may_import(ORDER, "proof", "layers")
    assert not any(
        may_import(ORDER, a, b) and may_import(ORDER, b, a)
        for a in FOLDERS
        for b in FOLDERS
        if a != b
    )
