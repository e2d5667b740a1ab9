"""Which runner is chosen, and what is said of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from builders.cache import Cache
from builders.docker import DockerRunner
from builders.errors import EngineError
from builders.matrix import Runtime, load_matrix
from builders.native import NativeRunner
from builders.progress import Reporter
from ci.images.bases import BaseImages
from ci.proof import runners
from ci.proof.runners import Wanted, choose
from ci.proof.smoker import DockerSmoker, NativeSmoker

MATRIX = load_matrix()
TARGET = MATRIX.target("tf2.14.1-cp312-x86_64")


@dataclass
class FakeEngine:
    version: str = "99.0"
    arch: str = "x86_64"

    def image_id(self, name: str) -> str | None:
        return f"id of {name}"


def wanted(runner: str) -> Wanted:
    return Wanted(runner=runner, base="", origin="debian", jobs=3, offline=False)


def chosen(runner: str, tmp_path: Path) -> tuple[object, object, str]:
    text = io.StringIO()
    made = choose(
        wanted(runner), MATRIX, Cache(tmp_path), Reporter(Console(file=text, width=200)), tmp_path
    )
    return (*made, text.getvalue())


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(runners, "find_engine", lambda: fake)
    return fake


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether AWS's images can be had; the stand-ins always can."""
    answers = [True]

    def get(self: BaseImages, runtime: Runtime, _arch: str) -> str:
        if answers[0]:
            return f"aws:{runtime.python}"
        if self.stand_ins:
            return f"standin:{runtime.python}"
        raise EngineError("AWS's images cannot be pulled", remedy="name another")

    monkeypatch.setattr(BaseImages, "get", get)
    return answers


def test_docker_is_taken_where_an_engine_and_the_images_can_be_had(
    engine: FakeEngine, registry: list[bool], tmp_path: Path
) -> None:
    runner, smoker, said = chosen("auto", tmp_path)
    assert isinstance(runner, DockerRunner)
    assert isinstance(smoker, DockerSmoker)
    assert registry == [True]
    assert said == f"runner: docker (engine {engine.version}, aws:3.13)\n"
    images = runner.images(TARGET.runtime, TARGET.arch)
    assert (images.base, images.base_id) == ("aws:3.12", "id of aws:3.12")
    assert images.builder == "aws:3.13"
    assert (runner.origin, runner.offline) == ("debian", False)


@pytest.mark.usefixtures("engine")
def test_without_the_images_it_is_native_unless_docker_was_asked_for(
    registry: list[bool], tmp_path: Path
) -> None:
    registry[0] = False
    runner, smoker, said = chosen("auto", tmp_path)
    assert isinstance(runner, NativeRunner)
    assert isinstance(smoker, NativeSmoker)
    assert runner.jobs == 3
    assert said == "runner: native (AWS's images cannot be pulled)\n"
    runner, _, said = chosen("docker", tmp_path)
    assert isinstance(runner, DockerRunner)
    assert "standin:3.13" in said


def test_without_an_engine_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise EngineError("no Docker engine is running", remedy="start it")

    monkeypatch.setattr(runners, "find_engine", none)
    runner, _, said = chosen("auto", tmp_path)
    assert isinstance(runner, NativeRunner)
    assert said == "runner: native (no Docker engine is running)\n"
    with pytest.raises(EngineError, match="no Docker engine is running"):
        chosen("docker", tmp_path)


def test_native_asks_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(runners, "find_engine", lambda: asked.append("asked"))
    runner, _, said = chosen("native", tmp_path)
    assert isinstance(runner, NativeRunner)
    assert asked == []
    assert said == "runner: native (it was asked for)\n"
