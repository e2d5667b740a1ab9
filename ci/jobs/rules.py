"""The rules of ci/jobs/rules.toml: the wheels that a changed file concerns, and the machines."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from builders.errors import UsageError
from builders.matrix import Matrix, Target
from builders.tables import Row, read_toml

RULES_FILE = Path(__file__).with_name("rules.toml")
NEEDS = ("none", "ends", "rows", "all")


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A pattern of files, and the targets that such files concern.

    Attributes:
        needs: see rules.toml.
        only: the values that a target must have, by placeholder.
    """

    files: str
    needs: str
    only: Mapping[str, str] = field(default_factory=dict)

    def admits(self, target: Target) -> bool:
        """True if files of this pattern concern a target."""
        has = _values(target)
        return all(has[name] == value for name, value in self.only.items())


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The content of rules.toml.

    Attributes:
        patterns: the patterns of each rule, in the order of the file.
        runners: the label of a machine, by architecture.
    """

    patterns: tuple[tuple[Pattern, ...], ...]
    runners: Mapping[str, str]

    def match(self, file: str) -> Pattern:
        """Return the first pattern for a file; without one, a pattern that needs all wheels."""
        for patterns in self.patterns:
            for pattern in patterns:
                if fnmatchcase(file, pattern.files):
                    return pattern
        return Pattern(files=file, needs="all")


@functools.cache
def load_rules(matrix: Matrix, path: Path = RULES_FILE) -> Rules:
    """Read the rules, and validate them against the matrix.

    Raises:
        UsageError: a rule is malformed; the message names it.
    """
    return parse_rules(read_toml(path), matrix)


def parse_rules(data: Mapping[str, Any], matrix: Matrix) -> Rules:
    """Validate the rules' data; raise UsageError with the name of a malformed rule."""
    top = Row("rules", data)
    runners = Row("runners", top.take("runners", dict))
    labels = {arch: runners.take(arch, str, bool) for arch in matrix.architectures}
    runners.done()
    rules = []
    for row in top.rows("rule", "files"):
        files = row.strings("files")
        needs = row.take("needs", str, NEEDS.__contains__)
        row.done()
        rules.append(tuple(p for text in files for p in _expanded(text, needs, matrix, row.name)))
    top.done()
    return Rules(patterns=tuple(rules), runners=labels)


def _expanded(text: str, needs: str, matrix: Matrix, where: str) -> Iterator[Pattern]:
    """Give a pattern once for each value of its placeholders."""
    values = {tuple(_values(target).items()): None for target in matrix.targets()}
    seen = set()
    for items in values:
        only = {name: value for name, value in items if f"{{{name}}}" in text}
        try:
            files = text.format(**only)
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(f"{where}: {text!r} has an unknown placeholder: {error}") from error
        if files not in seen:
            seen.add(files)
            yield Pattern(files=files, needs=needs, only=only)


def _values(target: Target) -> dict[str, str]:
    """Return the values of the placeholders for a target."""
    return {
        "tensorflow": target.tensorflow.version,
        "tag": target.runtime.tag,
        "arch": target.arch,
    }
