"""Which wheels an engine runs: its machine's, and those that Linux emulates."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builders.cache import Cache
from builders.errors import SmokeError
from builders.matrix import Runtime, load_matrix
from ci.proof import smoker as module
from ci.proof.smoker import DockerSmoker
from smoke_lambda import docker

CP311 = load_matrix().runtime("3.11")
WHEEL = "tflite_runtime-2.14.1-1-cp311-cp311-manylinux_2_17_{0}.manylinux2014_{0}.whl"


@dataclass
class FakeEngine:
    arch: str = "x86_64"

    def image_id(self, name: str) -> str:
        return f"id of {name}"


@dataclass
class FakeBases:
    asked: list[tuple[str, str]] = field(default_factory=list)

    def can_have(self, _runtime: Runtime, _arch: str) -> bool:
        return True

    def get(self, runtime: Runtime, arch: str) -> str:
        self.asked.append((runtime.python, arch))
        return f"base:{runtime.python}-{arch}"


@pytest.fixture
def smoker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerSmoker:
    monkeypatch.setattr(module, "emulates", lambda _arch: False)
    monkeypatch.setattr(docker, "reap", lambda _engine: None)
    return DockerSmoker(FakeEngine(), FakeBases(), Cache(tmp_path))  # type: ignore[arg-type]


def wheel(arch: str, folder: Path = Path()) -> Path:
    return folder / WHEEL.format(arch)


def test_without_an_emulator_only_the_machines_own_wheels_run(
    smoker: DockerSmoker, tmp_path: Path
) -> None:
    assert smoker.can_run(CP311, "x86_64")
    assert not smoker.can_run(CP311, "aarch64")
    site = smoker.site(wheel("aarch64"), CP311, log=tmp_path / "log")
    match = r"cannot run tflite_.*aarch64\.whl; .*qemu-user-static"
    with pytest.raises(SmokeError, match=match), site:
        raise AssertionError


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_wheel_runs_in_the_image_of_its_architecture(
    smoker: DockerSmoker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str
) -> None:
    monkeypatch.setattr(module, "emulates", lambda arch: arch == "aarch64")
    assert smoker.can_run(CP311, arch)
    path = wheel(arch, tmp_path)
    path.touch()
    with smoker.site(path, CP311, log=tmp_path / "log") as site:
        assert (site.arch, site.name) == (arch, f"docker base:3.11-{arch}")
        assert site.emulated == (arch == "aarch64")
    assert smoker.place(CP311, arch) == f"docker base:3.11-{arch} id of base:3.11-{arch}"
