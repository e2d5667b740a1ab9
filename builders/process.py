"""A wrapper for every program that we start."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import shlex
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from builders.errors import DiskFullError, ToolchainError, UserError

LINES_THAT_MATTER = 12
GRACE_SECONDS = 10.0
PR_SET_PDEATHSIG = 1  # prctl(2)
NO_SPACE = ("No space left on device", "NoSpaceLeft")


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    failure: type[UserError],
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    keep_open: Sequence[int] = (),
) -> None:
    """Run a program to its end, and append its output to a log file.

    Args:
        command: the program and its arguments.
        log: the file that the quoted command and the output are appended to.
        failure: the error to raise if the program fails.
        what: the action in words, for that error: "compiling the core".
        env: the variables that differ from ours.
        on_line: called with each line of output.
        keep_open: file descriptors that the program and its children inherit (locks: see
            builders.cache.Cache.held_locks).

    Raises:
        failure: the program exited non-zero; the message has the lines that tell why.
        ToolchainError: there is no such program.
        DiskFullError: the program failed because no space was left.
    """
    arguments = [str(part) for part in command]
    tail: deque[str] = deque(maxlen=400)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        changed = " ".join(f"{k}={shlex.quote(v)}" for k, v in (env or {}).items())
        file.write(f"$ {changed + ' ' if changed else ''}{shlex.join(arguments)}\n")
        file.flush()
        with _started(arguments, cwd, env, keep_open) as (process, output):
            for line in output:
                file.write(line)
                tail.append(line.rstrip("\n"))
                if on_line is not None:
                    on_line(line.rstrip("\n"))
            status = process.wait()
    if status:
        text = "\n".join(tail)
        if any(sign in text for sign in NO_SPACE):
            raise DiskFullError(
                f"no space left while {what}", remedy="free some space and run the same command"
            )
        raise failure(
            f"{what} failed (exit status {status}):\n{_excerpt(tail)}\n",
            remedy=f"the whole log is {log}",
        )


@contextmanager
def _started(
    arguments: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    keep_open: Sequence[int],
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run a program in a process group of its own; end the program when we end."""
    try:
        process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=keep_open,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES):
            raise
        raise ToolchainError(
            f"cannot run {arguments[0]}: {error.strerror}",
            remedy="run the command through ./scripts, which installs what it needs",
        ) from error
    assert process.stdout is not None
    try:
        with stoppable(process):
            yield process, process.stdout
    except BaseException:
        _end(process)
        raise
    finally:
        process.stdout.close()
        process.wait()


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and its children; kill them if the program lasts GRACE_SECONDS longer."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


# An interrupt reaches the main thread alone; it waits for the others, and they for programs.
_programs: set[subprocess.Popen[Any]] = set()
_stopping = threading.Event()


@contextmanager
def stoppable(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Let `stop_programs` end a program, which leads its process group, while the block lasts.

    Raises:
        KeyboardInterrupt: programs are being stopped, and this is not the main thread.
    """
    _programs.add(process)
    try:
        if _stopping.is_set() and threading.current_thread() is not threading.main_thread():
            raise KeyboardInterrupt
        yield
    finally:
        _programs.discard(process)


@contextmanager
def stopping_programs() -> Iterator[Callable[[], None]]:
    """Yield a function that ends the programs of all threads, and those that they start later.

    After the block, threads may start programs again.
    """

    def stop() -> None:
        _stopping.set()
        for process in tuple(_programs):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)

    try:
        yield stop
    finally:
        _stopping.clear()


_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Have the kernel end this child when we are killed; Ninja then ends its own children."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


# The memory of the largest Lambda function, in bytes
# (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
MOST_MEMORY = 10_240 << 20
# On a machine with many processors, NumPy's threads reserve this much, and do not use it.
LEAST_MEMORY = 2_048 << 20


def confine() -> None:
    """Bound the memory of this child, which loads an untrusted wheel or model.

    A damaged size in a file asks for any amount of memory, and must not get all of the machine's.
    If less memory is free than the child may have, the kernel is to end this child, and nothing
    else. The child also ends with its parent, as by `die_with_parent`, and dumps no core.
    Source: proc_pid_oom_score_adj(5)
    """
    die_with_parent()
    most = min(MOST_MEMORY, max(LEAST_MEMORY, _physical_memory()))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _excerpt(lines: Sequence[str]) -> str:
    """Return the lines that tell why a program failed: from the first error on, else the last."""
    lines = list(lines)
    for number, line in enumerate(lines):
        if " error: " in line or line.startswith(("error:", "CMake Error", "ld.lld:")):
            return "\n".join(lines[number : number + LINES_THAT_MATTER])
    return "\n".join(lines[-LINES_THAT_MATTER:])
