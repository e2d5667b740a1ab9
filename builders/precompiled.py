"""TensorFlow Lite's headers, parsed once for the extensions of all Pythons.

They are half of the time in which an extension is compiled, and do not depend on Python. Objects
are the same, to the byte, with and without them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from builders.breakages import definitions_of
from builders.cache import Cache, key_of, recipe
from builders.core import PUBLIC_DEFINITIONS, WRAPPER_SOURCES, Core
from builders.errors import CompileError
from builders.matrix import Target
from builders.process import run
from builders.toolchain import FLAGS, SHIM, Toolchain

KIND = "precompiled"
"""The kind of this product in the cache."""
FILE = "wrapper.pch"

# What neither is nor includes a header of Python or pybind11.
_INCLUDE = re.compile(
    r'^#include [<"](?!Python\.h|pybind11/|tensorflow/python/|tensorflow/lite/python/)(\S+)[>"]',
    re.MULTILINE,
)

# A header's time is no part of a precompiled one; templates are instantiated in it, once
# (https://clang.llvm.org/docs/PCHInternals.html).
_OPTIONS = ("-Xclang", "-fno-pch-timestamp", "-Xclang", "-fpch-instantiate-templates", "-w")


def shared_headers(core: Core) -> list[str]:
    """Return what the wrapper's sources include that is the same for all Pythons, in order."""
    texts = [(core.path / "wrapper" / name).read_text() for name in WRAPPER_SOURCES]
    return list(dict.fromkeys(name for text in texts for name in _INCLUDE.findall(text)))


def wrapper_command(target: Target, core: Core, toolchain: Toolchain) -> list[str]:
    """Return the command that compiles the wrapper, as far as it is the same for all Pythons."""
    tensorflow = target.tensorflow
    return [
        *toolchain.compiler("c++", target.arch),
        *FLAGS,
        *toolchain.prefix_maps(core=core.path),
        f"-std=gnu++{tensorflow.cxx_standard}",
        "-fvisibility=hidden",
        *PUBLIC_DEFINITIONS,
        *(f"-D{definition}" for definition in definitions_of(tensorflow.version)),
        f"-I{core.path / 'include'}",
        f"-idirafter{SHIM}",
    ]


def precompiled_headers(
    target: Target,
    core: Core,
    *,
    cache: Cache,
    toolchain: Toolchain,
    log: Path,
) -> Path:
    """Return the precompiled headers of a core; compile them first if the cache has none.

    Args:
        target: any that is linked with the core.

    Raises:
        CompileError: the compiler failed.
    """
    command = wrapper_command(target, core, toolchain)

    def make(product: Path) -> None:
        headers = [part for name in shared_headers(core) for part in ("-include", name)]
        nothing = ("-x", "c++-header", os.devnull)
        run(
            [*command, *_OPTIONS, *headers, *nothing, "-o", product / FILE],
            log=log,
            failure=CompileError,
            what="precompiling TensorFlow Lite's headers",
            env=toolchain.environment,
            keep_open=cache.held_locks,
        )

    return cache.product(KIND, precompiled_key(target, core, toolchain), make) / FILE


def precompiled_key(target: Target, core: Core, toolchain: Toolchain) -> str:
    """The name of a core's precompiled headers in the cache."""
    # The command names the core's folder, which is named by all that the core is made from.
    command = wrapper_command(target, core, toolchain)
    return key_of([command, toolchain.versions, recipe(Path(__file__))])
