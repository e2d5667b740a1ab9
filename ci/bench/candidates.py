"""The runtimes that are timed: wheels in separate environments, and processes in these."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any, Protocol

from builders.cache import Cache
from builders.errors import SmokeError
from builders.interpreters import find_interpreter
from builders.matrix import Runtime
from builders.process import die_with_parent
from builders.wheelname import parse_name
from ci.proof.conformer import Subject, numpy_of, subject_of
from smoke_lambda import native
from smoke_lambda.conform.settings import OWN
from smoke_lambda.inside.probing import TIMING_MARK, named

ROOT = Path(__file__).parents[2]
TIMING = "smoke_lambda.inside.timing"
ANSWER_SECONDS = 120.0
"""The longest wait for an answer; one inference takes less with any network."""
DYING_SECONDS = 5.0
NOT_TOLD = "not told"
CHUNK = 1 << 16
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


@dataclass(kw_only=True)
class Worker:
    """A process that times models in one runtime; see smoke_lambda/inside/timing.py."""

    candidate: Startable
    log: Path
    _process: subprocess.Popen[str] | None = field(default=None)
    _unread: bytes = b""

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """Send a request and return the answer; it has an `error` if the request failed.

        A request that ends the process has failed, too.
        """
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            process.stdin.flush()
        except OSError:
            return self._ended()
        end = time.monotonic() + ANSWER_SECONDS
        while (line := self._line(process.stdout.fileno(), end)) is not None:
            if line.startswith(TIMING_MARK):
                answer: dict[str, Any] = json.loads(line[len(TIMING_MARK) :])
                return answer
        return self._ended()

    def _line(self, output: int, end: float) -> str | None:
        """Return the next line of the process; None if it ends, or writes no line in time.

        It is read without Python's buffer, because select(2) does not see the buffer's content.
        """
        while b"\n" not in self._unread:
            if not select.select([output], [], [], max(end - time.monotonic(), 0))[0]:
                return None
            said = os.read(output, CHUNK)
            if not said:
                return None
            self._unread += said
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process, self._unread = None, b""

    def _ended(self) -> dict[str, Any]:
        """Return an answer with an error for a process that is dead or does not answer."""
        assert self._process is not None
        try:
            words = f"its process ended: {named(self._process.wait(DYING_SECONDS))}"
        except subprocess.TimeoutExpired:
            words = f"no answer within {ANSWER_SECONDS:.0f} s"
        self.end()
        return {"error": words}

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            module = self.candidate.module
            with self.log.open("a") as log:
                self._process = started(
                    self.candidate, TIMING, module, stdin=subprocess.PIPE, errors=log
                )
        return self._process


def started(
    candidate: Startable,
    module: str,
    *arguments: str | Path,
    stdin: int,
    errors: IO[str],
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a module of this repository in a candidate's environment."""
    return subprocess.Popen(
        [*candidate.command(module, *arguments)],
        cwd=ROOT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        bufsize=1,
        env={**os.environ, **VARIABLES, **(variables or {})},
        preexec_fn=die_with_parent,
    )


@contextmanager
def workers(candidates: Sequence[Startable], log: Path) -> Iterator[list[Worker]]:
    """Give a worker for each candidate, until the block ends."""
    found = [Worker(candidate=candidate, log=log) for candidate in candidates]
    try:
        yield found
    finally:
        for worker in found:
            worker.end()
