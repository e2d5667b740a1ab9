"""The lock of TensorFlow 2.14.1 from its own tree."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support import script

from builders.errors import ArchiveError
from builders.locking.cmake import MODULES

pytestmark = pytest.mark.integration

XNNPACK = "b9d4073a6913891ce9cbd8965c8d506075d2a45a"


def test_the_fetched_tree_calls_for_the_committed_lock() -> None:
    found = script("lock", "2.14.1", "--check")
    assert found.returncode == 0, found.stderr
    # In this version they differ, and Bazel's pins have checksums.
    notes = [line.split(":")[1] for line in found.stderr.splitlines() if line.startswith("note: ")]
    assert notes == [" fp16", " cpuinfo"]


def test_an_altered_pin_is_named(tmp_path: Path) -> None:
    tree = os.environ.get("TFLITE_TREE")
    if not tree:
        pytest.skip("no tree of TensorFlow: run ./scripts/test")
    for part in ("tensorflow/workspace2.bzl", "third_party", MODULES):
        if (Path(tree) / part).is_dir():
            shutil.copytree(Path(tree) / part, tmp_path / part)
        else:
            (tmp_path / part).parent.mkdir(parents=True)
            shutil.copy(Path(tree) / part, tmp_path / part)
    arguments = ("lock", "2.14.1", "--tree", tmp_path, "--check")
    assert script(*arguments).returncode == 0
    bazel = tmp_path / "tensorflow/workspace2.bzl"
    assert XNNPACK in bazel.read_text()
    bazel.write_text(bazel.read_text().replace(XNNPACK, "0" * 40))
    found = script(*arguments)
    assert found.returncode == ArchiveError.exit_code
    error = found.stderr.splitlines()[-1]
    assert error.startswith("error: 2.14.1.toml is not what the tree calls for: xnnpack: ")
    assert "farmhash" not in error
