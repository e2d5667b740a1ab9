"""Verifies published files against their own records: every byte of every file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from builders.errors import PublishError
from builders.matrix import load_matrix
from ci.publish.documents import documents
from ci.publish.generated import decode_sums, generate, stored
from ci.publish.hosting import Hosting
from ci.publish.manifest import MANIFEST, SUMS, Manifest, Wheel, decode
from ci.publish.product import metadata_path, provenance_path, read_contents, stored_files
from ci.publish.provenance import statement_faults
from ci.publish.tree import Tree

RESTORE = "bring it back with `git checkout`"
REFRESH = "`./scripts/publish --refresh` writes it anew"


def faults(folder: Path, hosting: Hosting) -> list[str]:
    """Return the faults of a folder of published wheels: lines that begin with the file."""
    tree = Tree(folder)
    found = []
    if tree.interrupted:
        found.append(f"{folder.name}: a publish was interrupted; {REFRESH}")
    data = tree.read(MANIFEST)
    if data is None:
        return [*found, f"{MANIFEST}: is missing; {RESTORE}"]
    try:
        manifest = decode(data)
    except PublishError as error:
        return [*found, f"{MANIFEST}: {error}; {RESTORE}"]
    generated = {path: _sha256(made) for path, made in generate(manifest, hosting).items()}
    sums = decode_sums(tree.read(SUMS) or b"")
    if sums.get(MANIFEST, "") not in ("", _sha256(data)):
        # Either file may be the changed one, so nothing that is made from the manifest is checked.
        found.append(f"{MANIFEST}: its SHA-256 is not the one in {SUMS}; {RESTORE}")
        del sums[MANIFEST]
        found += _differences(tree, sums, {}, allowed=(MANIFEST, SUMS))
        return found
    found += _differences(tree, stored(manifest), generated, allowed=())
    damaged = {line.split(": ", 1)[0] for line in found}
    for wheel in manifest.present:
        if damaged.isdisjoint(stored_files(wheel)):
            found += _contradictions(tree, wheel)
    return found


def document_faults(readme: Path, manifest: Manifest, hosting: Hosting) -> list[str]:
    """Return a line for each document beside wheels/ that does not agree with the manifest."""
    return [
        f"{path.name}: is not what {MANIFEST} gives; {REFRESH}"
        for path, text in documents(readme, manifest, load_matrix(), hosting).items()
        if not path.is_file() or path.read_text() != text
    ]


def _differences(
    tree: Tree,
    stored_sums: Mapping[str, str],
    generated_sums: Mapping[str, str],
    allowed: tuple[str, ...],
) -> Iterator[str]:
    """Give a line for each file that is missing, has other bytes, or should not be there."""
    there = set(tree.paths())
    for path, sha256 in sorted({**stored_sums, **generated_sums}.items()):
        remedy = REFRESH if path in generated_sums else RESTORE
        data = tree.read(path)
        if path not in there:
            yield f"{path}: is missing; {remedy}"
        elif data is None:
            yield f"{path}: is a link or a folder, expected a file; {remedy}"
        elif _sha256(data) != sha256:
            of = f"{MANIFEST} gives" if path in generated_sums else "was published"
            yield f"{path}: is not what {of}: SHA-256 {_sha256(data)}, expected {sha256}; {remedy}"
    for path in sorted(there - {*stored_sums, *generated_sums, *allowed}):
        yield f"{path}: is not published; only ./scripts/publish writes here"


def _contradictions(tree: Tree, wheel: Wheel) -> Iterator[str]:
    """Give a line for each contradiction between a wheel and the manifest, or a file beside it."""
    try:
        contents = read_contents(tree.folder / wheel.file)
        if tree.read(metadata_path(wheel.file)) != contents.metadata:
            yield f"{metadata_path(wheel.file)}: is not the METADATA of the wheel"
        told = {
            "size": (wheel.size, (tree.folder / wheel.file).stat().st_size),
            "requires_python": (wheel.requires_python, contents.requires_python),
            "numpy": (wheel.numpy, contents.numpy),
            "substituted": (wheel.substituted, contents.substituted),
        }
        for name, (expected, value) in told.items():
            if expected != value:
                yield f"{MANIFEST}: `{name}` of {wheel.file} is {expected}, the wheel's is {value}"
        statement = tree.read(provenance_path(wheel.file)) or b""
        for fault in statement_faults(statement, {wheel.file: wheel.sha256}, contents):
            yield f"{provenance_path(wheel.file)}: {fault}"
    except PublishError as error:
        yield f"{wheel.file}: {error}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
