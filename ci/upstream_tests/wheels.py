"""The wheels that upstream's tests run on: those that TensorFlow's environment can load."""

from __future__ import annotations

import platform
from pathlib import Path

from builders.errors import UsageError
from builders.matrix import Matrix, Target
from ci.proof.smoker import parsed_name
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
    _, version, _, tags = parsed_name(wheel)
    runtime, arch = matrix.runtime(TRAIN_PYTHON), platform.machine()
    if not any(t.interpreter == runtime.tag and t.platform.endswith(arch) for t in tags):
        raise UsageError(
            f"{wheel.name} is not of Python {TRAIN_PYTHON} for {arch}",
            remedy="choose one that is: the locked TensorFlow is for that Python",
        )
    return Target(tensorflow=matrix.tensorflow(str(version)), runtime=runtime, arch=arch)
