"""Bazel as an engine: actions that it keeps by their inputs, here, in a cache or on other machines.

Every setting of the user's own ~/.bazelrc counts: credentials, certificates, properties that
workers are chosen by. Debian's system file tells where its Bazel is installed, so it counts, too.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from builders.cache import CACHE_VARIABLE
from builders.engines.engine import Job
from builders.engines.graph import Graph
from builders.engines.messages import Messages, Trouble
from builders.engines.ninja import progress_of
from builders.engines.translate import Action, Folders, Translation
from builders.engines.workspace import HERE, TARGET, write_workspace
from builders.errors import CompileError, ToolchainError, UsageError
from builders.process import run

VERSION_FILE = HERE / ".bazelversion"
"""The version that Bazelisk is to take: what this engine was last tried with."""
# Bazelisk has that very version; a bazel is whatever is installed.
PROGRAMS = ("bazelisk", "bazel")

MOST_SECONDS = 900
"""How long a command may take: ten times what the longest does on one slow processor."""

REMOTE_JOBS = 200
"""Commands at once where workers run them: how many there are, only they know."""
# Bazel's own work is short: to compile it well costs more than that gains.
JVM = ("-Xmx1g", "-XX:TieredStopAtLevel=1")

# A Bazel that does not know this cannot replace what a remote cache has lost, and speaks a
# protocol that today's workers refuse.
EXECUTES = "experimental_remote_cache_eviction_retries"
# Options that some versions know, and need. 8 has no WORKSPACE file unless told.
IF_KNOWN = {
    "enable_bzlmod": ("--noenable_bzlmod",),
    "enable_workspace": ("--enable_workspace",),
    EXECUTES: (f"--{EXECUTES}=3",),
}
_OPTION = re.compile(r"^\s+--(?:\[no\])?([a-z0-9_]+)", re.MULTILINE)
_NUMBER = re.compile(r"\d+(\.\d+)+\S*")


@dataclass(frozen=True, kw_only=True)
class Bazel:
    """See Engine.

    Attributes:
        cache: where results are kept for all machines: the URL of a plain web server (http) or of
            a server of the Remote Execution API (grpc); empty for none.
        executor: what runs the commands (grpc); empty for this machine.
        disk: a folder where results are kept for the builds of this machine; None for none.
        program: the Bazel to run; None finds it.
        jobs: commands at once; None takes the job's, or many with an executor.
        most_seconds: how long a command may take.
        say: prints a line that is no error.
    """

    cache: str = ""
    executor: str = ""
    disk: Path | None = None
    program: Path | None = None
    jobs: int | None = None
    most_seconds: int = MOST_SECONDS
    say: Callable[[str], None] = lambda _line: None

    @property
    def identity(self) -> str:
        """Such as `bazel 7.7.1`."""
        command = [str(self.program or find_bazel()), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
        number = _NUMBER.search(done.stdout)
        return f"bazel {number[0]}" if number else "bazel"

    def compile(self, job: Job) -> None:
        """See Engine.

        Raises:
            ToolchainError: there is no Bazel.
            UsageError: Bazel cannot work in this folder, or not with an executor.
            FetchError: the executor does not answer, or refuses us.
        """
        program = self.program or find_bazel()
        if " " in str(job.build):
            raise UsageError(
                f"Bazel does not work in a folder with a space in its path: {job.build.parent}",
                remedy=f"set {CACHE_VARIABLE} to one without, or leave out --engine bazel",
            )
        self.say(f"engine: {program.name}" + "".join(f", {what}" for what in self._where()))
        if self.executor and EXECUTES not in known_options(program):
            raise UsageError(
                f"{program} is too old to have commands run by workers",
                remedy="install bazelisk, or Bazel 7 or newer",
            )
        graph = job.graph()
        generate(job, graph)
        folders = Folders(job.folders)
        actions = Translation(job.build, folders).actions(graph)
        root = _root(job.build)
        write_workspace(root / "workspace", actions, job.compiler, folders)
        self._run(job, program, root)
        _bring(root / "workspace" / "bazel-bin", actions, job.build)

    def forget(self, build: Path) -> None:
        """See Engine."""
        shutil.rmtree(_root(build), ignore_errors=True)

    def _where(self) -> Iterator[str]:
        if self.executor:
            yield f"on the workers of {without_password(self.executor)}"
        if self.cache:
            yield f"with the cache {without_password(self.cache)}"

    def _run(self, job: Job, program: Path, root: Path) -> None:
        """Have Bazel make everything; once more without a cache that does not answer."""
        cache, server = self.cache, without_password(self.executor or self.cache)
        known = known_options(program)
        while True:
            messages = Messages(job.progress, self.say, self.most_seconds)
            command = bazel_command(
                program,
                root / "output",
                known,
                cache=cache,
                executor=self.executor,
                disk=self.disk,
                jobs=self.jobs or (REMOTE_JOBS if self.executor else job.jobs),
            )
            try:
                run(
                    command,
                    cwd=root / "workspace",
                    log=job.log,
                    failure=CompileError,
                    what="compiling the core",
                    env={**job.environment, **_version(program)},
                    on_line=messages.read,
                    keep_open=job.keep_open,
                )
            except CompileError as error:
                if cache and not self.executor and messages.trouble is Trouble.UNREACHABLE:
                    self.say(f"the cache {server} does not answer; compiling without it")
                    cache = ""
                    continue
                raise messages.explained(error, server, job.log) from error
            return


def find_bazel() -> Path:
    """The program to run: Bazelisk if there is one, else Bazel.

    Raises:
        ToolchainError: there is neither.
    """
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    raise ToolchainError(
        "there is no bazel or bazelisk program on PATH",
        remedy="install Bazelisk (npm install --global @bazel/bazelisk; Debian: apt install "
        "bazel-bootstrap), or leave out --engine bazel",
    )


@functools.cache
def known_options(program: Path) -> frozenset[str]:
    """The names of the options that a Bazel's `build` knows: not every one tells its version.

    It also has Bazelisk download its Bazel.

    Raises:
        ToolchainError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="tflite-bazel-") as folder:
        command = [*_started(program, Path(folder)), "help", "build", "--short"]
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **_version(program)},
        )
    known = frozenset(_OPTION.findall(done.stdout))
    if done.returncode or "jobs" not in known:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ToolchainError(
            f"{program} does not start: {said}", remedy="run `bazel version` to see why"
        )
    return known


def generate(job: Job, graph: Graph) -> None:
    """Run what writes sources, on this machine.

    Ninja would compile the libraries first that such a source's target links. A tool that a command
    needs is compiled here, too, by a build of its own.

    Raises:
        CompileError: a command failed.
    """
    for each in graph.generators:
        # As Ninja does, before it runs a command.
        (job.build / each.output).parent.mkdir(parents=True, exist_ok=True)
        run(
            ["sh", "-c", each.line],
            cwd=job.build,
            log=job.log,
            failure=CompileError,
            what=f"making {each.output}",
            env=job.environment,
            on_line=progress_of(job),
            keep_open=job.keep_open,
        )


def bazel_command(
    program: Path,
    output_base: Path,
    known: frozenset[str],
    *,
    cache: str,
    executor: str,
    disk: Path | None = None,
    jobs: int,
) -> list[str | Path]:
    """The command that makes everything.

    Args:
        known: the options that this Bazel knows.
    """
    command = [*_started(program, output_base), "build", "--curses=no", "--color=no"]
    command += ["--show_result=0", "--show_progress_rate_limit=1", "--nosandbox_debug"]
    # Never without a sandbox: there a command would see files that it does not say it reads.
    command += [f"--spawn_strategy={'remote' if executor else 'sandboxed'}", f"--jobs={jobs}"]
    command += [option for name, options in IF_KNOWN.items() if name in known for option in options]
    if (executor or cache) and EXECUTES in known:
        # Precompiled headers are large, and of no use here.
        command += ["--remote_download_outputs=toplevel"]
    command += [f"--remote_cache={cache}"] if cache else []
    command += [f"--remote_executor={executor}"] if executor else []
    command += [f"--disk_cache={disk}"] if disk else []
    return [*command, TARGET]


def without_password(url: str) -> str:
    """A URL for others to see: without the name and the password that may be in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _started(program: Path, output_base: Path) -> list[str | Path]:
    """The program and its own options: nothing of it stays when it ends, or when we are killed."""
    settings = [f"--host_jvm_args={setting}" for setting in JVM]
    return [program, "--batch", f"--output_base={output_base}", *settings]


def _version(program: Path) -> dict[str, str]:
    """What tells Bazelisk which Bazel to take; any other program is the one that it is."""
    if program.name != "bazelisk":
        return {}
    return {"USE_BAZEL_VERSION": VERSION_FILE.read_text().strip()}


def _root(build: Path) -> Path:
    """Where workspace and Bazel's own files are: beside the build folder, and never in it."""
    return build.with_name(f"bazel-{build.name}")


def _bring(made: Path, actions: Sequence[Action], build: Path) -> None:
    """Copy what Bazel made to where CMake puts it."""
    for action in actions:
        if action.place is None:
            continue
        place = build / action.place
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f"{place.name}.{os.getpid()}")
        # Bazel's own are not to be written.
        shutil.copyfile(made / action.output, temporary)
        temporary.replace(place)
