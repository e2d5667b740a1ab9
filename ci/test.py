"""`./scripts/test`: every check of this repository, fastest first."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHECKED = ("builders", "smoke_lambda", "ci", "tests", "scripts")

CHECKS = (
    ("lint", ["ruff", "check", "--no-cache", *CHECKED]),
    ("format", ["ruff", "format", "--no-cache", "--check", *CHECKED]),
    ("types", ["mypy", "--no-error-summary", *CHECKED]),
)
UNIT = ["pytest", "tests/unit"]
INTEGRATION = ["pytest", "tests/integration"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks that were asked for; the exit code of the first that fails."""
    parser = argparse.ArgumentParser(
        prog="test",
        description="Lint, types, unit tests, then the integration tests, which build, audit and "
        "smoke-test every wheel that this machine can run.",
    )
    parser.add_argument(
        "--unit", action="store_true", help="only what needs no network and no compiler"
    )
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args(argv)
    suites = [("unit tests", UNIT)]
    if not options.unit:
        suites.append(("integration tests", INTEGRATION))
    commands = [*CHECKS, *((name, [*command, *options.pytest]) for name, command in suites)]
    for name, command in commands:
        print(f"== {name}", flush=True)
        status = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode
        if status:
            print(f"== {name} failed", flush=True)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
