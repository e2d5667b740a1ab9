"""Where wheels are smoke-tested: on this machine, or in the image of their Lambda runtime."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from packaging.tags import Tag
from packaging.utils import BuildTag, InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from builders.audit.wheelfile import parse_name
from builders.cache import Cache, key_of, sha256_of
from builders.engine import Engine
from builders.errors import SmokeError, UsageError
from builders.fetch import Fetcher
from builders.headers import runs_here
from builders.interpreters import find_interpreter
from builders.matrix import Runtime, load_matrix
from ci.images.bases import BaseImages
from ci.images.emulation import REMEDY, emulates
from smoke_lambda import docker, native
from smoke_lambda.bench import check_runs
from smoke_lambda.conform.session import Site
from smoke_lambda.ops import Ops, found_by_probe
from smoke_lambda.rie import emulator

Step = Callable[[str], None]


def _silent(_what: str) -> None: ...


class Smoker(Protocol):
    """Runs wheels as Lambda functions, somewhere."""

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """True if a wheel of that Python and architecture can be run."""

    def place(self, runtime: Runtime, arch: str) -> str:
        """What identifies where it runs; what a report is kept by must include it."""

    def smoke(
        self, wheel: Path, runtime: Runtime, *, log: Path, on_step: Step = _silent
    ) -> dict[str, Any]:
        """Smoke-test one wheel; gives `SmokeReport.as_json()`.

        Args:
            log: file that everything's output is appended to.
            on_step: is told what happens now.

        Raises:
            SmokeError, EngineError, FetchError: the test could not be run; a bad
                wheel is not an error but a report that says so.
        """

    def site(
        self, wheel: Path, runtime: Runtime, numpy: str, *, log: Path
    ) -> AbstractContextManager[Site]:
        """A place for a wheel with that NumPy, in which nothing is installed yet.

        Raises:
            SmokeError, EngineError: the wheel is for another machine or Python, or there is none.
        """


class ModelSmoker(Smoker, Protocol):
    """A Smoker that tries a user's own model, too."""

    def try_model(
        self,
        model: Path,
        sample: Path | None,
        wheel: Path,
        runtime: Runtime,
        *,
        log: Path,
        on_step: Step = _silent,
    ) -> dict[str, Any]:
        """Run a model on a wheel; gives `ModelReport.as_json()`.

        Args:
            sample: a NumPy file for its first input, or None.

        Raises:
            UsageError: it is no model.
            SmokeError, EngineError, FetchError: as for `smoke`.
        """


@dataclass(frozen=True)
class NativeSmoker:
    """In a fresh environment of this machine's own Python.

    Attributes:
        dependencies: whether wheels at a site come with all that they require.
    """

    cache: Cache
    fetcher: Fetcher
    dependencies: bool = False

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """True if this machine has that Python."""
        return runs_here(runtime, arch)

    def place(self, runtime: Runtime, arch: str) -> str:
        """The interpreter."""
        return f"native {arch} {find_interpreter(runtime.python)}"

    def smoke(
        self, wheel: Path, runtime: Runtime, *, log: Path, on_step: Step = _silent
    ) -> dict[str, Any]:
        """See Smoker."""
        interpreter = self._interpreter(wheel, runtime)
        with self._work(wheel, runtime) as work:
            return native.smoke(
                wheel,
                runtime=runtime,
                python=interpreter,
                work=work,
                rie=emulator(platform.machine(), self.cache.root / "rie", self.fetcher),
                log=log,
                on_step=on_step,
            ).as_json()

    def try_model(
        self,
        model: Path,
        sample: Path | None,
        wheel: Path,
        runtime: Runtime,
        *,
        log: Path,
        on_step: Step = _silent,
    ) -> dict[str, Any]:
        """See ModelSmoker."""
        interpreter = self._interpreter(wheel, runtime)
        with self._work(wheel, runtime) as work:
            return native.try_model(
                model,
                sample,
                wheel,
                runtime=runtime,
                python=interpreter,
                work=work,
                log=log,
                on_step=on_step,
            ).as_json()

    @contextmanager
    def site(self, wheel: Path, runtime: Runtime, numpy: str, *, log: Path) -> Iterator[Site]:
        """See Smoker."""
        arch = platform.machine()
        check_runs(wheel, runtime, arch)
        python = self._interpreter(wheel, runtime)
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._work(wheel, runtime) as work,
            native.environment(
                runtime,
                numpy,
                python=python,
                work=work,
                log=log,
                dependencies=self.dependencies,
            ) as place,
        ):
            yield Site(place=place, name=f"native {python}", arch=arch, numpy=numpy)

    def ops(self, wheel: Path, runtime: Runtime, *, log: Path) -> tuple[Mapping[str, int], Ops]:
        """The builtin operators that a wheel has, and the numbers of all that it knows.

        Raises:
            SmokeError: it cannot be run here, or does not say.
        """
        check_runs(wheel, runtime, platform.machine())
        interpreter = self._interpreter(wheel, runtime)
        numpy = runtime.numpy.on_lambda
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._work(wheel, runtime) as work,
            native.environment(runtime, numpy, python=interpreter, work=work, log=log) as here,
        ):
            if fault := here.install(wheel.absolute()):
                raise SmokeError(f"{wheel.name}: {fault}", remedy=f"see {log}")
            return found_by_probe(*here.look("smoke_lambda.inside.ops_probe"))

    def _interpreter(self, wheel: Path, runtime: Runtime) -> Path:
        found = find_interpreter(runtime.python)
        if found is None:
            raise SmokeError(
                f"this machine has no Python {runtime.python} to run {wheel.name}",
                remedy=f"install it (pyenv install {runtime.python}), or use Docker",
            )
        return found.executable

    @contextmanager
    def _work(self, wheel: Path, runtime: Runtime) -> Iterator[Path]:
        """A folder for the environments of a wheel, which is ours while the block lasts."""
        place = self.place(runtime, platform.machine())
        key = f"smoke-{key_of([wheel.name, sha256_of(wheel), place])}"
        with self.cache.lock(key):
            yield self.cache.root / "work" / key


@dataclass(frozen=True)
class DockerSmoker:
    """In an image made of the base image of its Python, under Lambda's limits.

    A wheel of another architecture than the engine's runs there in an emulator.
    """

    engine: Engine
    bases: BaseImages
    cache: Cache

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """True if the engine runs that architecture, and there may be a base image."""
        runs = arch == self.engine.arch or emulates(arch)
        return runs and self.bases.can_have(runtime, arch)

    def place(self, runtime: Runtime, arch: str) -> str:
        """The base image, which is pulled or made now if need be."""
        base = self.bases.get(runtime, arch)
        return f"docker {base} {self.engine.image_id(base)}"

    def smoke(
        self, wheel: Path, runtime: Runtime, *, log: Path, on_step: Step = _silent
    ) -> dict[str, Any]:
        """See Smoker."""
        arch = self._arch(wheel)
        with self._locked(runtime, arch):
            return docker.smoke(
                wheel,
                runtime=runtime,
                arch=arch,
                engine=self.engine,
                base=self.bases.get(runtime, arch),
                log=log,
                on_step=on_step,
            ).as_json()

    def try_model(
        self,
        model: Path,
        sample: Path | None,
        wheel: Path,
        runtime: Runtime,
        *,
        log: Path,
        on_step: Step = _silent,
    ) -> dict[str, Any]:
        """See ModelSmoker."""
        arch = self._arch(wheel)
        with self._locked(runtime, arch):
            return docker.try_model(
                model,
                sample,
                wheel,
                runtime=runtime,
                arch=arch,
                engine=self.engine,
                base=self.bases.get(runtime, arch),
                log=log,
                on_step=on_step,
            ).as_json()

    @contextmanager
    def site(self, wheel: Path, runtime: Runtime, numpy: str, *, log: Path) -> Iterator[Site]:
        """See Smoker."""
        arch = self._arch(wheel)
        check_runs(wheel, runtime, arch)
        log.parent.mkdir(parents=True, exist_ok=True)
        base = self.bases.get(runtime, arch)
        with (
            self._locked(runtime, arch),
            docker.image(
                wheel, runtime, numpy, arch=arch, engine=self.engine, base=base, log=log
            ) as place,
        ):
            yield Site(
                place=place,
                name=f"docker {base}",
                arch=arch,
                numpy=numpy,
                emulated=place.is_emulated,
            )

    def _arch(self, wheel: Path) -> str:
        """The architecture of a wheel, which can run in this engine."""
        arch = wheel_arch(wheel) or self.engine.arch
        if arch != self.engine.arch and not emulates(arch):
            raise SmokeError(f"this machine cannot run {wheel.name}", remedy=REMEDY)
        return arch

    def _locked(self, runtime: Runtime, arch: str) -> AbstractContextManager[None]:
        """Two of one Python would share the names of their images."""
        return self.cache.lock(f"smoke-docker-{runtime.tag}-{arch}")


def wheel_arch(wheel: Path) -> str | None:
    """The architecture that a wheel's name promises; None if it is none of the matrix."""
    return parse_name(wheel.name, load_matrix()).arch


def wheel_runtime(wheel: Path) -> Runtime:
    """The Lambda runtime of a wheel's Python.

    Raises:
        UsageError: there is no such file, it has another name, or no such runtime.
    """
    return load_matrix().runtime(next(iter(parsed_name(wheel)[3])).interpreter)


def wheel_tensorflow(wheel: Path) -> str:
    """The TensorFlow version that a wheel's name promises; raises UsageError as above."""
    return str(parsed_name(wheel)[1])


def parsed_name(wheel: Path) -> tuple[str, Version, BuildTag, frozenset[Tag]]:
    """What a wheel's name says: project, version, build, tags; raises UsageError as above."""
    if not wheel.is_file():
        raise UsageError(f"there is no wheel {wheel}", remedy="./scripts/build makes some in dist/")
    try:
        return parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise UsageError(str(error)) from error
