"""Run wheels for smoke tests: on this machine, or in the image of their Lambda runtime."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from builders.cache import Cache, key_of, sha256_of
from builders.docker_engine import Engine
from builders.errors import SmokeError
from builders.fetch import Fetcher
from builders.headers import runs_here
from builders.interpreters import find_interpreter
from builders.matrix import Runtime, load_matrix
from builders.wheelname import name_of, parse_name
from ci.images.bases import BaseImages
from ci.images.emulation import REMEDY, emulates
from smoke_lambda import docker, native
from smoke_lambda.onnx import smoke as onnx
from smoke_lambda.rie import emulator
from smoke_lambda.site import FunctionPlace, Site


class Smoker(Protocol):
    """Runs wheels as Lambda functions, on this machine or in Docker."""

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """True if the smoker can run a wheel of that Python and architecture."""

    def place(self, runtime: Runtime, arch: str) -> str:
        """Return the identity of the place where wheels run; the cache key of a report needs it."""

    def site(self, wheel: Path, runtime: Runtime, *, log: Path) -> AbstractContextManager[Site]:
        """Give the site to run a wheel at, until the `with` block ends.

        Args:
            log: the file to which all output is appended.

        Raises:
            SmokeError, EngineError: the wheel is for another machine, or its Python or base image
                is missing.
        """

    def onnx(self, runtime: Runtime, *, log: Path) -> AbstractContextManager[FunctionPlace]:
        """Give the function for ONNX Runtime on a Python, installed until the `with` block ends.

        Raises:
            SmokeError, EngineError: the function cannot be installed here.
        """


@dataclass(frozen=True)
class NativeSmoker:
    """The smoker that runs wheels in fresh environments of this machine's own Pythons.

    Attributes:
        dependencies: True to install wheels together with all their requirements.
    """

    cache: Cache
    fetcher: Fetcher
    dependencies: bool = False

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """True if this machine has that Python and architecture."""
        return runs_here(runtime, arch)

    def place(self, runtime: Runtime, arch: str) -> str:
        """Return the identity of the interpreter."""
        return f"native {arch} {find_interpreter(runtime.python)}"

    @contextmanager
    def site(self, wheel: Path, runtime: Runtime, *, log: Path) -> Iterator[Site]:
        """See Smoker."""
        python = self._interpreter(wheel.name, runtime)
        rie = partial(emulator, platform.machine(), self.cache.root / "rie", self.fetcher)
        with self._work(wheel, runtime) as work:
            yield native.site(
                wheel,
                runtime,
                python=python,
                work=work,
                log=log,
                rie=rie,
                dependencies=self.dependencies,
            )

    @contextmanager
    def onnx(self, runtime: Runtime, *, log: Path) -> Iterator[FunctionPlace]:
        """See Smoker."""
        python = self._interpreter("ONNX Runtime", runtime)
        rie = partial(emulator, platform.machine(), self.cache.root / "rie", self.fetcher)
        key = f"smoke-onnx-{runtime.tag}"
        with self.cache.lock(key):
            work = self.cache.root / "work" / key
            with onnx.environment(runtime, python=python, work=work, log=log, rie=rie) as found:
                yield found

    def _interpreter(self, what: str, runtime: Runtime) -> Path:
        found = find_interpreter(runtime.python)
        if found is None:
            raise SmokeError(
                f"this machine has no Python {runtime.python} to run {what}",
                remedy=f"install it (pyenv install {runtime.python}), or use Docker",
            )
        return found.executable

    @contextmanager
    def _work(self, wheel: Path, runtime: Runtime) -> Iterator[Path]:
        """Give a folder for a wheel's environments, locked until the `with` block ends."""
        place = self.place(runtime, platform.machine())
        key = f"smoke-{key_of([wheel.name, sha256_of(wheel), place])}"
        with self.cache.lock(key), self.cache.scratch(key) as work:
            yield work


@dataclass(frozen=True)
class DockerSmoker:
    """The smoker that runs wheels in Docker, under Lambda's limits.

    The image of a wheel is made from the base image of the wheel's Python. A wheel for another
    architecture than the engine's runs in an emulator.
    """

    engine: Engine
    bases: BaseImages
    cache: Cache

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """True if the engine runs that architecture and a base image may be available."""
        runs = arch == self.engine.arch or emulates(arch)
        return runs and self.bases.can_have(runtime, arch)

    def place(self, runtime: Runtime, arch: str) -> str:
        """Return the identity of the base image; pull or make the image if it is missing."""
        base = self.bases.get(runtime, arch)
        return f"docker {base} {self.engine.image_id(base)}"

    @contextmanager
    def site(self, wheel: Path, runtime: Runtime, *, log: Path) -> Iterator[Site]:
        """See Smoker."""
        arch = self._arch(wheel)
        base = self.bases.get(runtime, arch)
        # Two wheels of one Python would use the same names for their images.
        with self.cache.lock(f"smoke-docker-{runtime.tag}-{arch}"):
            yield docker.site(wheel, runtime, arch=arch, engine=self.engine, base=base, log=log)

    @contextmanager
    def onnx(self, runtime: Runtime, *, log: Path) -> Iterator[FunctionPlace]:
        """See Smoker."""
        arch = self.engine.arch
        base = self.bases.get(runtime, arch)
        with (
            self.cache.lock(f"smoke-onnx-docker-{runtime.tag}-{arch}"),
            onnx.image(runtime, engine=self.engine, base=base, arch=arch, log=log) as found,
        ):
            yield found

    def _arch(self, wheel: Path) -> str:
        """Return the architecture of a wheel.

        Raises:
            SmokeError: this engine cannot run the architecture.
        """
        arch = parse_name(wheel.name).arch or self.engine.arch
        if arch != self.engine.arch and not emulates(arch):
            raise SmokeError(f"this machine cannot run {wheel.name}", remedy=REMEDY)
        return arch


def images_of(wheels: Sequence[Path]) -> list[tuple[Runtime, str]]:
    """Return the Lambda runtime and the architecture of each wheel, by the wheel's name.

    Raises:
        UsageError: a file does not exist, its name is no wheel's, or the matrix does not have the
            runtime.
    """
    return [(wheel_runtime(wheel), name_of(wheel).arch or platform.machine()) for wheel in wheels]


def wheel_runtime(wheel: Path) -> Runtime:
    """Return the Lambda runtime of a wheel's Python.

    Raises:
        UsageError: the file does not exist, its name is no wheel's, or the matrix does not have
            the runtime.
    """
    return load_matrix().runtime(name_of(wheel).interpreter)
