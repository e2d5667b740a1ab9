"""A child process that answers lines, and that a request may end or hang."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from builders.process import die_with_parent

GRACE_SECONDS = 20.0  # a process that aborts first writes its core dump; the machine may be busy
CHUNK = 1 << 16
DROPPED = Path(os.devnull)


class Child:
    """A child process that starts when it is first used, and again after it was closed.

    Attributes:
        command: the command of the process, which reads lines until its standard input ends.
        folder: the working folder of the process; None for the present one.
        environment: the environment variables of the process; None for the present ones.
        errors: the file to which its standard error is appended; None for our standard error.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        errors: Path | None = DROPPED,
    ) -> None:
        self.command, self.folder = command, folder
        self.environment, self.errors = environment, errors
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    @property
    def runs(self) -> bool:
        """True from the start of the process until it is closed."""
        return self._process is not None

    def send(self, line: bytes) -> None:
        """Write a line to the process; the line feed is added.

        If the process has ended, the line is lost, and `line` returns an empty one.
        """
        process = self._running()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(line + b"\n")
            process.stdin.flush()

    def line(self, seconds: float | None = None) -> bytes | None:
        """Return the next line, with its line feed.

        Args:
            seconds: the longest wait; None to wait until the process writes or ends.

        Returns:
            An empty line if the process has ended, None if no line came in time.
        """
        process = self._running()
        assert process.stdout is not None
        output = process.stdout.fileno()
        end = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = None if end is None else max(end - time.monotonic(), 0)
            if not select.select([output], [], [], left)[0]:
                return None
            # Read without Python's buffer: select(2) does not see what is in it.
            said = os.read(output, CHUNK)
            if not said:
                last, self._unread = self._unread, b""
                return last
            self._unread += said
        line, feed, self._unread = self._unread.partition(b"\n")
        return line + feed

    def marked(self, mark: bytes, seconds: float | None = None) -> bytes | None:
        """Return what follows a mark, of the next line that begins with it; skip other lines.

        Args:
            seconds: the longest wait for that line; see `line`.

        Returns:
            An empty line if the process has ended, None if no such line came in time.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while line := self.line(None if end is None else max(end - time.monotonic(), 0)):
            if line.startswith(mark):
                return line.removeprefix(mark)
        return line

    def close(self, grace: float = GRACE_SECONDS) -> int:
        """End the input of the process; kill it if it still runs after `grace` seconds.

        Returns:
            The exit status of the process; 0 if there is no process.
        """
        if self._process is None:
            return 0
        process, self._process, self._unread = self._process, None, b""
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # it writes the rest of a line that `send` could not write
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        return process.returncode

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            errors = None if self.errors is None else self.errors.open("ab")
            try:
                self._process = subprocess.Popen(
                    self.command,
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    preexec_fn=die_with_parent,
                )
            finally:
                if errors is not None:
                    errors.close()
        return self._process
