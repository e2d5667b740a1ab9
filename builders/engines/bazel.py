"""Compile with Bazel: it caches actions by their inputs, and can run them on other machines.

Every setting in the user's ~/.bazelrc applies: credentials, certificates, and the properties that
select workers. Debian's system file applies too, because it tells where Debian's Bazel is
installed.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from builders.cache import CACHE_VARIABLE, key_of
from builders.engines.engine import Job
from builders.engines.graph import Graph
from builders.engines.messages import Messages, Trouble
from builders.engines.ninja import progress_of
from builders.engines.translate import Action, Folders, Translation
from builders.engines.workspace import HERE, TARGET, write_workspace
from builders.errors import CompileError, ToolchainError, UsageError
from builders.process import run

VERSION_FILE = HERE / ".bazelversion"
"""The file with the Bazel version for Bazelisk: the one this engine was last tried with."""
# Bazelisk runs exactly that version; `bazel` is whichever version is installed.
PROGRAMS = ("bazelisk", "bazel")

MOST_SECONDS = 900
"""The time limit of a command in seconds: ten times the longest one on one slow processor."""

REMOTE_JOBS = 200
"""The number of commands to run at once on an executor, which does not tell its worker count."""
JVM = ("-Xmx1g",)

MEMORY = Path("/dev/shm")
SANDBOX_BYTES = 1 << 30
"""The room for sandboxes in bytes: their links, and what their commands make."""

# A Bazel without this option cannot make files again that a remote cache has lost, and speaks a
# protocol that today's workers refuse.
EXECUTES = "experimental_remote_cache_eviction_retries"
# Options that only some versions know, and that those need. Bazel 8 ignores the file WORKSPACE
# by default.
IF_KNOWN = {
    "enable_bzlmod": ("--noenable_bzlmod",),
    "enable_workspace": ("--enable_workspace",),
    EXECUTES: (f"--{EXECUTES}=3",),
}
_OPTION = re.compile(r"^\s+--(?:\[no\])?([a-z0-9_]+)", re.MULTILINE)
_NUMBER = re.compile(r"\d+(\.\d+)+\S*")


@dataclass(frozen=True, kw_only=True)
class Bazel:
    """The engine that runs Bazel; see Engine.

    Attributes:
        cache: the URL of the server that keeps results for all machines: a plain web server
            (http), or a server of the Remote Execution API (grpc); empty for no such cache.
        executor: the URL of the server whose workers run the commands (grpc); empty for this
            machine.
        disk: the folder that keeps results for the builds of this machine; None for no such
            folder.
        program: the Bazel to run; if None, the engine looks for it.
        jobs: the number of commands to run at once; None means REMOTE_JOBS with an executor, else
            the job's own number.
        most_seconds: the time limit of a command in seconds.
        say: prints a line that is not an error.
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
        """The name and version, such as `bazel 7.7.1`."""
        command = [str(self.program or find_bazel()), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
        number = _NUMBER.search(done.stdout)
        return f"bazel {number[0]}" if number else "bazel"

    def compile(self, job: Job) -> None:
        """Make the job's target; see Engine.

        Raises:
            ToolchainError: there is no Bazel.
            UsageError: Bazel cannot work in this folder, or is too old for an executor.
            FetchError: the executor does not answer, or refuses us.
            CompileError: a command failed.
        """
        program = self.program or find_bazel()
        if " " in str(job.build):
            raise UsageError(
                f"Bazel does not work in a folder with a space in its path: {job.build.parent}",
                remedy=f"set {CACHE_VARIABLE} to one without, or leave out --engine bazel",
            )
        self.say(f"engine: {program.name}" + "".join(f", {what}" for what in self._where()))
        root = _root(job.build)
        folders = Folders(job.folders)
        with ThreadPoolExecutor(1) as beside:
            # Bazel takes a second to tell its options.
            known = beside.submit(known_options, program)
            if self.executor and EXECUTES not in known.result():
                raise UsageError(
                    f"{program} is too old to have commands run by workers",
                    remedy="install bazelisk, or Bazel 7 or newer",
                )
            generate(job, job.graph)
            actions = Translation(job.build, folders).actions(job.graph)
            write_workspace(root / "workspace", actions, job.compiler, folders)
        self._run(job, program, root, known.result())
        _bring(root / "workspace" / "bazel-bin", actions, job.build)

    def forget(self, build: Path) -> None:
        """See Engine."""
        shutil.rmtree(_root(build), ignore_errors=True)
        shutil.rmtree(_sandboxes(_root(build)), ignore_errors=True)

    def _where(self) -> Iterator[str]:
        if self.executor:
            yield f"on the workers of {without_password(self.executor)}"
        if self.cache:
            yield f"with the cache {without_password(self.cache)}"

    def _run(self, job: Job, program: Path, root: Path, known: frozenset[str]) -> None:
        """Have Bazel make everything; if the cache does not answer, run again without it."""
        cache, server = self.cache, without_password(self.executor or self.cache)
        while True:
            messages = Messages(job.progress, self.say, self.most_seconds)
            command = bazel_command(
                program,
                root / "output",
                known,
                cache=cache,
                executor=self.executor,
                disk=self.disk,
                sandboxes=None if self.executor else sandboxes_in_memory(root),
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
    """Return the program to run: Bazelisk if it is on PATH, else Bazel.

    Raises:
        ToolchainError: neither is on PATH.
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
    """Return the names of the options that `bazel build` knows.

    They tell what a Bazel can do; its version does not, since not every Bazel tells its version.
    If the program is Bazelisk, this call also downloads Bazel.

    Raises:
        ToolchainError: the program does not start.
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
    """Run the commands that write sources, on this machine.

    Ninja is not used for this: it would first compile the libraries that the target of such a
    source links.

    Raises:
        CompileError: a command failed.
    """
    for each in graph.generators:
        # Ninja, too, makes the folder before it runs a command.
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
    sandboxes: Path | None = None,
    jobs: int,
) -> list[str | Path]:
    """Return the Bazel command that makes everything.

    Args:
        known: the options that this Bazel knows.
        sandboxes: the folder for sandboxes; None for a folder in the output base.
    """
    command = [*_started(program, output_base), "build", "--curses=no", "--color=no"]
    command += ["--show_result=0", "--show_progress_rate_limit=1", "--nosandbox_debug"]
    # Always use a sandbox: without one, a command could read files that are not its inputs.
    command += [f"--spawn_strategy={'remote' if executor else 'sandboxed'}", f"--jobs={jobs}"]
    command += [option for name, options in IF_KNOWN.items() if name in known for option in options]
    if (executor or cache) and EXECUTES in known:
        # Do not download precompiled headers: they are large, and nobody here needs them.
        command += ["--remote_download_outputs=toplevel"]
    command += [f"--remote_cache={cache}"] if cache else []
    command += [f"--remote_executor={executor}"] if executor else []
    command += [f"--disk_cache={disk}"] if disk else []
    command += [f"--sandbox_base={sandboxes}"] if sandboxes else []
    return [*command, TARGET]


def sandboxes_in_memory(root: Path, memory: Path = MEMORY) -> Path | None:
    """Return a folder in memory for the sandboxes of a build; None if there is no room.

    Each command gets a sandbox of some thousand links, which are deleted after it. On ext4, files
    that are made and deleted in a row take more processor time than the compilers.
    Source: https://bazel.build/docs/sandboxing

    Args:
        root: the folder for Bazel's files.
        memory: a folder of a file system in memory, which other users may share.
    """
    folder = _sandboxes(root, memory)
    try:
        if shutil.disk_usage(memory).free < SANDBOX_BYTES:
            return None
        folder.mkdir(mode=0o700, exist_ok=True)
        # The name can be guessed: another user may have made the folder before.
        return folder if folder.lstat().st_uid == os.geteuid() and folder.is_dir() else None
    except OSError:
        return None


def _sandboxes(root: Path, memory: Path = MEMORY) -> Path:
    return memory / f"tflite-bazel-{key_of(str(root))}"


def without_password(url: str) -> str:
    """Return a URL without its user name and password, so that we can print it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _started(program: Path, output_base: Path) -> list[str | Path]:
    """Return the program with its startup options.

    With `--batch` no Bazel server keeps running when the command ends or when we are killed.
    """
    settings = [f"--host_jvm_args={setting}" for setting in JVM]
    return [program, "--batch", f"--output_base={output_base}", *settings]


def _version(program: Path) -> dict[str, str]:
    """Return the variable that tells Bazelisk its Bazel version; nothing for another program."""
    if program.name != "bazelisk":
        return {}
    return {"USE_BAZEL_VERSION": VERSION_FILE.read_text().strip()}


def _root(build: Path) -> Path:
    """Return the folder for the workspace and Bazel's own files, beside the build folder."""
    return build.with_name(f"bazel-{build.name}")


def _bring(made: Path, actions: Sequence[Action], build: Path) -> None:
    """Copy the files that Bazel made to the places where CMake puts them."""
    for action in actions:
        if action.place is None:
            continue
        place = build / action.place
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f"{place.name}.{os.getpid()}")
        # A copy, since Bazel's own files are read-only.
        shutil.copyfile(made / action.output, temporary)
        temporary.replace(place)
