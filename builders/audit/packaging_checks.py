"""Checks of the parts that installers read: name, metadata, RECORD, file list, zip."""

from __future__ import annotations

import base64
import csv
import email
import hashlib
import io
import itertools
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from packaging.metadata import Metadata
from packaging.tags import parse_tag

from builders.audit.report import Check
from builders.audit.wheelfile import Archive, extension_name
from builders.core_metadata import (
    misspelt,
    python_classifiers,
    requires_dist,
    requires_python,
)
from builders.matrix import Matrix
from builders.wheelname import PACKAGE, OwnWheelName

MODULES = (
    "__init__.py",
    "py.typed",
    *(
        f"{name}.{suffix}"
        for name in ("interpreter", "metrics_interface", "metrics_portable")
        for suffix in ("py", "pyi")
    ),
)
LISTED = 4  # the number of names that a message shows of a long list

# The METADATA of our wheels has 2,300 bytes and 45 fields, the longest of 160 characters.
METADATA_LIMIT = 16_384
FIELDS_LIMIT = 150
VALUE_LIMIT = 1_000

# The WHEEL file of our wheels has two tags, the longest of 39 characters.
TAGS_LIMIT = 16
TAG_LIMIT = 100

# The wheel library gives RECORD the mode 0664.
FILE_MODES = (0o644, 0o664, 0o755)


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """The input of the checks: the parsed file name, the archive and the matrix."""

    name: OwnWheelName
    archive: Archive
    matrix: Matrix


def some(names: list[str]) -> str:
    """Return the first names in one line, and the number of the others."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def check_name(wheel: Wheel) -> Check:
    """Check that the matrix has the wheel of this file name, and that the WHEEL file agrees.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    return Check.of(
        "name",
        [*wheel.name.faults, *_wheel_file_faults(wheel)],
        f"{PACKAGE} {wheel.name.version}, {some(sorted(map(str, wheel.name.tags)))}",
    )


def _wheel_file_faults(wheel: Wheel) -> Iterator[str]:
    data = wheel.archive.metadata("WHEEL")
    if data is None:
        yield "no WHEEL file"
        return
    if len(data) > METADATA_LIMIT:
        yield f"WHEEL has {len(data):,} bytes > {METADATA_LIMIT:,}"
        return
    fields = email.message_from_bytes(data)
    version = str(fields.get("Wheel-Version", ""))
    if version.partition(".")[0] != "1":
        yield f"Wheel-Version is {version!r}, expected 1.x"
    if str(fields.get("Root-Is-Purelib")).lower() != "false":
        yield f"Root-Is-Purelib is {fields.get('Root-Is-Purelib')}, expected false"
    if not wheel.name.tags:
        return
    lines = list(map(str, fields.get_all("Tag", [])))
    # A Tag line can name several tags: it stands for all combinations of its parts.
    if len(lines) > TAGS_LIMIT or any(len(line) > TAG_LIMIT for line in lines):
        yield f"WHEEL has more than {TAGS_LIMIT} tags, or one longer than {TAG_LIMIT} characters"
        return
    try:
        tags = {tag for line in lines for tag in parse_tag(line)}
    except ValueError:
        yield "WHEEL has a malformed Tag"
        return
    if tags != wheel.name.tags:
        yield f"WHEEL's tags are {some(sorted(map(str, tags))) or 'none'}, not the file name's"
    build = "".join(map(str, wheel.name.build))
    if str(fields.get("Build", "")) != build:
        yield f"WHEEL's Build is {fields.get('Build')}, the file name's is {build or None}"


def check_metadata(wheel: Wheel) -> Check:
    """Check that METADATA is valid and agrees with the matrix.

    Source: https://packaging.python.org/en/latest/specifications/core-metadata/
    """
    data = wheel.archive.metadata("METADATA")
    if data is None:
        return Check.of("metadata", ["no METADATA file"], "")
    try:
        if faults := list(_field_faults(data)):
            return Check.of("metadata", faults, "")
        metadata = Metadata.from_email(data, validate=True)
    except ExceptionGroup as group:
        return Check.of("metadata", [str(error) for error in group.exceptions], "")
    return Check.of(
        "metadata",
        _metadata_faults(metadata, wheel),
        f"Python {metadata.requires_python}, {', '.join(map(str, metadata.requires_dist or []))}, "
        f"{metadata.license_expression}",
    )


def _field_faults(data: bytes) -> Iterator[str]:
    if len(data) > METADATA_LIMIT:
        yield f"METADATA has {len(data):,} bytes > {METADATA_LIMIT:,}"
        return
    fields = email.message_from_bytes(data).items()
    if len(fields) > FIELDS_LIMIT:
        yield f"METADATA has {len(fields)} fields > {FIELDS_LIMIT}"
    if long := [field for field, value in fields if len(str(value)) > VALUE_LIMIT]:
        yield f"a value longer than {VALUE_LIMIT} characters: {some(sorted(set(long)))}"
    if odd := [field for field, value in fields if not str(value).isprintable()]:
        yield f"a value that is no line of text: {some(sorted(set(odd)))}"
    if wrong := misspelt(field for field, _ in fields):
        yield some(wrong)


def _metadata_faults(metadata: Metadata, wheel: Wheel) -> Iterator[str]:
    if metadata.name != PACKAGE and metadata.name != PACKAGE.replace("_", "-"):
        yield f"Name is {metadata.name}, expected {PACKAGE}"
    if wheel.name.version not in (None, metadata.version):
        yield f"Version is {metadata.version}, the file name's is {wheel.name.version}"
    yield from _disagreements(metadata, wheel.matrix)
    if metadata.license_expression is None:
        yield "no License-Expression"
    licences = list(metadata.license_files or [])
    if not licences:
        yield "no License-File"
    # PEP 639: the paths of License-File are relative to the folder `licenses`.
    if missing := [n for n in licences if wheel.archive.metadata(f"licenses/{n}") is None]:
        yield f"License-File not in the wheel: {some(missing)}"
    folder = f"{wheel.archive.dist_info}/licenses/"
    there = {n.removeprefix(folder) for n in wheel.archive.contents if n.startswith(folder)}
    if unnamed := sorted(there - set(licences)):
        yield f"in licenses/, but no License-File: {some(unnamed)}"
    if binary := [n for n in sorted(there) if not _is_text(wheel.archive.contents[folder + n])]:
        yield f"License-File that is no text: {some(binary)}"


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _disagreements(metadata: Metadata, matrix: Matrix) -> Iterator[str]:
    """Yield the differences between METADATA and the matrix, which all wheels must agree with."""
    if metadata.requires_python != (expected := requires_python(matrix)):
        yield f"Requires-Python is {metadata.requires_python}, expected {expected}"
    found, wanted = set(metadata.requires_dist or ()), set(requires_dist(matrix))
    for what, requirements in (("lacks", wanted - found), ("unexpected", found - wanted)):
        if requirements:
            yield f"Requires-Dist: {what} {some(sorted(map(str, requirements)))}"
    found_pythons = {c for c in metadata.classifiers or () if re.search(r":: Python :: 3\.", c)}
    if found_pythons != set(python_classifiers(matrix)):
        yield "the classifiers do not name the Pythons of the matrix"


def check_record(wheel: Wheel) -> Check:
    """Check that RECORD lists every member with its hash and size, and no other file."""
    data = wheel.archive.metadata("RECORD")
    if data is None:
        return Check.of("record", ["no RECORD file"], "")
    try:
        # Read one row more than there are members: that is enough to know that RECORD is wrong.
        lines = csv.reader(io.StringIO(data.decode()))
        rows = list(itertools.islice(lines, len(wheel.archive.infos) + 1))
    except (UnicodeDecodeError, csv.Error) as error:
        return Check.of("record", [f"RECORD is not CSV in UTF-8: {error}"], "")
    return Check.of("record", _record_faults(rows, wheel.archive), f"{len(rows)} files, all match")


def _record_faults(rows: list[list[str]], archive: Archive) -> Iterator[str]:
    if any(len(row) != 3 for row in rows):
        yield "a row has not three fields"
        return
    names = [row[0] for row in rows]
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        yield f"listed twice: {some(repeated)}"
    files = {name for name in archive.contents if not name.endswith("/")}
    if unlisted := sorted(files - set(names)):
        yield f"not listed: {some(unlisted)}"
    if absent := sorted(set(names) - files):
        yield f"listed but absent: {some(absent)}"
    own = f"{archive.dist_info}/RECORD"
    wrong = [
        name
        for name, digest, size in rows
        if name in files and [digest, size] != _record_of(name, own, archive)
    ]
    if wrong:
        yield f"hash or size differs: {some(wrong)}"


def _record_of(name: str, own: str, archive: Archive) -> list[str]:
    if name == own:
        return ["", ""]
    data = archive.contents[name]
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return [f"sha256={digest}", str(len(data))]


def check_files(wheel: Wheel) -> Check:
    """Check that the wheel has every required file, and no unexpected one."""
    found = set(wheel.archive.contents)
    info = wheel.archive.dist_info
    if wheel.name.version is not None:
        info = f"{PACKAGE}-{wheel.name.version}.dist-info"
    required = {f"{PACKAGE}/{name}" for name in MODULES}
    required |= {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD")}
    if wheel.name.runtime is not None and wheel.name.arch is not None:
        required.add(f"{PACKAGE}/{extension_name(wheel.name.runtime, wheel.name.arch)}")
    licences = {n for n in found if n.startswith(f"{info}/licenses/") and not n.endswith("/")}
    sboms = {n for n in found if n.startswith(f"{info}/sboms/") and n.endswith(".cdx.json")}
    faults = []
    if missing := sorted(required - found):
        faults.append(f"missing: {some(missing)}")
    if extra := sorted(found - required - licences - sboms):
        faults.append(f"not expected: {some(extra)}")
    for kind, names in (("licence", licences), ("SBOM", sboms)):
        if not names:
            faults.append(f"no {kind} in {info}")
    return Check.of("files", faults, f"{len(found)} files, {len(licences)} of them licences")


def _is_metadata_file(name: str) -> bool:
    return name.count("/") == 1 and name.partition("/")[0].endswith(".dist-info")


# PEP 427 recommends to put the metadata at the end. Tools that write wheels differ in which part
# of the metadata they put there. Each of these orders depends on the names alone.
ORDERS: tuple[Callable[[str], tuple[bool, bool, str]], ...] = (
    lambda name: (False, False, name),
    lambda name: (False, name.endswith(".dist-info/RECORD"), name),
    lambda name: (".dist-info/" in name, name.endswith(".dist-info/RECORD"), name),
    lambda name: (_is_metadata_file(name), name.endswith(".dist-info/RECORD"), name),
)


def check_reproducible(wheel: Wheel) -> Check:
    """Check that the archive does not depend on when, where or by whom it was made."""
    infos = wheel.archive.infos
    names = [info.filename for info in infos]
    faults = []
    if not any(names == sorted(names, key=order) for order in ORDERS):
        faults.append("members are not sorted")
    if len(times := {info.date_time for info in infos}) > 1:
        faults.append(f"members have {len(times)} different times, expected one")
    if odd := [info.filename for info in infos if not _plain(info)]:
        faults.append(f"not a deflated file of mode 0644, 0664 or 0755: {some(odd)}")
    # Zip tools store times, users and groups in the extra field.
    if extra := [info.filename for info in infos if info.extra or info.comment]:
        faults.append(f"carries an extra field or comment: {some(extra)}")
    stamp = "-".join(map(str, infos[0].date_time[:3]))
    return Check.of("reproducible", faults, f"sorted, one time ({stamp}), plain permissions")


def _plain(info: zipfile.ZipInfo) -> bool:
    mode = info.external_attr >> 16
    return (
        info.compress_type == zipfile.ZIP_DEFLATED
        and info.create_system == 3  # Unix, on whichever system the zip was written
        and stat.S_IFMT(mode) in (0, stat.S_IFREG)
        and stat.S_IMODE(mode) in FILE_MODES
    )
