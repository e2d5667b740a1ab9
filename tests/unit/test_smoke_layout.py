"""The layout of smoke_lambda/: which modules drive, run inside, or need TensorFlow."""

from __future__ import annotations

import re
import sys

import pytest
from imports import PACKAGES, ROOT, folder_of, imported_by, imports, may_import, modules, wrong_ways

SMOKE = ROOT / "smoke_lambda"

# The folder without a name is smoke_lambda/ itself: it drives what runs inside, and conform/
# drives with it. What makes the models is started as a process of TensorFlow's environment; a
# model server, as one of its image's.
ORDER = (("train",), ("conform", "functions", "onnx", "serving"), ("",), ("inside",))

# The packages of an environment with a wheel, in addition to the standard library.
INSIDE_HAS = {"numpy", "onnxruntime", "tflite_runtime", *sys.stdlib_module_names}

# A module's name as a string of its own, or as an argument of a command.
STARTED = re.compile(r'(?:-m |")(smoke_lambda(?:\.\w+)+)(?=["\s`])')


def test_every_folder_has_a_place_in_the_order() -> None:
    found = {path.parent.name for path in SMOKE.glob("*/__init__.py")}
    assert found == {folder for row in ORDER for folder in row if folder}


def test_folders_import_only_what_comes_after_them() -> None:
    assert wrong_ways("smoke_lambda", ORDER) == []
    assert not may_import(ORDER, "inside", "")
    assert not may_import(ORDER, "", "conform")


def test_what_runs_inside_needs_nothing_that_is_not_there() -> None:
    for module, name in imported_by("smoke_lambda"):
        if folder_of("smoke_lambda", module) == "inside":
            is_own = folder_of("smoke_lambda", name) == "inside"
            assert is_own or name.split(".")[0] in INSIDE_HAS, f"{module} imports {name}"


def test_a_function_needs_what_the_documents_install() -> None:
    found = {name.split(".")[0] for name in imports("app", (SMOKE / "app.py").read_text())}
    assert found - INSIDE_HAS == {"PIL"}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_needs_tensorflow_is_started_and_not_imported(package: str) -> None:
    for module, name in imported_by(package):
        if folder_of("smoke_lambda", module) != "train":
            assert folder_of("smoke_lambda", name) != "train", f"{module} imports {name}"
            assert name.split(".")[0] != "tensorflow", f"{module} imports {name}"


def test_a_module_that_is_started_by_its_name_is_there() -> None:
    known = {name.removesuffix(".__main__") for package in PACKAGES for name in modules(package)}
    sources = [path for package in PACKAGES for path in modules(package).values()]
    texts = [*sources, *(ROOT / "docs").glob("*.md"), *(ROOT / "tests").rglob("*.py")]
    found = {(path, name) for path in texts for name in STARTED.findall(path.read_text())}
    assert {name for _, name in found} >= {"smoke_lambda.inside.probe", "smoke_lambda.train.making"}
    for path, name in found:
        assert name in known, f"{path.relative_to(ROOT)} starts {name}"
