"""FlatBuffers' compiler, which writes the C++ header of a schema.

It runs on the machine that builds. It is a product of its own in the cache: cores of other
architectures, and cores whose sources are patched again, need the same one.
"""

from __future__ import annotations

import platform
from pathlib import Path

from builders.architecture import ARCHITECTURES
from builders.cache import Cache, digest_files, key_of, recipe
from builders.errors import CompileError, ToolchainError
from builders.process import run
from builders.toolchain import FLAGS, LIBRARIES, UNOPTIMIZED, Toolchain

PROGRAM = "flatc"
SOURCE = Path(__file__).with_name("flatc.cc")
# It reads a few small schemas.
OPTIONS = (*FLAGS, "-s", "-std=gnu++17", *UNOPTIMIZED)


def make_flatc(flatbuffers: Path, *, cache: Cache, toolchain: Toolchain, log: Path) -> Path:
    """Return FlatBuffers' compiler, compiled now if the cache does not have it.

    Args:
        flatbuffers: FlatBuffers' tree.
        log: gets the compiler's output.

    Raises:
        CompileError: the compiler failed.
        ToolchainError: this machine's architecture is not one of ours.
    """
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise ToolchainError(
            f"this machine is {machine}, for which FlatBuffers' compiler is not compiled",
            remedy=f"build on one of {', '.join(ARCHITECTURES)}",
        )
    inputs = {
        "source": digest_files(flatbuffers / "include", flatbuffers / "src"),
        "compiler": [toolchain.target(machine), toolchain.cpu(machine)],
        "toolchain": toolchain.versions,
        "options": OPTIONS,
        "recipe": recipe(SOURCE),
    }

    def make(product: Path) -> None:
        command = [*toolchain.compiler("c++", machine), *OPTIONS]
        command += [f"-I{flatbuffers}", f"-I{flatbuffers / 'include'}"]
        run(
            [*command, "-o", product / PROGRAM, SOURCE, *LIBRARIES],
            log=log,
            failure=CompileError,
            what="compiling FlatBuffers' compiler",
            env=toolchain.environment,
            keep_open=cache.held_locks,
        )

    return cache.product("flatc", key_of(inputs), make) / PROGRAM
