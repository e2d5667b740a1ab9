"""`./scripts/smoke`: where it runs wheels, what it prints, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from builders.cache import Cache
from builders.docker_engine import Engine
from builders.errors import EngineError
from builders.matrix import Runtime, load_matrix
from builders.progress import Reporter
from ci.commands import smoke
from ci.proof import runners
from ci.proof.show import show_smoke
from ci.proof.smoker import DockerSmoker, NativeSmoker
from smoke_lambda import events

RUNTIMES = [load_matrix().runtime(python) for python in ("3.11", "3.12")]
WHEEL = "t-1-1-cp312-cp312-manylinux_2_17_x86_64.whl"
MODEL = events.MODELS / "digits-int8.tflite"

RUN: dict[str, Any] = {
    "numpy": "2.0",
    "checks": [{"name": "install", "ok": True, "detail": ""}],
    "xnnpack": {"digits-int8": 0.89},
    "init_ms": {"digits-int8": 123.4},
    "import_ms": 55.0,
    "first_inference_ms": None,
    "measures": {},
    "ok": True,
}
MEASURES = {
    "image": "smoke:1",
    "image_bytes": 300_000_000,
    "at": [
        {
            "vcpus": 1,
            "init_ms": None,
            "first_ms": 400.0,
            "warm_ms": 2.25,
            "peak_bytes": None,
            "resident_bytes": 60_000_000,
        }
    ],
    "least_mb": 128,
}


def report(*runs: dict[str, Any]) -> dict[str, Any]:
    ok = all(run["ok"] for run in runs)
    return {"wheel": WHEEL, "place": "docker base", "log": "a.log", "runs": [*runs], "ok": ok}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / WHEEL
    path.touch()
    return path


class Bases:
    """Base images: those that can be pulled, and the stand-ins that were made."""

    pulled: set[str]
    made: set[str]

    def __init__(
        self, engine: Engine, *_: object, named: str, stand_ins: bool, offline: bool
    ) -> None:
        self.engine, self.named, self.stand_ins, self.offline = engine, named, stand_ins, offline
        self.got: set[str] = set()

    def here(self, runtime: Runtime, arch: str) -> str | None:
        if self.named:
            return self.named
        if self.stand_ins and runtime.python in self.made:
            return f"standin:{runtime.python}"
        return self.get(runtime, arch) if runtime.python in self.got else None

    def can_have(self, runtime: Runtime, arch: str) -> bool:
        return bool(self.here(runtime, arch)) or runtime.python in self.pulled

    def get(self, runtime: Runtime, _arch: str) -> str:
        assert not self.offline
        self.got.add(runtime.python)
        if self.named:
            return self.named
        if runtime.python in self.pulled:
            return f"aws:{runtime.python}"
        if self.stand_ins:
            return f"standin:{runtime.python}"
        raise EngineError("no base image")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide an engine without base images."""
    monkeypatch.setattr(Bases, "pulled", set(), raising=False)
    monkeypatch.setattr(Bases, "made", set(), raising=False)
    monkeypatch.setattr(runners, "BaseImages", Bases)
    monkeypatch.setattr(
        runners, "find_engine", lambda: Engine(client=Path("d"), version="20.10", arch="x86_64")
    )
    monkeypatch.setattr(Engine, "image_id", lambda _self, name: f"sha256:{name}")


def no_engine() -> Engine:
    raise EngineError("no Docker engine is running", remedy="start it")


Choose = Callable[..., tuple[object, str]]


@pytest.fixture
def choose(tmp_path: Path) -> Choose:
    """Return a function that chooses; it returns the smoker and the printed text."""

    def chosen(runner: str, base: str = "") -> tuple[object, str]:
        console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
        targets = [(runtime, "x86_64") for runtime in RUNTIMES]
        wanted = runners.Wanted(runner=runner, base=base)
        found = runners.choose_smoker(wanted, targets, Cache(tmp_path), Reporter(console))
        return found, console.export_text()

    return chosen


def test_without_an_engine(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "find_engine", no_engine)
    found, said = choose("auto")
    assert isinstance(found, NativeSmoker)
    assert "runner: native (no Docker engine is running)" in said
    for asked in (("docker",), ("auto", "my/base")):
        with pytest.raises(EngineError, match="start it"):
            choose(*asked)


@pytest.mark.usefixtures("engine")
def test_native_when_asked(choose: Choose) -> None:
    found, said = choose("native")
    assert isinstance(found, NativeSmoker)
    assert "it was asked for" in said


@pytest.mark.usefixtures("engine")
def test_by_default_a_stand_in_is_used_and_none_is_made(
    choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, said = choose("auto")
    assert isinstance(found, NativeSmoker)
    assert "no base image" in said

    monkeypatch.setattr(Bases, "made", {"3.11", "3.12"})
    found, said = choose("auto")
    assert isinstance(found, DockerSmoker)
    assert "docker (engine 20.10; standin:3.11, standin:3.12)" in said

    monkeypatch.setattr(Bases, "made", {"3.11"})
    assert isinstance(choose("auto")[0], NativeSmoker)


@pytest.mark.usefixtures("engine")
def test_by_default_awss_images_are_pulled(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bases, "pulled", {"3.11", "3.12"})
    found, said = choose("auto")
    assert isinstance(found, DockerSmoker)
    assert "; aws:3.11)" in said

    # One of the images is missing, so Docker is not chosen.
    monkeypatch.setattr(Bases, "pulled", {"3.11"})
    found, said = choose("auto")
    assert isinstance(found, NativeSmoker)
    assert "there is no base image of Python 3.12" in said


@pytest.mark.usefixtures("engine")
def test_docker_makes_what_it_needs(choose: Choose) -> None:
    found, said = choose("docker")
    assert isinstance(found, DockerSmoker)
    assert "standin:3.11, standin:3.12" in said


@pytest.mark.usefixtures("engine")
def test_a_base_that_was_named(choose: Choose) -> None:
    found, said = choose("auto", "my/base")
    assert isinstance(found, DockerSmoker)
    assert "; my/base)" in said


class Report:
    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def as_json(self) -> dict[str, Any]:
        return self.found


def run(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], *arguments: str | Path
) -> tuple[int, list[tuple[object, ...]]]:
    """Run the command; return its exit code, and the arguments of each trial."""
    asked: list[tuple[object, ...]] = []

    class Smoker:
        def site(self, wheel: Path, _runtime: Runtime, *, log: Path) -> Any:  # noqa: ANN401
            assert log.name.startswith("smoke-by-hand")
            return nullcontext(wheel)

    def tried(*given: object, on_step: Callable[[str], None]) -> Report:
        on_step("a step")
        asked.append(given)
        return Report(found)

    monkeypatch.setattr(smoke, "choose_smoker", lambda *_arguments: Smoker())
    monkeypatch.setattr(smoke, "smoke", tried)
    monkeypatch.setattr(smoke, "try_model", tried)
    return smoke.main([str(argument) for argument in arguments]), asked


def test_a_wheel_that_passes(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, asked = run(monkeypatch, report(RUN), "--json", wheel)
    assert status == 0
    assert asked == [(wheel,)]
    assert json.loads(capsys.readouterr().out)[0]["wheel"] == WHEEL


def test_a_wheel_that_fails(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = RUN | {"checks": [{"name": "image", "ok": False, "detail": "found [x]"}], "ok": False}
    assert run(monkeypatch, report(RUN, bad), wheel)[0] == 10
    assert "FAILED with NumPy 2.0: image: found [x]" in capsys.readouterr().out


def test_a_model(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"model": "m", "wheel": WHEEL, "numpy": "2.0", "place": "p", "log": "l", "ok": False}
    found |= {"missing": [{"text": "CONV_2D version 99"}], "error": "load: no", "inputs": ()}
    status, asked = run(monkeypatch, found, "--model", MODEL, wheel)
    assert status == 10
    assert asked == [(wheel, MODEL, None)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.whl"], "there is no wheel"),
        (["WHEEL", "--input", "x.npy"], "--input is the input of a --model"),
        (["WHEEL", "--model", "nowhere.tflite"], "there is no file"),
        (["WHEEL", "--model", "WHEEL"], "is not a TensorFlow Lite model"),
    ],
)
def test_wrong_usage_is_one_line(
    wheel: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    given = [str(wheel) if argument == "WHEEL" else argument for argument in arguments]
    status, asked = run(monkeypatch, report(RUN), *given)
    assert status == 2
    assert asked == []
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_table_of_measures(tmp_path: Path) -> None:
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    show_smoke(report(RUN, RUN | {"measures": MEASURES}), console)
    text = console.export_text()
    for words in (
        "docker base",
        "1/1 passed",
        "digits-int8: 89%",
        "1 vCPU, 512 MB",
        "2.2",
        "60 MB",
        "image smoke:1: 300 MB; least memory 128 MB",
        "log: a.log",
    ):
        assert words in text
    assert "?" in text
    show_smoke(report(RUN | {"measures": MEASURES | {"least_mb": None}}), console)
    assert "least memory more than 512 MB" in console.export_text()
