"""An executor with its workers on this machine: PostgreSQL, BuildGrid, and buildbox-worker.

Each is in a root file system that has no compiler. They listen on the loopback interface and on
sockets of one folder, which has all that they keep, and end with the block.
Sources: https://buildgrid.build, buildbox-worker(1), buildbox-casd(1)
"""

from __future__ import annotations

import platform
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from uv import find_uv_bin

from builders.cache import Cache, key_of, sha256_of
from builders.errors import EngineError, FetchError
from builders.process import run
from ci.remote.roots import Root
from smoke_lambda.session import members, started

HERE = Path(__file__).parent
CONFIGURATION = HERE / "buildgrid.yml"
REQUIREMENTS = HERE / "requirements.txt"
RUNNER = "/usr/bin/buildbox-run-bubblewrap"
# What mounts files for a command is another program than what runs it, and in another sandbox.
LINKED = "--runner-arg=--staging-mode=copy-or-link"
# Debian's name of the database's user; PostgreSQL refuses to run as root.
POSTGRES = "postgres"
DATABASE = "postgresql+psycopg://{user}@/{user}?host={folder}"
SECONDS = 120.0
"""How long a program may take to answer: BuildGrid's imports take a while on a busy machine."""


@dataclass
class Worker:
    """A machine that runs one command at a time: its store of files, and what runs them."""

    name: str
    log: Path
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def is_busy(self) -> bool:
        """Whether it runs a command now."""
        return any(
            "buildbox-run" in _words(member)
            for program in self.programs
            for member in members(program.pid)
        )

    def kill(self) -> None:
        """End it as a power cut does."""
        for program in self.programs:
            program.kill()
            program.wait()


@dataclass(frozen=True)
class Farm:
    """An executor that runs."""

    url: str
    workers: Sequence[Worker]


def install_buildgrid(root: Root, cache: Cache, log: Path) -> Path:
    """The folder of BuildGrid's locked packages, for the Python of a root.

    Raises:
        FetchError: they cannot be had.
    """

    def make(product: Path) -> None:
        command = [find_uv_bin(), "pip", "install", "--quiet", "--target", product]
        command += ["--python-version", root.python, "--require-hashes", "--only-binary", ":all:"]
        command += ["--python-platform", f"{platform.machine()}-manylinux_2_28"]
        run(
            [*command, "-r", REQUIREMENTS],
            log=log,
            failure=FetchError,
            what="installing BuildGrid",
            env={"UV_NO_PROGRESS": "1"},
        )

    key = key_of([sha256_of(REQUIREMENTS), root.python, platform.machine()])
    return cache.product("remote-packages", key, make)


@contextmanager
def running(root: Root, packages: Path, folder: Path, *, workers: int) -> Iterator[Farm]:
    """Start an executor whose store is empty, with that many workers.

    Args:
        packages: BuildGrid's.
        folder: an empty one with a short path: a socket's has at most 107 bytes.

    Raises:
        EngineError: a program did not start; the message names its log.
    """
    with ExitStack() as stack:

        def start(name: str, words: Sequence[str | Path], user: str = "") -> _Program:
            log = folder / f"{name}.log"
            command = root.command(words, places, user=user)
            program = stack.enter_context(
                started(command, cwd=folder, env=environment, log=log, is_strange=False)
            )
            return _Program(name, log, program)

        places = [folder, packages, HERE]
        address = _free_address()
        database = DATABASE.format(user=POSTGRES, folder=folder)
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(packages),
            "FARM_ADDRESS": address,
            "FARM_DATABASE": database,
            "FARM_STORAGE": str(folder / "storage"),
        }
        _start_database(root, folder, start)
        buildgrid = ["python3", packages / "bin/bgd"]
        start("migrate", [*buildgrid, "migrate", "apply", database]).has_ended()
        server = start("buildgrid", [*buildgrid, "server", "start", CONFIGURATION])
        server.answers(lambda: _connects(address))
        found = []
        for number in range(1, workers + 1):
            store = folder / f"worker-{number}"
            store.mkdir()
            url = f"http://{address}"
            casd = ["buildbox-casd", f"--cas-remote={url}", f"--bind=unix:{store}.socket", store]
            files = start(f"casd-{number}", casd)
            files.answers(Path(f"{store}.socket").exists)
            command = ["buildbox-worker", f"--bots-remote={url}", f"--buildbox-run={RUNNER}", LINKED]
            command += [f"--cas-remote=unix:{store}.socket", "--concurrent-jobs=1", store.name]
            runs = start(store.name, command)
            found.append(Worker(store.name, runs.log, [runs.process, files.process]))
        yield Farm(f"grpc://{address}", found)


@dataclass(frozen=True)
class _Program:
    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def answers(self, ready: Callable[[], bool]) -> None:
        """Wait until it does.

        Raises:
            EngineError: it ended, or takes too long.
        """
        end = time.monotonic() + SECONDS
        while not ready():
            if self.process.poll() is not None:
                raise EngineError(f"{self.name} ended", remedy=f"its output is {self.log}")
            if time.monotonic() > end:
                raise EngineError(f"{self.name} does not answer", remedy=f"its output is {self.log}")
            time.sleep(0.1)

    def has_ended(self) -> None:
        """Wait until it has; raises EngineError if it failed, or takes too long."""
        try:
            failed = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            failed = 1
        if failed:
            raise EngineError(f"{self.name} failed", remedy=f"its output is {self.log}")


def _start_database(
    root: Root, folder: Path, start: Callable[[str, Sequence[str | Path], str], _Program]
) -> None:
    (programs,) = root.path.glob("usr/lib/postgresql/*/bin")
    place = Path("/") / programs.relative_to(root.path)
    data = folder / "database"
    # Who may enter the folder of its socket is whom it trusts.
    made = [place / "initdb", "--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust"]
    made += [f"--username={POSTGRES}", "-D", data]
    start("initdb", made, POSTGRES).has_ended()
    # Nothing of it is kept: it need not be safe from a power cut.
    settings = [f"unix_socket_directories={folder}", "listen_addresses=", "fsync=off"]
    options = [word for setting in settings for word in ("-c", setting)]
    database = start("database", [place / "postgres", "-D", data, *options], POSTGRES)
    ready = root.command([place / "pg_isready", "--quiet", "-h", folder], [folder])
    database.answers(lambda: not subprocess.run(list(map(str, ready)), check=False).returncode)


def _free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def _connects(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _words(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
