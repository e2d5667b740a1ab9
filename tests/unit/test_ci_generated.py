"""Generated text agrees with what it is generated from."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from builders.docker import DOCKERFILE
from builders.matrix import load_matrix
from ci.generated import (
    ANYWHERE,
    BAKE_FILE,
    NAMING,
    RUNTIMES_BEGIN,
    RUNTIMES_END,
    TARGET_NAME,
    bake_name,
    generated,
    with_recommended,
    with_runtimes,
)
from ci.marked import between


def test_nothing_generated_differs_from_the_matrix() -> None:
    for path, text in generated(load_matrix()).items():
        assert path.read_text() == text, f"run ./scripts/update --text: {path.name}"


def test_the_readme_has_every_runtime() -> None:
    readme = f"before\n{RUNTIMES_BEGIN}old\n{RUNTIMES_END}\nafter\n"
    found = with_runtimes(readme, load_matrix())
    for runtime in load_matrix().runtimes:
        assert f"| {runtime.name} |" in found
    assert found.startswith("before\n")
    assert found.endswith("\nafter\n")
    assert "old" not in found


def test_what_is_recommended_is_named_in_the_place_of_any_other_version() -> None:
    matrix = load_matrix()
    one, other = (
        dataclasses.replace(matrix, recommended=matrix.tensorflow(version))
        for version in ("2.14.1", "2.16.0.dev20231026")
    )
    text = (
        "ARG TENSORFLOW={0}\n# tf{0}-cp312, layer-tf{0}-cp312.zip, python:3.12, 12.14.1, 2.14.10\n"
    )
    given = text.format("2.14.1")
    assert with_recommended(given, one, ANYWHERE) == given
    assert with_recommended(given, other, ANYWHERE) == text.format("2.16.0.dev20231026")
    assert with_recommended(text.format("2.16.0.dev20231026"), one, ANYWHERE) == given
    named = "lock {0}; layer tf2.14.1-cp312"
    assert (
        with_recommended(named, other, TARGET_NAME) == "lock {0}; layer tf2.16.0.dev20231026-cp312"
    )


def test_files_that_name_a_version_name_the_recommended_one() -> None:
    for path in NAMING:
        assert load_matrix().recommended.version in path.read_text(), path
    assert DOCKERFILE in NAMING


def test_a_missing_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="no part between"):
        between("text", "<a>", "</a>", "part")
    with pytest.raises(ValueError, match="no part between"):
        between("text <a>", "<a>", "</a>", "part")


def test_bake_builds_what_is_verified_with_arguments_that_the_dockerfile_has() -> None:
    bake = json.loads(BAKE_FILE.read_text())
    verified = [target for target in load_matrix().targets() if target.verified]
    assert bake["group"]["default"]["targets"] == [bake_name(target) for target in verified]
    assert set(bake["target"]) == {bake_name(target) for target in verified}
    known = set(re.findall(r"^ARG (\w+)", DOCKERFILE.read_text(), re.MULTILINE))
    for target in verified:
        built = bake["target"][bake_name(target)]
        assert set(built["args"]) <= known
        assert built["args"]["PYTHON"] == target.runtime.python
        assert re.fullmatch(r"[A-Za-z0-9_-]+", bake_name(target))
