"""Workers that have no compiler make the same bytes, and one that is lost loses nothing.

With BuildGrid and two workers of buildbox, for real.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from rich.console import Console
from small_builds import ENDLESS, Build, processes

from builders.cache import Cache, default_root
from builders.engines.bazel import Bazel
from builders.engines.ninja import NINJA
from builders.errors import CompileError, FetchError
from builders.matrix import load_matrix
from builders.native import NativeRunner
from builders.progress import Reporter
from ci.engines.again import differences, made_again
from ci.remote.farm import Farm, Worker
from ci.remote.roots import Root

pytestmark = pytest.mark.integration

COMPILERS = {"as", "c++", "cc", "clang", "gcc", "g++", "ld", "tcc", "zig"}
# More than two workers can do, so that there is always a command for one that is free.
JOBS = 8


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(tmp_path_factory.mktemp("remote"))


@pytest.fixture(scope="session")
def by_ninja(build: Build) -> dict[str, str]:
    return build.make(NINJA)


def test_workers_have_no_compiler(worker_root: Root) -> None:
    found = worker_root.programs()
    assert {"bwrap", "buildbox-worker"} <= found
    assert not COMPILERS & found


def test_workers_make_the_same_bytes(
    farm: Farm, bazel: Path, build: Build, by_ninja: dict[str, str]
) -> None:
    engine = Bazel(executor=farm.url, program=bazel, jobs=JOBS)
    assert build.make(engine) == by_ninja
    # Five objects, the precompiled header and two archives.
    assert "8 remote" in processes(build.log)
    # A new output base, and nothing is run again.
    assert build.make(engine) == by_ninja
    assert "8 remote cache hit" in processes(build.log)


def test_a_lost_worker_loses_nothing(
    farm: Farm, bazel: Path, build: Build, by_ninja: dict[str, str]
) -> None:
    lost, kept = farm.workers
    killing = Killing(lost)
    with killing:
        assert build.make(Bazel(executor=farm.url, program=bazel, jobs=JOBS)) == by_ninja
    assert killing.was_busy
    assert lost.runs.process.poll() is not None
    assert kept.runs.process.poll() is None


def test_a_compiler_that_does_not_end_is_ended(farm: Farm, bazel: Path, build: Build) -> None:
    source = build.sources / "src/second.cc"
    text = source.read_text()
    source.write_text(text + ENDLESS)
    try:
        with pytest.raises(CompileError, match="a compiler did not end"):
            build.make(Bazel(executor=farm.url, program=bazel, jobs=JOBS, most_seconds=20))
    finally:
        source.write_text(text)


def test_an_executor_that_does_not_answer_is_one_line(bazel: Path, build: Build) -> None:
    began = time.monotonic()
    with pytest.raises(
        FetchError, match=r"^grpc://127\.0\.0\.1:1 does not answer: .*; check the URL"
    ):
        build.make(Bazel(executor="grpc://127.0.0.1:1", program=bazel))
    assert time.monotonic() - began < 120


def test_the_whole_core_with_a_worker_lost_in_the_middle(
    farm: Farm, bazel: Path, tmp_path: Path
) -> None:
    recommended, arch = load_matrix().recommended, "x86_64"
    console = Reporter(Console(stderr=True))
    runner = NativeRunner(Cache(default_root()), console, tmp_path / "logs", jobs=2)
    by_cmake = runner.core(recommended, arch)
    lost = farm.workers[0]
    killing = Killing(lost, after=300)
    engine = Bazel(executor=farm.url, program=bazel, jobs=JOBS)
    with killing:
        made = made_again(
            "core by workers",
            engine,
            recommended,
            arch,
            runner,
            tmp_path / "again",
            killing.progress,
        )
    assert killing.was_busy
    assert made.core.record["engine"].startswith("bazel")
    assert differences(by_cmake, made.core) == []


class Killing:
    """Kills a worker in the middle of a command.

    Args:
        after: how many commands must be done by then.
    """

    def __init__(self, worker: Worker, after: int = 0) -> None:
        self.was_busy = False
        self._worker = worker
        self._after = after
        self._due = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._kill)
        if not after:
            self._due.set()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._due.set()
        self._thread.join()

    def progress(self, done: int, total: int | None) -> None:
        del total
        if done >= self._after:
            self._due.set()

    def _kill(self) -> None:
        self._due.wait()
        while not self._over.is_set():
            if self._worker.is_busy:
                self._worker.kill()
                self.was_busy = True
                return
            time.sleep(0.02)
