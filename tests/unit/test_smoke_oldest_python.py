"""What runs beside a wheel runs on Python 3.8: found by reading it, since a newer Python tests it.

The probes run beside every wheel (smoke_lambda/probe.py, smoke_lambda/conform/probe.py) with what
they import of this project.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
PROBES = (
    "smoke_lambda.probe",
    "smoke_lambda.compat_probe",
    "smoke_lambda.conform.probe",
    "smoke_lambda.conform.growing",
)
# PEP 585 came with Python 3.9.
GENERIC_SINCE_39 = ("collections", "collections.abc")
BUILTIN = {"dict", "frozenset", "list", "set", "tuple", "type"}


def file_of(module: str) -> Path | None:
    base = HOUSE.joinpath(*module.split("."))
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)


def files(modules: tuple[str, ...]) -> set[Path]:
    """The modules' files, and those of what they import of this project."""
    todo, found = list(modules), set()
    while todo:
        module = todo.pop()
        file = file_of(module)
        if file is None or file in found:
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
        todo.append(module.rpartition(".")[0])
    return found


def evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """What Python evaluates where annotations are text, outside `if TYPE_CHECKING`."""
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
    """Subscripts of types that Python 3.8 refuses."""
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


@pytest.mark.parametrize("file", sorted(files(PROBES)), ids=lambda f: str(f.relative_to(HOUSE)))
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


def test_the_probes_bring_what_they_import() -> None:
    found = {str(file.relative_to(HOUSE)) for file in files(PROBES)}
    assert {"smoke_lambda/conform/corpus.py", "smoke_lambda/probing.py"} <= found
