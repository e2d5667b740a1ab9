"""What TensorFlow's own tests load: what makes the models and libraries, and where they lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_builders_extension import ZIG
from test_builders_toolchain import fake_toolchain

from builders.cache import Cache
from builders.errors import CompileError, SmokeError
from builders.extension import Headers
from builders.headers import PythonHeaders
from builders.matrix import Target, load_matrix
from ci.upstream_tests import libraries
from ci.upstream_tests.libraries import SOURCES, TESTDATA, libraries_inputs, make_libraries
from ci.upstream_tests.models import make_models
from ci.upstream_tests.run import SPARSE, TESTS, stage

TARGET = load_matrix().target("tf2.14.1-cp311-x86_64")
BUILD = """
tf_to_tflite(src = "a.pbtxt", out = "a.tflite", options = ["--x"])
tf_to_tflite(src = "a.pbtxt", out = "b.tflite", options = ["--y"])
"""
# A Python whose TensorFlow fails if there is a file `broken`.
PYTHON = """#!/bin/sh
here=$(dirname "$0")
cat "$3" >> "$here/asked"; echo >> "$here/asked"
[ ! -e "$here/broken" ] || exit 1
echo model > "$(dirname "$3")/a.tflite"
"""

pytestmark = pytest.mark.usefixtures("allow_subprocess")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def models(folder: Path) -> Path:
    testdata = folder / TESTDATA
    requirements = folder / "requirements.txt"
    return make_models(
        testdata, folder / "python", requirements, Cache(folder / "cache"), folder / "log"
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path / TESTDATA / "BUILD", BUILD)
    write(tmp_path / TESTDATA / "a.pbtxt", "node {}")
    write(tmp_path / "requirements.txt", "tensorflow-cpu==2.14.1")
    write(tmp_path / "python", PYTHON).chmod(0o755)
    return tmp_path


def asked(tree: Path) -> list[list[list[str]]]:
    return [json.loads(line) for line in (tree / "asked").read_text().splitlines()]


def test_the_models_are_made_once_by_one_process(tree: Path) -> None:
    made = models(tree)
    assert [path.name for path in made.iterdir()] == ["a.tflite"]
    assert models(tree) == made
    ((first, second),) = asked(tree)
    graph = f"--graph_def_file={tree / TESTDATA / 'a.pbtxt'}"
    assert first[:2] == second[:2] == ["--enable_v1_converter", graph]
    assert [Path(job[2]).name for job in (first, second)] == ["a.tflite", "b.tflite"]
    assert [job[3:] for job in (first, second)] == [["--x"], ["--y"]]


@pytest.mark.parametrize("changed", [f"{TESTDATA}/a.pbtxt", "requirements.txt"])
def test_other_inputs_give_other_models(tree: Path, changed: str) -> None:
    before = models(tree)
    write(tree / changed, "changed")
    assert models(tree) != before


def test_models_that_cannot_be_made_leave_nothing(tree: Path) -> None:
    (tree / "broken").touch()
    with pytest.raises(SmokeError, match="converting the models of upstream's tests failed"):
        models(tree)
    (tree / "broken").unlink()
    assert (models(tree) / "a.tflite").exists()


def headers(folder: Path) -> Headers:
    write(folder / "include/Python.h", "")
    return Headers(
        python=PythonHeaders((folder / "include",), "nowhere"),
        numpy=folder,
        numpy_sha256="1" * 64,
        pybind11=folder / "pybind11",
        pybind11_sha256="2" * 64,
    )


def compiled(tree: Path) -> Path:
    toolchain = fake_toolchain(tree, ZIG)
    return make_libraries(
        TARGET,
        tree / "trees",
        tree / TESTDATA,
        headers(tree),
        cache=toolchain.cache,
        toolchain=toolchain,
        log=tree / "log",
    )


def test_a_library_is_compiled_from_the_tree_and_the_data(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG", str(tree / "commands"))
    made = compiled(tree)
    assert sorted(path.name for path in made.iterdir()) == sorted(SOURCES)
    assert compiled(tree) == made
    commands = (tree / "commands").read_text().splitlines()
    assert len(commands) == len(SOURCES)
    for command in commands:
        words = command.split()
        (name,) = (Path(word).name for word in words if word.endswith(".so"))
        own, of_lite = SOURCES[name]
        sources = [word for word in words if word.endswith(".cc")]
        lite = f"{tree / 'trees/tensorflow/tensorflow/lite'}/"
        assert tuple(s.removeprefix(lite) for s in sources if s.startswith(lite)) == of_lite
        assert tuple(Path(s).name for s in sources if not s.startswith(lite)) == own
        assert "-std=gnu++17" in words
        assert f"-I{tree / 'pybind11'}" in words
        assert any(word.startswith("-Wl,--version-script=") for word in words)


def test_a_library_that_does_not_compile_is_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG", str(tree / "commands"))
    monkeypatch.setenv("FAIL", "test_delegate.cc")
    with pytest.raises(CompileError, match=r"compiling test_delegate\.so failed"):
        compiled(tree)


def test_what_changes_a_library_changes_its_key(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain = fake_toolchain(tree)

    def inputs(target: Target = TARGET, trees: str = "0") -> object:
        return libraries_inputs(target, trees, tree / TESTDATA, headers(tree), toolchain)

    found = [inputs(), inputs(trees="1")]
    other = replace(TARGET.tensorflow, cxx_standard=20)
    found.append(inputs(replace(TARGET, tensorflow=other)))
    write(tree / TESTDATA / "test_registerer.cc", "changed")
    found.append(inputs())
    monkeypatch.setattr(libraries, "FLAGS", ("-O0",))
    found.append(inputs())
    assert all(found.count(each) == 1 for each in found)


def test_the_tests_find_their_data_where_bazel_has_it(tree: Path) -> None:
    write(tree / "made/a.tflite", "model")
    write(tree / "libraries/test_delegate.so", "library")
    write(tree / SPARSE, "sparse")
    write(tree / "tensorflow" / TESTS, "tests")
    folder = tree / "staged"
    folder.mkdir()
    tests = stage(folder, tree / "tensorflow", tree, tree / "made", tree / "libraries")
    assert tests.read_text() == "tests"
    for name in ("a.tflite", "test_delegate.so", "a.pbtxt"):
        assert (tests.parent / "testdata" / name).is_file()
    assert (tests.parent / "../testdata/sparse_tensor.bin").read_text() == "sparse"
