"""The files of wheels/ that are made from the manifest: to publish writes, to verify compares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from builders.matrix import load_matrix
from ci.publish.hosting import HOSTING, Hosting
from ci.publish.manifest import MANIFEST, SCHEMA, SCHEMA_FILE, SUMS, Manifest
from ci.publish.page import PAGE, page
from ci.publish.product import stored_files
from ci.publish.site import index_files

Generator = Callable[[Manifest, Hosting], dict[str, bytes]]
"""A function that returns files by path below wheels/; equal arguments give the same bytes."""

GENERATORS: tuple[Generator, ...] = (
    lambda manifest, _hosting: {MANIFEST: manifest.encode()},
    lambda _manifest, hosting: {HOSTING: hosting.encode()},
    lambda _manifest, _hosting: {SCHEMA: SCHEMA_FILE.read_bytes()},
    index_files,
    lambda manifest, hosting: {PAGE: page(manifest, load_matrix(), hosting)},
)


def stored(manifest: Manifest) -> dict[str, str]:
    """Return the SHA-256 of the files that never change, by path."""
    return {
        path: sha256 for wheel in manifest.present for path, sha256 in stored_files(wheel).items()
    }


def generate(manifest: Manifest, hosting: Hosting) -> dict[str, bytes]:
    """Return all generated files, by path; the last one has the checksums of all other files."""
    files: dict[str, bytes] = {}
    for generator in GENERATORS:
        files |= generator(manifest, hosting)
    sums = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    return files | {SUMS: encode_sums(stored(manifest) | sums)}


def encode_sums(sums: Mapping[str, str]) -> bytes:
    """Return checksums as the lines that `sha256sum --check` reads."""
    return "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(sums.items())).encode()


def decode_sums(data: bytes) -> dict[str, str]:
    """Return the checksums by path; ignore lines that lack one of the two."""
    lines = (line.split("  ", 1) for line in data.decode(errors="replace").splitlines())
    return {line[1]: line[0] for line in lines if len(line) == 2}
