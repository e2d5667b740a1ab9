"""A wheel's file name, read by itself or against the matrix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import BuildTag, InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from builders.architecture import ARCHITECTURES
from builders.errors import UsageError
from builders.matrix import Matrix, Runtime, Target, TensorFlow

PACKAGE = "tflite_runtime"
LEGACY_PLATFORMS = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


@dataclass(frozen=True, kw_only=True)
class WheelName:
    """The parts of a wheel's file name, whatever the project.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/

    Attributes:
        project: the normalized project name (PEP 503).
    """

    project: str
    version: Version
    build: BuildTag
    tags: frozenset[Tag]

    @property
    def interpreter(self) -> str:
        """The Python that the wheel is for, such as cp312; one of them, if there are several."""
        return min(tag.interpreter for tag in self.tags)

    @property
    def arch(self) -> str | None:
        """The wheel's one Linux architecture; None if it has several or another, or fits any."""
        found = {_platform(tag.platform) for tag in self.tags}
        arches = {platform[1] if platform else None for platform in found}
        arch = next(iter(arches)) if len(arches) == 1 else None
        return arch if arch in ARCHITECTURES else None

    def is_of(self, runtime: Runtime) -> bool:
        """True if the wheel is for that CPython."""
        return any(tag.interpreter == runtime.tag for tag in self.tags)

    def runs_on(self, arch: str) -> bool:
        """True if the wheel is for that architecture, or for any."""
        return any(tag.platform == "any" or tag.platform.endswith(f"_{arch}") for tag in self.tags)


@dataclass(frozen=True, kw_only=True)
class OwnWheelName:
    """A wheel's file name, read against the matrix.

    Attributes:
        glibc: the oldest glibc that a platform tag admits.
        faults: the reasons why the name is not one of ours; empty if it is.
    """

    version: Version | None = None
    build: BuildTag = ()
    tags: frozenset[Tag] = frozenset()
    tensorflow: TensorFlow | None = None
    runtime: Runtime | None = None
    arch: str | None = None
    glibc: tuple[int, int] | None = None
    faults: tuple[str, ...] = ()

    @property
    def target(self) -> Target | None:
        """The target of the matrix that the name stands for; None if there is none."""
        if self.tensorflow is None or self.runtime is None or self.arch is None:
            return None
        return Target(tensorflow=self.tensorflow, runtime=self.runtime, arch=self.arch)


def parse_name(filename: str) -> WheelName:
    """Return the parts of a wheel's file name.

    Raises:
        UsageError: the name is not a wheel's.
    """
    try:
        project, version, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise UsageError(str(error)) from error
    return WheelName(project=project, version=version, build=build, tags=tags)


def name_of(wheel: Path) -> WheelName:
    """Return the parts of a wheel file's name.

    Raises:
        UsageError: there is no such file, or its name is not a wheel's.
    """
    if not wheel.is_file():
        raise UsageError(f"there is no wheel {wheel}", remedy="./scripts/build makes some in dist/")
    return parse_name(wheel.name)


def parse_own_name(filename: str, matrix: Matrix) -> OwnWheelName:
    """Read a wheel's file name against the matrix."""
    try:
        name = parse_name(filename)
    except UsageError as error:
        return OwnWheelName(faults=(str(error),))
    faults = []
    if name.project != PACKAGE.replace("_", "-"):
        faults.append(f"project is {name.project}, expected {PACKAGE}")
    tensorflow = next((t for t in matrix.tensorflows if Version(t.version) == name.version), None)
    if tensorflow is None:
        faults.append(f"{name.version} is no TensorFlow of the matrix")
    pythons = sorted({f"{tag.interpreter}-{tag.abi}" for tag in name.tags})
    runtime = next((r for r in matrix.runtimes if pythons == [f"{r.tag}-{r.tag}"]), None)
    if runtime is None:
        faults.append(f"{', '.join(pythons)} is not one Python of the matrix")
    platforms = [_platform(tag.platform) for tag in name.tags]
    known = name.arch in matrix.architectures
    if not known:
        found = ", ".join(sorted({tag.platform for tag in name.tags}))
        faults.append(f"{found} is not manylinux of one of {', '.join(matrix.architectures)}")
    return OwnWheelName(
        version=name.version,
        build=name.build,
        tags=name.tags,
        tensorflow=tensorflow,
        runtime=runtime,
        arch=name.arch if known else None,
        glibc=min(platform[0] for platform in platforms if platform) if known else None,
        faults=tuple(faults),
    )


def _platform(tag: str) -> tuple[tuple[int, int], str] | None:
    """Return the oldest glibc and the architecture of a manylinux tag (PEP 600); else None."""
    if match := re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", tag):
        return (int(match[1]), int(match[2])), match[3]
    name, _, arch = tag.partition("_")
    return (LEGACY_PLATFORMS[name], arch) if name in LEGACY_PLATFORMS else None
