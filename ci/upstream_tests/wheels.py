"""Find wheels for upstream's tests: wheels that TensorFlow's environment can load."""

from __future__ import annotations

import platform
from pathlib import Path

from builders.errors import UsageError
from builders.matrix import Matrix, Target
from builders.wheelname import name_of
from ci.publish.manifest import read_manifest
from smoke_lambda.lock import TRAIN_PYTHON


def published(folder: Path) -> list[Path]:
    """Return the current published wheels that can be tested here, one per TensorFlow version.

    Raises:
        UsageError: there is no such wheel.
    """
    found = [
        folder / wheel.file
        for wheel in read_manifest(folder).current
        if (wheel.python, wheel.arch) == (TRAIN_PYTHON, platform.machine())
    ]
    if not found:
        raise UsageError(
            f"no wheel of Python {TRAIN_PYTHON} for {platform.machine()} is published",
            remedy="name one that ./scripts/build made",
        )
    return found


def target_of(wheel: Path, matrix: Matrix) -> Target:
    """Return the target of a wheel, by the wheel's name.

    Raises:
        UsageError: the file does not exist, or TensorFlow's environment cannot load the wheel.
    """
    name = name_of(wheel)
    runtime, arch = matrix.runtime(TRAIN_PYTHON), platform.machine()
    if not (name.is_of(runtime) and name.runs_on(arch)):
        raise UsageError(
            f"{wheel.name} is not of Python {TRAIN_PYTHON} for {arch}",
            remedy="choose one that is: the locked TensorFlow is for that Python",
        )
    return Target(tensorflow=matrix.tensorflow(str(name.version)), runtime=runtime, arch=arch)
