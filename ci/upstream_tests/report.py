"""Compare the outcomes of a run of upstream's tests with the expected ones."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ci.upstream_tests.expected import FAILED, LEFT_OUT, PASSED, SKIPPED, Version

STARTED = "started"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test.

    Attributes:
        test: the test's class and function.
        outcome: PASSED, FAILED, SKIPPED or LEFT_OUT.
        detail: the message of upstream's test, in one line.
    """

    test: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of one wheel, or of one core.

    Attributes:
        wheel: the name of the wheel or the core.
        version: the expectations for the tests.
        test_sha256: the SHA-256 of upstream's test files, as they were run.
        environment: the versions of the software around the tests, by name, such as Python, NumPy
            and TensorFlow.
        outcomes: the outcomes of the tests.
    """

    wheel: str
    version: Version
    test_sha256: str
    environment: Mapping[str, str]
    outcomes: tuple[Outcome, ...]

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of passed, failed and skipped tests; tests that we leave out are skipped."""
        found = Counter(SKIPPED if o.outcome == LEFT_OUT else o.outcome for o in self.outcomes)
        return {outcome: found[outcome] for outcome in (PASSED, FAILED, SKIPPED)}

    @property
    def faults(self) -> tuple[str, ...]:
        """The differences from the expectations, one line each."""
        found = [*self._surprises()]
        for row in self.version.expected:
            if not any(row.covers(outcome.test) for outcome in self.outcomes):
                found.append(f"{row.test}: expected to be {row.outcome}, but there is no such test")
        if not self.counts[PASSED]:
            found.append("no test passed")
        return tuple(found)

    def _surprises(self) -> Iterator[str]:
        for found in self.outcomes:
            row = self.version.of(found.test)
            if found.outcome != (row.outcome if row else PASSED):
                known = f"{row.outcome}: {row.reason}" if row else PASSED
                said = f": {found.detail}" if found.detail else ""
                yield f"{found.test} {found.outcome}{said} (expected: {known})"

    @property
    def ok(self) -> bool:
        """True if everything is as expected."""
        return not self.faults

    @property
    def reasons(self) -> dict[str, tuple[str, str]]:
        """The outcome and the reason of each test that did not simply pass, by the test's name.

        The reason is that of our expectation if there is one, else upstream's message.
        """
        found = {}
        for outcome in self.outcomes:
            if outcome.outcome != PASSED:
                row = self.version.of(outcome.test)
                found[outcome.test] = (outcome.outcome, row.reason if row else outcome.detail)
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the report, with its verdict, as data for JSON."""
        return {
            "wheel": self.wheel,
            "tensorflow": self.version.tensorflow,
            "testdata": self.version.testdata,
            "test_sha256": self.test_sha256,
            "environment": dict(self.environment),
            **self.counts,
            "ok": self.ok,
            "faults": list(self.faults),
            "tests": [
                dataclasses.asdict(o) | {"reason": self.reasons.get(o.test, ("", ""))[1]}
                for o in self.outcomes
            ],
        }


def outcomes_of(
    tests: Iterable[str], events: Iterable[Mapping[str, str]], status: str
) -> tuple[Outcome, ...]:
    """Return the outcome of every test, even if the process died before it could report it.

    Args:
        tests: the names of all tests.
        events: the reported events in order; each has `test`, `outcome` (or STARTED) and `detail`.
        status: how the process ended, in words.
    """
    found = {test: Outcome(test, FAILED, f"not run: {status}") for test in tests}
    for event in events:
        outcome = Outcome(event["test"], event["outcome"], event["detail"])
        if outcome.outcome == STARTED:
            outcome = Outcome(outcome.test, FAILED, f"the process did not survive it: {status}")
        found[outcome.test] = outcome
    return tuple(found.values())
