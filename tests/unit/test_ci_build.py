"""The build of several wheels: what comes first, what runs at once, what a failure stops."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from builders.cache import Cache
from builders.errors import CompileError, HeadersError, UserError
from builders.matrix import Target, load_matrix
from ci.proof.build import Build
from ci.proof.prove import Prover

TARGETS = [load_matrix().target(f"tf2.14.1-{tag}-x86_64") for tag in ("cp311", "cp312", "cp313")]


@dataclass
class FakeRunner:
    """Makes no wheel; two of them are made at once, or the test fails."""

    cache: Cache
    jobs: int = 3
    wheels_at_once: int = 2
    fails: dict[str, UserError] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    both: threading.Barrier | None = None

    def _do(self, what: str) -> None:
        self.done.append(what)
        if what in self.fails:
            raise self.fails[what]

    def prepare(self, target: Target) -> None:
        self._do(f"prepare {target.runtime.tag}")

    def wheel(self, target: Target) -> Path:
        if self.both is not None:
            self.both.wait(timeout=10)
        self._do(f"wheel {target.runtime.tag}")
        return Path(f"{target.runtime.tag}.whl")


@dataclass
class FakeProver:
    runner: FakeRunner
    proven: list[str] = field(default_factory=list)

    def prove(self, wheels: Sequence[tuple[Target, Path]], *, jobs: int) -> list[Any]:
        assert jobs == self.runner.jobs
        self.proven = [wheel.name for _, wheel in wheels]
        return []


def build(
    tmp_path: Path,
    targets: Sequence[Target] = TARGETS,
    *,
    keep_going: bool = False,
    fails: dict[str, UserError] | None = None,
    both: threading.Barrier | None = None,
) -> tuple[Build, FakeProver]:
    prover = FakeProver(FakeRunner(Cache(tmp_path), fails=fails or {}, both=both))
    return Build(cast(Prover, prover), targets, tmp_path, keep_going=keep_going), prover


@pytest.fixture(autouse=True)
def enough_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=10**12))


def test_what_wheels_share_is_there_before_several_are_made_at_once(tmp_path: Path) -> None:
    made, prover = build(tmp_path, TARGETS[:2], both=threading.Barrier(2))
    assert made.run() == []
    assert prover.runner.done[:2] == ["prepare cp311", "prepare cp312"]
    assert sorted(prover.runner.done[2:]) == ["wheel cp311", "wheel cp312"]
    assert prover.proven == ["cp311.whl", "cp312.whl"]


@pytest.mark.parametrize("step", ["prepare cp312", "wheel cp312"])
def test_a_failure_ends_the_build(tmp_path: Path, step: str) -> None:
    made, prover = build(tmp_path, fails={step: CompileError("wrong")})
    with pytest.raises(CompileError, match="wrong"):
        made.run()
    assert prover.proven == []


def test_failures_are_collected_and_the_other_wheels_proven(tmp_path: Path) -> None:
    fails: dict[str, UserError] = {
        "prepare cp311": HeadersError("none"),
        "wheel cp313": CompileError("wrong"),
    }
    made, prover = build(tmp_path, fails=fails, keep_going=True)
    assert made.run() == [fails["prepare cp311"], fails["wheel cp313"]]
    assert "wheel cp311" not in prover.runner.done
    assert prover.proven == ["cp312.whl"]
