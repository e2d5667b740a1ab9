"""Helpers for the integration tests."""

from __future__ import annotations

import functools
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import patch_ng
import pytest
from rich.console import Console

from builders.breakages import patches_of
from builders.cache import Cache, default_root
from builders.docker_engine import Engine, find_engine
from builders.errors import EngineError, FetchError
from builders.fetch import Fetcher
from builders.matrix import TensorFlow, load_matrix
from builders.native import NativeRunner
from builders.progress import Reporter
from smoke_lambda.rie import emulator

ROOT = Path(__file__).parent.parent.parent

RECOMMENDED = load_matrix().recommended
# The other one of which most is verified: CI compiles it, too, where one version is enough.
OTHER = max(
    (row for row in load_matrix().tensorflows if row is not RECOMMENDED),
    key=lambda row: len(row.verified),
)


def tree_of(tensorflow: TensorFlow, logs: Path) -> Path:
    """Return TensorFlow's tree, with our patches; skip if it cannot be fetched."""
    if tensorflow is RECOMMENDED:
        tree = os.environ.get("TFLITE_TREE")
        if not tree:
            pytest.skip("no tree of TensorFlow: run ./scripts/test")
        return Path(tree)
    runner = NativeRunner(Cache(default_root()), Reporter(Console(stderr=True)), logs)
    try:
        return runner.trees(tensorflow) / "tensorflow"
    except FetchError as error:
        pytest.skip(f"its sources cannot be had here: {error}")


def wheels_folder() -> Path:
    """Return the folder of the main job's wheels; skip if there is none."""
    folder = os.environ.get("TFLITE_WHEELS")
    if not folder:
        pytest.skip("no wheels: run ./scripts/test, or ./scripts/build and set TFLITE_WHEELS=dist")
    return Path(folder)


def records() -> dict[str, dict[str, Any]]:
    """Return the main job's records, by target."""
    found = [json.loads(path.read_text()) for path in wheels_folder().glob("records/*.json")]
    assert found, "the main job left no records"
    return {record["target"]: record for record in found}


def engine() -> Engine:
    """Return the Docker engine of this machine; skip if there is none."""
    try:
        return find_engine()
    except EngineError as error:
        pytest.skip(str(error))


def script(
    name: str, *arguments: str | Path, root: Path = ROOT, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the commands in ./scripts to its end."""
    return subprocess.run(
        [sys.executable, root / "scripts" / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


def without_patches(tree: Path, folder: Path, tensorflow: str) -> Path:
    """Copy a component's tree to a folder, and revert our patches in the copy."""
    plain = folder / tree.name
    shutil.copytree(tree, plain)
    for patch in reversed(patches_of(tensorflow, tree.name)):
        patch_set = patch_ng.PatchSet(io.BytesIO(patch.read_bytes()))
        assert patch_set.revert(strip=1, root=str(plain))
    return plain


def copy_tracked_files(destination: Path) -> None:
    """Copy the repository's current files: also uncommitted ones, but no ignored ones."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, destination / name)


@functools.cache
def fetcher() -> Fetcher:
    """Return a fetcher that downloads into this user's cache."""
    return Fetcher(cache=Cache(default_root()))


@functools.cache
def rie() -> Path:
    """Return the emulator for this machine."""
    return emulator(platform.machine(), default_root() / "rie", fetcher())
