"""Make the parts that the programs share: googletest, helpers, precompiled headers.

The parts are those of one TensorFlow version. Each is a product of the cache, and its key has
everything that can change its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from builders.breakages import definitions_of
from builders.cache import Cache, key_of, recipe, sha256_of
from builders.core import PUBLIC_DEFINITIONS
from builders.errors import CompileError
from builders.flatc import make_flatc
from builders.matrix import TensorFlow
from builders.process import run
from builders.toolchain import FLAGS, UNOPTIMIZED, Toolchain
from ci.upstream_tests.native.plan import Suite, Tree

SHIM = Path(__file__).with_name("shim")
ARCH = "x86_64"

DEFINITIONS = (
    *PUBLIC_DEFINITIONS,
    "-DEIGEN_MPL2_ONLY",
    # The macros that builders/cmake/CMakeLists.txt defines for the delegate.
    "-DXNNPACK_DELEGATE_ENABLE_QS8=1",
    "-DXNNPACK_DELEGATE_ENABLE_QU8=1",
    "-DXNNPACK_DELEGATE_ENABLE_DYNAMIC_FULLY_CONNECTED=1",
)
INCLUDES = (
    "tensorflow",
    "tensorflow/third_party/xla",
    "tensorflow/third_party/xla/third_party/tsl",
    "absl",
    "flatbuffers/include",
    "eigen",
    "ruy",
    "gemmlowp",
    "fp16/include",
    "cpuinfo/include",
    "pthreadpool/include",
    "xnnpack/include",
    "xnnpack",
    "ml_dtypes",
    "neon2sse",
)
GOOGLETEST = ("googletest/src/gtest-all.cc", "googlemock/src/gmock-all.cc")
MAIN = "googlemock/src/gmock_main.cc"
OBJECT = "object.o"  # the compiler links no file of an unknown suffix
GENERATOR_OPTIONS = ("-c", "--gen-mutable", "--gen-object-api")


@dataclass(frozen=True)
class Parts:
    """Makes the parts of one TensorFlow version.

    Attributes:
        tree: TensorFlow's tree with the plan of its tests.
        trees: the folder with the trees of TensorFlow and of all components of its core.
        googletest: the folder that has googletest's tree.
    """

    tensorflow: TensorFlow
    tree: Tree
    trees: Path
    googletest: Path
    cache: Cache
    toolchain: Toolchain
    log: Path

    @cached_property
    def compiler(self) -> list[str]:
        """The compiler with the flags of the core."""
        return [*self.toolchain.compiler("c++", ARCH), *FLAGS, self._standard]

    @property
    def _standard(self) -> str:
        return f"-std=gnu++{self.tensorflow.cxx_standard}"

    @cached_property
    def includes(self) -> list[str]:
        """The compiler's options for the folders of headers."""
        own = self.googletest / "googletest"
        folders = [SHIM, self.schemas, *(self.trees / name for name in INCLUDES)]
        folders += [own / "googletest/include", own / "googlemock/include"]
        return [f"-I{folder}" for folder in folders]

    @cached_property
    def definitions(self) -> list[str]:
        """The compiler's options for the macros of the core."""
        own = [*self.tree.plan.definitions, *definitions_of(self.tensorflow.version)]
        return [*DEFINITIONS, *(f"-D{definition}" for definition in own)]

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that can change the bytes of a part, except its own source and macros."""
        return {
            "trees": self.trees.name,
            "googletest": self.googletest.name,
            "toolchain": self.toolchain.versions,
            "target": self.toolchain.target(ARCH),
            "flags": (FLAGS, self._standard, self.definitions, UNOPTIMIZED),
            "schemas": dict(self.tree.plan.schemas),
            "recipe": recipe(SHIM, Path(__file__)),
        }

    @cached_property
    def schemas(self) -> Path:
        """The folder of the headers that FlatBuffers' compiler generates from schemas."""
        flatc = make_flatc(
            self.trees / "flatbuffers", cache=self.cache, toolchain=self.toolchain, log=self.log
        )
        schemas = self.tree.plan.schemas

        def make(product: Path) -> None:
            for schema, folder in schemas.items():
                (product / folder).mkdir(parents=True)
                source = self.tree.root / schema
                command = [flatc, *GENERATOR_OPTIONS, "-o", product / folder, source]
                self.tool(f"reading {schema}", list(map(str, command)))

        # The trees' name is not in the key, since most changes of the trees leave schemas alone.
        read = {schema: sha256_of(self.tree.root / schema) for schema in schemas}
        inputs = [flatc.parent.name, GENERATOR_OPTIONS, dict(schemas), read]
        return self.cache.product("upstream-native-schemas", key_of(inputs), make)

    def googletest_objects(self) -> list[Path]:
        """Return the objects of googletest and of its main function."""
        own = self.googletest / "googletest"
        folders = [f"-I{own / name}" for name in ("googletest", "googlemock")]
        return [self.object(own / name, folders) for name in (*GOOGLETEST, MAIN)]

    def abseil(self) -> list[Path]:
        """Return the objects of abseil's sources that the core lacks."""
        return [self.object(self.trees / "absl" / name, []) for name in self.tree.plan.abseil]

    def helper(self, source: str) -> Path:
        """Return the object of a helper.

        If the helper is in the folder of a suite, it uses the suite's precompiled headers.
        """
        folder = str(Path(source).parent)
        suites = [suite for suite in self.tree.plan.suites if suite.folder == folder]
        return self.object(self.tree.root / source, self.beginning(*suites))

    def beginning(self, *suites: Suite) -> list[str]:
        """Return the options that include the precompiled headers of the suites."""
        return [part for suite in suites for part in ("-include-pch", str(self.precompiled(suite)))]

    def again(self, suite: Suite) -> list[Path]:
        """Return the objects of the core's sources that a suite needs with its own macros."""
        macros = [f"-D{definition}" for definition in suite.definitions]
        return [
            self.object(self.tree.root / source, macros, optimized=True) for source in suite.again
        ]

    def precompiled(self, suite: Suite) -> Path:
        """Return the precompiled file of the headers that a suite's tests include first."""
        *first, last = suite.precompiled

        def make(product: Path) -> None:
            command = self.command([part for name in first for part in ("-include", name)])
            header = self.tree.root / last
            self.tool(
                f"precompiling {last}",
                [*command, "-x", "c++-header", header, "-o", product / "headers.pch"],
            )

        key = key_of({**self.inputs, "headers": suite.precompiled})
        return self.cache.product("upstream-native-headers", key, make) / "headers.pch"

    def object(self, source: Path, options: Sequence[str], *, optimized: bool = False) -> Path:
        """Return the object of a source in one of the trees.

        Raises:
            CompileError: the compiler failed.
        """
        name = source.relative_to(self.cache.root)

        def make(product: Path) -> None:
            command = self.command(options, optimized=optimized)
            self.tool(f"compiling {source.name}", [*command, "-c", source, "-o", product / OBJECT])

        inputs = {**self.inputs, "source": str(name), "optimized": optimized}
        own = [option.replace(str(self.cache.root), "") for option in options]
        key = key_of({**inputs, "options": own})
        return self.cache.product("upstream-native-objects", key, make) / OBJECT

    def command(self, options: Sequence[str], *, optimized: bool = False) -> list[str]:
        """Return the compiler's command with all options that a source of these tests needs."""
        # Tests need no speed: the tested code is the core's, which is linked unchanged.
        how = () if optimized else UNOPTIMIZED
        return [*self.compiler, *how, *self.definitions, *options, *self.includes]

    def tool(self, what: str, command: Sequence[str | Path]) -> None:
        """Run a program of the toolchain.

        Raises:
            CompileError: the program failed.
        """
        run(
            command,
            log=self.log,
            failure=CompileError,
            what=what,
            env=self.toolchain.environment,
        )
