"""The extension: upstream's pybind11 wrapper of one Python, linked with the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore
from typing import Any

from builders.architecture import ARCHITECTURES
from builders.audit import extension_name
from builders.breakages import definitions_of
from builders.cache import Cache, key_of, recipe
from builders.core import WRAPPER_SOURCES, Core
from builders.errors import CompileError
from builders.headers import PythonHeaders
from builders.matrix import Target
from builders.precompiled import precompiled_headers, wrapper_command
from builders.process import run
from builders.toolchain import FLAGS, LIBRARIES, LINK_FLAGS, SHIM, Toolchain

# Only the module's initializer is visible to the process that loads it.
EXPORTS = "{ global: PyInit_*; local: *; };\n"

# Nothing else refers to it; kept for the version that it holds.
KEPT = ("-Wl,-u,TfLiteVersion",)

# What zig's own command line does not take, and its linker does: functions of the same code are
# one, unless their addresses are compared, and those that are alike lie side by side, where
# a wheel's compression finds them (https://lld.llvm.org/ELF/index.html).
LINKER_FLAGS = ("--icf=safe", "--bp-compression-sort=function")

# Where not every processor has the level that all is compiled for, a source of ours, named by the
# architecture, asks first.
LEVEL = Path(__file__).with_name("level")
PRECOMPILED = Path(__file__).with_name("precompiled.py")
MODULE = "interpreter_wrapper_pybind11.cc"
INITIALIZER = "PyInit__pywrap_tensorflow_interpreter_wrapper"
RUNTIME_INITIALIZER = "tflite_runtime_init"

# Upstream's exceptions have messages of their own; C++'s names are demangled for the last words
# of a process alone, by code that is a fiftieth of the wheel.
DEMANGLER = """\
#include <stddef.h>
char *__cxa_demangle(const char *name, char *buffer, size_t *length, int *status) {
  if (status != NULL) *status = -1;
  return NULL;
}
"""


@dataclass(frozen=True, kw_only=True)
class Headers:
    """What an extension is compiled from, besides the core."""

    python: PythonHeaders
    numpy: Path
    numpy_sha256: str
    pybind11: Path
    pybind11_sha256: str


def extension_inputs(
    target: Target, core_key: str, headers: Headers, toolchain: Toolchain
) -> dict[str, Any]:
    """Everything that can change the bytes of an extension."""
    return {
        "target": target.identifier,
        "core": core_key,
        "python_headers": headers.python.digest,
        "numpy": headers.numpy_sha256,
        "pybind11": headers.pybind11_sha256,
        "toolchain": toolchain.versions,
        "flags": (FLAGS, LINK_FLAGS, KEPT, EXPORTS, LINKER_FLAGS),
        "definitions": definitions_of(target.tensorflow.version),
        "recipe": recipe(Path(__file__), PRECOMPILED, SHIM, LEVEL),
    }


def extension_key(target: Target, core_key: str, headers: Headers, toolchain: Toolchain) -> str:
    """The name of an extension in the cache."""
    return key_of(extension_inputs(target, core_key, headers, toolchain))


def make_extension(
    target: Target,
    core: Core,
    headers: Headers,
    *,
    cache: Cache,
    toolchain: Toolchain,
    compilers: Semaphore,
    log: Path,
    progress: Callable[[int, int | None], None],
) -> Path:
    """The extension, compiled now if the cache does not have it.

    Args:
        compilers: as many as may run at once, of all extensions that are made at once.
        progress: is called with the number of finished commands and of all.

    Returns:
        The shared object.

    Raises:
        CompileError: the compiler or the linker failed.
    """

    def make(product: Path) -> None:
        library = product / extension_name(target.runtime, target.arch)
        shared = precompiled_headers(target, core, cache=cache, toolchain=toolchain, log=log)
        with cache.scratch(product.name.strip(".")) as work:
            _Compilation(
                target, core, headers, shared, work, cache, toolchain, compilers, log, progress
            ).run(library)

    key = extension_key(target, core.path.name, headers, toolchain)
    folder = cache.product("extension", key, make)
    return folder / extension_name(target.runtime, target.arch)


@dataclass
class _Compilation:
    target: Target
    core: Core
    headers: Headers
    shared: Path
    work: Path
    cache: Cache
    toolchain: Toolchain
    compilers: Semaphore
    log: Path
    progress: Callable[[int, int | None], None]
    total: int = 0
    # Appended to by several threads at once.
    done: list[str] = field(default_factory=list)

    def run(self, library: Path) -> None:
        own = self._own_sources()
        self.total = len(WRAPPER_SOURCES) + len(own) + 2
        self.progress(0, self.total)
        with ThreadPoolExecutor() as pool:
            compiled = pool.map(self._compile_upstreams, WRAPPER_SOURCES)
            objects = [*compiled, *pool.map(self._compile_own, own)]
        self._link(objects, library)

    @property
    def _has_level(self) -> bool:
        arch = ARCHITECTURES[self.target.arch]
        return arch.cpu != arch.oldest_cpu

    @property
    def _oldest_cpu(self) -> list[str]:
        return [f"-mcpu={ARCHITECTURES[self.target.arch].oldest_cpu}"]

    def _own_sources(self) -> list[Path]:
        demangler = self.work / "demangler.c"
        demangler.write_text(DEMANGLER)
        return [demangler, *([LEVEL / f"{self.target.arch}.c"] if self._has_level else [])]

    def _compile_upstreams(self, name: str) -> Path:
        headers = self.headers
        command = [
            *wrapper_command(self.target, self.core, self.toolchain),
            *self._prefix_maps,
            *(f"-I{each}" for each in (headers.pybind11, headers.numpy, *headers.python.folders)),
            "-include-pch",
            str(self.shared),
        ]
        if self._has_level and name == MODULE:
            command.append(f"-D{INITIALIZER}={RUNTIME_INITIALIZER}")
        return self._compile(command, self.core.path / "wrapper" / name)

    def _compile_own(self, source: Path) -> Path:
        # For every processor of the architecture: the level is asked for here.
        compiler = self.toolchain.compiler("c", self.target.arch)
        command = [*compiler, *self._oldest_cpu, *FLAGS, *self._prefix_maps]
        command += [f"-DRUNTIME_INIT={RUNTIME_INITIALIZER}"]
        command += [f"-I{folder}" for folder in self.headers.python.folders]
        return self._compile([*command, f"-idirafter{SHIM}"], source)

    @property
    def _prefix_maps(self) -> list[str]:
        maps = self.toolchain.prefix_maps(work=self.work, headers=self.cache.root, level=LEVEL)
        python = self.headers.python.folders
        return [*maps, *(f"-ffile-prefix-map={folder}=python" for folder in python)]

    def _compile(self, command: Sequence[str], source: Path) -> Path:
        compiled = self.work / f"{source.name}.o"
        self._tool(f"compiling {source.name}", [*command, "-c", str(source), "-o", str(compiled)])
        return compiled

    def _link(self, objects: Sequence[Path], library: Path) -> None:
        exports = self.work / "exports.map"
        exports.write_text(EXPORTS)
        command = [*self.toolchain.compiler("c++", self.target.arch), *self._oldest_cpu]
        # For that processor are zig's own libraries, too, whose memset runs when one is loaded.
        command += [*LINK_FLAGS, *KEPT, f"-Wl,--version-script={exports}"]
        command += ["-o", str(library), *map(str, objects), str(self.core.archive), *LIBRARIES]
        lines: list[str] = []
        self._tool("linking the extension", command, lines.append, {"ZIG_VERBOSE_LINK": "1"})
        linker = _linker(lines, self.toolchain, self.cache.root)
        self._tool("linking the extension for size", [*linker, *LINKER_FLAGS])

    def _tool(
        self,
        what: str,
        command: Sequence[str],
        on_line: Callable[[str], None] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        with self.compilers:
            run(
                command,
                log=self.log,
                failure=CompileError,
                what=what,
                env={**self.toolchain.environment, **(env or {})},
                on_line=on_line,
                keep_open=self.cache.held_locks,
            )
        self.done.append(what)
        self.progress(len(self.done), self.total)


def _linker(lines: Sequence[str], toolchain: Toolchain, root: Path) -> list[str]:
    """The linker's command that zig printed when it linked.

    Args:
        root: of the cache, in which all files are that are linked. zig writes a path as it is,
            with spaces and quotes.

    Raises:
        CompileError: it printed none.
    """
    for line in lines:
        words = [word.replace("\0", str(root)) for word in line.replace(str(root), "\0").split()]
        if words[:1] == ["ld.lld"]:
            return [str(toolchain.zig), *words]
    raise CompileError(f"zig {toolchain.versions['ziglang']} does not say how it links")
