"""Generated text agrees with what it is generated from."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from builders.docker import DOCKERFILE
from builders.errors import UsageError
from builders.matrix import load_matrix
from ci.pages.generated import (
    ANYWHERE,
    ARCHITECTURE,
    BAKE_FILE,
    EXAMPLE,
    NAMING,
    ROOT,
    bake_name,
    generated,
    runtimes_page,
    with_builder,
    with_recommended,
)
from ci.pages.house import FOLDERS, PACKAGES, house_map
from ci.pages.marked import between


def test_nothing_generated_differs_from_the_matrix() -> None:
    for path, text in generated(load_matrix()).items():
        assert path.read_text() == text, f"run ./scripts/update --text: {path.name}"


def test_the_page_of_runtimes_has_each() -> None:
    found = runtimes_page(load_matrix())
    for runtime in load_matrix().runtimes:
        assert f"| {runtime.name} |" in found


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
    named = "lock 2.14.1; layer tf{0}-cp312; tflite-runtime=={0} "
    assert with_recommended(named.format("2.14.1"), other, EXAMPLE) == named.format(
        "2.16.0.dev20231026"
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


def test_the_map_names_every_folder_and_module() -> None:
    text = ARCHITECTURE.read_text()
    for package in PACKAGES:
        for module in (ROOT / package).rglob("*.py"):
            folder = module.parent
            if (folder / "__init__.py").exists():
                named = folder if module.name == "__init__.py" else module
                path = named.relative_to(ROOT).as_posix()
                assert f"`{path}" in text, "run ./scripts/update --text"
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for folder in ROOT.iterdir():
        if (
            folder.is_dir()
            and not folder.name.startswith(".")
            and f"/{folder.name}/" not in ignored
        ):
            assert folder.name == "__pycache__" or f"- `{folder.name}/`:" in text


def test_the_map_has_words_for_what_is_there_alone() -> None:
    for folder in FOLDERS:
        assert (ROOT / folder).is_dir(), f"ci/pages/house.py names {folder}, which is not there"
    for path in re.findall(r"^ *- `([^`]+)`: (?=\S)", ARCHITECTURE.read_text(), re.MULTILINE):
        assert (ROOT / path).exists(), path


def test_a_folder_without_words_is_named(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('"""A package."""\n')
    (tmp_path / "builders/unknown").mkdir()
    (tmp_path / "builders/unknown/file").touch()
    with pytest.raises(
        UsageError, match="no words for builders/unknown/; add them to ci/pages/house"
    ):
        house_map(tmp_path)


def test_the_builder_is_the_matrixs() -> None:
    matrix = load_matrix()
    other = dataclasses.replace(matrix, builder=matrix.runtimes[0])
    text = DOCKERFILE.read_text()
    changed = with_builder(text, other)
    assert f"ARG BUILDER_IMAGE=public.ecr.aws/lambda/python:{other.builder.python}\n" in changed
    assert with_builder(changed, matrix) == text
