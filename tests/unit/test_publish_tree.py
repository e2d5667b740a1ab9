"""A folder that changes as a whole: killed at any step, the next run finishes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ci.publish.tree import Tree

BEFORE = {"manifest.json": b"old", "a.whl": b"a", "simple/index.html": b"old"}
CHANGE = {
    "manifest.json": b"new",
    "b.whl": b"b",
    "simple/index.html": b"new",
    "provenance/b.whl.json": b"p",
}
GONE = ("a.whl",)
AFTER = {path: data for path, data in {**BEFORE, **CHANGE}.items() if path not in GONE}


def folder_in(root: Path, files: dict[str, bytes] = BEFORE) -> Path:
    folder = root / "wheels"
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def files_in(folder: Path) -> dict[str, bytes | None]:
    tree = Tree(folder)
    return {path: tree.read(path) for path in tree.paths()}


class KilledError(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


class Killer:
    """Kills at the n-th change of the file system, and at every one after it."""

    METHODS = ("mkdir", "write_bytes", "write_text", "rename", "replace", "unlink")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        for name in self.METHODS:
            monkeypatch.setattr(Path, name, self._mortal(getattr(Path, name)))
        for name in ("unlink", "rmdir"):
            monkeypatch.setattr(os, name, self._mortal(getattr(os, name)))

    def _mortal(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            if self.left <= 0:
                raise KilledError
            self.left -= 1
            return real(*args, **options)

        return change


def test_a_change_is_made(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    Tree(folder).change(CHANGE, GONE)
    assert files_in(folder) == AFTER
    assert list(tmp_path.iterdir()) == [folder]
    assert not Tree(folder).finish()


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    Tree(tmp_path / "wheels").change(CHANGE, ())
    assert files_in(tmp_path / "wheels") == CHANGE


def killed(monkeypatch: pytest.MonkeyPatch, after: int, run: Callable[[], object]) -> bool:
    """Run, and kill at a change of the file system; return True if it was killed before its end."""
    with monkeypatch.context() as patch:
        Killer(patch, after)
        try:
            run()
        except KilledError:
            return True
    return False


def test_killed_at_any_step_all_or_nothing_is_done_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for step in range(200):
        folder = folder_in(tmp_path / str(step))
        cut = killed(monkeypatch, step, partial(Tree(folder).change, CHANGE, GONE))
        Tree(folder).finish()
        found = files_in(folder)
        assert found in (BEFORE, AFTER), f"killed at step {step}"
        outcomes.append(found == AFTER)
        # The remains of a killed run do not prevent the next change.
        Tree(folder).change(CHANGE, GONE)
        assert files_in(folder) == AFTER
        assert list((tmp_path / str(step)).iterdir()) == [folder]
        if not cut:
            break
    else:
        pytest.fail("the change never got to its end")
    assert outcomes == sorted(outcomes), "a later kill undid what an earlier one had done"
    assert not outcomes[0]
    assert sum(outcomes) > 5


def test_a_finish_that_is_killed_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = 0
    for step in range(40):
        for again in range(12):
            folder = folder_in(tmp_path / f"{step}-{again}")
            killed(monkeypatch, step, partial(Tree(folder).change, CHANGE, GONE))
            if not Tree(folder).interrupted:
                break
            ready += 1
            killed(monkeypatch, again, Tree(folder).finish)
            Tree(folder).finish()
            assert files_in(folder) == AFTER
    assert ready > 20


def test_wheels_are_there_before_the_index_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        moved.append(target.name)
        assert (tmp_path / "wheels" / "a.whl").exists()
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    Tree(folder_in(tmp_path)).change(CHANGE, GONE)
    assert set(moved[:2]) == {"b.whl", "b.whl.json"}
    assert set(moved[2:]) == {"manifest.json", "index.html"}


def test_links_are_listed_and_not_followed(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_bytes(b"x")
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "file").symlink_to(folder / "a.whl")
    found = files_in(folder)
    assert (found["folder"], found["file"]) == (None, None)
    assert "folder/x" not in found


def test_what_a_killed_run_left_unready_is_not_published(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    left = tmp_path / ".wheels.new" / "files"
    left.mkdir(parents=True)
    (left / "evil.whl").write_bytes(b"half")
    assert not Tree(folder).interrupted
    Tree(folder).change(CHANGE, GONE)
    assert files_in(folder) == AFTER
    shutil.rmtree(folder)
