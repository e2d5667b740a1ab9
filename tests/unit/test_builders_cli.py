"""How a command starts and ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path

import pytest

from builders.cache import CACHE_VARIABLE
from builders.cli import INTERRUPTED, KEPT_LOGS, UNREAD, Session, guarded, main_of
from builders.errors import UsageError


def raising(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("no such thing", remedy="choose one"), 2, "error: no such thing; choose one\n"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted; the same command goes on where it was\n"),
        (OSError(errno.ENOSPC, "full"), 5, "error: no space left; free some and run the same"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raising(error)) == code
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(OSError, match="other"):
        guarded(raising(OSError(errno.EIO, "other")))


def test_main_is_run_with_the_errors_told(capsys: pytest.CaptureFixture[str]) -> None:
    def run(argv: Sequence[str] | None = None) -> int:
        if not argv:
            raise UsageError("nothing to do")
        return len(argv)

    assert main_of(run)(["a", "b"]) == 2
    assert main_of(run)() == UsageError.exit_code
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("lines", [1, 10_000], ids=["in the buffer", "beyond it"])
def test_output_that_nobody_reads_ends_a_command_quietly(
    lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    def body() -> int:
        for number in range(lines):
            print(f"line {number}")
        return 0

    # It closes as Python ends, which writes what is left in its buffer.
    with TextIOWrapper(os.fdopen(writer, "wb"), encoding="utf-8") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert guarded(body) == UNREAD
        monkeypatch.undo()
    assert capsys.readouterr().err == ""


def test_another_pipe_that_breaks_is_a_fault() -> None:
    with pytest.raises(BrokenPipeError):
        guarded(raising(BrokenPipeError()))


def test_a_run_has_logs_of_its_own_and_old_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    session = Session()
    assert session.logs == tmp_path / "logs"
    # Linux has no process of this number: /proc/sys/kernel/pid_max is 2**22 at most.
    ended = 2**22
    for number in range(KEPT_LOGS + 3):
        (session.logs / f"200101{number + 1:02}T000000-{ended}").mkdir(parents=True)
    running = session.logs / f"20010101T000000-{os.getpid()}"
    others = [session.logs / "other.log", session.logs / "another-commands"]
    for path in (running, *others):
        path.mkdir()
    own = session.own_logs()
    own.mkdir()
    left = sorted(session.logs.iterdir())
    assert {own, running, *others} <= {*left}
    old = [path.name for path in left if path.name.endswith(f"-{ended}")]
    assert len(old) == KEPT_LOGS - 1
    assert old[0].startswith("20010105")
