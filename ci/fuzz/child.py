"""A child process that answers lines; a case may end it, hang it or fill its memory."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Sequence
from pathlib import Path

from builders.process import die_with_parent

GRACE_SECONDS = 20.0  # a process that aborts first writes its core dump; the machine may be busy


class Child:
    """A child process that starts when it is first used, and again after it was closed.

    Attributes:
        command: the command of the process, which reads lines until its standard input ends.
        folder: the working folder of the process; None for the present one.
        quiet: True if the standard error is dropped.
    """

    def __init__(
        self, command: Sequence[str | Path], *, folder: Path | None = None, quiet: bool = True
    ) -> None:
        self.command, self.folder, self.quiet = command, folder, quiet
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """True from the start of the process until it is closed."""
        return self._process is not None

    def send(self, line: bytes) -> None:
        """Write a line to the process; the line feed is added."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(line + b"\n")

    def line(self, seconds: float) -> bytes | None:
        """Return the next line; empty if the process has ended, None if none came in time."""
        process = self._running()
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline() if ready else None

    def close(self, grace: float = GRACE_SECONDS) -> int:
        """End the input of the process; kill it if it still runs after `grace` seconds.

        Returns:
            The exit status of the process; 0 if there is no process.
        """
        if self._process is None:
            return 0
        process, self._process = self._process, None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        return process.returncode

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self.quiet else None,
                bufsize=0,  # without a buffer, select sees all that readline has not read
                preexec_fn=die_with_parent,
            )
        return self._process
