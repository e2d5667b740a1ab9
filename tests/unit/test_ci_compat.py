"""The table of where a wheel works: what is tried, what is said of it, and the verdict."""

from __future__ import annotations

import json
import platform
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from builders.cache import Cache
from builders.errors import SmokeError, UsageError
from builders.interpreters import Interpreter
from builders.matrix import load_matrix
from ci.commands import compat as command
from ci.proof import survey as module
from ci.proof.survey import (
    CANNOT_RUN,
    NOT_INSTALLED,
    NOT_LOADED,
    OTHER_PYTHON,
    RAN,
    Cell,
    Row,
    Survey,
    fits,
    own_models,
    survey,
)
from smoke_lambda.compat import CRASHED, OK, REFUSED, Result
from smoke_lambda.inside.probing import MARK, PROBE
from smoke_lambda.native import Environment

MACHINE = platform.machine()
GOOD = Cell(model="digits", outcome=OK, detail="", xnnpack=1.0)
BAD = Cell(model="digits", outcome=CRASHED, detail="built-in: load: _ARRAY_API not found")
ROW = Row(
    runtime="python3.11",
    os="Amazon Linux 2",
    lambda_ok=True,
    lambda_reason="needs GLIBC_2.17 <= 2.26",
    state=RAN,
    numpy="1.23.2",
    numpy_on_lambda=True,
    models=(GOOD,),
)


def of(*rows: Row) -> Survey:
    return Survey(wheel="a.whl", sha256="0" * 64, rows=rows)


def test_a_wheel_works_if_it_was_shown_to_and_nothing_is_wrong() -> None:
    assert of(ROW).ok
    assert of(ROW, replace(ROW, state=OTHER_PYTHON, lambda_ok=False, models=())).ok
    assert of(ROW, replace(ROW, state=CANNOT_RUN, models=())).ok
    assert not of(ROW, replace(ROW, models=(GOOD, BAD))).ok
    assert not of(ROW, replace(ROW, state=NOT_INSTALLED, models=())).ok


def test_what_was_not_tried_is_not_shown_to_work() -> None:
    assert not of().ok
    assert not of(replace(ROW, state=CANNOT_RUN, models=())).ok
    assert not of(replace(ROW, models=())).ok


def test_what_runs_here_but_does_not_load_on_lambda_does_not_work() -> None:
    found = of(replace(ROW, lambda_ok=False, lambda_reason="needs GLIBC_2.29 > 2.26"))
    assert not found.ok
    assert found.faults == ("python3.11: on Amazon Linux 2: needs GLIBC_2.29 > 2.26",)


def test_a_fault_names_runtime_numpy_model_and_reason() -> None:
    found = of(ROW, replace(ROW, numpy="2.2.6", models=(GOOD, BAD)))
    assert found.faults == (
        "python3.11, NumPy 2.2.6: digits: crashed: built-in: load: _ARRAY_API not found",
    )
    data = json.loads(json.dumps(found.as_json()))
    assert (data["ok"], [row["works"] for row in data["rows"]]) == (False, [True, False])
    assert data["faults"] == list(found.faults)
    assert data["rows"][0]["models"][0]["xnnpack"] == 1.0


@pytest.mark.parametrize(
    ("tags", "pythons"),
    [
        ("cp311-cp311-manylinux2014_x86_64", {"3.11"}),
        ("cp312-abi3-manylinux2014_x86_64", {"3.12", "3.13", "3.14", "3.15"}),
        ("py3-none-any", {"3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"}),
        ("cp27-cp27mu-manylinux2014_x86_64", set()),
        ("pp311-pypy311_pp73-manylinux2014_x86_64", set()),
    ],
)
def test_the_pythons_of_a_strangers_wheel(tags: str, pythons: set[str]) -> None:
    parsed = parse_wheel_filename(f"tflite_runtime-1-{tags}.whl")[3]
    assert {r.python for r in load_matrix().runtimes if fits(parsed, r)} == pythons


class World:
    """Stand-ins for environments, models and probes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fault = ""
        self.result = Result(model="m", outcome=OK, detail="1 outputs agree")
        self.writes = ""
        self.error: SmokeError | None = None
        self.tried: list[str] = []
        monkeypatch.setattr(Environment, "install", lambda made, wheel: self.install(made, wheel))
        monkeypatch.setattr(module, "run_models", self.run_models)
        monkeypatch.setattr(Environment, "look", lambda _made, *asked: self.look(*asked))
        monkeypatch.setattr(module, "find_interpreter", self.find_interpreter)

    def find_interpreter(self, python: str) -> Interpreter | None:
        if python == "3.12":
            return None
        path = Path("/python")
        return Interpreter(executable=path, version=f"{python}.1", arch=MACHINE, include=path)

    def install(self, made: Environment, wheel: Path) -> str:
        assert (made.interpreter, wheel.is_absolute()) == (Path("/python"), True)
        assert made.requirements.is_file()
        self.tried.append(made.requirements.stem)
        made.log.write_text("ValueError: of the installation, not of a model\n")
        return self.fault

    def run_models(self, paths: Sequence[Path], *, python: Path, log: Path) -> list[Result]:
        assert python.parts[-2:] == ("bin", "python")
        with log.open("a") as file:
            file.write(self.writes)
        if self.error:
            raise self.error
        return [self.result for _ in paths]

    def look(self, probe: str, *models: str) -> tuple[int, str]:
        assert probe == PROBE
        operators = {model: [("CONV_2D", True), ("SOFTMAX", False)] for model in models}
        return 0, MARK + json.dumps({"operators": operators})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def wheel(folder: Path, python: str, arch: str = MACHINE, package: str = "tflite_runtime") -> Path:
    path = folder / f"tflite_runtime-2.14.0-{python}-{python}-manylinux2014_{arch}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{package}/__init__.py", "")
    return path


def tried(path: Path, folder: Path) -> list[Row]:
    models = dict(list(own_models().items())[:1])
    cache = Cache(folder / "cache")
    found = survey(path, load_matrix(), models, cache, folder / "logs")
    assert list((cache.root / "work").glob("*/*")) == []
    assert [row.runtime for row in found.rows if row.state == OTHER_PYTHON] == [
        r.name for r in load_matrix().runtimes if r.tag not in path.name
    ]
    return [row for row in found.rows if row.state != OTHER_PYTHON]


def test_what_is_no_bounded_zip_is_not_installed(world: World, tmp_path: Path) -> None:
    path = wheel(tmp_path, "cp311")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tflite_runtime/bomb.so", bytes(251 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UsageError, match=r"cannot be tried: unpacks to .*, more than Lambda's"):
        tried(path, tmp_path)
    path.write_text("<!DOCTYPE html>")
    with pytest.raises(UsageError, match=r"cannot be tried: .*not a zip file; name a whole wheel"):
        tried(path, tmp_path)
    assert world.tried == []


def test_each_numpy_of_the_wheels_python_is_tried(world: World, tmp_path: Path) -> None:
    runtime = load_matrix().runtime("3.11")
    rows = tried(wheel(tmp_path, "cp311"), tmp_path)
    assert [row.numpy for row in rows] == list(runtime.numpy.smoke_versions)
    assert world.tried == [f"cp311-numpy-{numpy}" for numpy in runtime.numpy.smoke_versions]
    assert [row.numpy_on_lambda for row in rows] == [True, True, False]
    assert {(row.state, row.models[0].outcome, row.models[0].xnnpack) for row in rows} == {
        (RAN, OK, 0.5)
    }
    assert not any(row.lambda_ok for row in rows)  # it has no extension at all


def test_of_a_models_log_the_first_error_is_told(world: World, tmp_path: Path) -> None:
    world.result = Result(model="m", outcome=CRASHED, detail="built-in: load: exit status 1")
    world.writes = "Traceback:\n  x\nAttributeError: _ARRAY_API not found\nSystemError: 0x7f\n"
    (cell,) = tried(wheel(tmp_path, "cp311"), tmp_path)[0].models
    assert cell.detail == "built-in: load: exit status 1: AttributeError: _ARRAY_API not found"
    assert cell.xnnpack is None
    world.result = Result(model="m", outcome=REFUSED, detail="built-in: load: no")
    world.writes = "one\nlast words\n"
    (cell,) = tried(wheel(tmp_path, "cp311"), tmp_path)[0].models
    assert cell.detail == "built-in: load: no: last words"


def test_a_wheel_that_does_not_install_or_load(world: World, tmp_path: Path) -> None:
    world.error = SmokeError("no result")
    world.writes = "ImportError: libstdc++.so.6: cannot open\n"
    row = tried(wheel(tmp_path, "cp311"), tmp_path)[0]
    assert (row.state, row.detail) == (NOT_LOADED, world.writes.strip())
    world.fault = "expected a wheel that installs"
    row = tried(wheel(tmp_path, "cp311"), tmp_path)[0]
    assert (row.state, row.detail) == (NOT_INSTALLED, world.fault)


def test_what_cannot_run_here_is_said_so(world: World, tmp_path: Path) -> None:
    (row,) = tried(wheel(tmp_path, "cp312"), tmp_path)
    assert (row.state, row.detail) == (CANNOT_RUN, "there is no Python 3.12")
    (row,) = tried(wheel(tmp_path, "cp311", "s390x"), tmp_path)
    assert (row.state, row.detail) == (CANNOT_RUN, f"this machine is {MACHINE}")
    assert world.tried == []


def test_the_command_prints_what_works_and_what_does_not(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(wheel(tmp_path, "cp311"))
    world.result = Result(model="m", outcome=CRASHED, detail="built-in: load: SIGSEGV")
    assert command.run([path]) == SmokeError.exit_code
    told = capsys.readouterr()
    assert "runs its code, with your rights" in told.err
    text = told.out
    assert "2.4.6 (too new" in text
    assert "FAILED python3.11: on Amazon Linux 2: no readable extension" in text
    assert "FAILED python3.11, NumPy 2.2.6: digits-float32: crashed: built-in: load" in text
    assert "for cp311 only, not: python3.8, python3.9" in text
    model = tmp_path / "mine.tflite"
    model.touch()
    assert command.run([path, "--json", "--model", str(model)]) == SmokeError.exit_code
    (data,) = json.loads(capsys.readouterr().out)
    ran = [row for row in data["rows"] if row["state"] == RAN]
    assert [cell["model"] for cell in ran[0]["models"]] == [*own_models(), "mine.tflite"]


def test_the_command_says_that_nothing_could_be_tried(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(wheel(tmp_path, "cp312"))
    assert command.run([path]) == SmokeError.exit_code
    assert "cannot run here: there is no Python 3.12" in capsys.readouterr().out
    assert world.tried == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none-1-py3-none-any.whl", "there is no wheel"),
        ("nonsense.whl", "nonsense"),
        ("stranger-1-py3-none-any.whl", "has no package tflite_runtime"),
    ],
)
def test_what_is_no_wheel_of_the_runtime_is_refused(
    world: World, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "nonsense.whl").touch()
    wheel(tmp_path, "cp311", package="other").rename(tmp_path / "stranger-1-py3-none-any.whl")
    good = str(wheel(tmp_path, "cp311"))
    with pytest.raises(UsageError, match=words):
        command.run([good, str(tmp_path / name)])
    with pytest.raises(UsageError, match="there is no model"):
        command.run([good, "--model", str(tmp_path / "none.tflite")])
    assert world.tried == []
