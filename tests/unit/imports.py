"""Finds this repository's modules and their imports, by reading the files."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("builders", "smoke_lambda", "ci")

Order = Sequence[Sequence[str]]
"""The folders of a package in rows: first the commands, last the folders that need no others.

A module may import from its own folder and from later rows. Folders of one row do not import each
other.
"""


@functools.cache
def modules(package: str) -> dict[str, Path]:
    """Return the modules of a package by dotted name, without templates, which have none."""
    paths = [path for path in sorted((ROOT / package).rglob("*.py")) if not path.is_symlink()]
    named = {path.relative_to(ROOT).with_suffix("").parts: path for path in paths}
    return {
        ".".join(parts): path for parts, path in named.items() if all(map(str.isidentifier, parts))
    }


def imports(module: str, text: str) -> Iterator[str]:
    """Yield the dotted name of each module or member that a module imports anywhere."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the module's own package, each further dot the one above.
            own = module.split(".")[: -node.level] if node.level else []
            origin = [*own, node.module] if node.module else own
            yield from (".".join([*origin, alias.name]) for alias in node.names)


@functools.cache
def imported_by(package: str) -> list[tuple[str, str]]:
    """Return each module of a package with each name that it imports."""
    return [
        (module, name)
        for module, path in modules(package).items()
        for name in imports(module, path.read_text())
    ]


def files_of(name: str) -> list[Path]:
    """Return the files that Python runs for an import: the module and the packages above it."""
    parts = name.split(".")
    bases = [ROOT.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    named = [path for base in bases for path in (base / "__init__.py", base.with_suffix(".py"))]
    return [path for path in named if path.is_file()]


def needed_by(*begin: Path) -> set[Path]:
    """Return the given modules, and all files of this repository that they import."""
    todo, found = list(begin), set[Path]()
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in imports(module, path.read_text()):
            if name.split(".")[0] in PACKAGES:
                todo += files_of(name)
    return found


def folder_of(package: str, name: str) -> str | None:
    """Return the folder of a package that has a dotted name.

    The folder is empty for a module of the package itself, and None for another package.
    """
    parts = name.split(".")
    if parts[0] != package:
        return None
    is_folder = len(parts) > 1 and (ROOT / package / parts[1]).is_dir()
    return parts[1] if is_folder else ""


def may_import(order: Order, one: str, other: str) -> bool:
    """Return True if modules of one folder may import modules of the other."""

    def row_of(folder: str) -> int:
        return next(number for number, row in enumerate(order) if folder in row)

    return one == other or row_of(one) < row_of(other)


def wrong_ways(package: str, order: Order) -> list[str]:
    """Return the imports of a package that violate its order, in words."""
    return [
        f"{module} imports {name}"
        for module, name in imported_by(package)
        for one, other in [(folder_of(package, module), folder_of(package, name))]
        if one is not None and other is not None and not may_import(order, one, other)
    ]
