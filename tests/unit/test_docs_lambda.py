"""The commands of docs/lambda.md are ones that pip and SAM take."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from pip._internal.commands import create_command

from builders.matrix import load_matrix

PAGE = Path(__file__).parent.parent.parent / "docs/lambda.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
MATRIX = load_matrix()


def test_pip_knows_the_options_of_a_zip() -> None:
    program, command, *arguments = shlex.split(BLOCKS[0].replace("\\\n", " "))
    options, wanted = create_command(command).parse_args(arguments)
    assert (program, command) == ("pip", "install")
    assert options.platforms == ["manylinux2014_x86_64", "manylinux_2_28_x86_64"]
    assert MATRIX.runtime(".".join(map(str, options.python_version)))
    check_version(*wanted)


def test_sam_is_given_a_version_and_a_folder() -> None:
    assert "PIP_FIND_LINKS=WHEELS sam build" in BLOCKS[1]
    check_version(shlex.split(BLOCKS[1])[1])


@pytest.mark.parametrize("runtime", MATRIX.runtimes, ids=lambda runtime: runtime.name)
def test_the_second_platform_is_for_the_pythons_that_have_its_glibc(runtime: object) -> None:
    found = MATRIX.runtime(runtime.name)  # type: ignore[attr-defined]
    later = tuple(map(int, found.glibc.split("."))) >= (2, 28)
    assert later is (tuple(map(int, found.python.split("."))) >= (3, 12))


def check_version(requirement: str) -> None:
    name, _, version = requirement.partition("==")
    assert name == "tflite-runtime"
    assert MATRIX.tensorflow(version)
