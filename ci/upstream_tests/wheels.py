"""The wheels that upstream's tests run on: those that TensorFlow's environment can load."""

from __future__ import annotations

import platform
from pathlib import Path

from builders.errors import UsageError
from builders.matrix import Matrix, Target
from builders.wheelname import name_of
from ci.publish.manifest import read_manifest
from smoke_lambda.lock import TRAIN_PYTHON


def published(folder: Path) -> list[Path]:
    """The current published wheels that can be tested here, one per TensorFlow version.

    Raises:
        UsageError: there is none.
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
    """The target that a wheel's name says it is of.

    Raises:
        UsageError: there is no such file, or TensorFlow's environment cannot load it.
    """
    name = name_of(wheel)
    runtime, arch = matrix.runtime(TRAIN_PYTHON), platform.machine()
    if not (name.is_of(runtime) and name.runs_on(arch)):
        raise UsageError(
            f"{wheel.name} is not of Python {TRAIN_PYTHON} for {arch}",
            remedy="choose one that is: the locked TensorFlow is for that Python",
        )
    return Target(tensorflow=matrix.tensorflow(str(name.version)), runtime=runtime, arch=arch)
