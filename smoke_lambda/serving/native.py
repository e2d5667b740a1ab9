"""Runs a model server or a gateway as a process on this machine."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from builders.cache import Cache, key_of, sha256_of
from builders.errors import SmokeError
from builders.interpreters import Interpreter
from builders.matrix import Runtime, load_matrix
from smoke_lambda.native import make_environment, uv
from smoke_lambda.serving.lock import runtimes, serving_lock
from smoke_lambda.session import started

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
POLL_SECONDS = 0.05
SERVER_PORTS = re.compile(r"gRPC on port (\d+), REST on port (\d+)")
GATEWAY_PORT = re.compile(r"gateway on port (\d+)")


def serving_python(
    interpreter: Interpreter, runtime: Runtime, wheel: Path, cache: Cache, log: Path
) -> Path:
    """Return the Python of an environment with a wheel; make it if the cache has none.

    Raises:
        SmokeError: the environment cannot be made here.
    """
    requirements = serving_lock(runtime)
    if not requirements.is_file():
        raise SmokeError(
            f"the model server does not run on Python {runtime.python}",
            remedy=f"choose a wheel for one of {', '.join(pythons())}",
        )
    key = {
        "requirements": sha256_of(requirements),
        "wheel": sha256_of(wheel),
        "python": (str(interpreter.executable), interpreter.version, interpreter.arch),
    }

    def make(folder: Path) -> None:
        python = folder / "environment" / "bin" / "python"
        make_environment(interpreter.executable, requirements, folder / "environment", log)
        install = ("pip", "install", "--python", python, "--no-deps", wheel.absolute())
        uv("installing the wheel", *install, log=log)

    folder = cache.product("serving-environment", key_of(key), make)
    return folder / "environment" / "bin" / "python"


def pythons() -> list[str]:
    """Return the Python versions that have a lock."""
    return [runtime.python for runtime in runtimes(load_matrix())]


@dataclass(frozen=True)
class Program:
    """A running server or gateway.

    Attributes:
        ports: the ports on which it listens; for a server, gRPC's and REST's.
    """

    process: subprocess.Popen[bytes]
    ports: tuple[int, ...]
    log: Path = field(repr=False)

    def output(self) -> str:
        """Return the output so far."""
        return self.log.read_text(errors="replace")


@contextmanager
def running(
    kind: str, *, python: Path, variables: Mapping[str, str], log: Path
) -> Iterator[Program]:
    """Run a program on free ports until the block ends.

    Args:
        kind: `server` or `gateway`.
        variables: the settings of the program, as environment variables.
        log: the file to append the output to.

    Raises:
        SmokeError: the program does not start.
    """
    free = dict.fromkeys(("GRPC_PORT", "REST_PORT", "PORT"), "0")
    env = {**free, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command: Sequence[str | Path] = [python, "-s", "-m", "smoke_lambda.serving", kind]
    before = len(log.read_text()) if log.exists() else 0
    pattern = SERVER_PORTS if kind == "server" else GATEWAY_PORT
    with started(command, cwd=ROOT, env=env, log=log) as process:
        end = time.monotonic() + START_SECONDS
        while not (found := pattern.search(log.read_text()[before:])):
            if process.poll() is not None or time.monotonic() > end:
                said = log.read_text()[before:].strip().splitlines() or ["it said nothing"]
                raise SmokeError(f"the {kind} does not start: {said[-1]}", remedy=f"see {log}")
            time.sleep(POLL_SECONDS)
        yield Program(process, tuple(int(port) for port in found.groups()), log)


def lay_out(model: Path, name: str, folder: Path, version: int = 1) -> None:
    """Link a model into a folder of models, at the path where a server expects it."""
    place = folder / name / str(version)
    place.mkdir(parents=True)
    (place / "model.tflite").symlink_to(model.absolute())
