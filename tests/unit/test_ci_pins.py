"""What cannot be locked is one line with the reason, and changes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.errors import FetchError
from ci.commands import update
from ci.pages import pins


def answering(status: int, out: bytes, err: bytes) -> object:
    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, status, out, err)

    return run


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pins, "ROOT", tmp_path)
    file = tmp_path / "requirements.in"
    file.write_text("rich\n")
    file.with_suffix(".txt").write_text("old\n")
    return file


def test_what_uv_says_is_told(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = b"error: x\n  No solution found: rich==99 does not exist\n"
    monkeypatch.setattr(subprocess, "run", answering(1, b"half", said))
    with pytest.raises(FetchError, match=r"lock requirements\.in: No solution found: rich==99"):
        pins.lock_requirements(source)
    assert source.with_suffix(".txt").read_text() == "old\n"


def test_a_lock_says_who_wrote_it(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", answering(0, b"rich==1 --hash=sha256:0\n", b""))
    pins.lock_requirements(source)
    assert source.with_suffix(".txt").read_text() == pins.GENERATED + "rich==1 --hash=sha256:0\n"


def test_the_command_ends_with_one_line(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(update, "REQUIREMENTS", (source,))
    monkeypatch.setattr(subprocess, "run", answering(1, b"", b"error: no network\n"))
    assert update.main([]) == FetchError.exit_code
    assert capsys.readouterr().err.startswith("error: uv cannot lock requirements.in: error: no")
