"""Run TensorFlow's own small models on an installed runtime, each in a process of its own.

The models come from TensorFlow's source tree: every operator kind, odd graphs, and
files that are broken on purpose. compat.toml says which models must be refused.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from builders.errors import SmokeError
from builders.tables import is_version, read_rows
from smoke_lambda.session import started

HERE = Path(__file__).parent
PROBE = HERE / "inside" / "compat_probe.py"
DATA = HERE / "compat.toml"
SECONDS = 120.0  # two models have a convolution of gigabytes and take some 15 s each

FOLDERS = ("tensorflow/lite/testdata", "tensorflow/lite/tools/optimize/testdata")
"""The folders of TensorFlow's source tree that contain the models."""

OK, REFUSED, DIFFERS, CRASHED, HANGS = "ok", "refused", "differs", "crashed", "hangs"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The expected outcome of a model."""

    outcome: str = OK
    message: str = ""
    """Words that the runtime's error message must contain when it refuses the model."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a model."""

    model: str
    outcome: str
    detail: str = ""

    def fault(self, expected: Expected) -> str:
        """Return how the result differs from the expected one; empty if it does not."""
        if self.outcome == expected.outcome and expected.message in self.detail:
            return ""
        wanted = (
            f"{expected.outcome} {expected.message!r}" if expected.message else expected.outcome
        )
        return f"{self.model}: expected {wanted}, found {self.outcome}: {self.detail}"


def models(tree: Path) -> list[Path]:
    """Return every model of a TensorFlow source tree, sorted.

    Raises:
        SmokeError: the tree has no models.
    """
    found = [
        path
        for folder in FOLDERS
        for pattern in ("*.bin", "*.tflite")
        for path in (tree / folder).glob(pattern)
    ]
    if not found:
        raise SmokeError(f"{tree} has no models in {' or '.join(FOLDERS)}")
    return sorted(found)


def expectations(tensorflow: str, data: Path = DATA) -> Mapping[str, Expected]:
    """Return the models that a TensorFlow version must refuse, by file name.

    All other models must run.

    Raises:
        UsageError: a row is malformed; the message names it.
    """
    found: dict[str, Expected] = {}
    for row in read_rows(data, "model", "files"):
        row.take("reason", str, bool)
        expected = Expected(
            outcome=row.take("expect", str, lambda text: text == REFUSED),
            message=row.take("message", str, bool),
        )
        since = row.take("since", str, is_version, default="0")
        files = row.take("files", list, bool)
        row.done()
        if Version(tensorflow) >= Version(since):
            found.update(dict.fromkeys(files, expected))
    return found


def run_models(paths: Iterable[Path], *, python: Path, log: Path) -> list[Result]:
    """Run each model with and without the default delegate and compare the outputs.

    Args:
        paths: the models.
        python: the interpreter of an environment that has the wheel and NumPy.
        log: the file to which all output is appended.

    Raises:
        SmokeError: the interpreter cannot be started.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [_run_model(path, python, Path(folder), log) for path in paths]


def _run_model(model: Path, python: Path, folder: Path, log: Path) -> Result:
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    command: list[str | Path] = [python, "-I", PROBE, result, model.absolute()]
    try:
        env = {"OPENBLAS_NUM_THREADS": "1"}
        with started(command, cwd=folder, env=env, log=log, is_strange=True) as process:
            status = process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        status = None
    except OSError as error:
        raise SmokeError(f"cannot run {python}: {error}") from error
    if not result.exists():
        raise SmokeError(f"{python} does not load the runtime", remedy=f"see {log}")
    return judge(model.name, status, json.loads(result.read_text()))


def judge(model: str, status: int | None, found: Mapping[str, object]) -> Result:
    """Return the result of a model.

    Args:
        model: the model's file name.
        status: the exit status of the process; a negative number is a signal, None means
            that the process was ended because it took too long.
        found: the data that compat_probe.py wrote.
    """
    stage = str(found["stage"])
    if status is None:
        return Result(model=model, outcome=HANGS, detail=stage)
    if status < 0:
        detail = f"{stage}: {signal.Signals(-status).name}"
        return Result(model=model, outcome=CRASHED, detail=detail)
    if "error" in found:
        return Result(model=model, outcome=REFUSED, detail=f"{stage}: {found['error']}")
    differences = found.get("differences")
    if status or not isinstance(differences, list):
        detail = f"{stage}: exit status {status}"
        return Result(model=model, outcome=CRASHED, detail=detail)
    wrong = [
        f"{name} by {gap:g}, allowed {allowed:g}"
        for name, gap, allowed in differences
        if not gap <= allowed
    ]
    if wrong:
        return Result(model=model, outcome=DIFFERS, detail="; ".join(wrong))
    return Result(model=model, outcome=OK, detail=f"{len(differences)} outputs agree")
