"""Compiles and runs upstream's C++ tests against the core of one TensorFlow version."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase

from builders.cache import digest_files
from builders.core import Core
from builders.errors import UsageError
from builders.matrix import TensorFlow
from builders.native import NativeRunner
from builders.progress import describe
from builders.sources import fetch_sources, load_lock
from builders.trees import make_trees
from ci.upstream_tests.expected import FAILED, LEFT_OUT
from ci.upstream_tests.native.parts import ARCH, Parts
from ci.upstream_tests.native.plan import SOURCES, Plan, Program, Tree
from ci.upstream_tests.native.programs import Compiled, Workshop
from ci.upstream_tests.native.run import run_program
from ci.upstream_tests.report import Outcome, Report


def run_on_core(
    tensorflow: TensorFlow,
    plan: Plan,
    runner: NativeRunner,
    *,
    only: Sequence[str],
    everything: bool,
) -> Report:
    """Compile and run the tests of one TensorFlow version.

    Args:
        only: the patterns of the programs' names; if empty, `everything` decides.
        everything: True for all programs, False for those that CI runs.

    Raises:
        UsageError: no program is chosen.
    """
    core = runner.core(tensorflow, ARCH)
    trees = runner.trees(tensorflow)
    lock = load_lock(tensorflow.version, SOURCES)
    sources = fetch_sources(lock, runner.origin, runner.fetcher)
    googletest = make_trees(
        tensorflow.version, sources, runner.cache, runner.fetcher, lambda _name: lambda _d, _t: None
    )
    tree = Tree(trees / "tensorflow", plan)
    programs = chosen(tree.programs, only, everything=everything)
    log = runner.log(f"upstream native tf{tensorflow.version}")
    parts = Parts(tensorflow, tree, trees, googletest, runner.cache, runner.toolchain, log)
    workshop = Workshop(parts, core)
    wanted = [program for program in programs if not plan.leaves_out(program)]
    with runner.reporter.step(f"compile the C++ tests of tf{tensorflow.version}") as step:
        compiled = workshop.make(
            wanted,
            runner.jobs,
            lambda done, total: runner.reporter.show(
                step, describe(done, total, "parts", step.seconds)
            ),
        )
    with runner.reporter.step(f"run the C++ tests of tf{tensorflow.version}"):
        found = outcomes_of_programs(programs, compiled, workshop, runner.jobs)
    return Report(
        wheel=f"core tf{tensorflow.version}-{ARCH} {core.path.name}",
        version=plan.about(programs, [outcome.test for outcome in found]),
        test_sha256=digest_files(*(tree.root / program.source for program in programs)),
        environment={"googletest": sources[0].origin.version, **components(core)},
        outcomes=tuple(found),
    )


def chosen(
    programs: Sequence[Program], patterns: Sequence[str], *, everything: bool
) -> tuple[Program, ...]:
    """Return the programs whose names match a pattern; if there are no patterns, all or CI's.

    Raises:
        UsageError: no program is chosen.
    """
    if patterns:
        kept = [p for p in programs if any(fnmatchcase(p.name, pattern) for pattern in patterns)]
    else:
        kept = [program for program in programs if everything or program.is_quick]
    if not kept:
        raise UsageError("no such program", remedy=f"choose of {programs[0].name} and so on")
    return tuple(kept)


def outcomes_of_programs(
    programs: Sequence[Program], compiled: Compiled, workshop: Workshop, jobs: int
) -> list[Outcome]:
    """Run the programs, and return the outcomes of all tests, ordered by program."""
    tree = workshop.parts.tree

    def one(program: Program) -> list[Outcome]:
        if program in compiled.paths:
            path = compiled.paths[program]
            return run_program(program, path, tree.plan, workshop.library, tree.root)
        if program in compiled.faults:
            fault = f"it cannot be compiled: {compiled.faults[program]}"
            return [Outcome(program.whole, FAILED, fault)]
        return [Outcome(program.whole, LEFT_OUT)]

    with ThreadPoolExecutor(jobs) as pool:
        return [outcome for found in pool.map(one, programs) for outcome in found]


def components(core: Core) -> dict[str, str]:
    """Return the version of XNNPACK in the core, by the component's name."""
    return {c["name"]: c["version"] for c in core.record["components"] if c["name"] == "xnnpack"}
