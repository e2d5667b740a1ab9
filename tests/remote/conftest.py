"""What the tests of remote execution share: `./scripts/test --remote` prepares it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.remote.farm import Farm, running
from ci.remote.roots import Root, bazel_program


def prepared(name: str) -> Path:
    """What the command prepared; skips where nobody did."""
    found = os.environ.get(f"TFLITE_{name}")
    if not found:
        pytest.skip("no executor: run ./scripts/test --remote")
    return Path(found)


@pytest.fixture(scope="session")
def bazel() -> Iterator[Path]:
    """A Bazel that workers of today understand."""
    root = Root(prepared("BAZEL_ROOT"))
    with tempfile.TemporaryDirectory(prefix="tflite-bazel-") as folder:
        yield bazel_program(root, Path(folder))


@pytest.fixture(scope="session")
def worker_root() -> Root:
    return Root(prepared("FARM_ROOT"))


@pytest.fixture
def farm(worker_root: Root) -> Iterator[Farm]:
    """An executor with an empty store and two workers."""
    with (
        tempfile.TemporaryDirectory(prefix="tflite-farm-") as folder,
        running(worker_root, prepared("BUILDGRID"), Path(folder), workers=2) as found,
    ):
        yield found
