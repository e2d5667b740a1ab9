"""Writes a layer's zip: packages where Lambda expects them, within its limits, reproducibly."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.architecture import aws_name
from builders.audit.wheelfile import UNPACKED_LIMIT
from builders.cache import write_atomically
from builders.deflated import DeflatedZip
from builders.errors import UsageError
from builders.matrix import Runtime
from builders.wheel import zip_entry

# The largest zip that PublishLayerVersion accepts in one request, in bytes
# (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
ZIPPED_LIMIT = 50 * 1024 * 1024
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer that was written.

    Attributes:
        zipped: the size of the zip, in bytes.
        unzipped: the size of its unpacked files, in bytes.
        packages: the file names of the wheels in the layer, by Python.
    """

    path: Path
    sha256: str
    zipped: int
    unzipped: int
    arch: str
    packages: Mapping[str, tuple[str, ...]]

    def as_json(self) -> dict[str, Any]:
        """Return the data that a template or a publishing command needs, with AWS's names."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "zipped": self.zipped,
            "unzipped": self.unzipped,
            "CompatibleRuntimes": [f"python{python}" for python in self.packages],
            "CompatibleArchitectures": [aws_name(self.arch)],
            "packages": {python: list(wheels) for python, wheels in self.packages.items()},
        }


def folder_of(runtime: Runtime, *, multi: bool) -> str:
    """Return the folder of a layer's packages: for one runtime if `multi`, else for any Python.

    Both folders are on the path of a Python runtime
    (https://docs.aws.amazon.com/lambda/latest/dg/packaging-layers.html).
    """
    return f"python/lib/{runtime.name}/site-packages" if multi else "python"


def write_layer(
    path: Path,
    files: Mapping[str, bytes],
    *,
    arch: str,
    packages: Mapping[str, tuple[str, ...]],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Layer:
    """Write the zip; an existing zip is replaced as a whole, or not at all.

    Args:
        files: the files, by their paths below /opt.
        progress: is called with the number of packed bytes and the number of all bytes.

    Raises:
        UsageError: the layer is larger than Lambda accepts; nothing is written.
    """
    unzipped = sum(len(data) for data in files.values())
    _check(path.name, "unzipped", unzipped, UNPACKED_LIMIT)
    archive = io.BytesIO()
    done = 0
    with DeflatedZip(archive, "w") as file:
        for name in sorted(files):
            file.writestr(zip_entry(name), files[name])
            done += len(files[name])
            progress(done, unzipped)
    data = archive.getvalue()
    _check(path.name, "zipped", len(data), ZIPPED_LIMIT)
    write_atomically(path, data)
    return Layer(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        zipped=len(data),
        unzipped=unzipped,
        arch=arch,
        packages=packages,
    )


def _check(name: str, state: str, size: int, limit: int) -> None:
    if size > limit:
        raise UsageError(
            f"{name} would have {size / MEBIBYTE:.1f} MB {state}, "
            f"more than Lambda's {limit // MEBIBYTE} MB",
            remedy="name fewer targets, or make a layer for each of them (without --multi), "
            "or use a container image",
        )
