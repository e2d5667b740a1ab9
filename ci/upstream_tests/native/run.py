"""Runs programs of upstream's C++ tests; a program that dies is started again for the others."""

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

SECONDS = 300.0
"""The most that a program may take."""

_EVENT = re.compile(r"^\[ *(RUN|OK|FAILED|SKIPPED) *\] ([^\s,(]+)", re.MULTILINE)
_OUTCOMES = {"RUN": STARTED, "OK": PASSED, "FAILED": FAILED, "SKIPPED": SKIPPED}


@dataclass(frozen=True)
class Ended:
    """How one run of a program ended.

    Attributes:
        status: its exit status; None if it was not done in time.
        result: googletest's own account; None if it did not live to write it.
        output: all that it printed.
    """

    status: int | None
    result: dict[str, Any] | None
    output: str


def run_program(
    program: Program, path: Path, plan: Plan, library: Path, tree: Path
) -> list[Outcome]:
    """Run all tests of a program.

    Args:
        path: of the program.
        library: the core that it is to load.
        tree: TensorFlow's, which some tests read files of.
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
            # It dies before or after its tests, so that no test can be named.
            known["*"] = Outcome("*", FAILED, f"the program {ending(ended.status)}")
            break
    return [
        Outcome(f"{program.name}:{outcome.test}", outcome.outcome, outcome.detail)
        for outcome in known.values()
    ]


def outcomes(ended: Ended) -> dict[str, Outcome]:
    """What is known of each test after one run."""
    if ended.result is not None:
        return {outcome.test: outcome for outcome in _accounted(ended.result)}
    events = [
        {"test": name, "outcome": _OUTCOMES[word], "detail": ""}
        for word, name in _EVENT.findall(ended.output)
    ]
    return {outcome.test: outcome for outcome in outcomes_of([], events, ending(ended.status))}


def _accounted(result: dict[str, Any]) -> Iterator[Outcome]:
    """The outcomes in googletest's own account."""
    for suite in result["testsuites"]:
        for case in suite["testsuite"]:
            name = f"{suite['name']}.{case['name']}"
            said = " ".join(failure["failure"] for failure in case.get("failures", ()))
            detail = " ".join(said.split())[:300]
            if said:
                yield Outcome(name, FAILED, detail)
            else:
                # One that upstream disables by its name is suppressed.
                passed = case["result"] == "COMPLETED"
                yield Outcome(name, PASSED if passed else SKIPPED)


def _left_out(program: Program, plan: Plan) -> list[str]:
    """Patterns of the program's tests that are not to run."""
    rows = (pattern.partition(":") for pattern in plan.version.left_out)
    return [tests for name, _, tests in rows if fnmatchcase(program.name, name)]


def _listed(output: str) -> Iterator[str]:
    """The names in the output of --gtest_list_tests."""
    suite = ""
    for line in output.splitlines():
        name = line.partition("#")[0].rstrip()
        if name.startswith("  "):
            yield f"{suite}{name.strip()}"
        elif name.endswith("."):
            suite = name


@dataclass(frozen=True)
class Place:
    """A program with what it needs."""

    program: Path
    library: Path
    tree: Path

    def run(self, tests: str, *, listing: bool = False) -> Ended:
        """Run tests of it, by googletest's filter, in a folder of their own.

        Args:
            listing: only print their names.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary).resolve()
            # As in Bazel's and CMake's runs, files are named from the top of the tree.
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
                # In the environment, since a filter can be longer than an argument may be.
                "GTEST_FILTER": tests,
                "GTEST_LIST_TESTS": "1" if listing else "0",
            }
            status = None
            with (
                started([self.program], cwd=folder, env=env, log=log) as process,
                contextlib.suppress(subprocess.TimeoutExpired),
            ):
                status = process.wait(SECONDS)
            result = json.loads(account.read_bytes()) if account.is_file() else None
            return Ended(status, result, log.read_text(errors="replace"))
