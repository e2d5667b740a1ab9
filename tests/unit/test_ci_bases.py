"""Which base image a Python gets, and the message if there is none."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from builders.cache import Cache
from builders.errors import EngineError
from builders.matrix import Runtime, load_matrix
from builders.progress import Reporter
from ci.images import bases as module
from ci.images.bases import AWS, BaseImages
from ci.images.standin.make import reference

MATRIX = load_matrix()
CP312, CP313, CP315 = (MATRIX.runtime(python) for python in ("3.12", "3.13", "3.15"))
ARCH = "x86_64"


@dataclass
class FakeEngine:
    """An engine with a store of images, and a registry that has images or does not answer."""

    store: set[str] = field(default_factory=set)
    registry: set[str] = field(default_factory=set)
    pulled: list[str] = field(default_factory=list)
    arch: str = ARCH

    def image_id(self, name: str) -> str | None:
        return f"id of {name}" if name in self.store else None

    def image_arch(self, name: str) -> str | None:
        return self.arch if name in self.store else None

    def pull(self, name: str, **_: Any) -> None:  # noqa: ANN401
        self.pulled.append(name)
        if name not in self.registry:
            raise EngineError(f"pulling {name} failed: no such host")
        self.store.add(name)


@dataclass
class FakeMaker:
    engine: FakeEngine

    def is_there(self, runtime: Runtime, arch: str) -> bool:
        return reference(runtime, arch) in self.engine.store

    def make(self, runtime: Runtime, arch: str) -> str:
        self.engine.store.add(reference(runtime, arch))
        return reference(runtime, arch)


def aws(runtime: Runtime) -> str:
    return AWS.format(python=runtime.python)


def images(
    engine: FakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    **options: Any,  # noqa: ANN401
) -> BaseImages:
    monkeypatch.setattr(BaseImages, "_maker", lambda _self: FakeMaker(engine))
    monkeypatch.setattr(module, "_can_be_made", lambda _runtime, arch: arch == ARCH)
    reporter = Reporter(Console(file=io.StringIO()))
    return BaseImages(
        engine,  # type: ignore[arg-type]
        Cache(tmp_path),
        reporter,
        tmp_path,
        **options,
    )


def said(bases: BaseImages) -> str:
    assert isinstance(bases.reporter.console.file, io.StringIO)
    return bases.reporter.console.file.getvalue()


def test_aws_image_is_pulled_and_the_one_that_is_here_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(store={aws(CP313)}, registry={aws(CP312)})
    bases = images(engine, tmp_path, monkeypatch)
    assert bases.get(CP313, ARCH) == aws(CP313)
    assert engine.pulled == []
    assert bases.get(CP312, ARCH) == bases.get(CP312, ARCH) == aws(CP312)
    assert engine.pulled == [aws(CP312)]


def test_without_a_registry_stand_ins_are_made_and_it_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    bases = images(engine, tmp_path, monkeypatch)
    for runtime in (CP312, CP313):
        assert bases.get(runtime, ARCH) == reference(runtime, ARCH)
    assert engine.pulled == [aws(CP312)]
    assert "glibc" in said(bases)
    assert bases.here(CP312, ARCH) == reference(CP312, ARCH)


def test_a_runtime_that_aws_does_not_have_yet_says_nothing_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(registry={aws(CP312)})
    bases = images(engine, tmp_path, monkeypatch)
    assert bases.get(CP315, ARCH) == reference(CP315, ARCH)
    assert bases.get(CP312, ARCH) == aws(CP312)


def test_who_did_not_choose_docker_gets_no_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(store={reference(CP312, ARCH)})
    bases = images(engine, tmp_path, monkeypatch, stand_ins=False)
    assert bases.here(CP312, ARCH) is None
    with pytest.raises(EngineError, match="cannot be pulled") as caught:
        bases.get(CP312, ARCH)
    assert "--base" in caught.value.remedy
    assert not bases.can_have(CP313, ARCH)


def test_a_named_image_is_taken_and_nothing_instead_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(store={"mine/python:3.12", aws(CP313)})
    bases = images(engine, tmp_path, monkeypatch, named="mine/python:{python}")
    assert bases.get(CP312, ARCH) == "mine/python:3.12"
    with pytest.raises(EngineError, match=r"mine/python:3\.13"):
        bases.get(CP313, ARCH)


def test_offline_what_is_here_is_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(store={reference(CP312, ARCH)}, registry={aws(CP313)})
    bases = images(engine, tmp_path, monkeypatch, offline=True)
    assert bases.get(CP312, ARCH) == reference(CP312, ARCH)
    assert not bases.can_have(CP313, ARCH)
    with pytest.raises(EngineError, match=r"no base image of Python 3\.13"):
        bases.get(CP313, ARCH)
    assert engine.pulled == []


def test_what_can_be_had_is_told_without_having_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    bases = images(engine, tmp_path, monkeypatch)
    assert bases.can_have(CP312, ARCH)
    assert bases.can_have(CP315, ARCH)
    assert not bases.can_have(CP315, "aarch64")
    assert engine.pulled == []
    assert engine.store == set()


def test_an_image_of_another_architecture_is_not_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(store={aws(CP312)}, arch="aarch64")
    bases = images(engine, tmp_path, monkeypatch, stand_ins=False)
    assert bases.here(CP312, "aarch64") == aws(CP312)
    assert bases.here(CP312, "x86_64") is None
