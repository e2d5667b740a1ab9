"""Code for every Lambda Python can run on 3.8; a newer Python checks this by reading the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from imports import ROOT

SMOKE = ROOT / "smoke_lambda"
FILES = [SMOKE / "__init__.py", SMOKE / "app.py", *sorted((SMOKE / "inside").rglob("*.py"))]

# PEP 585 came with Python 3.9.
GENERIC_SINCE_39 = ("collections", "collections.abc")
BUILTIN = {"dict", "frozenset", "list", "set", "tuple", "type"}


def evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that Python evaluates: no annotations, nothing below `if TYPE_CHECKING`."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from evaluated(child)


def generic(tree: ast.Module) -> list[str]:
    """Return the subscripts of types that Python 3.8 refuses."""
    names = set(BUILTIN)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in GENERIC_SINCE_39:
            names |= {alias.asname or alias.name for alias in node.names}
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in evaluated(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in names
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SMOKE)))
def test_python_3_8_can_run_it(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 8))
    assert generic(tree) == []
    if any(isinstance(n, ast.FunctionDef) for n in ast.walk(tree)):
        assert "from __future__ import annotations" in file.read_text()


def test_the_reading_sees_what_python_3_8_refuses() -> None:
    refused = "from collections.abc import Callable\nTell = Callable[[str], None]\n"
    allowed = (
        "from __future__ import annotations\nfrom collections.abc import Callable\n"
        "def f(tell: Callable[[str], None]) -> list[int]: ...\n"
    )
    assert generic(ast.parse(refused)) == ["line 2: Callable[[str], None]"]
    assert generic(ast.parse(allowed)) == []
