"""What METADATA says to installers: the same in every wheel of a TensorFlow version.

uv, Poetry and PDM read the metadata of one wheel for all of a version. What differs
between Pythons is said with environment markers, and the tags of a wheel's name alone
keep it from other Pythons. Requires-Python has no upper end: Poetry and PDM would refuse
a project that has none.

A Python that is added to the matrix changes the METADATA of later builds; published
wheels never change. So raise the build numbers with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message

from packaging.metadata import RFC822Message
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from builders.matrix import Matrix, Runtime

# The fields that a wheel of ours has, as the specification spells them. Names match in any
# case by it, but pkginfo, and so twine and Poetry, know no other spelling.
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
    """The Pythons of the matrix, the oldest and all later ones."""
    return SpecifierSet(f">={_ordered(matrix)[0].python}")


def requires_dist(matrix: Matrix) -> list[Requirement]:
    """The NumPy range of each Python of the matrix; the newest's is that of later ones, too."""
    *others, newest = _ordered(matrix)
    ranges = [(runtime, "==") for runtime in others] + [(newest, ">=")]
    return [
        Requirement(f'{runtime.numpy.requirement}; python_version {operator} "{runtime.python}"')
        for runtime, operator in ranges
    ]


def requirement_of(python: str, requirements: Iterable[Requirement]) -> Requirement:
    """What a Python such as `3.12` is to have, of METADATA as here, or without markers.

    Raises:
        ValueError: it is not one requirement.
    """
    # An installer evaluates a marker for the very Python.
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found = [r for r in requirements if r.marker is None or r.marker.evaluate(environment)]
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "nothing"
        raise ValueError(f"it requires {listed} of Python {python}")
    return found[0]


def python_classifiers(matrix: Matrix) -> list[str]:
    """One per Python of the matrix."""
    return [f"Programming Language :: Python :: {r.python}" for r in _ordered(matrix)]


def canonical(message: Message) -> RFC822Message:
    """The same fields in their canonical spelling, and the same description.

    Raises:
        KeyError: there is one that is not in FIELDS.
    """
    found = RFC822Message()
    for field, value in message.items():
        found[_SPELLING[field.lower()]] = value
    found.set_payload(message.get_payload())
    return found


def misspelt(fields: Iterable[str]) -> list[str]:
    """What is wrong with the names of a METADATA's fields."""
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
