"""Check that the stubs (.pyi), which type checkers read, agree with the wheel's modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from builders.audit.packaging_checks import Wheel, some
from builders.audit.report import Check
from builders.wheelname import PACKAGE

# The upstream modules that come without stubs; this project writes them.
MODULES = ("interpreter", "metrics_interface", "metrics_portable")
# Our modules have up to 39 KB. The parser needs hundreds of bytes of memory per byte of source.
MODULE_LIMIT = 256_000
_SPECIAL = ("__init__", "__call__")


def check_types(wheel: Wheel) -> Check:
    """Check that the stubs and the modules have the same public classes, methods and parameters.

    Source: https://typing.python.org/en/latest/spec/distributing.html
    """
    faults: list[str] = []
    count = 0
    for module in MODULES:
        try:
            there = dict(_signatures(wheel, f"{module}.py"))
            told = dict(_signatures(wheel, f"{module}.pyi"))
        # Deeply nested brackets in an untrusted file can make the parser raise any of these.
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
    """Yield the public classes, methods and functions of a module, each with its parameters.

    Raises:
        LookupError: the wheel has no such file.
        ValueError: the file is too large, or holds a NUL.
        SyntaxError: the file is not valid Python.
    """
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
    """Return the parameters' names and kinds, without types; `...` stands for each default."""
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    arguments.defaults = [ast.Constant(...) for _ in arguments.defaults]
    arguments.kw_defaults = [default and ast.Constant(...) for default in arguments.kw_defaults]
    return ast.unparse(arguments)
