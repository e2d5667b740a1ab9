"""Inspects a finished wheel without running its code.

    from builders.audit import audit
    report = audit(Path("tflite_runtime-….whl"), load_matrix())

Each fault of the wheel makes a check of the report fail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from builders.audit.elf import DamagedElfError, Extension, read_elf
from builders.audit.elf_checks import ELF_CHECKS, Subject, dotted, glibc_needed
from builders.audit.modules_check import check_modules
from builders.audit.packaging_checks import (
    Wheel,
    check_files,
    check_metadata,
    check_name,
    check_record,
    check_reproducible,
)
from builders.audit.report import AuditReport, Check, RuntimeVerdict
from builders.audit.runtimes import verdicts
from builders.audit.sbom_check import check_sbom
from builders.audit.types_check import check_types
from builders.audit.wheelfile import Archive, extension_name, read_archive
from builders.audit.zip_layout import DamagedWheelError
from builders.matrix import Matrix
from builders.wheelname import PACKAGE, OwnWheelName, parse_own_name

_T = TypeVar("_T")

PACKAGING_CHECKS: Mapping[str, Callable[[Wheel], Check]] = {
    "name": check_name,
    "metadata": check_metadata,
    "record": check_record,
    "files": check_files,
    "modules": check_modules,
    "types": check_types,
    "sbom": check_sbom,
    "reproducible": check_reproducible,
}

__all__ = [
    "PACKAGE",
    "AuditReport",
    "Check",
    "RuntimeVerdict",
    "audit",
    "extension_name",
]


def audit(wheel: Path, matrix: Matrix) -> AuditReport:
    """Inspect a wheel.

    Args:
        wheel: the wheel's file; the audit also checks the file's name.
        matrix: the matrix to compare the wheel with.

    Raises:
        UsageError: the file does not exist, or we may not read it.
    """
    name = parse_own_name(wheel.name, matrix)
    elf = None
    try:
        archive = read_archive(wheel, with_faults=True)
    except DamagedWheelError as error:
        checks = [Check.of("archive", [str(error)], "")]
    else:
        found = f"{len(archive.infos)} members, all readable, and nothing else"
        checks = [Check.of("archive", archive.faults, found)]
        elf, more = _inspect(name, archive, matrix)
        checks += more
    with wheel.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    # If the wheel's target is unknown, the largest limit applies.
    limits = [tensorflow.size_limit for tensorflow in matrix.tensorflows]
    limit = name.target.tensorflow.size_limit if name.target else max(limits)
    checks.insert(1, _check_size(size, limit))
    return AuditReport(
        file=wheel.name,
        sha256=sha256,
        size=size,
        target=name.target.identifier if name.target else None,
        glibc_floor=dotted(glibc_needed(elf)) if elf else None,
        checks=tuple(checks),
        runtimes=tuple(verdicts(matrix, name, elf, checks)),
    )


def _check_size(size: int, limit: int) -> Check:
    faults = [f"{size:,} bytes > {limit:,}"] if size > limit else []
    return Check.of("size", faults, f"{size:,} bytes <= {limit:,}")


def _inspect(
    name: OwnWheelName, archive: Archive, matrix: Matrix
) -> tuple[Extension | None, list[Check]]:
    wheel = Wheel(name=name, archive=archive, matrix=matrix)
    checks = list(_made(PACKAGING_CHECKS, wheel))
    expected = extension_name(name.runtime, name.arch) if name.runtime and name.arch else None
    data = archive.extension(expected)
    if data is None:
        return None, [*checks, Check.of("elf", ["no extension to read"], "")]
    try:
        elf = read_elf(data)
    except DamagedElfError as error:
        return None, [*checks, Check.of("elf", [str(error)], "")]
    subject = Subject(name=name, data=data, elf=elf)
    return elf, [*checks, *_made(ELF_CHECKS, subject)]


def _made(checks: Mapping[str, Callable[[_T], Check]], subject: _T) -> Iterator[Check]:
    """Run each check. If a parser raises on an untrusted file, the check fails; nothing crashes."""
    for name, check in checks.items():
        try:
            yield check(subject)
        except Exception as error:
            yield Check.of(name, [f"cannot be made: {type(error).__name__}: {error}"], "")
