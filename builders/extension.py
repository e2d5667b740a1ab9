"""The extension: upstream's pybind11 wrapper of one Python, linked with the core."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.audit import extension_name
from builders.breakages import definitions_of
from builders.cache import Cache, key_of, recipe
from builders.core import PUBLIC_DEFINITIONS, WRAPPER_SOURCES, Core
from builders.errors import CompileError
from builders.headers import PythonHeaders
from builders.matrix import Target
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

# Where not every processor has the level that all is compiled for, a source of ours asks first.
LEVEL = Path(__file__).with_name("level")
LEVELS = {"x86_64": LEVEL / "level.c"}
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
        "recipe": recipe(Path(__file__), SHIM, LEVEL),
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
    jobs: int,
    log: Path,
    progress: Callable[[int, int | None], None],
) -> Path:
    """The extension, compiled now if the cache does not have it.

    Args:
        progress: is called with the number of finished commands and of all.

    Returns:
        The shared object.

    Raises:
        CompileError: the compiler or the linker failed.
    """

    def make(product: Path) -> None:
        work = cache.root / "work" / product.name.strip(".")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        maps = toolchain.prefix_maps(core=core.path, work=work, headers=cache.root)
        maps += [f"-ffile-prefix-map={f}=python" for f in headers.python.folders]
        includes = [core.path / "include", headers.pybind11, headers.numpy, *headers.python.folders]
        common = [
            *toolchain.compiler("c++", target.arch),
            *FLAGS,
            *maps,
            f"-std=gnu++{target.tensorflow.cxx_standard}",
            "-fvisibility=hidden",
            *PUBLIC_DEFINITIONS,
            *(f"-D{definition}" for definition in definitions_of(target.tensorflow.version)),
            *(f"-I{folder}" for folder in includes),
            f"-idirafter{SHIM}",
        ]
        own: list[tuple[Path, list[str]]] = [(work / "demangler.c", [])]
        own[0][0].write_text(DEMANGLER)
        if target.arch in LEVELS:
            # For every processor of the architecture, so that it can ask.
            flags = [f"-mcpu={target.arch}", f"-DRUNTIME_INIT={RUNTIME_INITIALIZER}"]
            flags += [f"-I{folder}" for folder in headers.python.folders]
            own.append((LEVELS[target.arch], [*flags, f"-idirafter{SHIM}"]))
        total = len(WRAPPER_SOURCES) + len(own) + 2
        done: list[str] = []

        def tool(
            what: str,
            command: Sequence[str],
            on_line: Callable[[str], None] | None = None,
            env: Mapping[str, str] | None = None,
        ) -> None:
            run(
                command,
                log=log,
                failure=CompileError,
                what=what,
                env={**toolchain.environment, **(env or {})},
                on_line=on_line,
                keep_open=cache.held_locks,
            )
            done.append(what)
            progress(len(done), total)

        def compile_one(name: str) -> Path:
            compiled = work / f"{name}.o"
            source = core.path / "wrapper" / name
            renamed = [f"-D{INITIALIZER}={RUNTIME_INITIALIZER}"] if target.arch in LEVELS else []
            command = [*common, *(renamed if name == MODULE else [])]
            tool(f"compiling {name}", [*command, "-c", str(source), "-o", str(compiled)])
            return compiled

        def compile_own(source: Path, flags: list[str]) -> Path:
            compiled = work / f"{source.name}.o"
            command = [*toolchain.compiler("c", target.arch), *FLAGS, *maps, *flags]
            command += [f"-ffile-prefix-map={LEVEL}=level", "-c", str(source), "-o", str(compiled)]
            tool(f"compiling {source.name}", command)
            return compiled

        progress(0, total)
        with ThreadPoolExecutor(jobs) as pool:
            objects = list(pool.map(compile_one, WRAPPER_SOURCES))
            objects += list(pool.map(lambda each: compile_own(*each), own))
        exports = work / "exports.map"
        exports.write_text(EXPORTS)
        library = product / extension_name(target.runtime, target.arch)
        link = [*toolchain.compiler("c++", target.arch), *LINK_FLAGS, *KEPT]
        link += [f"-Wl,--version-script={exports}", "-o", str(library)]
        link += [*map(str, objects), str(core.archive), *LIBRARIES]
        lines: list[str] = []
        tool("linking the extension", link, lines.append, {"ZIG_VERBOSE_LINK": "1"})
        linker = [*_linker(lines, toolchain), *LINKER_FLAGS]
        tool("linking the extension for size", linker)
        shutil.rmtree(work)

    key = extension_key(target, core.path.name, headers, toolchain)
    folder = cache.product("extension", key, make)
    return folder / extension_name(target.runtime, target.arch)


def _linker(lines: Sequence[str], toolchain: Toolchain) -> list[str]:
    """The linker's command that zig printed when it linked.

    Raises:
        CompileError: it printed none.
    """
    for line in lines:
        words = shlex.split(line)
        if words[:1] == ["ld.lld"]:
            return [str(toolchain.zig), *words]
    raise CompileError(f"zig {toolchain.versions['ziglang']} does not say how it links")
