"""The places to try a wheel: this machine (native.py), or images of its runtime (docker.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from builders.errors import SmokeError, UserError
from builders.matrix import Runtime
from builders.wheelname import name_of
from smoke_lambda.inside.probing import NO_VARIABLES, PROBE_SECONDS
from smoke_lambda.limits import Limits

Step = Callable[[str], None]
"""A function that is called with the name of each step when the step begins."""


def silent(_what: str) -> None:
    """Do nothing: a Step for callers that show no steps."""


class Function(Protocol):
    """A running function."""

    @property
    def server(self) -> str:
        """The URL of the image server (smoke_lambda.inside.server) as the function sees it."""

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - whatever the handler answers
        """Return the reply to an event, decoded from JSON.

        Raises:
            OSError: the emulator does not answer in time.
            ValueError: the reply is not JSON.
        """

    def init_ms(self) -> float | None:
        """Return the duration of its init in milliseconds, once it has been invoked."""


class Measured(Function, Protocol):
    """A function that reports its times and its memory."""

    @property
    def ms(self) -> list[float]:
        """The duration of each invocation, in milliseconds."""

    def peak_bytes(self) -> int | None:
        """Return the peak memory of its cgroup in bytes; None if it is unknown."""

    def resident_bytes(self) -> int:
        """Return the sum of its processes' peak memory, in bytes."""


class FunctionPlace(Protocol):
    """A place with one NumPy version and a handler, which runs as a function."""

    @property
    def numpy(self) -> str:
        """The version of NumPy."""

    def function(
        self, model: str, variables: Mapping[str, str]
    ) -> AbstractContextManager[Function]:
        """Run the handler with a model until the block ends.

        Args:
            variables: the function's environment variables except MODEL_PATH.
        """


class Place(FunctionPlace, Protocol):
    """A place with one Python and one NumPy version, for a wheel."""

    @property
    def is_limited(self) -> bool:
        """True if the place enforces `limits`."""

    def install(self, wheel: Path) -> str:
        """Install the locked packages, then the wheel; return what is wrong with the wheel.

        Raises:
            SmokeError, EngineError: something other than the wheel cannot be installed.
        """

    def probe(self, models: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Run smoke_lambda.inside.probe in a fresh process; return its fault and its findings."""

    def shown(self, file: Path) -> str:
        """Make a file visible in the place; return its path there."""

    def look(
        self,
        module: str,
        *arguments: str,
        limits: Limits | None = None,
        timeout: float = PROBE_SECONDS,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> tuple[int | None, str]:
        """Run a module of smoke_lambda.inside in a fresh process.

        Args:
            limits: the limits of the process; None means the limits of a function.
            timeout: in seconds.
            variables: the environment variables of the process.

        Returns:
            The exit status (None if the process did not end in time), and the output.
        """

    def measures(self) -> dict[str, Any]:
        """Return further measurements of the wheel, by name."""


@runtime_checkable
class Host(Place, Protocol):
    """A place that runs a user's own function."""

    def own(
        self, folder: Path, layers: Sequence[Path] = ()
    ) -> Callable[[Limits], AbstractContextManager[Measured]]:
        """Prepare the function of a user's folder (app.py, model.tflite, Dockerfile).

        Args:
            layers: zips with the packages that the function needs, used instead of its Dockerfile.

        Returns:
            A callable that runs the function under limits until a block ends.

        Raises:
            EngineError: the function's image cannot be built.
        """

    @property
    def is_emulated(self) -> bool:
        """True if the processor is emulated, so that times mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """The places to try one wheel, one per NumPy version.

    Attributes:
        wheel: the wheel under test.
        runtime: the matrix row of the wheel's Python.
        name: the name that identifies the site in reports.
        arch: the architecture of the programs that run there.
        numpys: the NumPy versions that the smoke test uses, lowest first.
        log: the file to which all output is appended.
        make: makes the place for a NumPy version, with nothing installed yet.
        emulated: True if the processor is emulated.

    Raises:
        UsageError: the wheel does not exist.
        SmokeError: the wheel is for another machine or Python.
    """

    wheel: Path
    runtime: Runtime
    name: str
    arch: str
    numpys: Sequence[str]
    log: Path
    make: Callable[[str], AbstractContextManager[Place]]
    emulated: bool = False

    def __post_init__(self) -> None:
        check_runs(self.wheel, self.runtime, self.arch)

    @contextmanager
    def at(self, numpy: str) -> Iterator[Place]:
        """Yield the place for one NumPy version, with nothing installed yet."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.make(numpy) as place:
            yield place

    @contextmanager
    def installed(
        self, numpy: str = "", *, failure: type[UserError] = SmokeError
    ) -> Iterator[Place]:
        """Yield the place with the wheel and a NumPy version installed.

        Args:
            numpy: the version; by default, the newest that installs on Lambda's own Linux.
            failure: the error to raise if the wheel does not install.
        """
        with self.at(numpy or self.runtime.numpy.on_lambda) as place:
            if fault := place.install(self.wheel.absolute()):
                raise failure(f"{self.wheel.name}: {fault}", remedy=f"see {self.log}")
            yield place


def check_runs(wheel: Path, runtime: Runtime, arch: str) -> None:
    """Refuse a wheel that is not for that architecture and the runtime's Python.

    Raises:
        UsageError: the wheel does not exist.
        SmokeError: the wheel is for another machine or Python.
    """
    name = name_of(wheel)
    if not name.runs_on(arch):
        raise SmokeError(
            f"{wheel.name} is for another machine than this one ({arch})",
            remedy="smoke-test it on such a machine, or in an emulated container",
        )
    if not name.is_of(runtime):
        raise SmokeError(f"{wheel.name} is not for Python {runtime.python} ({runtime.tag})")
