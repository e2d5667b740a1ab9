"""The places where contenders run: an image with Lambda's limits, or this machine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from builders.architecture import docker_platform
from builders.cache import Cache
from builders.docker_engine import Engine
from builders.errors import EngineError, SmokeError
from builders.interpreters import find_interpreter
from builders.matrix import Runtime
from ci.bench.candidates import Startable
from ci.compare.contenders import Contender
from smoke_lambda import container, function
from smoke_lambda.limits import Limits, open_to_all
from smoke_lambda.lock import FUNCTION_PACKAGES, lock_path, packages_of
from smoke_lambda.native import make_environment, uv
from smoke_lambda.site import Function

HERE = Path(__file__).parent
IMAGE = "tflite-lambda-compare"
LABEL = "tflite-lambda.compare"
WORKER_CPUS = 2
"""The CPUs of a timed process; with fewer threads, the process uses fewer of them."""
CONTENDERS_OWN = {"", *FUNCTION_PACKAGES}
"""The packages of the smoke test's lock that a contender brings; the rest is Lambda's client."""


@dataclass
class Timed:
    """A running function, with the time that each of its requests took."""

    function: Function
    ms: list[float] = field(default_factory=list)

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - whatever the handler answers
        """See site.Function; this also notes the request's wall time in milliseconds."""
        began = time.perf_counter()
        reply = self.function.invoke(event)
        self.ms.append((time.perf_counter() - began) * 1000)
        return reply


class Place(Startable, Protocol):
    """An installed contender."""

    @property
    def contender(self) -> Contender:
        """The contender that is installed."""

    @property
    def image_bytes(self) -> int | None:
        """The size of its image less the size of the base image; None if there is no image."""

    @property
    def is_limited(self) -> bool:
        """True if `limited` has an effect."""

    def limited(self, limits: Limits) -> Place:
        """Return the same place under other limits."""

    def function(self, task: Path, variables: Mapping[str, str]) -> AbstractContextManager[Timed]:
        """Run the function whose code is in a folder, until the block ends.

        Raises:
            SmokeError, EngineError: it does not start.
        """


@dataclass(frozen=True, kw_only=True)
class _Installed:
    """The parts that all places share."""

    contender: Contender
    log: Path

    @property
    def name(self) -> str:
        """See Place."""
        return self.contender.name

    @property
    def module(self) -> str:
        """See Place."""
        return self.contender.module


@dataclass(frozen=True, kw_only=True)
class NativePlace(_Installed):
    """An environment on this machine, with this machine's Linux and without limits."""

    python: Path
    work: Path
    rie: Callable[[], Path]

    @property
    def bytecode(self) -> Path:
        """See Startable."""
        return self.python.parents[1] / "bytecode"

    @property
    def image_bytes(self) -> int | None:
        """See Place."""
        return None

    @property
    def is_limited(self) -> bool:
        """See Place."""
        return False

    def command(self, module: str, *arguments: str | Path) -> Sequence[str | Path]:
        """See Place."""
        return [self.python, "-s", "-m", module, *arguments]

    def limited(self, limits: Limits) -> NativePlace:  # noqa: ARG002 - there are none here
        """See Place."""
        return self

    @contextmanager
    def function(self, task: Path, variables: Mapping[str, str]) -> Iterator[Timed]:
        """See Place."""
        home = self.work / "tmp"
        home.mkdir(parents=True, exist_ok=True)
        output = self.work / f"{self.contender.key}.log"
        output.unlink(missing_ok=True)
        with function.running(
            "app.handler",
            python=self.python,
            task=task,
            home=home,
            rie=self.rie().absolute(),
            log=output,
            variables=variables,
        ) as found:
            yield Timed(found)


@dataclass(frozen=True, kw_only=True)
class DockerPlace(_Installed):
    """An image made from the base image of its Python, run under Lambda's limits.

    Attributes:
        tools: see smoke_lambda.container.tools.
        files: a folder that processes in the image see at the same path as here.
    """

    engine: Engine
    image: str
    base: str
    tools: Path
    files: Path
    limits: Limits

    @property
    def bytecode(self) -> None:
        """See Startable: the bytecode is in the image."""
        return None

    @property
    def image_bytes(self) -> int | None:
        """See Place."""
        ours, base = self.engine.image_size(self.image), self.engine.image_size(self.base)
        return None if ours is None or base is None else ours - base

    @property
    def is_limited(self) -> bool:
        """See Place."""
        return True

    def command(self, module: str, *arguments: str | Path) -> Sequence[str | Path]:
        """See Place."""
        words = [str(each) for each in arguments]
        return container.one_shot(
            self.engine, self.image, self.limits, self.tools, self.files, module, words
        )

    def limited(self, limits: Limits) -> DockerPlace:
        """See Place."""
        return replace(self, limits=limits)

    @contextmanager
    def function(self, task: Path, variables: Mapping[str, str]) -> Iterator[Timed]:
        """See Place."""
        open_to_all(task)
        with container.running(
            self.engine, self.image, self.limits, variables, self.tools, self.log, task
        ) as found:
            yield Timed(found)


class NotInstalledError(Exception):
    """A contender's wheels cannot be installed; the text says why."""


class Places(Protocol):
    """Installs contenders."""

    @property
    def what(self) -> str:
        """A description for people of where contenders run."""

    def install(self, contender: Contender) -> Place:
        """Install the wheels of a contender.

        Raises:
            NotInstalledError: the wheels cannot be installed.
            SmokeError, EngineError: Python, the client or the image is not available.
        """


@dataclass(frozen=True, kw_only=True)
class NativePlaces:
    """Installs contenders in environments of this machine, which are kept in the cache."""

    runtime: Runtime
    cache: Cache
    work: Path
    rie: Callable[[], Path]
    log: Path

    @property
    def what(self) -> str:
        """See Places."""
        return "this machine, without Lambda's limits and with its own Linux"

    def install(self, contender: Contender) -> Place:
        """See Places."""
        interpreter = find_interpreter(self.runtime.python)
        if interpreter is None:
            raise SmokeError(
                f"this machine has no Python {self.runtime.python}",
                remedy=f"install it (pyenv install {self.runtime.python}), or use Docker",
            )

        def make(folder: Path) -> None:
            locked = packages_of(lock_path(self.runtime, self.runtime.numpy.on_lambda))
            client = folder / "client.txt"
            client.write_text("".join(locked[name] for name in locked.keys() - CONTENDERS_OWN))
            environment = folder / "environment"
            make_environment(interpreter.executable, client, environment, self.log)
            # Compile the Python files: a function's image has bytecode, too.
            command: list[str | Path] = [
                "pip",
                "install",
                "--python",
                environment / "bin" / "python",
                "--no-index",
            ]
            command += ["--no-deps", "--compile-bytecode", *contender.wheels]
            try:
                uv(f"installing {contender.name}", *command, log=self.log)
            except SmokeError as error:
                raise NotInstalledError(error.what) from error

        name = f"{self.runtime.tag}-{contender.key}"
        folder = self.cache.product("compare-environment", name, make)
        return NativePlace(
            contender=contender,
            python=folder / "environment" / "bin" / "python",
            work=self.work,
            rie=self.rie,
            log=self.log,
        )


@dataclass(frozen=True, kw_only=True)
class DockerPlaces:
    """Installs contenders in images of the engine's store; these stay, as the smoke test's do."""

    runtime: Runtime
    engine: Engine
    base: str
    arch: str
    tools: Path
    files: Path
    log: Path

    @property
    def what(self) -> str:
        """See Places."""
        return f"{self.base}, under Lambda's limits"

    def install(self, contender: Contender) -> Place:
        """See Places."""
        image = f"{IMAGE}:{self.runtime.tag}-{self.arch}-{contender.key}"
        with TemporaryDirectory(prefix="tflite-compare-") as folder:
            wheels = Path(folder) / "wheels"
            wheels.mkdir()
            for wheel in contender.wheels:
                shutil.copyfile(wheel, wheels / wheel.name)
            try:
                self.engine.build(
                    dockerfile=HERE / "Dockerfile",
                    context=Path(folder),
                    args={"BASE_IMAGE": self.base},
                    labels={LABEL: contender.key},
                    tag=image,
                    network="none",
                    platform=docker_platform(self.arch),
                    log=self.log,
                    what=f"installing {contender.name}",
                )
            except EngineError as error:
                if error.status is None:
                    raise
                raise NotInstalledError(error.what) from error
        return DockerPlace(
            contender=contender,
            engine=self.engine,
            image=image,
            base=self.base,
            tools=self.tools,
            files=self.files,
            log=self.log,
            limits=Limits(cpus=WORKER_CPUS, memory_mb=MOST_MB),
        )


MOST_MB = 10_240
"""The most memory that Lambda offers, in MB; for measurements of anything but memory."""


@contextmanager
def docker_places(
    runtime: Runtime, engine: Engine, base: str, arch: str, files: Path, log: Path
) -> Iterator[DockerPlaces]:
    """Give the images of a runtime; their containers end with the block."""
    container.reap(engine)
    with container.tools() as tools:
        try:
            yield DockerPlaces(
                runtime=runtime,
                engine=engine,
                base=base,
                arch=arch,
                tools=tools,
                files=files,
                log=log,
            )
        finally:
            container.end_own(engine)
            engine.attempt("image", "prune", "--force", "--filter", f"label={LABEL}")
