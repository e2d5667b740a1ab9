"""A process that answers lines, for cases that may end it, hang it or fill its memory."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Sequence
from pathlib import Path

from builders.process import die_with_parent

GRACE_SECONDS = 20.0  # a process that aborts writes its core first, on a busy machine


class Child:
    """Started when it is first asked, and again after it ended.

    Attributes:
        command: of the process, which reads lines until its standard input ends.
        folder: where it runs; none is the present one.
        quiet: its standard error is dropped.
    """

    def __init__(
        self, command: Sequence[str | Path], *, folder: Path | None = None, quiet: bool = True
    ) -> None:
        self.command, self.folder, self.quiet = command, folder, quiet
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """True once it is started, until it is closed."""
        return self._process is not None

    def send(self, line: bytes) -> None:
        """Write one line, which has no line feed of its own."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(line + b"\n")

    def line(self, seconds: float) -> bytes | None:
        """Its next line; empty where it has ended, None where none came within `seconds`."""
        process = self._running()
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline() if ready else None

    def close(self, grace: float = GRACE_SECONDS) -> int:
        """End it by the end of its input, and kill it where it still runs after `grace` seconds.

        Returns:
            Its status; 0 where there is no process.
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
                bufsize=0,  # select sees what readline has not read
                preexec_fn=die_with_parent,
            )
        return self._process
