"""Choose the runner that makes wheels and the smoker that tests them: Docker, or else native."""

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
"""The Python and the architecture of a base image."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of a command that choose the runner.

    Attributes:
        runner: one of RUNNERS.
        base: the image to use instead of AWS's; empty for AWS's.
        origin: the origin of the sources.
        jobs: the number of compilers to run at once.
        offline: True to use no network.
        upstream_warnings: see NativeRunner.
        compiler: the engine that compiles the core on this machine. Images always use CMake's own.
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
        """True if the options ask for Docker, so that the native runner may not replace it."""
        return self.runner == "docker" or (self.runner == "auto" and bool(self.base))


def choose(
    wanted: Wanted,
    matrix: Matrix,
    targets: Sequence[Target],
    cache: Cache,
    reporter: Reporter,
    logs: Path,
) -> tuple[Runner, Smoker]:
    """Choose the runner and its smoker, and report the choice with its reason.

    Args:
        targets: the targets of this machine's own Pythons, or the named targets.

    Raises:
        EngineError: the options ask for Docker, but there is no engine or no base image.
        UsageError: the options ask for Docker and for an engine other than CMake's own.
    """
    builder = matrix.builder

    def needed(engine: Engine) -> list[Image]:
        # If the options ask for Docker, the targets' images are fetched only when they are needed.
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
    """Choose the smoker for these Pythons and architectures, and report the choice and its reason.

    Raises:
        EngineError: the options ask for Docker, but there is no engine or no base image.
        UsageError: the options ask for Docker and for an engine other than CMake's own.
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
    """Return the base images to work in, or None for this machine; report the choice and reason.

    By default Docker is chosen if it has every needed image: existing stand-ins, or else AWS's
    images. A new stand-in is made only if the options ask for Docker, since it is not Lambda's own
    image.

    Args:
        needed: returns the needed images of an engine.

    Raises:
        EngineError: the options ask for Docker, but there is no engine or no base image.
        UsageError: the options ask for Docker and for an engine other than CMake's own.
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
    """Return the images in which a target is made."""
    engine = bases.engine
    base, built_in = bases.get(runtime, arch), bases.get(builder, engine.arch)
    return Images(
        base=base,
        base_id=engine.image_id(base) or base,
        builder=built_in,
        builder_id=engine.image_id(built_in) or built_in,
    )
