"""An arm64 wheel, from sources to answers: cross-compiled, and run in an emulator.

The wheel has another TensorFlow version than the main job's, so that CI also compiles that version.
Its build is killed again and again, and still makes the published bytes. It runs without the files
that Lambda's arm64 sandbox lacks, with and without the patch that replaces them. The emulator shows
that the code is right; it is no Graviton.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from support import OTHER, ROOT, copy_tracked_files, without_patches
from support import engine as find_engine

from builders.audit import audit
from builders.cache import Cache, default_root
from builders.core import Core
from builders.docker_engine import Engine
from builders.errors import EngineError, FetchError
from builders.fetch import Fetcher
from builders.matrix import load_matrix
from builders.native import NativeRunner
from builders.progress import Reporter
from builders.toolchain import FLAGS
from ci.images.emulation import REMEDY, emulates
from ci.images.standin.make import Maker
from ci.publish.rebuild import compare
from smoke_lambda import docker
from smoke_lambda.bench import FLOAT32, INT8, Bench
from smoke_lambda.site import silent

pytestmark = pytest.mark.integration

# Debian has this Python for arm64, and most of our runtimes are as old as it.
TARGET = load_matrix().target(f"tf{OTHER.version}-cp311-aarch64")
NUMPY = TARGET.runtime.numpy.on_lambda

KILLS = 10
# The first kills fall into the unpacking, the others into the compilation and on.
KILLS_WITHOUT_TREES = 2
LONGEST_SECONDS = 20.0


@dataclass(frozen=True)
class Killed:
    """The result of a build that was killed and continued."""

    wheel: Path
    cache: Cache


@dataclass(frozen=True)
class Place:
    """A place where arm64 wheels run."""

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
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the trees in the cache."""
    runner = native(Cache(default_root()), tmp_path_factory.mktemp("logs"))
    try:
        return runner.trees(TARGET.tensorflow)
    except FetchError as error:
        pytest.skip(f"its sources cannot be had here: {error}")


@pytest.fixture(scope="module")
def killed(trees: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Build the wheel in another folder, and kill the build ten times."""
    folder = tmp_path_factory.mktemp("killed")
    checkout, cache = folder / "another folder's checkout", folder / "its cache"
    out = folder / "out"
    copy_tracked_files(checkout)
    cache.mkdir()
    (cache / "downloads").symlink_to(default_root() / "downloads")
    command: list[str | Path] = [sys.executable, checkout / "scripts/build", "--runner", "native"]
    command += ["--only", TARGET.identifier, "--out", out]
    env = {**os.environ, "TFLITE_WHEELS_CACHE": str(cache)}
    seed = int(time.time())
    moments = random.Random(seed)
    print(f"seed {seed}")

    prepared = subprocess.run([*command, "--plan"], env=env, check=False, capture_output=True)
    assert prepared.returncode == 0, prepared.stderr
    for number in range(KILLS):
        if number == KILLS_WITHOUT_TREES:
            # Stands for a finished unpacking, which takes longer than any build is left to run.
            shutil.rmtree(cache / "trees", ignore_errors=True)
            shutil.copytree(trees, cache / "trees" / trees.name, copy_function=os.link)
        build = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            build.wait(moments.uniform(1.0, LONGEST_SECONDS))
        except subprocess.TimeoutExpired:
            build.kill()
            build.wait()
        assert list(out.glob("*.whl")) == [] or build.returncode == 0
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    return Killed(wheel, Cache(cache))


@pytest.fixture(scope="module")
def runner(killed: Killed, tmp_path_factory: pytest.TempPathFactory) -> NativeRunner:
    return native(killed.cache, tmp_path_factory.mktemp("logs"))


def native(cache: Cache, logs: Path) -> NativeRunner:
    jobs = len(os.sched_getaffinity(0))
    return NativeRunner(cache, Reporter(Console(stderr=True)), logs, jobs=jobs)


@pytest.fixture(scope="module")
def unpatched(runner: NativeRunner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the same wheel with cpuinfo's one object compiled without our patch."""
    folder = tmp_path_factory.mktemp("unpatched")
    toolchain, core = runner.toolchain, runner.core(TARGET.tensorflow, TARGET.arch)
    tree = runner.trees(TARGET.tensorflow) / "cpuinfo"
    tree = without_patches(tree, folder, TARGET.tensorflow.version)
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
    # Nothing of it may reach the cache from which wheels are made.
    cache = Cache(folder / "cache")
    cache.root.mkdir()
    for name in ("downloads", "headers", "python-headers", "zig"):
        (cache.root / name).symlink_to(runner.cache.root / name)
    return native(cache, folder).wheel_from(TARGET, other)


def image(wheel: Path, place: Place, folder: Path) -> AbstractContextManager[docker.Image]:
    """Make the function's image for a block; its log is in the folder."""
    return docker.image(
        wheel,
        TARGET.runtime,
        NUMPY,
        arch=TARGET.arch,
        engine=place.engine,
        base=place.base,
        log=folder / "log",
    )


def test_a_build_that_was_killed_gives_the_published_bytes(killed: Killed) -> None:
    report = audit(killed.wheel, load_matrix())
    assert report.failed == ()
    published = ROOT / "wheels" / killed.wheel.name
    if not published.exists():
        pytest.skip(f"{published.name} is not published yet: ./scripts/publish")
    found = compare(published, killed.wheel)
    assert found.ok, found.detail


def test_it_answers_with_xnnpack_as_on_lambda(killed: Killed, place: Place, tmp_path: Path) -> None:
    with image(killed.wheel, place, tmp_path) as function:
        run = Bench(place=function, on_step=silent).run(killed.wheel)
    assert [check for check in run.checks if not check.ok] == []
    assert run.xnnpack[FLOAT32] == 1.0
    # Its softmax is the built-in kernel's, as on x86-64.
    assert run.xnnpack[INT8] > 0.8
    assert run.measures == {}


def test_a_program_that_aborts_ends(killed: Killed, place: Place, tmp_path: Path) -> None:
    with image(killed.wheel, place, tmp_path) as made:
        (made.folder / "aborts.py").write_text("import os\n\nos.abort()\n")
        status, _ = made.look("aborts", timeout=60)
    assert status == 128 + signal.SIGABRT


def test_without_the_patch_xnnpack_is_off(unpatched: Path, place: Place, tmp_path: Path) -> None:
    with image(unpatched, place, tmp_path) as function:
        assert function.install(unpatched) == ""
        fault, found = function.probe([FLOAT32, INT8])
    # If the processors are listed, even this wheel has XNNPACK: the probe sees the difference.
    assert "expected XNNPACK as without /sys/devices/system/cpu" in fault
    assert len(found["operators"]) == 2
    for operators in found["operators"].values():
        assert not any(taken for _, taken in operators)
    assert "failed to parse both lists" in (tmp_path / "log").read_text()
