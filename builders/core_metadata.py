"""The METADATA that installers read. It is the same in every wheel of a TensorFlow version.

uv, Poetry and PDM read the metadata of one wheel, and take it for all wheels of that
version. So differences between Pythons are stated with environment markers, and only the
tags of a wheel's name keep it from other Pythons. Requires-Python has no upper bound: with
one, Poetry and PDM would refuse a project that has none.

Adding a Python to the matrix changes the METADATA of later builds, while published wheels
never change. So raise the build numbers at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message

from packaging.metadata import RFC822Message
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from builders.matrix import Matrix, Runtime

# The fields of our wheels, as the specification spells them. By the specification, names match
# in any case; but pkginfo, and so twine and Poetry, know only this spelling.
# https://packaging.python.org/en/latest/specifications/core-metadata/
FIELDS = (
    "Metadata-Version",
    "Name",
    "Version",
    "Summary",
    "Description-Content-Type",
    "Keywords",
    "License-Expression",
    "License-File",
    "Classifier",
    "Requires-Dist",
    "Requires-Python",
)
_SPELLING = {field.lower(): field for field in FIELDS}


def requires_python(matrix: Matrix) -> SpecifierSet:
    """Return Requires-Python: the oldest Python of the matrix and all later ones."""
    return SpecifierSet(f">={_ordered(matrix)[0].python}")


def requires_dist(matrix: Matrix) -> list[Requirement]:
    """Return Requires-Dist: the NumPy range of each Python of the matrix.

    The range of the newest Python applies to later Pythons, too.
    """
    *others, newest = _ordered(matrix)
    ranges = [(runtime, "==") for runtime in others] + [(newest, ">=")]
    return [
        Requirement(f'{runtime.numpy.requirement}; python_version {operator} "{runtime.python}"')
        for runtime, operator in ranges
    ]


def requirement_of(python: str, requirements: Iterable[Requirement]) -> Requirement:
    """Return the requirement that applies to a Python such as `3.12`.

    Args:
        requirements: a wheel's Requires-Dist, with markers for Pythons or without markers.

    Raises:
        ValueError: not exactly one requirement applies.
    """
    # An installer evaluates markers for the Python that it installs into.
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found = [r for r in requirements if r.marker is None or r.marker.evaluate(environment)]
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "nothing"
        raise ValueError(f"it requires {listed} of Python {python}")
    return found[0]


def python_classifiers(matrix: Matrix) -> list[str]:
    """Return one classifier per Python of the matrix."""
    return [f"Programming Language :: Python :: {r.python}" for r in _ordered(matrix)]


def canonical(message: Message) -> RFC822Message:
    """Return a copy whose fields have their canonical spelling; the description is the same.

    Raises:
        KeyError: a field is not in FIELDS.
    """
    found = RFC822Message()
    for field, value in message.items():
        found[_SPELLING[field.lower()]] = value
    found.set_payload(message.get_payload())
    return found


def misspelt(fields: Iterable[str]) -> list[str]:
    """Return the faults in the field names of a METADATA, in words."""
    faults = []
    for field in dict.fromkeys(fields):
        known = _SPELLING.get(field.lower())
        if known is None:
            faults.append(f"unexpected field {field}")
        elif known != field:
            faults.append(f"{field} is spelt {known}")
    return faults


def _ordered(matrix: Matrix) -> list[Runtime]:
    return sorted(matrix.runtimes, key=lambda runtime: Version(runtime.python))
