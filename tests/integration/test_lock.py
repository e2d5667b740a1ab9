"""The locks, from the trees of their own TensorFlow versions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import script, tree_of

from builders.errors import ArchiveError
from builders.locking.cmake import MODULES
from builders.matrix import load_matrix

pytestmark = pytest.mark.integration

# Of each lock, the commit that the tree pins.
XNNPACK = {
    "2.14.1": "b9d4073a6913891ce9cbd8965c8d506075d2a45a",
    "2.22.0.dev20260518": "bccfe73347861f07a0257c0c546c0babcf3257b8",
}


def noted(said: str) -> list[str]:
    return [line.split(": ")[1] for line in said.splitlines() if line.startswith("note: ")]


def test_the_fetched_tree_calls_for_the_committed_lock() -> None:
    found = script("lock", "2.14.1", "--check")
    assert found.returncode == 0, found.stderr
    xnnpack = next(line for line in found.stdout.splitlines() if line.startswith("xnnpack: debian"))
    assert xnnpack.startswith("xnnpack: debian: substituted: ")
    assert xnnpack.endswith(f" for {XNNPACK['2.14.1'][:7]}")
    # In this version they differ, and Bazel's pins have checksums.
    assert noted(found.stderr) == ["fp16", "cpuinfo"]


@pytest.mark.parametrize("version", XNNPACK)
def test_an_altered_pin_is_named(version: str, tmp_path: Path) -> None:
    tree = tree_of(load_matrix().tensorflow(version), tmp_path / "logs")
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
