"""The core: TensorFlow Lite, XNNPACK and what they need as one static archive.

It does not depend on Python. It is compiled once per TensorFlow version and
architecture; an extension is then compiled per Python from its product alone:

    lib/libtflite.a   every object
    include/          the headers that the extension includes
    wrapper/          upstream's sources of the extension
    python/           upstream's Python files of the wheel
    licences/         one folder per component
    core.json         what it was made from
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from builders.breakages import definitions_of, needs_host_flatc
from builders.cache import Cache, key_of, recipe, write_atomically
from builders.engines.engine import Engine, Job, compile_with
from builders.engines.ninja import NINJA
from builders.errors import ArchiveError, CompileError
from builders.flatc import SOURCE as FLATC_SOURCE
from builders.flatc import make_flatc
from builders.locking.coherence import told
from builders.matrix import TensorFlow
from builders.process import run
from builders.sources import Source
from builders.toolchain import FLAGS, LIBRARIES, LINK_FLAGS, Toolchain
from builders.trees import trees_inputs

CMAKE = Path(__file__).with_name("cmake")
ARCHIVE = "lib/libtflite.a"

# What upstream's build gives an extension to compile with (the public options of
# the target tensorflow-lite in tensorflow/lite/CMakeLists.txt).
PUBLIC_DEFINITIONS = (
    "-DEIGEN_NEON_GEBP_NR=4",
    "-DTFLITE_BUILD_WITH_XNNPACK_DELEGATE",
    "-DTFL_STATIC_LIBRARY_BUILD",
)

LANGUAGES = ("ASM", "C", "CXX")

# Abseil targets to link when the matrix row lists none.
ABSL_TARGETS = (
    "flat_hash_map",
    "hash",
    "log",
    "status",
    "str_format",
    "strings",
    "synchronization",
)

WRAPPER = "tensorflow/lite/python/interpreter_wrapper"
WRAPPER_SOURCES = (
    "interpreter_wrapper.cc",
    "interpreter_wrapper_pybind11.cc",
    "numpy.cc",
    "python_error_reporter.cc",
    "python_utils.cc",
)
PYTHON_FILES = (
    "tensorflow/lite/python/interpreter.py",
    "tensorflow/lite/python/metrics/metrics_interface.py",
    "tensorflow/lite/python/metrics/metrics_portable.py",
)
HEADERS = {
    "tensorflow": (
        "tensorflow/lite/**/*.h",
        "tensorflow/compiler/mlir/lite/**/*.h",
        "tensorflow/core/public/*.h",
        "tensorflow/python/lib/core/*.h",
    ),
    "absl": ("absl/**/*.h", "absl/**/*.inc"),
    "flatbuffers/include": ("flatbuffers/**/*.h",),
}

# Without these the product is not what its users need.
REQUIRED_SYMBOLS = frozenset({"TfLiteXNNPackDelegateCreate", "xnn_initialize", "TfLiteVersion"})

# SSE up to SSE4.2 is in the level that all is compiled for.
_SPECIAL_INSTRUCTIONS = re.compile(r" -m(?:arch|cpu|avx|fma|f16c|amx|gfni)")

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Core:
    """A built core and what it was made from."""

    path: Path
    record: Mapping[str, Any]

    @property
    def archive(self) -> Path:
        """The static archive."""
        return self.path / ARCHIVE


def core_inputs(
    tensorflow: TensorFlow, arch: str, sources: Sequence[Source], toolchain: Toolchain
) -> dict[str, Any]:
    """Everything that can change the bytes of a core."""
    return {
        "tensorflow": tensorflow.version,
        "target": toolchain.target(arch),
        "cpu": toolchain.cpu(arch),
        "cxx_standard": tensorflow.cxx_standard,
        "absl": tensorflow.absl or ABSL_TARGETS,
        "trees": trees_inputs(tensorflow.version, sources),
        "components": {source.component.name: _describe(source) for source in sources},
        "toolchain": toolchain.versions,
        "flags": FLAGS,
        "definitions": definitions_of(tensorflow.version),
        "host_flatc": needs_host_flatc(tensorflow.version),
        "recipe": recipe(CMAKE, FLATC_SOURCE, Path(__file__)),
    }


def core_key(
    tensorflow: TensorFlow, arch: str, sources: Sequence[Source], toolchain: Toolchain
) -> str:
    """The name of a core in the cache."""
    return key_of(core_inputs(tensorflow, arch, sources, toolchain))


def make_core(
    tensorflow: TensorFlow,
    arch: str,
    sources: Sequence[Source],
    trees: Callable[[], Path],
    *,
    cache: Cache,
    toolchain: Toolchain,
    jobs: int,
    log: Path,
    progress: Progress,
    engine: Engine = NINJA,
) -> Core:
    """The core, compiled now if the cache does not have it.

    Which engine compiles it is in no key, since it changes no byte.

    Args:
        trees: gives the folder of trees; not called when nothing is to be compiled.
        jobs: compilers at once.
        progress: is called with the number of finished build steps and of all.

    Raises:
        CompileError: a compiler failed, or the product lacks what it must have.
    """
    key = core_key(tensorflow, arch, sources, toolchain)

    def make(product: Path) -> None:
        # Kept until the product is whole, so that a killed build goes on where it was. CMake
        # refuses to go on with what another checkout began.
        build = cache.root / "work" / f"core-{key}-{key_of(str(CMAKE))}"
        build.mkdir(parents=True, exist_ok=True)
        _Compilation(tensorflow, arch, trees(), build, cache, toolchain, log).run(
            product, jobs, progress, engine
        )
        inputs = core_inputs(tensorflow, arch, sources, toolchain)
        _write_record(product, inputs, sources, engine.identity)
        for source in sources:
            _copy_licences(source, trees(), product / "licences")
        engine.forget(build)
        shutil.rmtree(build)

    core = load_core(cache.product("core", key, make))
    # How a component belongs to its TensorFlow is in no key, since it changes no byte of the
    # archive: the record follows the lock.
    if core.record["components"] != _components(sources):
        made_by = core.record.get("engine", NINJA.identity)
        _write_record(core.path, core.record["inputs"], sources, made_by)
        core = load_core(core.path)
    return core


def load_core(path: Path) -> Core:
    """A core that was made before, in the folder named by its key."""
    return Core(path=path, record=json.loads((path / "core.json").read_text()))


def _write_record(
    folder: Path, inputs: Mapping[str, Any], sources: Sequence[Source], engine: str
) -> None:
    record = {"inputs": inputs, "components": _components(sources), "engine": engine}
    write_atomically(folder / "core.json", json.dumps(record, indent=1).encode())


def _components(sources: Sequence[Source]) -> list[dict[str, str]]:
    return [_describe(source) | told(source) for source in sources]


def _describe(source: Source) -> dict[str, str]:
    return {
        "name": source.component.name,
        "licence": source.component.licence,
        "version": source.origin.version,
        "origin": source.origin.name,
        "location": source.origin.archive.location,
        "sha256": source.origin.archive.sha256,
    }


def _copy_licences(source: Source, trees: Path, destination: Path) -> None:
    for name in source.component.licence_files:
        if not (trees / name).is_file():
            raise ArchiveError(f"{source.component.name} has no licence file {name}")
        target = destination / source.component.name / Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(trees / name, target)


@dataclass(frozen=True)
class _Compilation:
    tensorflow: TensorFlow
    arch: str
    trees: Path
    build: Path
    cache: Cache
    toolchain: Toolchain
    log: Path

    def run(self, product: Path, jobs: int, progress: Progress, engine: Engine) -> None:
        self._tool("configuring the core", self._configure())
        job = Job(
            build=self.build,
            target="tensorflow-lite",
            folders={"trees": self.trees, "core": self.build, "zig": self.toolchain.zig.parent},
            compiler=self.toolchain.zig,
            environment=self.toolchain.environment,
            jobs=jobs,
            log=self.log,
            progress=progress,
            keep_open=self.cache.held_locks,
        )
        compile_with(engine, job)
        check_no_leaked_instructions(self.build, f"-mcpu={self.toolchain.cpu(self.arch)}")
        (product / "lib").mkdir()
        self._merge(product / ARCHIVE)
        self._check(product / ARCHIVE)
        self._collect(product)

    def _configure(self) -> list[str | Path]:
        absl = self.tensorflow.absl
        flags = shlex.join((*FLAGS, *self.toolchain.prefix_maps(trees=self.trees, core=self.build)))
        settings = {
            "ZIG": self.toolchain.zig,
            "ZIG_TARGET": self.toolchain.target(self.arch),
            "ZIG_CPU": self.toolchain.cpu(self.arch),
            "CORE_TREES": self.trees,
            "CORE_ABSL": ";".join(f"absl::{name}" for name in absl or ABSL_TARGETS),
            "CORE_ABSL_ALONE": "ON" if absl else "OFF",
            "CORE_DEFINITIONS": ";".join(definitions_of(self.tensorflow.version)),
            # Of assembly, too: its objects name their sources, which zig's -g0 does not prevent.
            **dict.fromkeys((f"CMAKE_{language}_FLAGS" for language in LANGUAGES), flags),
            "CMAKE_CXX_STANDARD": self.tensorflow.cxx_standard,
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_EXPORT_COMPILE_COMMANDS": "ON",
            "CMAKE_POLICY_VERSION_MINIMUM": "3.5",
            "Python_EXECUTABLE": sys.executable,
            **self._flatc(),
        }
        command: list[str | Path] = ["cmake", "-S", CMAKE, "-B", self.build, "-G", "Ninja"]
        command += ["--toolchain", CMAKE / "zig.cmake", "-Wno-dev", "--no-warn-unused-cli"]
        return command + [f"-D{name}={value}" for name, value in settings.items()]

    def _flatc(self) -> dict[str, str | Path]:
        """What TensorFlow Lite's build files look for when they generate a header."""
        if not needs_host_flatc(self.tensorflow.version):
            return {}
        flatc = make_flatc(
            self.trees / "flatbuffers", cache=self.cache, toolchain=self.toolchain, log=self.log
        )
        return {"TFLITE_HOST_TOOLS_DIR": flatc.parent, "FLATC_BIN": flatc, "FLATC_TARGET": flatc}

    def _merge(self, archive: Path) -> None:
        """All archives of the build as one, in an order that is always the same."""
        parts = sorted(part.relative_to(self.build) for part in self.build.rglob("*.a"))
        script = ["CREATE merged", *(f"ADDLIB {part}" for part in parts), "SAVE", "END"]
        (self.build / "merge.mri").write_text("\n".join(script) + "\n")
        shell = 'exec "$0" ar -M < merge.mri'
        self._tool("merging the core", ["sh", "-c", shell, self.toolchain.zig])
        (self.build / "merged").replace(archive)

    def _check(self, archive: Path) -> None:
        """Link the whole archive: nothing it refers to may be missing from it."""
        library = self.build / "check.so"
        command = [*self.toolchain.compiler("c++", self.arch), *LINK_FLAGS, "-o", str(library)]
        command += ["-Wl,-z,defs", "-Wl,--whole-archive", str(archive), "-Wl,--no-whole-archive"]
        self._tool("checking the core for missing symbols", [*command, *LIBRARIES])
        missing = REQUIRED_SYMBOLS - {name for name, _ in _defined(library, ".dynsym")}
        if missing:
            raise CompileError(f"the core lacks the symbols {', '.join(sorted(missing))}")

    def _collect(self, product: Path) -> None:
        for tree, patterns in HEADERS.items():
            root = self.trees / tree
            for pattern in patterns:
                for header in root.glob(pattern):
                    target = product / "include" / header.relative_to(root)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(header, target)
        for folder, names in (
            ("wrapper", [f"{WRAPPER}/{name}" for name in WRAPPER_SOURCES]),
            ("python", PYTHON_FILES),
        ):
            (product / folder).mkdir()
            for name in names:
                shutil.copyfile(
                    self.trees / "tensorflow" / name, product / folder / Path(name).name
                )

    def _tool(self, what: str, command: Sequence[str | Path]) -> None:
        run(
            command,
            cwd=self.build,
            log=self.log,
            failure=CompileError,
            what=what,
            env=self.toolchain.environment,
            keep_open=self.cache.held_locks,
        )


def check_no_leaked_instructions(build: Path, baseline_flag: str) -> None:
    """Fail if a baseline object could link a function compiled for newer CPUs.

    An inline function is a weak symbol in every object that uses it, and the linker
    keeps any one of them: the one compiled for AVX, and callers that run on every
    CPU die of an illegal instruction.

    Args:
        build: the folder that has `compile_commands.json`.
        baseline_flag: what every object is compiled with.

    Raises:
        CompileError: naming the function and the objects.
    """
    special: dict[str, Path] = {}
    baseline = []
    for command in json.loads((build / "compile_commands.json").read_text()):
        output = build / command["output"]
        # A precompiled header is not linked.
        if output.suffix != ".o" or not output.is_file():
            continue
        # The flag stands in each command; a newer one comes after it.
        if _SPECIAL_INSTRUCTIONS.search(command["command"].replace(f" {baseline_flag}", "", 1)):
            special |= {name: output for name, weak in _defined(output, ".symtab") if weak}
        else:
            baseline.append(output)
    for compiled in baseline:
        strings = compiled.read_bytes()
        for name, source in special.items():
            # A name may be stored as the end of a longer one: then the table decides.
            if b"%b\0" % name.encode() in strings and name in _names(compiled):
                raise CompileError(
                    f"{compiled.name}, for any CPU, could link {name} of {source.name}, "
                    "which is compiled for newer CPUs"
                )


def _names(path: Path) -> set[str]:
    """The symbols that an object defines or refers to."""
    with path.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        return {symbol.name for symbol in symbols.iter_symbols()}


def _defined(path: Path, table: str) -> Iterator[tuple[str, bool]]:
    """The functions that an ELF file defines for others, and whether they are weak."""
    with path.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(table)
        assert isinstance(symbols, SymbolTableSection)
        for symbol in symbols.iter_symbols():
            info = symbol["st_info"]
            defined = symbol["st_shndx"] != "SHN_UNDEF" and info["type"] == "STT_FUNC"
            if defined and info["bind"] in ("STB_GLOBAL", "STB_WEAK"):
                yield symbol.name, info["bind"] == "STB_WEAK"
