"""What METADATA says to installers, of every Python of the matrix at once."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_string

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from builders.core_metadata import (
    FIELDS,
    canonical,
    misspelt,
    requirement_of,
    requires_dist,
    requires_python,
)
from builders.matrix import load_matrix

MATRIX = load_matrix()


def test_the_range_of_pythons_begins_with_the_oldest_and_is_open() -> None:
    assert requires_python(MATRIX) == SpecifierSet(">=3.8")
    backwards = replace(MATRIX, runtimes=MATRIX.runtimes[::-1])
    assert requires_python(backwards) == requires_python(MATRIX)
    assert requires_dist(backwards) == requires_dist(MATRIX)


@pytest.mark.parametrize("runtime", MATRIX.runtimes, ids=lambda runtime: runtime.name)
def test_each_python_has_its_range_of_numpy(runtime: object) -> None:
    runtime = MATRIX.runtime(runtime.name)  # type: ignore[attr-defined]
    found = requirement_of(runtime.python, requires_dist(MATRIX))
    assert found.name == "numpy"
    assert found.specifier == Requirement(runtime.numpy.requirement).specifier


def test_a_python_to_come_has_the_newests_range() -> None:
    *_, newest = requires_dist(MATRIX)
    assert newest.marker == Marker('python_version >= "3.15"')
    assert requirement_of("3.16", requires_dist(MATRIX)) == newest


def test_earlier_wheels_have_one_range_without_a_marker() -> None:
    alone = Requirement("numpy>=1.26.0,<3")
    assert requirement_of("3.12", [alone]) == alone


@pytest.mark.parametrize("wrong", [[], ["numpy>=1", "numpy>=2"], ['numpy; python_version < "3.8"']])
def test_not_one_requirement_is_refused(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match=r"of Python 3\.12"):
        requirement_of("3.12", [Requirement(text) for text in wrong])


def test_fields_get_their_canonical_spelling() -> None:
    message = message_from_string("metadata-version: 2.4\nlicense-FILE: a\nlicense-file: b\n\nText")
    text = str(canonical(message))
    assert text == "Metadata-Version: 2.4\nLicense-File: a\nLicense-File: b\n\nText"
    with pytest.raises(KeyError):
        canonical(message_from_string("dynamic: version\n\n"))


def test_wrong_names_of_fields_are_told() -> None:
    assert misspelt(FIELDS) == []
    assert misspelt(["Name", "license-file", "license-file", "Dynamic"]) == [
        "license-file is spelt License-File",
        "unexpected field Dynamic",
    ]
