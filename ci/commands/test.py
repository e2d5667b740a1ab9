"""`./scripts/test`: run every check of this repository, fastest first."""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from builders.cache import Cache, default_root
from builders.cli import Session, command_parser, main_of
from builders.matrix import load_matrix
from builders.sources import load_lock
from builders.toolchain import Toolchain
from builders.trees import trees_key
from ci.remote.farm import install_buildgrid
from ci.remote.roots import root_of

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
CHECKED = ("builders", "smoke_lambda", "ci", "tests", "scripts")
TEMPLATES = sorted(str(path) for path in (ROOT / "smoke_lambda/sam").glob("*.yaml"))
WORKFLOWS = sorted(str(path) for path in (ROOT / ".github/workflows").glob("*.yml"))
DEPENDABOT = str(ROOT / ".github/dependabot.yml")
FORMS = sorted(
    str(path)
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")
    if path.name != "config.yml"
)

CHECKS = (
    ("lint", ["ruff", "check", "--no-cache", *CHECKED]),
    ("format", ["ruff", "format", "--no-cache", "--check", *CHECKED]),
    ("types", ["mypy", "--no-error-summary", "--cache-dir", os.devnull, *CHECKED]),
    ("templates", ["cfn-lint", *TEMPLATES]),
    ("workflows", ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]),
    (
        "workflows' security",
        ["zizmor", "--offline", "--quiet", "--persona", "pedantic", *WORKFLOWS, DEPENDABOT],
    ),
    ("dependabot", ["check-jsonschema", "--builtin-schema", "vendor.dependabot", DEPENDABOT]),
    ("issue forms", ["check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *FORMS]),
)

DESCRIPTION = """\
Lint, types, unit tests; then the main job, and the integration tests on the wheels that it made."""

EXAMPLES = """\
examples:
  test                     everything
  test --unit              what needs no network and no compiler
  test --unit -- -k fetch  lint and types, and unit tests with fetch in their names
  test --remote            Bazel's commands on two workers, for real; compiles a whole core
  test --remote -- -k "not whole"
                           the same with a small project: five minutes

exit codes: 0 all passed, else that of the first check that fails; 130 interrupted"""

LONGEST = "test_docker_build.py"
NONE_SELECTED = 5
"""pytest's exit code if it selected no test.

https://docs.pytest.org/en/stable/reference/exit-codes.html
"""
# Integration tests mostly wait, or use one thread, so two files run at once. The tests of a file
# share their products, so they stay together. Files start in the order in which pytest finds them.
SIDE_BY_SIDE = ("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")


def check(argv: Sequence[str] | None = None) -> int:
    """Run the checks that were asked for; return the exit code of the first that fails, or 0.

    Raises:
        UserError: a check cannot run; `main` prints the error.
    """
    options = _parser().parse_args(argv)
    if options.remote:
        return remote_tests(options.pytest)
    for name, command in CHECKS:
        if status := run(name, [str(PROGRAMS / command[0]), *command[1:]]):
            return status
    pytest = [sys.executable, "-m", "pytest", *options.pytest]
    unit = run("unit tests", [*pytest, *SIDE_BY_SIDE, "tests/unit"])
    # Arguments such as `-k podman` may select tests of one kind alone.
    if options.unit or unit not in (0, NONE_SELECTED if options.pytest else 0):
        return unit
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        # Run what a maintainer types; the script makes its own environment.
        build = [sys.executable, str(ROOT / "scripts/build"), "--runner", "native"]
        build += ["--out", folder]
        if status := run("main job", build):
            return status
        pytest += ["--verbose", *SIDE_BY_SIDE, *integration_tests()]
        integration = run("integration tests", pytest, env=products(wheels))
        return unit if integration == NONE_SELECTED else integration


def remote_tests(arguments: Sequence[str]) -> int:
    """Make what the tests of remote execution need, and run them; return their exit code.

    Raises:
        UserError: something that they need cannot be made here.
    """
    session = Session()
    log, roots = session.own_logs() / "remote.log", {}
    with session.reporter.showing():
        for name in ("bazel", "farm"):
            with session.reporter.step(f"root file system {name}") as step:
                on_line = functools.partial(session.reporter.show, step)
                roots[name] = root_of(name, session.cache, log, on_line)
                # This raises an error early if bwrap is missing.
                roots[name].command([], [])
        with session.reporter.step("BuildGrid"):
            buildgrid = install_buildgrid(roots["farm"], session.cache, log)
    places = {"BUILDGRID": buildgrid}
    places |= {f"{name.upper()}_ROOT": root.path for name, root in roots.items()}
    pytest = [sys.executable, "-m", "pytest", "--verbose", *arguments, "tests/remote"]
    variables = {f"TFLITE_{name}": str(place) for name, place in places.items()}
    return run("remote execution", pytest, env=variables)


def integration_tests() -> list[str]:
    """Return the files of the integration tests, the longest first; pytest keeps this order."""
    files = sorted((ROOT / "tests/integration").glob("test_*.py"))
    return [str(file) for file in sorted(files, key=lambda file: file.name != LONGEST)]


def products(wheels: Path) -> dict[str, str]:
    """Return variables that tell the integration tests where the main job's products are."""
    cache = Cache(default_root())
    version = load_matrix().recommended.version
    lock = load_lock(version)
    trees = [
        cache.path("trees", key)
        for origin in lock.origins
        if cache.has("trees", key := trees_key(version, lock.sources(origin)))
    ]
    toolchain = Toolchain(cache)
    zig_cache = toolchain.environment["ZIG_GLOBAL_CACHE_DIR"]
    return {
        "TFLITE_WHEELS": str(wheels),
        "TFLITE_TREE": str(trees[0] / "tensorflow") if trees else "",
        "TFLITE_ZIG": str(toolchain.zig),
        "ZIG_GLOBAL_CACHE_DIR": zig_cache,
        "ZIG_LOCAL_CACHE_DIR": zig_cache,
    }


def run(name: str, command: Sequence[str], env: dict[str, str] | None = None) -> int:
    """Run one check, with its output shown at once; return its exit code."""
    print(f"== {name}", flush=True)
    status = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(env or {})}, check=False
    ).returncode
    if status:
        said = "none selected" if status == NONE_SELECTED else "failed"
        print(f"== {name}: {said}", flush=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("test", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--unit", action="store_true", help="only what needs no network and no compiler"
    )
    parser.add_argument(
        "--remote", action="store_true", help="only the tests of remote execution; Debian only"
    )
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    return parser


main = main_of(check)

if __name__ == "__main__":
    sys.exit(main())
