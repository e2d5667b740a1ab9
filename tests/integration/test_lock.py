"""The locks, from the trees of their own TensorFlow versions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from support import script

from builders.cache import Cache, default_root
from builders.errors import ArchiveError, FetchError
from builders.locking.cmake import MODULES
from builders.matrix import load_matrix
from builders.native import NativeRunner
from builders.plan import DEFAULT_TENSORFLOW
from builders.progress import Reporter

pytestmark = pytest.mark.integration

XNNPACK = {
    DEFAULT_TENSORFLOW: "b9d4073a6913891ce9cbd8965c8d506075d2a45a",
    "2.22.0.dev20260518": "bccfe73347861f07a0257c0c546c0babcf3257b8",
}


def tree_of(version: str, logs: Path) -> Path:
    """The tree of a version; our patches touch nothing that a lock is made from."""
    if version == DEFAULT_TENSORFLOW:
        tree = os.environ.get("TFLITE_TREE")
        if not tree:
            pytest.skip("no tree of TensorFlow: run ./scripts/test")
        return Path(tree)
    runner = NativeRunner(Cache(default_root()), Reporter(Console(stderr=True)), logs)
    try:
        return runner.trees(load_matrix().tensorflow(version)) / "tensorflow"
    except FetchError as error:
        pytest.skip(f"its sources cannot be had here: {error}")


def noted(said: str) -> list[str]:
    return [line.split(": ")[1] for line in said.splitlines() if line.startswith("note: ")]


def test_the_fetched_tree_calls_for_the_committed_lock() -> None:
    found = script("lock", DEFAULT_TENSORFLOW, "--check")
    assert found.returncode == 0, found.stderr
    # In this version they differ, and Bazel's pins have checksums.
    assert noted(found.stderr) == ["fp16", "cpuinfo"]


@pytest.mark.parametrize("version", XNNPACK)
def test_an_altered_pin_is_named(version: str, tmp_path: Path) -> None:
    tree = tree_of(version, tmp_path / "logs")
    bazel = None
    for path in (tree / "tensorflow/workspace2.bzl", *(tree / "third_party").rglob("*.bzl")):
        copy = tmp_path / "tree" / path.relative_to(tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
        bazel = copy if XNNPACK[version] in copy.read_text() else bazel
    shutil.copytree(tree / MODULES, tmp_path / "tree" / MODULES)
    arguments = ("lock", version, "--tree", tmp_path / "tree", "--check")
    found = script(*arguments)
    assert found.returncode == 0, found.stderr
    assert bazel is not None
    bazel.write_text(bazel.read_text().replace(XNNPACK[version], "0" * 40))
    found = script(*arguments)
    assert found.returncode == ArchiveError.exit_code
    error = found.stderr.splitlines()[-1]
    assert error.startswith(f"error: {version}.toml is not what the tree calls for: xnnpack: ")
    assert "farmhash" not in error
