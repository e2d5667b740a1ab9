"""The published wheels that functions install, and the skeleton of a function that names them."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from builders.architecture import own_name
from builders.errors import UsageError
from builders.matrix import Matrix, Runtime
from builders.wheelname import parse_name
from ci.publish.hosting import Hosting, read_hosting
from ci.publish.manifest import Manifest, Wheel, read_manifest
from ci.publish.places import WHEELS
from smoke_lambda.functions.context import Wheel as Installed
from smoke_lambda.functions.context import cookiecutter_json


def installed(wheel: Wheel, hosting: Hosting) -> Installed:
    """Return a published wheel in the form for a function's requirements."""
    return Installed(
        file=wheel.file,
        sha256=wheel.sha256,
        python=wheel.python,
        arch=wheel.arch,
        url=hosting.raw_url(wheel.file) if hosting.raw else "",
    )


def published_wheel(manifest: Manifest, tensorflow: str, runtime: Runtime, arch: str) -> Wheel:
    """Return the current wheel of a target.

    Args:
        arch: any name of the architecture.

    Raises:
        UsageError: there is no such wheel.
    """
    for wheel in manifest.current:
        found = (wheel.tensorflow, wheel.python, wheel.arch)
        if found == (tensorflow, runtime.python, own_name(arch)):
            return wheel
    raise UsageError(
        f"no wheel of TensorFlow {tensorflow} for Python {runtime.python} on {arch} is published",
        remedy="choose one of WHEELS.md, or build one and name it with --wheel",
    )


@dataclass(frozen=True)
class Target:
    """The runtime of a function and the wheel that it installs.

    Attributes:
        wheel: the wheel in the form for the function's requirements.
        path: the wheel's file on this machine.
    """

    runtime: Runtime
    wheel: Installed
    path: Path

    @property
    def tensorflow(self) -> str:
        """The TensorFlow version of the wheel."""
        return str(parse_name(self.wheel.file).version)


def published(tensorflow: str, runtime: Runtime, arch: str = "") -> Target:
    """Return the published wheel of a TensorFlow version for a runtime.

    Args:
        arch: any name of the architecture; by default, this machine's.

    Raises:
        UsageError: there is no such wheel.
    """
    arch = own_name(arch or platform.machine())
    found = published_wheel(read_manifest(WHEELS), tensorflow, runtime, arch)
    return Target(runtime, installed(found, read_hosting(WHEELS)), WHEELS / found.file)


def skeleton(manifest: Manifest, matrix: Matrix, hosting: Hosting) -> str:
    """Return the text of the skeleton's cookiecutter.json."""
    on_lambda = {runtime.python for runtime in matrix.runtimes if not runtime.upcoming}
    wheels = [
        installed(wheel, hosting)
        for wheel in manifest.current
        if wheel.tensorflow == matrix.recommended.version and wheel.python in on_lambda
    ]
    return cookiecutter_json(matrix, wheels)
