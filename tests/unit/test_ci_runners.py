"""Which runner is chosen, and the message about it."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from builders.cache import Cache
from builders.docker import DockerRunner
from builders.engines.bazel import Bazel
from builders.errors import EngineError, UsageError
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
    reporter = Reporter(Console(file=text, width=200))
    made = choose(wanted(runner), MATRIX, [TARGET], Cache(tmp_path), reporter, tmp_path)
    return (*made, text.getvalue())


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(runners, "find_engine", lambda: fake)
    return fake


@dataclass
class Images:
    """The images that AWS's registry has, and the existing stand-ins; more can be made."""

    registry: bool = True
    made: frozenset[str] = frozenset()


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Images:
    answers = Images()

    def here(self: BaseImages, runtime: Runtime, arch: str) -> str | None:
        if self.stand_ins and runtime.python in answers.made:
            return f"standin:{runtime.python}"
        return self._got.get((runtime.python, arch))

    def get(self: BaseImages, runtime: Runtime, arch: str) -> str:
        if found := here(self, runtime, arch):
            return found
        if not answers.registry and not self.stand_ins:
            raise EngineError("AWS's images cannot be pulled", remedy="name another")
        name = "aws" if answers.registry else "standin"
        return self._got.setdefault((runtime.python, arch), f"{name}:{runtime.python}")

    monkeypatch.setattr(BaseImages, "here", here)
    monkeypatch.setattr(BaseImages, "get", get)
    return answers


@pytest.mark.usefixtures("images")
def test_docker_is_taken_where_an_engine_and_the_images_can_be_had(
    engine: FakeEngine, tmp_path: Path
) -> None:
    runner, smoker, said = chosen("auto", tmp_path)
    assert isinstance(runner, DockerRunner)
    assert isinstance(smoker, DockerSmoker)
    assert said == f"runner: docker (engine {engine.version}; aws:3.13)\n"
    found = runner.images(TARGET.runtime, TARGET.arch)
    assert (found.base, found.base_id) == ("aws:3.12", "id of aws:3.12")
    assert found.builder == "aws:3.13"
    assert (runner.origin, runner.offline) == ("debian", False)


@pytest.mark.usefixtures("engine")
def test_without_the_images_it_is_native_unless_docker_was_asked_for(
    images: Images, tmp_path: Path
) -> None:
    images.registry = False
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


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("made", "kind"),
    [({"3.12", "3.13"}, DockerRunner), ({"3.13"}, NativeRunner), (set(), NativeRunner)],
    ids=["all", "one is missing", "none"],
)
def test_stand_ins_that_are_there_are_taken_if_they_are_all_that_is_needed(
    images: Images, tmp_path: Path, made: set[str], kind: type
) -> None:
    images.registry, images.made = False, frozenset(made)
    runner, _, said = chosen("auto", tmp_path)
    assert isinstance(runner, kind)
    assert ("standin:3.13, standin:3.12" in said) == (kind is DockerRunner)


def test_bazel_compiles_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(runners, "find_engine", lambda: asked.append("asked"))
    text = io.StringIO()
    reporter = Reporter(Console(file=text, width=200))

    def choose_with(runner: str) -> object:
        with_bazel = replace(wanted(runner), compiler=Bazel())
        return choose(with_bazel, MATRIX, [TARGET], Cache(tmp_path), reporter, tmp_path)[0]

    runner = choose_with("auto")
    assert isinstance(runner, NativeRunner)
    assert runner.engine == Bazel()
    assert text.getvalue() == "runner: native (Bazel compiles on this machine)\n"
    with pytest.raises(UsageError, match="with CMake alone; leave out --engine bazel"):
        choose_with("docker")
    assert asked == []
