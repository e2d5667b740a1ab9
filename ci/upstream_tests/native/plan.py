"""List upstream's C++ tests and their sources, from tests.toml and TensorFlow's tree."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from builders.errors import UsageError
from builders.tables import Row, is_version, read_toml
from ci.upstream_tests.expected import LEFT_OUT, Version, read_expectation

TESTS_FILE = Path(__file__).with_name("tests.toml")
SOURCES = Path(__file__).with_name("sources")
SUFFIX = "_test.cc"

_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The tests of one folder; tests.toml explains the attributes."""

    name: str
    folder: str
    precompiled: tuple[str, ...]
    again: tuple[str, ...]
    definitions: tuple[str, ...]
    as_built: tuple[str, ...]
    quick: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """The tests of one file.

    Attributes:
        suite: the suite of the file's folder.
        source: the path of the file below TensorFlow's tree.
    """

    suite: Suite
    source: str

    @property
    def stem(self) -> str:
        """The name of the file without its suffix, such as `conv_2d_test`."""
        return Path(self.source).stem

    @property
    def name(self) -> str:
        """The name of the program, such as `xnnpack/conv_2d_test`."""
        return f"{self.suite.name}/{self.stem}"

    @property
    def whole(self) -> str:
        """The pattern of all tests of the program.

        It is also the test's name in an outcome of the whole program, such as a failed compilation.
        """
        return f"{self.name}:*"

    @property
    def again(self) -> tuple[str, ...]:
        """The sources of the core that are compiled again for the program."""
        return () if self._is_one_of(self.suite.as_built) else self.suite.again

    @property
    def is_quick(self) -> bool:
        """True if CI runs the program."""
        return self._is_one_of(self.suite.quick)

    def _is_one_of(self, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(self.stem, pattern) for pattern in patterns)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The content of tests.toml for one TensorFlow version.

    Attributes:
        version: the expectations for the tests.
        suites: the suites of tests.
        helpers: the patterns of the helpers' sources, below TensorFlow's tree.
        schemas: the path of each schema below TensorFlow's tree -> the folder of its header.
        abseil: the sources of abseil that every program needs, and that the core lacks.
        definitions: the macros that upstream's CMake gives to all sources of TensorFlow Lite.
    """

    version: Version
    suites: tuple[Suite, ...]
    helpers: tuple[str, ...]
    schemas: Mapping[str, str]
    abseil: tuple[str, ...]
    definitions: tuple[str, ...]

    def leaves_out(self, program: Program) -> bool:
        """True if the program is left out as a whole, so that it is not compiled."""
        row = self.version.of(program.whole)
        return row is not None and row.outcome == LEFT_OUT

    def about(self, programs: Sequence[Program], tests: Collection[str]) -> Version:
        """Return the expectations for these programs alone.

        Args:
            tests: the names of the programs' tests. A row that does not name one program is kept
                only if it covers one of them.
        """
        names = {program.name for program in programs}
        rows = tuple(
            row
            for row in self.version.expected
            if row.test.partition(":")[0] in names or any(map(row.covers, tests))
        )
        return replace(self.version, expected=rows)


def load_plan(tensorflow: str, path: Path = TESTS_FILE) -> Plan:
    """Return the plan for a TensorFlow version's C++ tests.

    Raises:
        UsageError: the file does not have the version, or is malformed.
    """
    plans = parse_plans(read_toml(path))
    if tensorflow not in plans:
        raise UsageError(
            f"{path.name} has no expectations for TensorFlow {tensorflow}",
            remedy=f"add a [[version]] to it; it has {', '.join(plans)}",
        )
    return plans[tensorflow]


def parse_plans(data: Mapping[str, Any]) -> dict[str, Plan]:
    """Return the plans in the data of the file, by TensorFlow version.

    Raises:
        UsageError: the data are malformed.
    """
    top = Row(TESTS_FILE.name, data)
    helpers = top.strings("helpers")
    suites = tuple(_suite(row) for row in top.rows("suite", "name"))
    of_all = tuple(read_expectation(row) for row in top.rows("expected", "test"))
    found = {}
    for row in top.rows("version", "tensorflow"):
        name = row.take("tensorflow", str, is_version)
        own = tuple(read_expectation(r) for r in row.rows("expected", "test"))
        abseil, definitions = row.strings("abseil"), row.strings("definitions")
        schemas = row.take("schemas", dict, lambda t: all(isinstance(f, str) for f in t.values()))
        row.done()
        if name in found:
            raise UsageError(f"{TESTS_FILE.name} has {name} twice")
        # The version's own rows come first, so that they take precedence over those of all.
        version = Version(tensorflow=name, testdata=name, expected=own + of_all)
        found[name] = Plan(
            version=version,
            suites=suites,
            helpers=helpers,
            schemas=schemas,
            abseil=abseil,
            definitions=definitions,
        )
    top.done()
    return found


def _suite(row: Row) -> Suite:
    found = Suite(
        name=row.take("name", str, str.isidentifier),
        folder=row.take("folder", str, bool),
        precompiled=row.strings("precompiled"),
        again=row.strings("again"),
        definitions=row.strings("definitions"),
        as_built=row.strings("as_built"),
        quick=row.strings("quick"),
    )
    row.done()
    if not found.precompiled:
        raise UsageError(f"{row.name}: needs a header to precompile")
    return found


@dataclass(frozen=True)
class Tree:
    """TensorFlow's tree, with the programs and helpers of a plan that are in it.

    Attributes:
        root: the folder that has `tensorflow/lite`.
        plan: the plan.
    """

    root: Path
    plan: Plan

    @property
    def programs(self) -> tuple[Program, ...]:
        """All programs, sorted by name within each suite."""
        return tuple(
            Program(suite=suite, source=str(path.relative_to(self.root)))
            for suite in self.plan.suites
            for path in sorted((self.root / suite.folder).glob(f"*{SUFFIX}"))
        )

    @cached_property
    def helpers(self) -> frozenset[str]:
        """The helpers' sources that the tree has, as paths below the root."""
        return frozenset(
            str(path.relative_to(self.root))
            for pattern in self.plan.helpers
            for path in self.root.glob(pattern)
        )

    def helpers_of(self, program: Program) -> tuple[str, ...]:
        """Return the helpers to link with a program.

        These are the helpers whose headers the program, its helpers or their test headers include.
        A header can include that of a helper of the same name, which has moved to another folder.
        A helper without a header is linked if another helper of its folder is.
        """
        found: set[str] = set()
        stems = {Path(helper).stem for helper in self.helpers}
        seen = {program.source}
        todo = [program.source]
        while todo:
            for header in self._included(todo.pop()):
                source = header.removesuffix(".h") + ".cc"
                if source in self.helpers:
                    found.add(source)
                elif not _is_for_tests(header) and Path(header).stem not in stems:
                    continue
                new = {header, source} - seen
                seen |= new
                todo += sorted(new)
        folders = {Path(source).parent for source in found}
        alone = {h for h in self.helpers - found if Path(h).parent in folders and self._bare(h)}
        return tuple(sorted(found | alone))

    def _included(self, source: str) -> Iterator[str]:
        path = self.root / source
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            yield from (name for name in _INCLUDE.findall(text) if name.endswith(".h"))

    def _bare(self, source: str) -> bool:
        """True if the source has no header of the same name."""
        return not (self.root / source).with_suffix(".h").is_file()


def _is_for_tests(header: str) -> bool:
    """True if a header is for tests by its name, so that it may include headers of helpers."""
    return "test" in Path(header).name
