"""Whether the types that a wheel gives to type checkers are those of its modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from builders.audit.packaging_checks import Wheel, some
from builders.audit.report import Check
from builders.wheelname import PACKAGE

# Modules of upstream that have none of their own.
MODULES = ("interpreter", "metrics_interface", "metrics_portable")
# Ours have up to 39 KB; the parser takes hundreds of bytes for one of source.
MODULE_LIMIT = 256_000
_SPECIAL = ("__init__", "__call__")


def check_types(wheel: Wheel) -> Check:
    """Each public class, method and parameter is in the stub, and none that is not there.

    Source: https://typing.python.org/en/latest/spec/distributing.html
    """
    faults: list[str] = []
    count = 0
    for module in MODULES:
        try:
            there = dict(_signatures(wheel, f"{module}.py"))
            told = dict(_signatures(wheel, f"{module}.pyi"))
        # Nested brackets of a stranger's file may end the parser in either way.
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            faults.append(f"{module} cannot be read: {error}")
            continue
        except LookupError as error:
            faults.append(f"there is no {error.args[0]}")
            continue
        count += len(there)
        for what, names in (
            ("lacks", there.keys() - told.keys()),
            ("invents", told.keys() - there.keys()),
            ("differs in", {n for n in there.keys() & told.keys() if there[n] != told[n]}),
        ):
            if names:
                faults.append(f"{module}.pyi {what} {some(sorted(names))}")
    return Check.of("types", faults, f"{count} classes and functions, as in the modules")


def _signatures(wheel: Wheel, file: str) -> Iterator[tuple[str, str]]:
    """The public classes and functions of a module, with the parameters that those take."""
    if (data := wheel.archive.contents.get(f"{PACKAGE}/{file}")) is None:
        raise LookupError(file)
    if len(data) > MODULE_LIMIT:
        raise ValueError(f"{file} has {len(data):,} bytes > {MODULE_LIMIT:,}")
    for node in ast.parse(data).body:
        if isinstance(node, ast.ClassDef) and _is_public(node.name):
            yield node.name, ""
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and _is_public(member.name):
                    yield f"{node.name}.{member.name}", _parameters(member.args)
        elif isinstance(node, ast.FunctionDef) and _is_public(node.name):
            yield node.name, _parameters(node.args)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name in _SPECIAL


def _parameters(arguments: ast.arguments) -> str:
    """Names, kinds, and which have a default; without types and values."""
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    arguments.defaults = [ast.Constant(...) for _ in arguments.defaults]
    arguments.kw_defaults = [default and ast.Constant(...) for default in arguments.kw_defaults]
    return ast.unparse(arguments)
