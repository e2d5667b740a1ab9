"""`./scripts/ops`: which tables it writes, and the page for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from builders.errors import SmokeError, UsageError
from ci.commands import ops
from ci.pages.ops_page import operators_page
from ci.proof import ops as proof
from smoke_lambda.ops import EMPTY, Ops, load_ops

CODES = {"ADD": 0, "MUL": 18, "CALL": 31}
OLD: Ops = {"ADD": range(1, 3), "MUL": range(1, 2)}


class Wheels:
    """Wheels in a folder, whose answers are known."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.data, self.page = folder / "ops.toml", folder / "OPERATORS.md"
        self.answers: dict[Path, tuple[Mapping[str, int], Ops]] = {}
        monkeypatch.setattr(proof, "operators_of", self._answer)

    def wheel(self, version: str, found: Ops, python: str = "cp312") -> str:
        name = f"tflite_runtime-{version}-1-{python}-{python}-manylinux_2_17_x86_64.whl"
        path = self.folder / name
        path.touch()
        self.answers[path] = CODES, found
        return str(path)

    def run(self, *arguments: str) -> int:
        return ops.run(arguments, self.data, self.page)

    def _answer(
        self, wheel: Path, _smoker: object, _runtime: object, log: Path
    ) -> tuple[Mapping[str, int], Ops]:
        assert log.name.startswith("ops-cp3")
        return self.answers[wheel]


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheels:
    return Wheels(tmp_path, monkeypatch)


def test_a_wheels_version_gets_its_table(
    wheels: Wheels, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wheels.run(wheels.wheel("2.5.0", OLD), wheels.wheel("2.5.0", OLD, "cp311")) == 0
    assert capsys.readouterr().out == "TensorFlow 2.5.0: 2 operators, new\n"
    assert load_ops(wheels.data) == EMPTY.with_wheel("2.5.0", CODES, OLD)
    new = {**OLD, "ADD": range(1, 4)}
    assert wheels.run(wheels.wheel("2.10.0", new)) == 0
    assert load_ops(wheels.data).tensorflows == {"2.5.0": OLD, "2.10.0": new}
    assert wheels.page.read_text() == operators_page(load_ops(wheels.data))
    capsys.readouterr()
    assert wheels.run(wheels.wheel("2.10.0", {"ADD": range(1, 5)})) == 0
    assert capsys.readouterr().out == (
        "TensorFlow 2.10.0: ADD 1 to 4, was 1 to 3\nTensorFlow 2.10.0: MUL none, was 1\n"
    )


def test_a_check_changes_nothing(wheels: Wheels, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = wheels.wheel("2.5.0", OLD)
    wheels.run(wheel)
    before = wheels.data.read_bytes(), wheels.page.read_bytes()
    assert wheels.run("--check", wheel) == 0
    assert capsys.readouterr().out.endswith("ops.toml is what the wheels have\n")
    with pytest.raises(SmokeError, match=r"ADD 1, was 1 to 2; .*MUL none, was 1; \./scripts/ops"):
        wheels.run("--check", wheels.wheel("2.5.0", {"ADD": range(1, 2)}))
    with pytest.raises(SmokeError, match=r"TensorFlow 2\.6\.0: 2 operators, new"):
        wheels.run("--check", wheels.wheel("2.6.0", OLD))
    assert (wheels.data.read_bytes(), wheels.page.read_bytes()) == before


def test_wheels_of_one_version_must_agree(wheels: Wheels) -> None:
    other = wheels.wheel("2.5.0", {"ADD": range(1, 2)}, "cp311")
    with pytest.raises(SmokeError, match=r"cp311.*has other operators"):
        wheels.run(wheels.wheel("2.5.0", OLD), other)
    assert not wheels.data.exists()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("nowhere-1-py3-none-any.whl", "there is no wheel"),
        ("x.whl", "Invalid wheel filename"),
        ("x-1-cp27-none-any.whl", "no Python 'cp27' in the matrix"),
    ],
)
def test_what_is_no_wheel_is_refused(wheels: Wheels, name: str, fault: str) -> None:
    if "nowhere" not in name:
        (wheels.folder / name).touch()
    with pytest.raises(UsageError, match=fault):
        wheels.run(wheels.wheel("2.5.0", OLD), str(wheels.folder / name))
    assert not wheels.data.exists()


def test_the_page_puts_first_what_differs() -> None:
    one = EMPTY.with_wheel("2.5.0", CODES, OLD)
    page = operators_page(one)
    assert "## TensorFlow 2.5.0\n\n| operator | versions |\n| --- | --- |\n| ADD | 1 to 2 |" in page
    assert "CALL" not in page
    both = operators_page(one.with_wheel("2.10.0", CODES, {"MUL": range(1, 2)}))
    differs, same = both.split("## What is the same")
    assert "| operator | 2.5.0 | 2.10.0 |\n| --- | --- | --- |\n| ADD | 1 to 2 | none |" in differs
    assert "MUL" not in differs
    assert "| MUL | 1 |" in same
