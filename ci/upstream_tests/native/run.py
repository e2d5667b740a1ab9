"""Run programs of upstream's C++ tests; start a program that dies again for its other tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ci.upstream_tests.expected import FAILED, LEFT_OUT, PASSED, SKIPPED
from ci.upstream_tests.native.plan import Plan, Program
from ci.upstream_tests.report import STARTED, Outcome, outcomes_of
from ci.upstream_tests.run import ending
from smoke_lambda.session import started

SECONDS = 900.0
"""The time limit of a program in seconds; the slowest takes 150 on two free processors."""

_EVENT = re.compile(r"^\[ *(RUN|OK|FAILED|SKIPPED) *\] ([^\s,(]+)", re.MULTILINE)
_OUTCOMES = {"RUN": STARTED, "OK": PASSED, "FAILED": FAILED, "SKIPPED": SKIPPED}


@dataclass(frozen=True)
class Ended:
    """How one run of a program ended.

    Attributes:
        status: the exit status; None if the program ran out of time.
        result: googletest's report in JSON; None if the program died before it wrote the report.
        output: the whole output of the program.
    """

    status: int | None
    result: dict[str, Any] | None
    output: str


def run_program(
    program: Program, path: Path, plan: Plan, library: Path, tree: Path
) -> list[Outcome]:
    """Run all tests of a program.

    Args:
        path: the file of the program.
        plan: the plan, which names the tests to leave out.
        library: the core's library, which the program loads.
        tree: TensorFlow's tree; some tests read its files.
    """
    place = Place(path, library, tree)
    unwanted = _left_out(program, plan)
    names = _listed(place.run("*", listing=True).output) if unwanted else ()
    known = {
        name: Outcome(name, LEFT_OUT)
        for name in names
        if any(fnmatchcase(name, pattern) for pattern in unwanted)
    }
    while True:
        ended = place.run(f"*-{':'.join(known)}" if known else "*")
        new = {k: outcome for k, outcome in outcomes(ended).items() if k not in known}
        known |= new
        if ended.result is not None:
            break
        if not new:
            # The program dies before or after its tests, so no test can be named.
            known["*"] = Outcome("*", FAILED, f"the program {ending(ended.status)}")
            break
    return [
        Outcome(f"{program.name}:{outcome.test}", outcome.outcome, outcome.detail)
        for outcome in known.values()
    ]


def outcomes(ended: Ended) -> dict[str, Outcome]:
    """Return the known outcomes after one run, by the test's name."""
    if ended.result is not None:
        return {outcome.test: outcome for outcome in _accounted(ended.result)}
    events = [
        {"test": name, "outcome": _OUTCOMES[word], "detail": ""}
        for word, name in _EVENT.findall(ended.output)
    ]
    return {outcome.test: outcome for outcome in outcomes_of([], events, ending(ended.status))}


def _accounted(result: dict[str, Any]) -> Iterator[Outcome]:
    """Yield the outcomes in googletest's report."""
    for suite in result["testsuites"]:
        for case in suite["testsuite"]:
            name = f"{suite['name']}.{case['name']}"
            said = " ".join(failure["failure"] for failure in case.get("failures", ()))
            detail = " ".join(said.split())[:300]
            if said:
                yield Outcome(name, FAILED, detail)
            else:
                # If upstream disables a test by its name, its result is SUPPRESSED.
                passed = case["result"] == "COMPLETED"
                yield Outcome(name, PASSED if passed else SKIPPED)


def _left_out(program: Program, plan: Plan) -> list[str]:
    """Return the patterns of the program's tests that are left out."""
    rows = (pattern.partition(":") for pattern in plan.version.left_out)
    return [tests for name, _, tests in rows if fnmatchcase(program.name, name)]


def _listed(output: str) -> Iterator[str]:
    """Yield the tests' names in the output of --gtest_list_tests."""
    suite = ""
    for line in output.splitlines():
        name = line.partition("#")[0].rstrip()
        if name.startswith("  "):
            yield f"{suite}{name.strip()}"
        elif name.endswith("."):
            suite = name


@dataclass(frozen=True)
class Place:
    """A program with the core's library that it loads and TensorFlow's tree."""

    program: Path
    library: Path
    tree: Path

    def run(self, tests: str, *, listing: bool = False) -> Ended:
        """Run tests of the program in a folder of their own.

        Args:
            tests: googletest's filter for the tests.
            listing: True to print only the names of the tests.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary).resolve()
            # Tests name files by their paths from the top of the tree, as in runs by Bazel or
            # CMake.
            (folder / "tensorflow").symlink_to(self.tree / "tensorflow")
            account, log, home = folder / "account.json", folder / "log", folder / "home"
            home.mkdir()
            env = {
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(home),
                "TMPDIR": str(home),
                "TEST_TMPDIR": str(home),
                "LD_LIBRARY_PATH": str(self.library.parent),
                "GTEST_COLOR": "no",
                "GTEST_OUTPUT": f"json:{account}",
                # The filter is a variable, since it can be longer than the limit of an argument.
                "GTEST_FILTER": tests,
            }
            command: list[str | Path] = [self.program]
            if listing:
                command.append("--gtest_list_tests")  # it has no variable
            status = None
            with (
                started(command, cwd=folder, env=env, log=log) as process,
                contextlib.suppress(subprocess.TimeoutExpired),
            ):
                status = process.wait(SECONDS)
            result = json.loads(account.read_bytes()) if account.is_file() else None
            return Ended(status, result, log.read_text(errors="replace"))
