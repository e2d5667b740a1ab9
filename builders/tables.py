"""Our data files: TOML, read key by key, so that an error names the wrong or unknown key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from packaging.version import InvalidVersion, Version

from builders.errors import UsageError

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the data of one of our files.

    Raises:
        UsageError: the file is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path.name} is not TOML: {error}") from error


def read_rows(path: Path, key: str, name: str) -> list[Row]:
    """Return the tables of a file that is one list of tables.

    Each table is named by the file and by its value of `name`.

    Raises:
        UsageError: the file is not TOML, or not one list of tables.
    """
    top = Row(path.name, read_toml(path))
    rows = top.rows(key, name)
    top.done()
    for row in rows:
        row.name = f"{path.name}: {row.name}"
    return rows


class Row:
    """A table of a data file. Keys are taken one by one; a key that is left over is an error."""

    def __init__(self, name: str, data: Mapping[str, Any]) -> None:
        self.name = name
        self._data = dict(data)

    def take(
        self,
        key: str,
        kind: type[T],
        check: Callable[[T], bool] | None = None,
        default: T | None = None,
    ) -> T:
        """Remove and return a value.

        Raises:
            UsageError: the value is missing (and has no default), of another type, or
                refused by `check`.
        """
        if key not in self._data:
            if default is None:
                raise UsageError(f"{self.name}: '{key}' is missing")
            return default
        value = self._data.pop(key)
        # Exact types: bool subclasses int, datetime subclasses date.
        if type(value) is not kind:
            raise UsageError(f"{self.name}: '{key}' must be a {kind.__name__}, not {value!r}")
        if check is not None and not check(value):
            raise UsageError(f"{self.name}: '{key}' has the unusable value {value!r}")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        """Remove and return a list of texts."""
        values = self.take(key, list)
        if not all(isinstance(value, str) for value in values):
            raise UsageError(f"{self.name}: '{key}' must be a list of texts, not {values!r}")
        return tuple(values)

    def rows(self, key: str, name: str) -> list[Row]:
        """Remove and return a list of tables, each named by its value of `name`."""
        tables = self.take(key, list)
        if not all(isinstance(table, dict) for table in tables):
            raise UsageError(f"{self.name}: '{key}' must be a list of tables, not {tables!r}")
        return [Row(f"{key} {table.get(name, '?')}", table) for table in tables]

    def has(self, key: str) -> bool:
        """True if the key is there and not yet taken."""
        return key in self._data

    def done(self) -> None:
        """Raise UsageError if a key was not taken."""
        if self._data:
            raise UsageError(f"{self.name}: unknown key '{next(iter(self._data))}'")


def is_version(text: str) -> bool:
    """True if the text is a version of PEP 440, as file names and tags spell it."""
    try:
        return str(Version(text)) == text
    except InvalidVersion:
        return False


def is_sha256(text: str) -> bool:
    """True if the text is a SHA-256 in lower-case hexadecimal."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None
