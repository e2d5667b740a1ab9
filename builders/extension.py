"""The extension: upstream's pybind11 wrapper of one Python, linked with the core."""

from __future__ import annotations

import shutil
from collections.abc import Callable
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
        "flags": (FLAGS, LINK_FLAGS, KEPT, EXPORTS),
        "definitions": definitions_of(target.tensorflow.version),
        "recipe": recipe(Path(__file__), SHIM),
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
        total = len(WRAPPER_SOURCES) + 1
        done: list[str] = []

        def tool(what: str, command: list[str]) -> None:
            run(
                command,
                log=log,
                failure=CompileError,
                what=what,
                env=toolchain.environment,
                keep_open=cache.held_locks,
            )
            done.append(what)
            progress(len(done), total)

        def compile_one(name: str) -> Path:
            compiled = work / f"{name}.o"
            source = core.path / "wrapper" / name
            tool(f"compiling {name}", [*common, "-c", str(source), "-o", str(compiled)])
            return compiled

        progress(0, total)
        with ThreadPoolExecutor(jobs) as pool:
            objects = list(pool.map(compile_one, WRAPPER_SOURCES))
        exports = work / "exports.map"
        exports.write_text(EXPORTS)
        library = product / extension_name(target.runtime, target.arch)
        link = [*toolchain.compiler("c++", target.arch), *LINK_FLAGS, *KEPT]
        link += [f"-Wl,--version-script={exports}", "-o", str(library)]
        link += [*map(str, objects), str(core.archive), *LIBRARIES]
        tool("linking the extension", link)
        shutil.rmtree(work)

    key = extension_key(target, core.path.name, headers, toolchain)
    folder = cache.product("extension", key, make)
    return folder / extension_name(target.runtime, target.arch)
