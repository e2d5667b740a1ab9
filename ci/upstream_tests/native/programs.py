"""Compiles the programs of upstream's C++ tests, and links them to a core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from builders.cache import key_of, recipe
from builders.core import Core
from builders.errors import CompileError
from builders.toolchain import LIBRARIES, LINK_FLAGS
from ci.upstream_tests.native.parts import ARCH, Parts
from ci.upstream_tests.native.plan import Program

LIBRARY = "libtflite.so"
# With -Bsymbolic, calls within the core reach the core's functions, even if a test has a function
# of the same name.
CORE_FLAGS = (*LINK_FLAGS, "-Wl,-Bsymbolic", f"-Wl,-soname,{LIBRARY}")
# A program is position-independent, as the library is, so that both use the same libc++ of zig.
PROGRAM_FLAGS = ("-pie", *(flag for flag in LINK_FLAGS if flag != "-shared"))

Work = Callable[[], object]
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Compiled:
    """The result of compiling programs.

    Attributes:
        paths: the file of each program that compiled.
        faults: the reason, in one line, for each program that did not compile.
    """

    paths: dict[Program, Path]
    faults: dict[Program, str]


@dataclass(frozen=True)
class Workshop:
    """Makes the programs for one core."""

    parts: Parts
    core: Core

    def make(self, programs: Sequence[Program], jobs: int, progress: Progress) -> Compiled:
        """Compile the programs that the cache does not have.

        Args:
            jobs: the number of compilations to run at once.
            progress: a function to call with the number of finished parts and of all parts.

        Raises:
            CompileError: a part that programs share, other than a helper, cannot be compiled.
        """
        parts = self.parts
        suites = dict.fromkeys(program.suite for program in programs)
        helpers = sorted({h for p in programs for h in parts.tree.helpers_of(p)})
        found = Compiled({}, {})

        def one(program: Program) -> None:
            try:
                found.paths[program] = self.program(program)
            except CompileError as error:
                found.faults[program] = first_line(error)

        # Each step needs the results of the steps before it.
        steps: list[list[Work]] = [
            [lambda: parts.schemas, lambda: self.library],
            [
                *(partial(parts.precompiled, suite) for suite in suites),
                parts.googletest_objects,
                parts.abseil,
            ],
            [
                *(partial(parts.again, suite) for suite in suites),
                *(partial(self._helper, helper) for helper in helpers),
            ],
            [partial(one, program) for program in programs],
        ]
        done = 0
        with ThreadPoolExecutor(jobs) as pool:
            for step in steps:
                for _ in pool.map(lambda work: work(), step):
                    done += 1
                    progress(done, sum(map(len, steps)))
        return found

    def _helper(self, source: str) -> None:
        """Compile a helper; ignore a failure, which the programs that need the helper report."""
        try:
            self.parts.helper(source)
        except CompileError:
            return

    @cached_property
    def library(self) -> Path:
        """The whole core as a shared library, so that not every program contains a copy of it."""

        def make(product: Path) -> None:
            command = [*self.parts.toolchain.compiler("c++", ARCH), *CORE_FLAGS]
            command += ["-o", str(product / LIBRARY), "-Wl,--whole-archive"]
            command += [str(self.core.archive), "-Wl,--no-whole-archive", *LIBRARIES]
            self.parts.tool("linking the core as a library", command)

        inputs = {
            "core": self.core.path.name,
            "toolchain": self.parts.toolchain.versions,
            "flags": CORE_FLAGS,
        }
        return self.parts.cache.product("upstream-native-core", key_of(inputs), make) / LIBRARY

    def program(self, program: Program) -> Path:
        """Return the file of a program; make it if the cache does not have it.

        Raises:
            CompileError: the program or one of its helpers cannot be compiled.
        """
        parts = self.parts

        def make(product: Path) -> None:
            with parts.cache.scratch(f"upstream-native-{product.name.strip('.')}") as work:
                compiled = work / "test.o"
                command = parts.command(parts.beginning(program.suite))
                source = parts.tree.root / program.source
                parts.tool(f"compiling {program.name}", [*command, "-c", source, "-o", compiled])
                again = parts.again(program.suite) if program.again else []
                objects = [compiled, *again, *map(parts.helper, helpers)]
                link = [*parts.toolchain.compiler("c++", ARCH), *PROGRAM_FLAGS]
                link += ["-o", str(product / program.stem), *map(str, objects)]
                link += map(str, [*parts.googletest_objects(), *parts.abseil(), self.library])
                parts.tool(f"linking {program.name}", [*link, *LIBRARIES])

        helpers = parts.tree.helpers_of(program)
        inputs = {
            **parts.inputs,
            "program": program.source,
            "suite": (program.suite.definitions, program.again, program.suite.precompiled),
            "helpers": helpers,
            "abseil": parts.tree.plan.abseil,
            "core": self.library.parent.name,
            "link": PROGRAM_FLAGS,
            "recipe of programs": recipe(Path(__file__)),
        }
        folder = parts.cache.product("upstream-native-programs", key_of(inputs), make)
        return folder / program.stem


def first_line(error: CompileError) -> str:
    """Return the first line of a compiler's message with `error:` in it, else its first line."""
    lines = str(error).splitlines()
    wrong = [line for line in lines if "error:" in line]
    return " ".join((wrong or lines)[0].split())
