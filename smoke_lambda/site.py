"""Where a wheel is tried: on this machine (native.py), or in images of its runtime (docker.py)."""

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
"""Is told what happens now."""


def silent(_what: str) -> None:
    """A Step that tells nobody."""


class Function(Protocol):
    """A running function."""

    @property
    def server(self) -> str:
        """URL of the image server (smoke_lambda.inside.server) as the function sees it."""

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - whatever the handler answers
        """The reply to an event, decoded from JSON.

        Raises:
            OSError: the emulator does not answer, or not in time.
            ValueError: the reply is not JSON.
        """

    def init_ms(self) -> float | None:
        """How long its init took, in milliseconds, once it has been invoked."""


class Measured(Function, Protocol):
    """A function that tells what it uses."""

    @property
    def ms(self) -> list[float]:
        """How long each invocation took, in milliseconds."""

    def peak_bytes(self) -> int | None:
        """The most memory that it has used, by its cgroup."""

    def resident_bytes(self) -> int:
        """The most that its processes have had in memory."""


class FunctionPlace(Protocol):
    """Somewhere with one NumPy and a handler, which runs as a function."""

    @property
    def numpy(self) -> str:
        """The version of NumPy."""

    def function(
        self, model: str, variables: Mapping[str, str]
    ) -> AbstractContextManager[Function]:
        """The handler with a model, running until the block ends.

        Args:
            variables: its environment variables, but for MODEL_PATH.
        """


class Place(FunctionPlace, Protocol):
    """Somewhere with one Python and one NumPy, for a wheel."""

    @property
    def is_limited(self) -> bool:
        """Whether `limits` mean anything."""

    def install(self, wheel: Path) -> str:
        """Install what is locked, then the wheel alone; gives what is wrong with the wheel.

        Raises:
            SmokeError, EngineError: all but the wheel cannot be installed.
        """

    def probe(self, models: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """What smoke_lambda.inside.probe finds in a fresh process, or what went wrong there."""

    def shown(self, file: Path) -> str:
        """Make a file visible there; gives its path."""

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
            limits: of the process; None: those of a function.
            timeout: in seconds.
            variables: its environment variables.

        Returns:
            Its exit status, None if it did not end in time, and its output.
        """

    def measures(self) -> dict[str, Any]:
        """What else this place can tell of the wheel, by name."""


@runtime_checkable
class Host(Place, Protocol):
    """A place that runs a user's own function."""

    def own(
        self, folder: Path, layers: Sequence[Path] = ()
    ) -> Callable[[Limits], AbstractContextManager[Measured]]:
        """Make the function of a user's folder (app.py, model.tflite, Dockerfile) ready.

        Args:
            layers: zips that have what it needs, instead of its Dockerfile.

        Returns:
            What runs it under limits, until a block ends.

        Raises:
            EngineError: its image cannot be built.
        """

    @property
    def is_emulated(self) -> bool:
        """Whether its processor is, so that times mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where one wheel is tried.

    Attributes:
        wheel: under test.
        runtime: the matrix's row of its Python.
        name: what identifies the site, for reports.
        arch: of the programs that run there.
        numpys: the versions that the smoke test is to use, lowest first.
        log: file that everything's output is appended to.
        make: gives the place with a NumPy of that version, in which nothing is installed yet.
        emulated: whether the processor is.

    Raises:
        UsageError: there is no such wheel.
        SmokeError: it is for another machine or Python.
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
        """The place with that NumPy, until the block ends; nothing is installed in it yet."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.make(numpy) as place:
            yield place

    @contextmanager
    def installed(
        self, numpy: str = "", *, failure: type[UserError] = SmokeError
    ) -> Iterator[Place]:
        """The place with the wheel and a NumPy, until the block ends.

        Args:
            numpy: a version; by default, the newest that Lambda's own Linux installs.
            failure: the error of a wheel that does not install.
        """
        with self.at(numpy or self.runtime.numpy.on_lambda) as place:
            if fault := place.install(self.wheel.absolute()):
                raise failure(f"{self.wheel.name}: {fault}", remedy=f"see {self.log}")
            yield place


def check_runs(wheel: Path, runtime: Runtime, arch: str) -> None:
    """Refuse a wheel that is not for that architecture and the runtime's Python.

    Raises:
        UsageError: there is no such wheel.
        SmokeError: it is for another machine or Python.
    """
    name = name_of(wheel)
    if not name.runs_on(arch):
        raise SmokeError(
            f"{wheel.name} is for another machine than this one ({arch})",
            remedy="smoke-test it on such a machine, or in an emulated container",
        )
    if not name.is_of(runtime):
        raise SmokeError(f"{wheel.name} is not for Python {runtime.python} ({runtime.tag})")
