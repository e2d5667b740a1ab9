"""What cannot be locked is one line with the reason, and changes nothing."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
import zipfile
from collections.abc import Callable
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


def packed(members: dict[str, bytes]) -> Callable[..., object]:
    """Return a stand-in for pip that downloads a wheel with the given members."""

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[bytes]:
        wheel = Path(command[command.index("--dest") + 1]) / "aws_sam_cli-2.0.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
        return subprocess.CompletedProcess(command, 0)

    return run


EMULATORS = {
    "samcli/local/rapid/aws-lambda-rie-x86_64": b"new x86",
    "samcli/local/rapid/aws-lambda-rie-arm64": b"new arm",
}


def test_the_emulator_is_pinned_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rie.toml"
    path.write_text(pins.EMULATOR.read_text())
    monkeypatch.setattr(subprocess, "run", packed(EMULATORS))
    pins.write_emulator_lock(path)
    found = tomllib.loads(path.read_text())
    assert (found["version"], found["file"]) == ("2.0.0", "aws_sam_cli-2.0.0-py3-none-any.whl")
    for arch, content in (("x86_64", b"new x86"), ("aarch64", b"new arm")):
        assert found[arch]["sha256"] == hashlib.sha256(content).hexdigest()
    assert path.read_text().startswith(pins.GENERATED + pins.EMULATOR_WORDS)


def test_a_package_without_the_emulator_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rie.toml"
    path.write_text(pins.EMULATOR.read_text())
    monkeypatch.setattr(subprocess, "run", packed({"samcli/__init__.py": b""}))
    with pytest.raises(FetchError, match="has no samcli/local/rapid/aws-lambda-rie-x86_64"):
        pins.write_emulator_lock(path)
    assert path.read_text() == pins.EMULATOR.read_text()
