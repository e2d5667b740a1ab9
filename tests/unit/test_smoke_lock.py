"""The locked environments follow the matrix."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from builders.matrix import load_matrix
from smoke_lambda import lock

LOCKS = list(lock.locks(load_matrix()))


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_one_file_per_python_and_numpy_and_no_other() -> None:
    assert {path.name for path in lock.FOLDER.glob("*.txt")} == {item.path.name for item in LOCKS}
    expected = sum(len(r.numpy.smoke_versions) for r in load_matrix().runtimes) + 2
    assert len(LOCKS) == expected


@pytest.mark.parametrize("item", LOCKS, ids=lambda item: item.path.name)
def test_a_lock_is_what_the_data_says(item: lock.Lock) -> None:
    found = pins(item.path)
    wanted = dict(re.findall(r"^([a-z0-9-]+) ?== ?(\S+)", item.requirements, re.MULTILINE))
    assert wanted
    assert wanted.items() <= found.items()


@pytest.mark.parametrize("item", LOCKS, ids=lambda item: item.path.name)
def test_a_lock_has_hashes_and_no_host(item: lock.Lock) -> None:
    text = item.path.read_text()
    assert "://" not in text
    assert "--index" not in text
    for block in re.split(r"\n(?=\S)", text.removeprefix(lock.HEADER)):
        assert re.fullmatch(r"\S+==\S+( \\\n +--hash=sha256:[0-9a-f]{64})+\n?", block), block


def test_every_package_is_named_for_every_python() -> None:
    pythons = {runtime.python for runtime in load_matrix().runtimes}
    for name, by_python in tomllib.loads(lock.DATA.read_text()).items():
        assert set(by_python) == pythons, name


def test_writing_replaces_and_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runtime.toml", "train.in", "convert.in"):
        (tmp_path / name).write_text((lock.FOLDER / name).read_text())
    monkeypatch.setattr(lock, "FOLDER", tmp_path)
    monkeypatch.setattr(lock, "TRAIN", tmp_path / "train.in")
    monkeypatch.setattr(lock, "CONVERT", tmp_path / "convert.in")
    monkeypatch.setattr(lock, "compile_lock", lambda item: f"lock of {item.path.name}\n")
    stale = tmp_path / "cp37-numpy-1.17.txt"
    stale.write_text("old")
    assert lock.main() == 0
    assert not stale.exists()
    assert {path.name for path in tmp_path.glob("*.txt")} == {item.path.name for item in LOCKS}
