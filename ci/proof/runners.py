"""Which runner makes the wheels, and what smoke-tests them: Docker where it can be, else native."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.cache import Cache
from builders.docker import DockerRunner, Images
from builders.engine import Engine, find_engine
from builders.errors import EngineError
from builders.fetch import Fetcher
from builders.matrix import Matrix, Runtime
from builders.native import NativeRunner
from builders.progress import Reporter
from builders.runner import Runner
from ci.images.bases import BaseImages
from ci.images.builder import builder_python
from ci.proof.smoker import DockerSmoker, ModelSmoker, NativeSmoker, Smoker

RUNNERS = ("auto", "native", "docker")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for.

    Attributes:
        runner: one of RUNNERS.
        base: an image instead of AWS's, or nothing.
        jobs: compilers at once.
        upstream_warnings: see NativeRunner.
    """

    runner: str
    base: str
    origin: str
    jobs: int
    offline: bool
    upstream_warnings: bool = False


def choose(
    wanted: Wanted, matrix: Matrix, cache: Cache, reporter: Reporter, logs: Path
) -> tuple[Runner, Smoker]:
    """The runner and the smoker that goes with it; says which, and why.

    Raises:
        EngineError: Docker was asked for, and there is no engine or no base image.
    """
    asked = wanted.runner == "docker" or (wanted.runner == "auto" and bool(wanted.base))
    why = "it was asked for"
    if wanted.runner != "native":
        try:
            engine = find_engine()
            bases = BaseImages(
                engine,
                cache,
                reporter,
                logs,
                named=wanted.base,
                # A stand-in is not Lambda's: only for those who chose Docker.
                stand_ins=asked,
                offline=wanted.offline,
            )
            base = bases.get(matrix.runtime(builder_python()), engine.arch)
        except EngineError as error:
            if asked:
                raise
            why = error.what
        else:
            reporter.say(f"runner: docker (engine {engine.version}, {base})")
            return docker(engine, bases, wanted, matrix, cache, reporter, logs)
    reporter.say(f"runner: native ({why})")
    runner = NativeRunner(
        cache,
        reporter,
        logs,
        origin=wanted.origin,
        jobs=wanted.jobs,
        offline=wanted.offline,
        upstream_warnings=wanted.upstream_warnings,
    )
    return runner, NativeSmoker(cache, runner.fetcher)


def docker(
    engine: Engine,
    bases: BaseImages,
    wanted: Wanted,
    matrix: Matrix,
    cache: Cache,
    reporter: Reporter,
    logs: Path,
) -> tuple[Runner, Smoker]:
    """The Docker runner and smoker on these base images."""
    builder = matrix.runtime(builder_python())

    def images(runtime: Runtime, arch: str) -> Images:
        base, built_in = bases.get(runtime, arch), bases.get(builder, engine.arch)
        return Images(
            base=base,
            base_id=engine.image_id(base) or base,
            builder=built_in,
            builder_id=engine.image_id(built_in) or built_in,
        )

    runner = DockerRunner(
        engine,
        images,
        cache,
        reporter,
        logs,
        origin=wanted.origin,
        offline=wanted.offline,
        upstream_warnings=wanted.upstream_warnings,
    )
    return runner, DockerSmoker(engine, bases, cache)


def choose_smoker(
    runner: str,
    base: str,
    targets: Sequence[tuple[Runtime, str]],
    cache: Cache,
    reporter: Reporter,
) -> ModelSmoker:
    """Where to run wheels of these Pythons and architectures; says so, and why.

    Args:
        runner: one of RUNNERS.
        base: an image instead of AWS's, or nothing.

    Raises:
        EngineError: Docker was asked for, and there is no engine or no base image.
    """
    asked = runner == "docker" or (base and runner == "auto")
    why = "it was asked for"
    if runner != "native":
        try:
            smoker = _docker_smoker(base, targets, cache, reporter, make=bool(asked))
        except EngineError as error:
            if asked:
                raise
            why = error.what.strip()
        else:
            found = ", ".join(dict.fromkeys(smoker.place(*target).split()[1] for target in targets))
            reporter.say(f"runner: docker (engine {smoker.engine.version}; {found})")
            return smoker
    reporter.say(f"runner: native ({why})")
    return NativeSmoker(cache, Fetcher(cache))


def _docker_smoker(
    base: str,
    targets: Sequence[tuple[Runtime, str]],
    cache: Cache,
    reporter: Reporter,
    *,
    make: bool,
) -> DockerSmoker:
    """A smoker on AWS's images or the one that was named, else on stand-ins.

    Args:
        make: whether stand-ins may be made now; else they must be there.
    """
    engine = find_engine()

    def smoker(*, stand_ins: bool, offline: bool) -> DockerSmoker:
        logs = cache.root / "logs"
        bases = BaseImages(
            engine, cache, reporter, logs, named=base, stand_ins=stand_ins, offline=offline
        )
        for runtime, arch in targets:
            bases.get(runtime, arch)
        return DockerSmoker(engine, bases, cache)

    if make:
        return smoker(stand_ins=True, offline=False)
    try:
        return smoker(stand_ins=True, offline=True)
    except EngineError:
        return smoker(stand_ins=False, offline=False)
