"""What TensorFlow's Bazel files pin, read as Python: Starlark's syntax is a part of it.

https://github.com/bazelbuild/starlark/blob/master/spec.md
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.errors import ArchiveError

# In the order in which they count: the first to name a repository is the one that Bazel takes.
FILES = ("tensorflow/workspace2.bzl", "third_party/**/workspace*.bzl")
RULES = ("tf_http_archive", "http_archive")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """An archive that is pinned.

    Attributes:
        folder: the one of the archive that is taken, `strip_prefix`.
        file: where it is pinned, relative to the tree.
    """

    name: str
    url: str
    sha256: str
    folder: str
    file: str

    @property
    def version(self) -> str:
        """What the folder's name ends with, which is the commit or release that was packed."""
        return self.folder.partition("/")[0].rpartition("-")[2]


class _UnknownError(Exception):
    """An expression that depends on more than constants."""


def read_pins(tree: Path) -> dict[str, Pin]:
    """The archives that a TensorFlow tree pins, by the name of the repository.

    Raises:
        ArchiveError: there is no such file, or one cannot be read.
    """
    files = [path for pattern in FILES for path in sorted(tree.glob(pattern))]
    if not files:
        raise ArchiveError(f"{tree} is no tree of TensorFlow: it has no {FILES[0]}")
    found: dict[str, Pin] = {}
    for path in files:
        name = str(path.relative_to(tree))
        try:
            module = ast.parse(path.read_text(encoding="utf-8"), name)
        except SyntaxError as error:
            raise ArchiveError(f"{name} cannot be read as Starlark: {error}") from error
        for pin in _pins(module.body, {}, name):
            found.setdefault(pin.name, pin)
    return found


def _pins(body: list[ast.stmt], around: Mapping[str, Any], file: str) -> Iterator[Pin]:
    """The pins of a block, whose constants are known where they follow."""
    known = dict(around)
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    known[name] = _value(value, known)
                except _UnknownError:
                    known.pop(name, None)
            case ast.FunctionDef(body=inner):
                yield from _pins(inner, known, file)
            case ast.Expr(value=ast.Call(func=ast.Name(id=rule), keywords=keywords)) if (
                rule in RULES
            ):
                arguments = {}
                for keyword in keywords:
                    try:
                        arguments[keyword.arg] = _value(keyword.value, known)
                    except _UnknownError:
                        continue
                if pin := _pin(arguments, file):
                    yield pin


def _pin(arguments: Mapping[str | None, Any], file: str) -> Pin | None:
    name, urls = arguments.get("name"), arguments.get("urls") or [arguments.get("url")]
    if not name or not urls or not urls[-1]:
        return None
    return Pin(
        name=name,
        # A mirror, if any, comes first.
        url=urls[-1],
        sha256=arguments.get("sha256", ""),
        folder=arguments.get("strip_prefix", ""),
        file=file,
    )


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a constant
    """The value of an expression of constants; raises _UnknownError for any other."""

    def value(inner: ast.expr) -> Any:  # noqa: ANN401 - a constant
        return _value(inner, known)

    match node:
        case ast.Constant(value=constant):
            return constant
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [value(element) for element in elements]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return value(left) + value(right)
        case ast.BinOp(left=left, op=ast.Mod(), right=right):
            given = value(right)
            return value(left) % (tuple(given) if isinstance(given, list) else given)
        case ast.Call(
            func=ast.Attribute(value=text, attr="format"), args=places, keywords=keywords
        ):
            named = {keyword.arg: value(keyword.value) for keyword in keywords if keyword.arg}
            return value(text).format(*map(value, places), **named)
        case ast.Call(func=ast.Name(id="tf_mirror_urls"), args=[url]):
            return [value(url)]
    raise _UnknownError
