"""The types of each TensorFlow version come from one file."""

from __future__ import annotations

import ast

import pytest

from builders.matrix import load_matrix
from builders.stubs import FOLDER, typing_files

VERSIONS = [tensorflow.version for tensorflow in load_matrix().tensorflows]


def arguments(version: str, name: str) -> list[str]:
    for node in ast.walk(ast.parse(typing_files(version)["interpreter.pyi"])):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return [argument.arg for argument in node.args.args]
    return []


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_left_for_a_version_is_whole(version: str) -> None:
    found = typing_files(version)
    assert found.pop("py.typed") == b""
    assert set(found) == {path.stem for path in FOLDER.glob("*.pyi.in")}
    for text in found.values():
        assert b"# TensorFlow " not in text
        functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
        assert all(function.returns for function in functions)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                names = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
                assert len(set(names)) == len(names)


def test_versions_differ_where_upstream_does() -> None:
    assert arguments("2.17.1", "get_tensor_details") == ["self"]
    assert arguments("2.18.1", "get_tensor_details") == ["self", "subgraph_index"]
    assert arguments("2.18.1", "num_subgraphs") == ["self"]
    assert arguments("2.17.1", "num_subgraphs") == []
    last = [arguments(v, "load_delegate")[-1] for v in VERSIONS]
    assert set(last) == {"options"}
    text = typing_files("2.14.1")["interpreter.pyi"]
    assert b"latest_features" not in text
    # A pre-release has what its version has.
    assert b"    @property\n" in typing_files("2.22.0.dev20260518")["interpreter.pyi"]
    assert b"    @property\n" not in typing_files("2.21.0")["interpreter.pyi"]
