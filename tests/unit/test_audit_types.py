"""The audit of what a wheel tells type checkers."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_audit_samples import WheelSample
from test_audit_wheel import fails

from builders.audit import audit
from builders.matrix import load_matrix

MODULE = b"""
def load(library, options=None): ...
def _hidden(): ...
class Interpreter:
    def __init__(self, model_path=None, *, threads=1, **more): pass
    def __del__(self): pass
    def invoke(self): pass
"""
STUB = """
def load(library: str, options: dict[str, str] | None = None) -> Interpreter: ...
class Interpreter:
    def __init__(
        self, model_path: str | None = ..., *, threads: int = 1, **more: object
    ) -> None: ...
    def invoke(self) -> None: ...
"""


def sample(stub: str) -> WheelSample:
    files = {"interpreter.py": MODULE, "interpreter.pyi": stub.encode()}
    return WheelSample(files={f"tflite_runtime/{name}": data for name, data in files.items()})


def test_the_types_of_the_module_pass(tmp_path: Path) -> None:
    report = audit(sample(STUB).write(tmp_path), load_matrix())
    assert report.ok
    assert report.check("types").detail == "4 classes and functions, as in the modules"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    def invoke(self) -> None: ...\n", "", "interpreter.pyi lacks Interpreter.invoke"),
        ("def load", "def save", "lacks load; interpreter.pyi invents save"),
        ("class Interpreter", "class Other", "lacks Interpreter, Interpreter.__init__"),
        (", options: dict[str, str] | None = None", "", "differs in load"),
        ("library: str", "name: str", "differs in load"),
        ("threads: int = 1", "threads: int", "differs in Interpreter.__init__"),
        ("*, threads", "threads", "differs in Interpreter.__init__"),
        ("self) -> None", "self, n: int = 0) -> None", "differs in Interpreter.invoke"),
        ("class", "clas", "interpreter cannot be read"),
        ("class", "(" * 5_000 + "class", "interpreter cannot be read"),
    ],
)
def test_other_types_are_told(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in STUB
    fails(sample(STUB.replace(old, new)), tmp_path, "types", says)


def test_a_wheel_without_types(tmp_path: Path) -> None:
    wheel = sample(STUB)
    del wheel.files["tflite_runtime/interpreter.pyi"]
    fails(wheel, tmp_path, "types", "there is no interpreter.pyi", "files")
