"""Inspects a finished wheel without running any of it.

    from builders.audit import audit
    report = audit(Path("tflite_runtime-….whl"), load_matrix())

Whatever is wrong with a wheel is a failing check of the report.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from builders.audit.elf import DamagedElfError, Extension, read_elf
from builders.audit.elf_checks import Subject, dotted, elf_checks, glibc_needed
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
from builders.audit.wheelfile import Archive, DamagedWheelError, extension_name, read_archive
from builders.matrix import Matrix
from builders.wheelname import PACKAGE, OwnWheelName, parse_own_name

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
        wheel: the file; its name is part of what is inspected.
        matrix: what the wheel is compared with.

    Raises:
        UsageError: there is no such file, or it may not be read.
    """
    name = parse_own_name(wheel.name, matrix)
    elf = None
    try:
        archive = read_archive(wheel)
    except DamagedWheelError as error:
        checks = [Check.of("archive", [str(error)], "")]
    else:
        checks = [Check.of("archive", [], f"{len(archive.infos)} members, all readable")]
        elf, more = _inspect(name, archive, matrix)
        checks += more
    data = wheel.read_bytes()
    # A wheel of no known target gets the largest limit.
    limits = [tensorflow.size_limit for tensorflow in matrix.tensorflows]
    limit = name.target.tensorflow.size_limit if name.target else max(limits)
    checks.insert(1, _check_size(len(data), limit))
    return AuditReport(
        file=wheel.name,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
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
    checks = [
        check_name(wheel),
        check_metadata(wheel),
        check_record(wheel),
        check_files(wheel),
        check_types(wheel),
        check_sbom(wheel),
        check_reproducible(wheel),
    ]
    expected = extension_name(name.runtime, name.arch) if name.runtime and name.arch else None
    data = archive.extension(expected)
    if data is None:
        return None, [*checks, Check.of("elf", ["no extension to read"], "")]
    try:
        elf = read_elf(data)
    except DamagedElfError as error:
        return None, [*checks, Check.of("elf", [str(error)], "")]
    return elf, [*checks, *elf_checks(Subject(name=name, data=data, elf=elf))]
