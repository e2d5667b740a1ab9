"""The corpus on real wheels: ours, the one that corrupted memory, and others'."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, script

from builders.errors import ConformError, UsageError
from builders.interpreters import find_interpreter
from ci.publish.manifest import read_manifest
from ci.publish.places import WHEELS
from smoke_lambda.conform.settings import load_settings

pytestmark = pytest.mark.integration

# Its XNNPACK drops the dimensions that a mean is to keep, and writes beyond the memory of what
# follows.
CORRUPTS = "tflite_runtime-2.14.1-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
CORRUPTS_SHA256 = "a35b7687edc69c2278bd767af92f7a2f64df92ae1c5dca9c5242be31fff7b4d3"
UNPATCHED = (
    "tflite_runtime-2.22.0.dev20260518-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
)
UNPATCHED_SHA256 = "de1da3fe12dc5ef6f8079e177ad9d0bbefe078e607a326807a6acd62177557c1"
PATTERN = "squeeze-and-excitation"
PEERS = ("tflite-runtime==2.14.0", "ai-edge-litert==2.3.0")
SHARE = "10"


@pytest.fixture(autouse=True)
def runs_here() -> None:
    if platform.machine() != "x86_64" or find_interpreter("3.11") is None:
        pytest.skip("these wheels are for Python 3.11 on x86_64: pyenv install 3.11")


def reports(*arguments: str | Path, status: int = 0) -> list[dict[str, Any]]:
    done = script("conform", "--json", *arguments)
    assert done.returncode == status, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def committed(name: str, sha256: str, folder: Path) -> Path:
    """Return a wheel that is or was in wheels/."""
    path = WHEELS / name
    if not path.exists():
        git = ["git", "-C", str(ROOT)]
        inside = f"wheels/{name}"
        log = [*git, "log", "--format=%H", "--diff-filter=D", "-1", "--", inside]
        commit = subprocess.run(log, capture_output=True, text=True, check=False).stdout.strip()
        if not commit:
            pytest.skip(f"neither wheels/ nor git's history has {name}: git fetch --unshallow")
        show = [*git, "show", f"{commit}^:{inside}"]
        path = folder / name
        path.write_bytes(subprocess.run(show, capture_output=True, check=True).stdout)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    return path


def published() -> list[Path]:
    """Return the newest build of each version, for Python 3.11 on x86-64."""
    return [
        WHEELS / wheel.file
        for wheel in read_manifest(WHEELS).current
        if wheel.python == "3.11" and wheel.arch == "x86_64"
    ]


def test_each_published_core_computes_what_tensorflow_does() -> None:
    found = reports("--runner", "native", "--share", SHARE, *published())
    assert len(found) == len(published()) > 0
    for report in found:
        assert report["ok"], report["failures"]
        assert report["models"] == report["asked"] > 0
        assert report["operators"]


def grown(wheel: Path, status: int) -> dict[str, Any]:
    """Return the report of the model whose batch grows, with the whole corpus's options."""
    name = load_settings().growing.model
    (found,) = reports("--runner", "native", "--models", name, wheel, status=status)
    assert found["models"] == 1
    return found


def test_a_model_whose_batch_grows_answers_rightly() -> None:
    """XNNPACK left out a copy in 4 of 1,000 resizes: builders/patches/xnnpack/copy-again.patch."""
    for wheel in published():
        assert grown(wheel, 0)["failures"] == [], wheel.name


def test_the_wheel_without_the_patch_answers_wrongly(tmp_path: Path) -> None:
    wheel = committed(UNPATCHED, UNPATCHED_SHA256, tmp_path)
    (failure,) = grown(wheel, ConformError.exit_code)["failures"]
    assert failure["what"] == "wrong answer"
    assert "batches that grew" in failure["detail"]


def test_the_wheel_that_corrupts_memory_fails_with_the_name_of_the_pattern(
    tmp_path: Path,
) -> None:
    wheel = committed(CORRUPTS, CORRUPTS_SHA256, tmp_path)
    (found,) = reports(
        "--runner", "native", "--models", PATTERN, wheel, status=ConformError.exit_code
    )
    failures = {failure["model"]: failure["what"] for failure in found["failures"]}
    assert any(name.startswith(PATTERN) for name in failures), failures
    assert any(
        what.startswith(("crash", "does not run", "wrong answer")) for what in failures.values()
    )
    # No fault hides the others.
    assert found["models"] == found["asked"]


@pytest.mark.parametrize("peer", PEERS)
def test_a_runtime_that_is_not_ours_is_told_about(peer: str, tmp_path: Path) -> None:
    interpreter = find_interpreter("3.11")
    assert interpreter is not None
    pip = [str(interpreter.executable), "-m", "pip", "download", "-q", "--no-deps"]
    done = subprocess.run([*pip, "-d", str(tmp_path), peer], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{peer} cannot be downloaded: no network, or an index without it")
    (wheel,) = tmp_path.glob("*.whl")
    shown = script("conform", "--json", "--peer", "--share", SHARE, wheel)
    assert shown.returncode in (0, ConformError.exit_code), shown.stderr
    (found,) = json.loads(shown.stdout)
    assert found["models"] == found["asked"] > 0
    assert not found["expected_delegation"]
    assert found["nodes"] >= found["delegated"] > 0


def test_a_strangers_wheel_needs_the_option(tmp_path: Path) -> None:
    wheel = tmp_path / "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_x86_64.whl"
    wheel.write_bytes(b"")
    done = script("conform", wheel)
    assert "add --peer" in done.stderr
    assert done.returncode == UsageError.exit_code
