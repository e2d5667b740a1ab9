"""Which runner makes the wheels, and what smoke-tests them: Docker where it can be, else native."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from builders.cache import Cache
from builders.docker import DockerRunner, Images
from builders.docker_engine import Engine, find_engine
from builders.engines.engine import Engine as CoreEngine
from builders.engines.ninja import NINJA
from builders.errors import EngineError, UsageError
from builders.fetch import Fetcher
from builders.matrix import Matrix, Runtime, Target
from builders.native import NativeRunner
from builders.progress import Reporter
from builders.runner import Runner
from ci.images.bases import BaseImages
from ci.proof.smoker import DockerSmoker, NativeSmoker, Smoker

RUNNERS = ("auto", "native", "docker")

Image = tuple[Runtime, str]
"""The base image of a Python and an architecture."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for.

    Attributes:
        runner: one of RUNNERS.
        base: an image instead of AWS's, or nothing.
        jobs: compilers at once.
        upstream_warnings: see NativeRunner.
        compiler: the engine that compiles the core, on this machine; in images it is CMake's own.
    """

    runner: str
    base: str
    origin: str = "auto"
    jobs: int = 1
    offline: bool = False
    upstream_warnings: bool = False
    compiler: CoreEngine = NINJA

    @property
    def asks_for_docker(self) -> bool:
        """Whether it is to be Docker or nothing."""
        return self.runner == "docker" or (self.runner == "auto" and bool(self.base))


def choose(
    wanted: Wanted,
    matrix: Matrix,
    targets: Sequence[Target],
    cache: Cache,
    reporter: Reporter,
    logs: Path,
) -> tuple[Runner, Smoker]:
    """The runner and the smoker that goes with it; says which, and why.

    Args:
        targets: those of this machine's own Pythons, or those that were named.

    Raises:
        EngineError: Docker was asked for, and there is no engine or no base image.
    """
    builder = matrix.builder

    def needed(engine: Engine) -> list[Image]:
        # Where Docker was asked for, other images are had when their turn comes.
        own = [] if wanted.asks_for_docker else targets
        return [(builder, engine.arch), *((target.runtime, target.arch) for target in own)]

    bases = base_images(wanted, needed, cache, reporter, logs)
    if bases is not None:
        runner = DockerRunner(
            bases.engine,
            partial(_images, bases, builder),
            cache,
            reporter,
            logs,
            origin=wanted.origin,
            offline=wanted.offline,
            upstream_warnings=wanted.upstream_warnings,
        )
        return runner, DockerSmoker(bases.engine, bases, cache)
    native = NativeRunner(
        cache,
        reporter,
        logs,
        origin=wanted.origin,
        jobs=wanted.jobs,
        offline=wanted.offline,
        upstream_warnings=wanted.upstream_warnings,
        engine=wanted.compiler,
    )
    return native, NativeSmoker(cache, native.fetcher)


def choose_smoker(
    wanted: Wanted, needed: Sequence[Image], cache: Cache, reporter: Reporter
) -> Smoker:
    """Where to run wheels of these Pythons and architectures; says so, and why.

    Raises:
        EngineError: Docker was asked for, and there is no engine or no base image.
    """
    bases = base_images(wanted, lambda _engine: needed, cache, reporter, cache.root / "logs")
    if bases is None:
        return NativeSmoker(cache, Fetcher(cache))
    return DockerSmoker(bases.engine, bases, cache)


def base_images(
    wanted: Wanted,
    needed: Callable[[Engine], Sequence[Image]],
    cache: Cache,
    reporter: Reporter,
    logs: Path,
) -> BaseImages | None:
    """The base images to work in, or None for this machine itself; says which, and why.

    Where nothing was asked for, it is Docker if that has every image that is needed: stand-ins
    that are there, else AWS's. A stand-in is made for those alone who ask for Docker: it is not
    Lambda's.

    Raises:
        EngineError: Docker was asked for, and there is no engine or no base image.
        UsageError: Docker and an engine other than CMake's own were asked for.
    """
    why = "it was asked for"
    if wanted.compiler is not NINJA:
        if wanted.asks_for_docker:
            raise UsageError(
                "images compile their core with CMake alone",
                remedy="leave out --engine bazel, or choose --runner native",
            )
        why = "Bazel compiles on this machine"
    elif wanted.runner != "native":
        try:
            engine = find_engine()
            images = needed(engine)
            bases = _bases(engine, wanted, images, cache, reporter, logs)
        except EngineError as error:
            if wanted.asks_for_docker:
                raise
            why = error.what.strip()
        else:
            there = dict.fromkeys(name for image in images if (name := bases.here(*image)))
            reporter.say(f"runner: docker (engine {engine.version}; {', '.join(there)})")
            return bases
    reporter.say(f"runner: native ({why})")
    return None


def _bases(
    engine: Engine,
    wanted: Wanted,
    images: Sequence[Image],
    cache: Cache,
    reporter: Reporter,
    logs: Path,
) -> BaseImages:
    def bases(*, stand_ins: bool, offline: bool) -> BaseImages:
        return BaseImages(
            engine,
            cache,
            reporter,
            logs,
            named=wanted.base,
            stand_ins=stand_ins,
            offline=offline or wanted.offline,
        )

    if wanted.asks_for_docker:
        found = bases(stand_ins=True, offline=False)
        for image in images:
            found.get(*image)
        return found
    there = bases(stand_ins=True, offline=True)
    if all(there.here(*image) for image in images):
        return there
    found = bases(stand_ins=False, offline=False)
    found.get(*images[0])
    for runtime, arch in images:
        if not found.can_have(runtime, arch):
            raise EngineError(f"there is no base image of Python {runtime.python}")
    return found


def _images(bases: BaseImages, builder: Runtime, runtime: Runtime, arch: str) -> Images:
    """The images that a target is made in."""
    engine = bases.engine
    base, built_in = bases.get(runtime, arch), bases.get(builder, engine.arch)
    return Images(
        base=base,
        base_id=engine.image_id(base) or base,
        builder=built_in,
        builder_id=engine.image_id(built_in) or built_in,
    )
