"""A child process: its lines, how long they are waited for, and its ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.child import Child

pytestmark = pytest.mark.usefixtures("allow_subprocess")

# Answers a line with two; on `part`, writes half a line; on `end`, ends with the status 7.
CODE = """
import os, sys
for line in sys.stdin:
    said = line.strip()
    if said == "part":
        os.write(1, b"half")
    elif said == "end":
        os.write(2, b"why")
        sys.exit(7)
    else:
        os.write(1, f"first {said}\\nsecond {said}\\n".encode())
"""
SECONDS = 30.0


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    made = Child([sys.executable, "-c", CODE], folder=tmp_path, errors=tmp_path / "errors")
    yield made
    made.close(0)


def test_lines_that_come_together_are_read_one_by_one(child: Child) -> None:
    child.send(b"a")
    assert [child.line(SECONDS), child.line(SECONDS)] == [b"first a\n", b"second a\n"]
    assert child.line(0) is None


def test_a_line_without_an_end_is_not_waited_for(child: Child) -> None:
    child.send(b"part")
    assert child.line(1.0) is None
    child.send(b"b")
    assert child.line(SECONDS) == b"halffirst b\n"


def test_lines_without_the_mark_are_skipped(child: Child) -> None:
    child.send(b"a")
    assert child.marked(b"second ", SECONDS) == b"a\n"
    child.send(b"a")
    assert child.marked(b"third ", 0.2) is None
    child.send(b"end")
    assert child.marked(b"third ", SECONDS) == b""


def test_a_process_that_has_ended_gives_empty_lines_and_its_status(
    child: Child, tmp_path: Path
) -> None:
    child.send(b"end")
    assert child.line(SECONDS) == b""
    # Longer than a pipe holds, and than Python's buffer.
    child.send(b"x" * 1_000_000)
    assert child.line(SECONDS) == b""
    assert child.close() == 7
    assert (tmp_path / "errors").read_text() == "why"


def test_it_starts_again_after_it_was_closed(child: Child) -> None:
    assert not child.runs
    assert child.close() == 0
    for text in (b"a", b"b"):
        child.send(text)
        assert child.line(SECONDS) == b"first " + text + b"\n"
        assert child.runs
        assert child.close() == 0
    assert not child.runs


def test_a_process_that_does_not_end_is_killed() -> None:
    child = Child([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"])
    assert child.line(SECONDS) == b"1\n"
    assert child.close(0.1) == -9
