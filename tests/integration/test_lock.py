"""The locks, from the trees of their own TensorFlow versions."""

from __future__ import annotations

import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from support import script, tree_of

from builders.cache import digest_below
from builders.errors import ArchiveError
from builders.excerpt import Fetched
from builders.locking.cmake import MODULES
from builders.locking.excerpts import blocks_of, excerpts
from builders.matrix import load_matrix

pytestmark = pytest.mark.integration

# For each lock, the commit that the tree pins.
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


def test_excerpts_are_of_xzs_own_blocks(tmp_path: Path) -> None:
    """The archive was packed by xz, whose index lists the blocks."""
    if shutil.which("xz") is None:
        pytest.skip("no xz: install xz-utils")
    for name in ("before", "wanted", "after"):
        for number in range(20):
            file = tmp_path / "top" / name / f"{number}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(random.Random(f"{name}{number}").randbytes(3000))
    tar = tmp_path / "a.tar"
    with tarfile.open(tar, "w") as packed:
        for name in ("before", "wanted", "after"):
            packed.add(tmp_path / "top" / name, f"top/{name}")
    subprocess.run(["xz", "--keep", "--threads=2", "--block-size=16KiB", tar], check=True)
    path = tmp_path / "a.tar.xz"
    assert [block.size for block in blocks_of(path)][:2] == [16384, 16384]
    (excerpt,) = excerpts(path, ("top/wanted",), lambda _done, _total: None).values()
    data = path.read_bytes()
    files = []
    for block in excerpt.blocks:
        piece = tmp_path / str(block.offset)
        piece.write_bytes(data[block.offset : block.offset + block.length])
        files.append((block.sha256, piece))
    (tmp_path / "out").mkdir()
    Fetched(name="a", files=tuple(files), excerpt=excerpt).unpack(
        {"top/wanted": tmp_path / "out"}, lambda _done, _total: None
    )
    assert digest_below(tmp_path / "out") == digest_below(tmp_path / "top/wanted")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ArchiveError, match=r"xz cannot read a\.tar\.xz"):
        blocks_of(path)


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
