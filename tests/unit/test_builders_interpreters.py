"""The Pythons of this machine, played by scripts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from builders.interpreters import find_interpreter

# A Python that no machine has.
PYTHON = "3.77"

pytestmark = pytest.mark.usefixtures("allow_subprocess")


def write(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def interpreter(folder: Path, version: str, *, headers: bool = False, **said: object) -> Path:
    """Write a program that claims to be this Python."""
    path = folder / f"python{PYTHON}"
    answer = {
        "executable": str(path),
        "version": version,
        "implementation": "CPython",
        "arch": "x86_64",
        "include": str(folder / "include"),
        "free_threaded": False,
    }
    if headers:
        (folder / "include").mkdir(parents=True)
        (folder / "include" / "Python.h").touch()
    return write(path, f"cat <<'END'\n{json.dumps(answer | said)}\nEND")


def found(*folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    path = os.pathsep.join(map(str, folders))
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    result = find_interpreter(PYTHON)
    return result.executable if result else None


def test_a_python_that_is_not_here_is_none() -> None:
    assert find_interpreter(PYTHON) is None


def test_what_a_python_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = interpreter(tmp_path, f"{PYTHON}.1", arch="aarch64")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    result = find_interpreter(PYTHON)
    assert result is not None
    assert (result.executable, result.version, result.arch) == (path, f"{PYTHON}.1", "aarch64")
    assert result.include == tmp_path / "include"
    assert not result.has_headers
    result.include.mkdir()
    (result.include / "Python.h").touch()
    assert result.has_headers


@pytest.mark.parametrize(
    "place",
    [f".pyenv/versions/{PYTHON}.1/bin", f".local/share/uv/python/cpython-{PYTHON}.1-linux/bin"],
)
def test_pythons_of_their_managers_are_found(place: str) -> None:
    path = interpreter(Path.home() / place, f"{PYTHON}.1")
    result = find_interpreter(PYTHON)
    assert result is not None
    assert result.executable == path


def test_pyenv_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = interpreter(tmp_path / f"versions/{PYTHON}.1/bin", f"{PYTHON}.1")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    result = find_interpreter(PYTHON)
    assert result is not None
    assert result.executable == path


@pytest.mark.parametrize(
    "script",
    [
        "echo 'pyenv: python: command not found' >&2; exit 127",
        "echo Python",
        "exit 0",
        "kill -9 $$",
    ],
)
def test_a_program_that_is_no_python_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    write(tmp_path / f"shims/python{PYTHON}", script)
    assert found(tmp_path / "shims", monkeypatch=monkeypatch) is None
    find_interpreter.cache_clear()
    real = interpreter(tmp_path / "real", f"{PYTHON}.0")
    assert found(tmp_path / "shims", tmp_path / "real", monkeypatch=monkeypatch) == real


@pytest.mark.parametrize(
    "said",
    [
        {"implementation": "PyPy"},
        {"free_threaded": True},
        {"version": "3.7.7"},
        {"version": "3.778.1"},
    ],
)
def test_another_python_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, object]
) -> None:
    interpreter(tmp_path, **{"version": f"{PYTHON}.1", **said})  # type: ignore[arg-type]
    assert found(tmp_path, monkeypatch=monkeypatch) is None


@pytest.mark.parametrize(
    ("older", "newer"),
    [("9", "10"), ("0rc1", "0"), ("0a7", "0b1"), ("0", "1+")],
)
def test_the_newest_patch_release_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: str, newer: str
) -> None:
    interpreter(tmp_path / "old", f"{PYTHON}.{older}")
    new = interpreter(tmp_path / "new", f"{PYTHON}.{newer}")
    assert found(tmp_path / "old", tmp_path / "new", monkeypatch=monkeypatch) == new


def test_one_with_headers_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = interpreter(tmp_path / "old", f"{PYTHON}.1", headers=True)
    interpreter(tmp_path / "new", f"{PYTHON}.2")
    assert found(tmp_path / "new", tmp_path / "old", monkeypatch=monkeypatch) == old


def test_the_first_of_equals_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = interpreter(tmp_path / "b", f"{PYTHON}.1")
    interpreter(tmp_path / "a", f"{PYTHON}.1")
    assert found(tmp_path / "b", tmp_path / "a", monkeypatch=monkeypatch) == first


def test_a_file_that_may_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter(tmp_path, f"{PYTHON}.1").chmod(0o644)
    assert found(tmp_path, monkeypatch=monkeypatch) is None


def test_a_folder_that_may_not_be_entered_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_file = Path.is_file

    def refusing(path: Path) -> bool:
        if path.parent == tmp_path / "closed":
            raise PermissionError(path)
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refusing)
    real = interpreter(tmp_path / "open", f"{PYTHON}.1")
    assert found(tmp_path / "closed", tmp_path / "open", monkeypatch=monkeypatch) == real


def test_a_python_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = interpreter(tmp_path / "real", f"{PYTHON}.1")
    path.write_text(path.read_text().replace("cat", f"echo >> {tmp_path}/asked; cat"))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / path.name).symlink_to(path)
    assert found(tmp_path / "links", tmp_path / "real", monkeypatch=monkeypatch) == path
    assert (tmp_path / "asked").read_text() == "\n"
