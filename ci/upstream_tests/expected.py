"""Read the expected outcomes of upstream's tests, per TensorFlow version: expected.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from builders.errors import UsageError
from builders.tables import Row, is_version, read_toml

EXPECTED_FILE = Path(__file__).with_name("expected.toml")

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"
LEFT_OUT = "left out"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The expected outcome of tests that do not simply pass; see expected.toml."""

    test: str
    outcome: str
    reason: str

    def covers(self, test: str) -> bool:
        """True if this row's pattern matches the test."""
        return fnmatchcase(test, self.test)


@dataclass(frozen=True, kw_only=True)
class Version:
    """A TensorFlow version whose wheels are tested.

    Attributes:
        tensorflow: the TensorFlow version.
        testdata: the TensorFlow version whose tree has the tests' data.
        expected: the expectations for tests that do not simply pass.
    """

    tensorflow: str
    testdata: str
    expected: tuple[Expectation, ...]

    def of(self, test: str) -> Expectation | None:
        """Return the expectation for a test; None if the test is expected to pass."""
        return next((row for row in self.expected if row.covers(test)), None)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The patterns of the tests that are not run."""
        return tuple(row.test for row in self.expected if row.outcome == LEFT_OUT)


def load_version(tensorflow: str, path: Path = EXPECTED_FILE) -> Version:
    """Return the expectations for the tests of a TensorFlow version.

    Raises:
        UsageError: the file does not have the version, or is malformed.
    """
    versions = parse_versions(read_toml(path))
    if tensorflow not in versions:
        raise UsageError(
            f"{path.name} has no expectations for TensorFlow {tensorflow}",
            remedy=f"add a [[version]] to it; it has {', '.join(versions)}",
        )
    return versions[tensorflow]


def parse_versions(data: Mapping[str, Any]) -> dict[str, Version]:
    """Return the versions in the data of the file, by TensorFlow version.

    Raises:
        UsageError: the data are malformed.
    """
    top = Row(EXPECTED_FILE.name, data)
    of_all = tuple(read_expectation(row) for row in top.rows("expected", "test"))
    found = {}
    for row in top.rows("version", "tensorflow"):
        version = Version(
            tensorflow=row.take("tensorflow", str, is_version),
            testdata=row.take("testdata", str, is_version),
            expected=of_all + tuple(read_expectation(r) for r in row.rows("expected", "test")),
        )
        row.done()
        if version.tensorflow in found:
            raise UsageError(f"{EXPECTED_FILE.name} has {version.tensorflow} twice")
        found[version.tensorflow] = version
    top.done()
    return found


def read_expectation(row: Row) -> Expectation:
    """Return the expectation in one table of `expected`.

    Raises:
        UsageError: the table is malformed.
    """
    found = Expectation(
        test=row.take("test", str, bool),
        outcome=row.take("outcome", str, lambda o: o in (FAILED, SKIPPED, LEFT_OUT)),
        reason=row.take("reason", str, lambda text: bool(text) and "\n" not in text),
    )
    row.done()
    return found
