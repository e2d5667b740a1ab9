"""The runtimes that are timed: wheels in separate environments, and processes in these."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

from builders.cache import Cache
from builders.child import Child
from builders.errors import SmokeError
from builders.interpreters import find_interpreter
from builders.matrix import Runtime
from builders.wheelname import parse_name
from ci.proof.conformer import Subject, numpy_of, subject_of
from smoke_lambda import native
from smoke_lambda.conform.settings import OWN
from smoke_lambda.inside.probing import TIMING_MARK, named

ROOT = Path(__file__).parents[2]
TIMING = "smoke_lambda.inside.timing"
ANSWER_SECONDS = 120.0
"""The longest wait for an answer; one inference takes less with any network."""
NOT_TOLD = "not told"
# NumPy uses one thread, so that its threads do not disturb; the user's packages are not used.
VARIABLES = {"OPENBLAS_NUM_THREADS": "1", "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class Startable(Protocol):
    """A runtime in which processes are started."""

    @property
    def name(self) -> str:
        """The name for people."""

    @property
    def module(self) -> str:
        """The module that has the runtime's `Interpreter`."""

    @property
    def bytecode(self) -> Path | None:
        """The folder for the bytecode of its processes; None if the runtime has its own."""

    def command(self, module: str, *arguments: str | Path) -> Sequence[str | Path]:
        """Return a command that runs a module of this repository together with the runtime."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An installed wheel.

    Attributes:
        name: the name for people: version and build of our wheels, project and version of others.
        python: the interpreter of the wheel's environment.
        xnnpack: the version of XNNPACK, which runs most networks; NOT_TOLD if no SBOM names it.
    """

    name: str
    wheel: Path
    subject: Subject
    numpy: str
    python: Path
    xnnpack: str = NOT_TOLD

    @property
    def module(self) -> str:
        """See Startable."""
        return self.subject.module

    @property
    def bytecode(self) -> Path:
        """See Startable."""
        return self.python.parents[1] / "bytecode"

    def command(self, module: str, *arguments: str | Path) -> Sequence[str | Path]:
        """See Startable."""
        return [self.python, "-m", module, *arguments]


def name_of(wheel: Path, subject: Subject) -> str:
    """Return a wheel's name for people: `2.14.1 build 2`, `ai-edge-litert 2.3.0`."""
    match parse_name(wheel.name).build:
        case (number, _) if subject.project == OWN:
            return f"{subject.version} build {number}"
    return f"{subject.project} {subject.version}"


def xnnpack_of(wheel: Path) -> str:
    """Return the version of XNNPACK in a wheel's SBOM, shortened; NOT_TOLD if there is none."""
    with zipfile.ZipFile(wheel) as members:
        for name in members.namelist():
            if fnmatch(name, "*.dist-info/sboms/*.json"):
                components = json.loads(members.read(name)).get("components", [])
                for component in components:
                    if component.get("name") == "xnnpack":
                        return str(component["version"])[:7]
    return NOT_TOLD


def is_peer(subject: Subject, wheel: Path) -> bool:
    """True if a wheel is of another project, or has no build number: ours have one."""
    return subject.project != OWN or not parse_name(wheel.name).build


@contextmanager
def installed(
    wheels: Sequence[Path],
    runtime: Runtime,
    cache: Cache,
    log: Path,
    numpys: Sequence[str] = (),
) -> Iterator[list[Candidate]]:
    """Install wheels in environments, which are removed when the block ends.

    Args:
        numpys: the NumPy of each environment; if empty, the same as ./scripts/conform uses.

    Raises:
        SmokeError: this machine has no such Python, or a wheel does not install.
    """
    interpreter = find_interpreter(runtime.python)
    if interpreter is None:
        raise SmokeError(
            f"this machine has no Python {runtime.python}",
            remedy=f"install it (pyenv install {runtime.python})",
        )
    log.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(cache.lock("bench"))
        found = []
        for number, wheel in enumerate(wheels):
            subject = subject_of(wheel)
            peer = is_peer(subject, wheel)
            numpy = numpys[number] if numpys else numpy_of(wheel, runtime, peer=peer)
            here = stack.enter_context(
                native.environment(
                    runtime,
                    numpy,
                    python=interpreter.executable,
                    work=cache.root / "work" / "bench" / str(number),
                    log=log,
                    dependencies=peer,
                )
            )
            if fault := here.install(wheel.absolute()):
                raise SmokeError(f"{wheel.name}: {fault}", remedy=f"see {log}")
            name = name_of(wheel, subject)
            found.append(
                Candidate(
                    name=name,
                    wheel=wheel,
                    subject=subject,
                    numpy=numpy,
                    python=here.python,
                    xnnpack=xnnpack_of(wheel),
                )
            )
        yield found


class Worker:
    """A process that times models in one runtime; see smoke_lambda/inside/timing.py."""

    def __init__(self, *, candidate: Startable, log: Path) -> None:
        self.candidate = candidate
        command = candidate.command(TIMING, candidate.module)
        self._child = Child(command, folder=ROOT, environment=environment(), errors=log)

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """Send a request and return the answer; it has an `error` if the request failed.

        A request that ends the process has failed, too.
        """
        self._child.send(json.dumps({"do": do, **request}).encode())
        said = self._child.marked(TIMING_MARK.encode(), ANSWER_SECONDS)
        if said:
            answer: dict[str, Any] = json.loads(said)
            return answer
        if said is None:
            self.end()
            return {"error": f"no answer within {ANSWER_SECONDS:.0f} s"}
        return {"error": f"its process ended: {named(self._child.close())}"}

    def end(self) -> None:
        """End the process, if there is one."""
        self._child.close(0)


def environment() -> dict[str, str]:
    """Return the environment variables of a candidate's processes."""
    return {**os.environ, **VARIABLES}


@contextmanager
def workers(candidates: Sequence[Startable], log: Path) -> Iterator[list[Worker]]:
    """Give a worker for each candidate, until the block ends."""
    found = [Worker(candidate=candidate, log=log) for candidate in candidates]
    try:
        yield found
    finally:
        for worker in found:
            worker.end()
