"""Check of the Python files: they are those that a build here writes, byte for byte.

modules.toml has their digests, by TensorFlow version: of the wheels that were published, and of
every way in which this checkout would write them. What a version without an entry brings is
not known, and so not compared; the check says so.
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
        ValueError: what is there is no SHA-256.
    """
    known: dict[str, dict[str, list[str]]] = read_toml(file)
    digests = [d for files in known.values() for found in files.values() for d in found]
    if wrong := [digest for digest in digests if not is_sha256(digest)]:
        raise ValueError(f"{file.name}: {wrong[0]} is no SHA-256")
    return known


def check_modules(wheel: Wheel) -> Check:
    """Each Python file has a digest that is known of the wheel's TensorFlow."""
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
    """The Python files that a wheel has of those that it must have, with their SHA-256."""
    members = {name: wheel.archive.contents.get(f"{PACKAGE}/{name}") for name in MODULES}
    return [
        (n, hashlib.sha256(data).hexdigest()) for n, data in members.items() if data is not None
    ]


def accepted(known: Known, wheel: Wheel) -> Known:
    """What is known, and the digests of a wheel's files too.

    Raises:
        ValueError: the wheel is of no TensorFlow of the matrix.
    """
    if wheel.name.tensorflow is None:
        raise ValueError("the file name tells no TensorFlow of the matrix")
    version = wheel.name.tensorflow.version
    files = {name: [*digests] for name, digests in known.get(version, {}).items()}
    for name, digest in digests_of(wheel):
        files[name] = sorted({*files.get(name, ()), digest})
    return {**known, version: files}


def text_of(known: Known) -> str:
    """The data file."""
    return HEAD + "".join(_lines(known))


def _lines(known: Known) -> Iterator[str]:
    for version, files in sorted(known.items()):
        yield f'\n["{version}"]\n'
        for name, digests in sorted(files.items()):
            listed = ", ".join(f'"{digest}"' for digest in digests)
            yield f'"{name}" = [{listed}]\n'
