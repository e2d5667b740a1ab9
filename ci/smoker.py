"""Where wheels are smoke-tested: on this machine, or in the image of their Lambda runtime."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from builders.cache import Cache, key_of, sha256_of
from builders.engine import Engine
from builders.errors import SmokeError
from builders.fetch import Fetcher
from builders.headers import runs_here
from builders.interpreters import find_interpreter
from builders.matrix import Runtime
from ci.bases import BaseImages
from smoke_lambda import docker, native
from smoke_lambda.rie import emulator

Step = Callable[[str], None]


def _silent(_what: str) -> None: ...


class Smoker(Protocol):
    """Runs wheels as Lambda functions, somewhere."""

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """Whether a wheel of that Python and architecture can be run."""

    def place(self, runtime: Runtime) -> str:
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


@dataclass(frozen=True)
class NativeSmoker:
    """In a fresh environment of this machine's own Python."""

    cache: Cache
    fetcher: Fetcher

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """Whether this machine has that Python."""
        return runs_here(runtime, arch)

    def place(self, runtime: Runtime) -> str:
        """The interpreter."""
        return f"native {find_interpreter(runtime.python)}"

    def smoke(
        self, wheel: Path, runtime: Runtime, *, log: Path, on_step: Step = _silent
    ) -> dict[str, Any]:
        """See Smoker."""
        interpreter = find_interpreter(runtime.python)
        if interpreter is None:
            raise SmokeError(
                f"this machine has no Python {runtime.python} to run {wheel.name}",
                remedy=f"install it (pyenv install {runtime.python}), or use Docker",
            )
        key = f"smoke-{key_of([wheel.name, sha256_of(wheel), self.place(runtime)])}"
        with self.cache.lock(key):
            return native.smoke(
                wheel,
                runtime=runtime,
                python=interpreter.executable,
                work=self.cache.root / "work" / key,
                rie=emulator(platform.machine(), self.cache.root / "rie", self.fetcher),
                log=log,
                on_step=on_step,
            ).as_json()


@dataclass(frozen=True)
class DockerSmoker:
    """In an image made of the base image of its Python, under Lambda's limits."""

    engine: Engine
    bases: BaseImages
    cache: Cache

    def can_run(self, runtime: Runtime, arch: str) -> bool:
        """Whether the engine runs that architecture, and there may be a base image."""
        return arch == self.engine.arch and self.bases.can_have(runtime, arch)

    def place(self, runtime: Runtime) -> str:
        """The base image, which is pulled or made now if need be."""
        base = self.bases.get(runtime, self.engine.arch)
        return f"docker {base} {self.engine.image_id(base)}"

    def smoke(
        self, wheel: Path, runtime: Runtime, *, log: Path, on_step: Step = _silent
    ) -> dict[str, Any]:
        """See Smoker."""
        arch = self.engine.arch
        base = self.bases.get(runtime, arch)
        # Two of one Python would share the names of their images.
        with self.cache.lock(f"smoke-docker-{runtime.tag}-{arch}"):
            return docker.smoke(
                wheel,
                runtime=runtime,
                arch=arch,
                engine=self.engine,
                base=base,
                log=log,
                on_step=on_step,
            ).as_json()
