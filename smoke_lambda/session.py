"""Start the programs of a smoke test, each in a session of its own, which ends with the block."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from builders.process import confine, die_with_parent, stoppable

END_SECONDS = 3.0


@contextmanager
def started(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    is_strange: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program. When the block ends, end it and all processes of its session.

    Args:
        command: the program and its arguments.
        cwd: the folder to start the program in.
        env: the program's whole environment; nothing is inherited.
        log: the file to which the program's output is appended.
        is_strange: True if it loads a stranger's wheel or model; see builders.process.confine.

    Raises:
        OSError: the program cannot be started here.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=confine if is_strange else die_with_parent,
        )
    try:
        with stoppable(process):
            yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the program to end, then end what is left of its session."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
    # The emulator puts the runtime in another process group, so the session identifies our
    # processes. No new session can have this id while a process of the session lives.
    end = time.monotonic() + END_SECONDS
    while (left := members(process.pid)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    process.wait()


def members(session: int) -> list[int]:
    """Return the ids of a session's living processes (proc_pid_stat(5), field 6)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found
