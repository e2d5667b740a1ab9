from __future__ import annotations

import pytest

from builders.architecture import ARCHITECTURES, aws_name, debian_name, docker_platform, own_name
from builders.matrix import load_matrix


def test_every_architecture_of_the_matrix_has_its_names() -> None:
    assert {*load_matrix().architectures} <= ARCHITECTURES.keys()


@pytest.mark.parametrize(
    ("name", "debian", "aws"), [("x86_64", "amd64", "x86_64"), ("aarch64", "arm64", "arm64")]
)
def test_the_names_of_an_architecture(name: str, debian: str, aws: str) -> None:
    assert (debian_name(name), aws_name(name)) == (debian, aws)
    assert docker_platform(name) == f"linux/{debian}"
    assert {own_name(each) for each in (name, debian, aws)} == {name}


def test_a_name_that_is_not_known_stays() -> None:
    assert own_name("sparc") == debian_name("sparc") == aws_name("sparc") == "sparc"
