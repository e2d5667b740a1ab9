"""An arm64 wheel, from sources to answers: cross-compiled, and run in an emulator.

Without the files that Lambda's arm64 sandbox lacks, with and without the patch that makes
up for them. The emulator shows that code is right; it is no Graviton.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from support import engine as find_engine
from support import without_patches

from builders.cache import Cache, default_root
from builders.core import Core
from builders.engine import Engine
from builders.errors import EngineError
from builders.fetch import Fetcher
from builders.matrix import load_matrix
from builders.native import NativeRunner
from builders.progress import Reporter
from builders.toolchain import FLAGS
from ci.emulation import REMEDY, emulates
from ci.standin.make import Maker
from smoke_lambda import docker
from smoke_lambda.bench import FLOAT32, INT8, Bench

pytestmark = pytest.mark.integration

# Debian has this Python for arm64, and most of our runtimes are as old as it.
TARGET = load_matrix().target("tf2.14.1-cp311-aarch64")
NUMPY = TARGET.runtime.numpy.on_lambda


@dataclass(frozen=True)
class Place:
    """Where arm64 wheels run."""

    engine: Engine
    base: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    engine = find_engine()
    if engine.arch != TARGET.arch and not emulates(TARGET.arch):
        pytest.skip(f"no emulator of {TARGET.arch}: {REMEDY}")
    cache = Cache(default_root())
    log = tmp_path_factory.mktemp("logs") / "standin.log"
    maker = Maker(engine=engine, cache=cache, fetcher=Fetcher(cache), log=log)
    try:
        return Place(engine, maker.make(TARGET.runtime, TARGET.arch))
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> NativeRunner:
    return native(Cache(default_root()), tmp_path_factory.mktemp("logs"))


def native(cache: Cache, logs: Path) -> NativeRunner:
    jobs = len(os.sched_getaffinity(0))
    return NativeRunner(cache, Reporter(Console(stderr=True)), logs, jobs=jobs)


@pytest.fixture(scope="module")
def wheel(place: Place, runner: NativeRunner) -> Path:
    del place  # What cannot be run is not compiled.
    return runner.wheel(TARGET)


@pytest.fixture(scope="module")
def unpatched(wheel: Path, runner: NativeRunner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same wheel with the one object of cpuinfo as upstream has it."""
    del wheel
    folder = tmp_path_factory.mktemp("unpatched")
    toolchain, core = runner.toolchain, runner.core(TARGET.tensorflow, TARGET.arch)
    tree = without_patches(runner.trees(TARGET.tensorflow) / "cpuinfo", folder)
    compiled = folder / "processors.c.o"
    options = [*FLAGS, "-D_GNU_SOURCE", "-DCPUINFO_LOG_LEVEL=2", f"-I{tree}/include"]
    command = [*toolchain.compiler("c", TARGET.arch), *options, f"-I{tree}/src"]
    other = Core(path=folder / f"{core.path.name}-unpatched", record=core.record)
    shutil.copytree(core.path, other.path)
    environment = {**os.environ, **toolchain.environment}
    for step in (
        [*command, "-c", str(tree / "src/linux/processors.c"), "-o", str(compiled)],
        [str(toolchain.zig), "ar", "rD", str(other.archive), str(compiled)],
    ):
        subprocess.run(step, check=True, env=environment)
    # Nothing of it may get into the cache that wheels are made from.
    cache = Cache(folder / "cache")
    cache.root.mkdir()
    for name in ("downloads", "headers", "python-headers", "zig"):
        (cache.root / name).symlink_to(runner.cache.root / name)
    return native(cache, folder).wheel_from(TARGET, other)


def image(wheel: Path, place: Place, folder: Path) -> AbstractContextManager[docker.Image]:
    """The function's image, for a block; its log is in the folder."""
    return docker.image(
        wheel,
        TARGET.runtime,
        NUMPY,
        arch=TARGET.arch,
        engine=place.engine,
        base=place.base,
        log=folder / "log",
    )


def test_it_answers_with_xnnpack_as_on_lambda(wheel: Path, place: Place, tmp_path: Path) -> None:
    with image(wheel, place, tmp_path) as function:
        run = Bench(numpy=NUMPY, place=function, on_step=lambda _step: None).run(wheel)
    assert [check for check in run.checks if not check.ok] == []
    assert run.xnnpack[FLOAT32] == 1.0
    # Its softmax is the built-in kernel's, as on x86-64.
    assert run.xnnpack[INT8] > 0.8
    assert run.measures == {}


def test_without_the_patch_xnnpack_is_off(unpatched: Path, place: Place, tmp_path: Path) -> None:
    with image(unpatched, place, tmp_path) as function:
        assert function.install(unpatched) == ""
        fault, found = function.probe([FLOAT32, INT8])
    assert not fault
    for model in (FLOAT32, INT8):
        assert not any(taken for _, taken in found["operators"][model])
    assert "failed to parse both lists" in (tmp_path / "log").read_text()
