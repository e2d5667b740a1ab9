"""Runs an executor with its workers on this machine: PostgreSQL, BuildGrid and buildbox-worker.

Each program runs in a root file system without a compiler. The programs listen on the loopback
interface and on sockets in one folder, which also has all their data. They end when
the block of `running` ends.
Sources: https://buildgrid.build, buildbox-worker(1), buildbox-casd(1)
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from builders.cache import Cache, key_of, sha256_of
from builders.errors import EngineError, FetchError
from builders.process import run
from ci.remote.roots import Root
from smoke_lambda.loopback import free_port, listens
from smoke_lambda.session import members, started

HERE = Path(__file__).parent
CONFIGURATION = HERE / "buildgrid.yml"
REQUIREMENTS = HERE / "requirements.txt"

RUNNER = "/usr/bin/buildbox-run-bubblewrap"
# The runner must not mount the inputs: the two programs are in separate sandboxes, and neither
# sees a mount of the other.
LINKED = "--runner-arg=--staging-mode=copy-or-link"
# Debian's name for the user of the database; PostgreSQL refuses to run as root.
POSTGRES = "postgres"

SECONDS = 120.0
"""The time that a program has to answer; BuildGrid's imports are slow on a busy machine."""


@dataclass(frozen=True)
class Program:
    """A program that was started."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def until(self, ready: Callable[[], bool]) -> Program:
        """Wait until `ready` returns True.

        Raises:
            EngineError: the program ended, or takes too long.
        """
        end = time.monotonic() + SECONDS
        while not ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise self._error("does not answer")
            time.sleep(0.1)
        return self

    def wait(self) -> None:
        """Wait until the program ends.

        Raises:
            EngineError: the program failed, or takes too long.
        """
        try:
            failed = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            failed = 1
        if failed:
            raise self._error("failed")

    def _error(self, what: str) -> EngineError:
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        return EngineError(
            f"{self.name} {what}: {lines[-1]}", remedy=f"the whole log is {self.log}"
        )


# A function that starts a command in a root; its arguments are the name of the log and the words.
Start = Callable[[str, list[str | Path]], Program]


@dataclass(frozen=True)
class Worker:
    """A worker, which runs one command at a time.

    Attributes:
        keeps: the program that keeps the worker's files.
        runs: the program that runs commands.
    """

    keeps: Program
    runs: Program

    @property
    def is_busy(self) -> bool:
        """True if the worker is running a command."""
        running = members(self.runs.process.pid)
        return any(_program(process) == RUNNER for process in running)

    def kill(self) -> None:
        """Kill the worker at once, as a power cut does."""
        for program in (self.runs, self.keeps):
            for process in members(program.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            program.process.wait()


@dataclass(frozen=True)
class Farm:
    """A running executor."""

    url: str
    workers: Sequence[Worker]


def install_buildgrid(root: Root, cache: Cache, log: Path) -> Path:
    """Return the folder of BuildGrid's locked packages, for the Python of a root.

    Raises:
        FetchError: the packages cannot be installed.
    """

    def make(product: Path) -> None:
        command: list[str | Path] = [find_uv_bin(), "pip", "install", "--quiet", "-r", REQUIREMENTS]
        command += ["--require-hashes", "--only-binary", ":all:", "--target", product]
        command += ["--python-version", root.python]
        command += ["--python-platform", f"{platform.machine()}-manylinux_2_28"]
        env = {"UV_NO_PROGRESS": "1"}
        run(command, log=log, failure=FetchError, what="installing BuildGrid", env=env)

    key = key_of([sha256_of(REQUIREMENTS), root.python, platform.machine()])
    return cache.product("remote-packages", key, make)


@contextmanager
def running(root: Root, packages: Path, folder: Path, *, workers: int) -> Iterator[Farm]:
    """Start an executor with an empty store, and its workers.

    Args:
        packages: the folder of BuildGrid's packages.
        folder: an empty folder with a short path: a socket's path has at most 107 bytes.
        workers: the number of workers.

    Raises:
        EngineError: a program did not start; the message names its log.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(packages),
        "FARM_ADDRESS": address,
        "FARM_DATABASE": f"postgresql+psycopg://{POSTGRES}@/{POSTGRES}?host={folder}",
        "FARM_STORAGE": str(folder / "storage"),
    }
    places = (folder, packages, HERE)
    with ExitStack() as stack:

        def start_as(user: str, name: str, words: list[str | Path]) -> Program:
            log = folder / f"{name}.log"
            command = root.command(words, places, user=user)
            process = started(command, cwd=folder, env=environment, log=log)
            return Program(name, log, stack.enter_context(process))

        def start(name: str, words: list[str | Path]) -> Program:
            return start_as("", name, words)

        _start_database(root, folder, lambda name, words: start_as(POSTGRES, name, words))
        buildgrid: list[str | Path] = ["python3", packages / "bin/bgd"]
        start("migrate", [*buildgrid, "migrate", "apply", environment["FARM_DATABASE"]]).wait()
        server = start("buildgrid", [*buildgrid, "server", "start", CONFIGURATION])
        server.until(lambda: listens(port))
        numbers = range(1, workers + 1)
        yield Farm(
            f"grpc://{address}",
            [_start_worker(f"worker-{number}", folder, address, start) for number in numbers],
        )


def _start_worker(name: str, folder: Path, address: str, start: Start) -> Worker:
    files, socket_ = folder / name, folder / f"{name}.socket"
    files.mkdir()
    server, near = f"remote=http://{address}", f"unix:{socket_}"
    keeps = start(f"{name}-files", ["buildbox-casd", f"--cas-{server}", f"--bind={near}", files])
    keeps.until(socket_.exists)
    command: list[str | Path] = ["buildbox-worker", f"--bots-{server}", f"--cas-remote={near}"]
    command += [f"--buildbox-run={RUNNER}", LINKED, "--concurrent-jobs=1", name]
    return Worker(keeps, start(name, command))


def _start_database(root: Root, folder: Path, start: Start) -> None:
    (programs,) = root.path.glob("usr/lib/postgresql/*/bin")
    place = Path("/") / programs.relative_to(root.path)
    data = folder / "database"
    # The database trusts everyone who may enter the folder of its socket.
    # The database is not kept, so it need not survive a power cut. Where it is killed, files in
    # /dev/shm would stay.
    settings = [f"unix_socket_directories={folder}", "listen_addresses=", "fsync=off"]
    settings += ["dynamic_shared_memory_type=mmap"]
    options = [word for setting in settings for word in ("-c", setting)]
    initdb: list[str | Path] = [place / "initdb", "--no-sync", "--no-locale", "--encoding=UTF8"]
    initdb += ["--auth=trust", f"--username={POSTGRES}", "-D", data, *options]
    start("initdb", initdb).wait()
    database = start("database", [place / "postgres", "-D", data, *options])
    database.until(lambda: "ready to accept connections" in database.log.read_text())


def _program(process: int) -> str:
    """Return the first word of a process' command; an empty text if the process has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""
