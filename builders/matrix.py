"""The matrix of targets: reads and validates builders/matrix.toml.

Every choice in a command, an image, a CI job or a document comes from here.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version

from builders.errors import UsageError
from builders.tables import Row, is_sha256, is_version, read_toml

MATRIX_FILE = Path(__file__).with_name("matrix.toml")


@dataclass(frozen=True, kw_only=True)
class NumPyRange:
    """The NumPy versions of one Python; see the head of matrix.toml."""

    floor: str
    below: str
    headers: str
    on_lambda: str
    newest: str

    @property
    def requirement(self) -> str:
        """The requirement on NumPy, as in a wheel's Requires-Dist."""
        return f"numpy>={self.floor},<{self.below}"

    @property
    def smoke_versions(self) -> tuple[str, ...]:
        """The NumPy versions that a wheel is smoke-tested with, lowest first, without repeats."""
        return tuple(dict.fromkeys((self.floor, self.on_lambda, self.newest)))


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One Lambda Python runtime."""

    python: str
    os: str
    glibc: str
    deprecated: datetime.date | None
    upcoming: bool
    numpy: NumPyRange
    pybind11: str
    debian: str

    @property
    def tag(self) -> str:
        """The CPython tag of PEP 425, such as cp312."""
        return "cp" + self.python.replace(".", "")

    @property
    def name(self) -> str:
        """AWS's identifier, such as python3.12."""
        return f"python{self.python}"

    def state(self, today: datetime.date) -> str:
        """Return the runtime's state on that day: `upcoming`, `deprecated` or `supported`."""
        if self.upcoming:
            return "upcoming"
        if self.deprecated is not None and today >= self.deprecated:
            return "deprecated"
        return "supported"


@dataclass(frozen=True, kw_only=True)
class TensorFlow:
    """One TensorFlow version.

    Attributes:
        about: what the version is, as a phrase for people.
        sha256: the checksum of upstream's source archive; empty if only a lock has the sources.
        absl: all targets of abseil that the version refers to; empty if they are unknown.
        size_limit: the most bytes that a wheel may have.
        publish: True if verified wheels are published.
    """

    version: str
    about: str
    sha256: str
    cxx_standard: int
    absl: tuple[str, ...]
    bazel: str
    size_limit: int
    build: int
    verified: frozenset[str]
    publish: bool


@dataclass(frozen=True, kw_only=True)
class Target:
    """One wheel to be made: TensorFlow x Python x architecture."""

    tensorflow: TensorFlow
    runtime: Runtime
    arch: str

    @property
    def identifier(self) -> str:
        """The target's name, such as tf2.14.1-cp312-x86_64; logs, images and CI jobs have it."""
        return f"tf{self.tensorflow.version}-{self.runtime.tag}-{self.arch}"

    @property
    def verified(self) -> bool:
        """True if this repository has built, audited and smoke-tested the target.

        Any other target is only declared.
        """
        return f"{self.runtime.tag}-{self.arch}" in self.tensorflow.verified


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """All runtimes, TensorFlow versions and architectures.

    Attributes:
        recommended: the TensorFlow version that is meant if none is named.
        builder: the runtime in whose image the stages of builders/Dockerfile compile.
    """

    runtimes: tuple[Runtime, ...]
    tensorflows: tuple[TensorFlow, ...]
    architectures: tuple[str, ...]
    recommended: TensorFlow
    builder: Runtime

    def targets(self) -> Iterator[Target]:
        """Yield every target, ordered by TensorFlow, architecture, Python."""
        for tensorflow in self.tensorflows:
            for arch in self.architectures:
                for runtime in self.runtimes:
                    yield Target(tensorflow=tensorflow, runtime=runtime, arch=arch)

    def runtime(self, python: str) -> Runtime:
        """Return the runtime of a Python such as `3.12`, `cp312` or `python3.12`.

        Raises:
            UsageError: there is no such row.
        """
        for runtime in self.runtimes:
            if python in (runtime.python, runtime.tag, runtime.name):
                return runtime
        raise UsageError(
            f"no Python {python!r} in the matrix",
            remedy=f"choose one of {', '.join(r.python for r in self.runtimes)}",
        )

    def tensorflow(self, version: str) -> TensorFlow:
        """Return the row of a TensorFlow version.

        Raises:
            UsageError: there is no such row.
        """
        for tensorflow in self.tensorflows:
            if tensorflow.version == version:
                return tensorflow
        raise UsageError(
            f"no TensorFlow {version!r} in the matrix",
            remedy=f"choose one of {', '.join(t.version for t in self.tensorflows)}",
        )

    def target(self, identifier: str) -> Target:
        """Return the target with that identifier.

        Raises:
            UsageError: there is no such target.
        """
        for target in self.targets():
            if target.identifier == identifier:
                return target
        raise UsageError(
            f"no target {identifier!r} in the matrix",
            remedy="`./scripts/build --list` prints them all",
        )


@functools.cache
def load_matrix(path: Path = MATRIX_FILE) -> Matrix:
    """Read and validate the matrix.

    Raises:
        UsageError: a row is malformed; the message names the row and the key.
    """
    return parse_matrix(read_toml(path))


def parse_matrix(data: Mapping[str, Any]) -> Matrix:
    """Validate the matrix's data; raise a UsageError that names the row at fault."""
    top = Row("matrix", data)
    architectures = top.strings("architectures")
    runtimes = tuple(_runtime(row) for row in top.rows("runtime", "python"))
    tags = {f"{runtime.tag}-{arch}" for runtime in runtimes for arch in architectures}
    tensorflows = tuple(_tensorflow(row, tags) for row in top.rows("tensorflow", "version"))
    recommended = top.take("recommended", str)
    builder = top.take("builder", str)
    top.done()
    for kind, names in (
        ("architecture", architectures),
        ("runtime", [r.python for r in runtimes]),
        ("tensorflow", [t.version for t in tensorflows]),
    ):
        if len(set(names)) != len(names):
            raise UsageError(f"matrix names one {kind} twice: {', '.join(names)}")
    return Matrix(
        runtimes=runtimes,
        tensorflows=tensorflows,
        architectures=architectures,
        recommended=_recommended(recommended, tensorflows),
        builder=_builder(builder, runtimes),
    )


def own_spelling(version: Version) -> str:
    """Return TensorFlow's spelling of its version; for a nightly, such as 2.22.0-dev20260518.

    Source: TF_VERSION_STRING in tensorflow/core/public/release_version.h, and
    tensorflow/tools/ci_build/update_version.py.
    """
    nightly = f"-dev{version.dev}" if version.is_devrelease else ""
    return version.base_version + nightly


def _runtime(row: Row) -> Runtime:
    python = row.take("python", str, lambda text: re.fullmatch(r"3\.[1-9][0-9]*", text) is not None)
    upcoming = row.take("upcoming", bool, default=False)
    deprecated = None if upcoming else row.take("deprecated", datetime.date)
    runtime = Runtime(
        python=python,
        os=row.take("os", str),
        glibc=row.take("glibc", str, is_version),
        deprecated=deprecated,
        upcoming=upcoming,
        numpy=_numpy(Row(f"{row.name}: numpy", row.take("numpy", dict))),
        pybind11=row.take("pybind11", str, is_version),
        debian=row.take("debian", str, default=""),
    )
    row.done()
    return runtime


def _numpy(row: Row) -> NumPyRange:
    numpy = NumPyRange(
        floor=row.take("floor", str, is_version),
        below=row.take("below", str, is_version),
        headers=row.take("headers", str, is_version),
        on_lambda=row.take("lambda", str, is_version),
        newest=row.take("newest", str, is_version),
    )
    row.done()
    ends = [Version(v) for v in (numpy.floor, numpy.on_lambda, numpy.newest, numpy.below)]
    if ends != sorted(ends) or ends[-2] == ends[-1]:
        raise UsageError(f"{row.name}: must be floor <= lambda <= newest < below")
    headers = Version(numpy.headers)
    if headers.major < 2 and headers > ends[0]:
        raise UsageError(
            f"{row.name}: headers {headers} make an extension that needs at least that NumPy, "
            f"but the floor is {numpy.floor}"
        )
    return numpy


def _recommended(version: str, tensorflows: tuple[TensorFlow, ...]) -> TensorFlow:
    published = {row.version: row for row in tensorflows if row.verified and row.publish}
    if version not in published:
        raise UsageError(
            f"matrix: 'recommended' names {version!r}, which has no verified target to publish",
            remedy=f"choose one of {', '.join(published) or 'those that you verify first'}",
        )
    return published[version]


def _builder(python: str, runtimes: tuple[Runtime, ...]) -> Runtime:
    released = {runtime.python: runtime for runtime in runtimes if not runtime.upcoming}
    if python not in released:
        raise UsageError(
            f"matrix: 'builder' names {python!r}, which is no Python that AWS has released",
            remedy=f"choose one of {', '.join(released) or 'those that have a row first'}",
        )
    return released[python]


def _tensorflow(row: Row, tags: set[str]) -> TensorFlow:
    version = row.take("version", str, is_version)
    verified = row.strings("verified")
    for tag in verified:
        if tag not in tags:
            raise UsageError(f"{row.name}: verified names {tag!r}, which is no target")
    # A release needs no description of its own; any other version does.
    released = None if Version(version).is_prerelease else "A release of TensorFlow"
    tensorflow = TensorFlow(
        version=version,
        about=row.take("about", str, bool, default=released),
        sha256=row.take("sha256", str, is_sha256, default=""),
        cxx_standard=row.take("cxx_standard", int, lambda n: n in (17, 20, 23)),
        absl=row.strings("absl") if row.has("absl") else (),
        bazel=row.take("bazel", str, is_version),
        size_limit=row.take("size_limit", int, lambda n: n >= 1),
        build=row.take("build", int, lambda n: n >= 1),
        verified=frozenset(verified),
        publish=row.take("publish", bool, default=True),
    )
    row.done()
    return tensorflow
