"""Generated text agrees with what it is generated from."""

from __future__ import annotations

import json
import re

import pytest

from builders.docker import DOCKERFILE
from builders.matrix import load_matrix
from ci.generated import BAKE_FILE, bake_name, generated, runtimes_page
from ci.marked import between


def test_nothing_generated_differs_from_the_matrix() -> None:
    for path, text in generated(load_matrix()).items():
        assert path.read_text() == text, f"run ./scripts/update --text: {path.name}"


def test_the_page_of_runtimes_has_each() -> None:
    found = runtimes_page(load_matrix())
    for runtime in load_matrix().runtimes:
        assert f"| {runtime.name} |" in found


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
