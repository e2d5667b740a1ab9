"""Which modules this repository has, and what they import, by reading them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("builders", "smoke_lambda", "ci")

Order = Sequence[Sequence[str]]
"""Folders of a package, from what people start to what needs none of the others.

A module imports its own folder and those of later rows; those of one row know nothing of each
other.
"""


@functools.cache
def modules(package: str) -> dict[str, Path]:
    """The modules of a package, by their dotted names; a template of one has no such name."""
    paths = [path for path in sorted((ROOT / package).rglob("*.py")) if not path.is_symlink()]
    named = {path.relative_to(ROOT).with_suffix("").parts: path for path in paths}
    return {
        ".".join(parts): path for parts, path in named.items() if all(map(str.isidentifier, parts))
    }


def imports(module: str, text: str) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it: modules, or what is in them."""
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
    """Each module of a package, with each name that it imports."""
    return [
        (module, name)
        for module, path in modules(package).items()
        for name in imports(module, path.read_text())
    ]


def files_of(name: str) -> list[Path]:
    """The files that Python runs for an imported name: its module's, and of the packages above."""
    parts = name.split(".")
    bases = [ROOT.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    named = [path for base in bases for path in (base / "__init__.py", base.with_suffix(".py"))]
    return [path for path in named if path.is_file()]


def needed_by(*begin: Path) -> set[Path]:
    """Modules, and all of this repository that they import."""
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
    """The folder of a package that a dotted name is in.

    Empty for a module of the package itself, None for a name of another package.
    """
    parts = name.split(".")
    if parts[0] != package:
        return None
    is_folder = len(parts) > 1 and (ROOT / package / parts[1]).is_dir()
    return parts[1] if is_folder else ""


def may_import(order: Order, one: str, other: str) -> bool:
    """Whether modules of one folder may import those of another."""

    def row_of(folder: str) -> int:
        return next(number for number, row in enumerate(order) if folder in row)

    return one == other or row_of(one) < row_of(other)


def wrong_ways(package: str, order: Order) -> list[str]:
    """The imports of a package against its order, in words."""
    return [
        f"{module} imports {name}"
        for module, name in imported_by(package)
        for one, other in [(folder_of(package, module), folder_of(package, name))]
        if one is not None and other is not None and not may_import(order, one, other)
    ]
