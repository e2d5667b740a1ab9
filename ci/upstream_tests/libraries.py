"""Compile the libraries of upstream's tests: a delegate and a registerer of custom operators."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from builders.cache import Cache, digest_files, key_of, recipe
from builders.core import PUBLIC_DEFINITIONS
from builders.errors import CompileError
from builders.extension import Headers
from builders.matrix import Target
from builders.process import run
from builders.toolchain import FLAGS, LIBRARIES, LINK_FLAGS, Toolchain

TESTDATA = Path("tensorflow/lite/python/testdata")
COMPONENTS = ("tensorflow", "absl", "flatbuffers/include", "eigen", "ruy", "gemmlowp")

# The sources of each library: those that testdata/BUILD names, and those of tensorflow/lite that
# they refer to.
SOURCES = {
    "test_delegate.so": (("test_delegate.cc",), ("core/c/common.cc",)),
    "_pywrap_test_registerer.so": (
        ("test_registerer.cc", "test_registerer_wrapper.cc"),
        (
            "array.cc",
            "core/c/common.cc",
            "kernels/internal/quantization_util.cc",
            "kernels/internal/runtime_shape.cc",
            "kernels/internal/tensor_ctypes.cc",
            "kernels/kernel_util.cc",
            "mutable_op_resolver.cc",
            "util.cc",
        ),
    ),
}
# The exported symbols of each library. All others stay hidden, since TensorFlow, which is loaded
# in the same process, has symbols of the same names.
EXPORTS = {
    "test_delegate.so": "tflite_plugin_*; initialize_counters; get_*; set_destroy_callback;",
    "_pywrap_test_registerer.so": "PyInit_*; TF_TestRegisterer;",
}


def libraries_inputs(
    target: Target, trees_key: str, testdata: Path, headers: Headers, toolchain: Toolchain
) -> dict[str, Any]:
    """Return everything that can change the bytes of the libraries."""
    return {
        "target": target.identifier,
        "cxx_standard": target.tensorflow.cxx_standard,
        "trees": trees_key,
        "testdata": digest_files(testdata),
        "python_headers": headers.python.digest,
        "pybind11": headers.pybind11_sha256,
        "toolchain": toolchain.versions,
        "flags": (FLAGS, LINK_FLAGS),
        "recipe": recipe(Path(__file__)),
    }


def make_libraries(
    target: Target,
    trees: Path,
    testdata: Path,
    headers: Headers,
    *,
    cache: Cache,
    toolchain: Toolchain,
    log: Path,
) -> Path:
    """Compile the libraries for a target's wheel, if the cache does not have them.

    Args:
        trees: the sources of the target's TensorFlow.
        testdata: upstream's folder `testdata`, of that TensorFlow version or another.

    Returns:
        The folder of the libraries.

    Raises:
        CompileError: the compiler or the linker failed.
    """

    def link(name: str, product: Path, work: Path) -> None:
        exports = work / f"{name}.map"
        exports.write_text(f"{{ global: {EXPORTS[name]} local: *; }};\n")
        includes = [*(trees / component for component in COMPONENTS), work]
        includes += [headers.pybind11, *headers.python.folders]
        own, of_lite = SOURCES[name]
        sources = [work / TESTDATA / source for source in own]
        sources += [trees / "tensorflow/tensorflow/lite" / source for source in of_lite]
        run(
            [
                *toolchain.compiler("c++", target.arch),
                *FLAGS,
                *LINK_FLAGS,
                f"-std=gnu++{target.tensorflow.cxx_standard}",
                *PUBLIC_DEFINITIONS,
                *(f"-I{folder}" for folder in includes),
                f"-Wl,--version-script={exports}",
                "-o",
                product / name,
                *sources,
                *LIBRARIES,
            ],
            log=log,
            failure=CompileError,
            what=f"compiling {name}",
            env=toolchain.environment,
            keep_open=cache.held_locks,
        )

    def make(product: Path) -> None:
        with cache.scratch(f"upstream-{product.name.strip('.')}") as work:
            shutil.copytree(testdata, work / TESTDATA)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda name: link(name, product, work), SOURCES))

    key = key_of(libraries_inputs(target, trees.name, testdata, headers, toolchain))
    return cache.product("upstream-libraries", key, make)
