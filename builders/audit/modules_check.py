"""Check that the Python files are, byte for byte, those that a build of this checkout writes.

modules.toml has their digests, by TensorFlow version: the digests of the published wheels, and
those of every way in which this checkout writes the files. If a version has no entry, the check
compares nothing and says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from builders.audit.packaging_checks import MODULES, Wheel, some
from builders.audit.report import Check
from builders.tables import is_sha256, read_toml
from builders.wheelname import PACKAGE

FILE = Path(__file__).with_name("modules.toml")
HEAD = """\
# The SHA-256 of the Python files of our wheels, by TensorFlow version; several where builds or
# the option --upstream-warnings differ. `./scripts/audit --accept WHEEL` adds those of a wheel.
"""

Known = Mapping[str, Mapping[str, list[str]]]
"""TensorFlow version -> file -> digests."""


def known_modules(file: Path = FILE) -> Known:
    """Read the digests.

    Raises:
        UsageError: the file cannot be read as TOML.
        ValueError: a digest in the file is not a SHA-256.
    """
    known: dict[str, dict[str, list[str]]] = read_toml(file)
    digests = [d for files in known.values() for found in files.values() for d in found]
    if wrong := [digest for digest in digests if not is_sha256(digest)]:
        raise ValueError(f"{file.name}: {wrong[0]} is no SHA-256")
    return known


def check_modules(wheel: Wheel) -> Check:
    """Check that the digest of each Python file is known for the wheel's TensorFlow version."""
    tensorflow = wheel.name.tensorflow
    known = known_modules().get(tensorflow.version, {}) if tensorflow else {}
    if not known:
        what = f"TensorFlow {tensorflow.version}" if tensorflow else "such a wheel"
        return Check.of("modules", [], f"not compared: no digest is known of {what}")
    found = digests_of(wheel)
    other = [f"{n} ({digest[:12]}…)" for n, digest in found if digest not in known.get(n, ())]
    return Check.of(
        "modules",
        [f"not what a build here writes: {some(other)}"] if other else [],
        f"{len(MODULES)} files, as a build here writes them",
    )


def digests_of(wheel: Wheel) -> list[tuple[str, str]]:
    """Return the (name, SHA-256) pairs of the required Python files that are in the wheel."""
    members = {name: wheel.archive.contents.get(f"{PACKAGE}/{name}") for name in MODULES}
    return [
        (n, hashlib.sha256(data).hexdigest()) for n, data in members.items() if data is not None
    ]


def accepted(known: Known, wheel: Wheel) -> Known:
    """Return the known digests, with those of a wheel's files added.

    Raises:
        ValueError: the wheel's TensorFlow version is not in the matrix.
    """
    if wheel.name.tensorflow is None:
        raise ValueError("the file name tells no TensorFlow of the matrix")
    version = wheel.name.tensorflow.version
    files = {name: [*digests] for name, digests in known.get(version, {}).items()}
    for name, digest in digests_of(wheel):
        files[name] = sorted({*files.get(name, ()), digest})
    return {**known, version: files}


def text_of(known: Known) -> str:
    """Return the text of modules.toml for these digests."""
    return HEAD + "".join(_lines(known))


def _lines(known: Known) -> Iterator[str]:
    for version, files in sorted(known.items()):
        yield f'\n["{version}"]\n'
        for name, digests in sorted(files.items()):
            listed = ", ".join(f'"{digest}"' for digest in digests)
            yield f'"{name}" = [{listed}]\n'
