"""Which wheels an engine runs: its machine's, and those that Linux emulates."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builders.cache import Cache
from builders.errors import SmokeError
from builders.matrix import Runtime, load_matrix
from ci.proof import smoker as module
from ci.proof.smoker import DockerSmoker, wheel_arch
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


@dataclass
class Report:
    told: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return self.told


@pytest.fixture
def smoker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerSmoker:
    monkeypatch.setattr(module, "emulates", lambda _arch: False)
    monkeypatch.setattr(docker, "smoke", lambda _wheel, **options: Report(options))
    return DockerSmoker(FakeEngine(), FakeBases(), Cache(tmp_path))  # type: ignore[arg-type]


def wheel(arch: str) -> Path:
    return Path(WHEEL.format(arch))


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_wheels_name_says_what_it_runs_on(arch: str) -> None:
    assert wheel_arch(wheel(arch)) == arch
    assert wheel_arch(Path("tflite_runtime-2.14.1-cp311-cp311-win_amd64.whl")) is None


def test_without_an_emulator_only_the_machines_own_wheels_run(
    smoker: DockerSmoker, tmp_path: Path
) -> None:
    assert smoker.can_run(CP311, "x86_64")
    assert not smoker.can_run(CP311, "aarch64")
    with pytest.raises(SmokeError, match=r"cannot run tflite_.*aarch64\.whl; .*qemu-user-static"):
        smoker.smoke(wheel("aarch64"), CP311, log=tmp_path / "log")


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_wheel_runs_in_the_image_of_its_architecture(
    smoker: DockerSmoker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str
) -> None:
    monkeypatch.setattr(module, "emulates", lambda arch: arch == "aarch64")
    assert smoker.can_run(CP311, arch)
    told = smoker.smoke(wheel(arch), CP311, log=tmp_path / "log")
    assert (told["arch"], told["base"]) == (arch, f"base:3.11-{arch}")
    assert smoker.place(CP311, arch) == f"docker base:3.11-{arch} id of base:3.11-{arch}"
