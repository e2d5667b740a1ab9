"""The parts of the build for arm64 alone, with the real compiler and the real sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import RECOMMENDED, without_patches

from builders.cache import Cache, default_root
from builders.core import CMAKE
from builders.errors import HeadersError
from builders.interpreters import find_interpreter
from builders.matrix import load_matrix
from builders.pyconfig import checked_headers
from builders.toolchain import Toolchain

pytestmark = pytest.mark.integration

TOOLCHAIN = Toolchain(Cache(default_root()))
ENVIRONMENT = {**os.environ, **TOOLCHAIN.environment}

# XNNPACK's CMakeLists.txt sets these on its kernels for arm64.
MARCH = {
    "-march=armv8.2-a+fp16": "-mcpu=generic+v8_2a+fullfp16",
    "-march=armv8.2-a+dotprod": "-mcpu=generic+v8_2a+dotprod",
    "-march=armv8.2-a+dotprod+fp16": "-mcpu=generic+v8_2a+dotprod+fullfp16",
    "-march=armv8.2-a+fp16+dotprod": "-mcpu=generic+v8_2a+fullfp16+dotprod",
    "-march=armv8.2-a+i8mm+fp16": "-mcpu=generic+v8_2a+i8mm+fullfp16",
    "-march=armv8.2-a+bf16": "-mcpu=generic+v8_2a+bf16",
    "-march=armv8.2-a+sve+sve2": "-mcpu=generic+v8_2a+sve+sve2",
    "-march=armv8-a+crypto": "-mcpu=generic+v8a+crypto",
}
# ACLE's macro of each extension (https://arm-software.github.io/acle/main/acle.html).
MACROS = {
    "fp16": "__ARM_FEATURE_FP16_VECTOR_ARITHMETIC",
    "dotprod": "__ARM_FEATURE_DOTPROD",
    "i8mm": "__ARM_FEATURE_MATMUL_INT8",
    "bf16": "__ARM_FEATURE_BF16",
    "sve2": "__ARM_FEATURE_SVE2",
}


def translated(flags: str, folder: Path) -> str:
    """Return flags as CMake passes them to zig."""
    script = folder / "script.cmake"
    script.write_text(
        f'include("{CMAKE / "march.cmake"}")\nzig_march_flags(found "{flags}")\n'
        f'file(WRITE "{folder / "found"}" "${{found}}")\n'
    )
    subprocess.run(["cmake", "-P", script], check=True, env=ENVIRONMENT)
    return (folder / "found").read_text()


@pytest.mark.parametrize("march", MARCH)
def test_upstreams_names_of_instruction_sets_are_zigs(march: str, tmp_path: Path) -> None:
    assert translated(f" -fno-math-errno  {march} ", tmp_path) == f"-fno-math-errno {MARCH[march]}"


@pytest.mark.parametrize(
    "flags", ["", "-mavx2 -mfma", "-march=rv64gcv -mabi=lp64d", "-fno-math-errno"]
)
def test_flags_of_other_processors_stay(flags: str, tmp_path: Path) -> None:
    assert translated(flags, tmp_path) == flags


@pytest.mark.parametrize("march", [march for march in MARCH if "crypto" not in march])
def test_zig_compiles_for_the_instructions_that_were_asked_for(march: str, tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    asked = [macro for name, macro in MACROS.items() if name in march.split("+")]
    assert asked
    source.write_text("".join(f"#ifndef {macro}\n#error {macro}\n#endif\n" for macro in asked))
    compile_c("aarch64", translated(march, tmp_path).split(), source, tmp_path / "x.o")
    with pytest.raises(subprocess.CalledProcessError):
        # The baseline has none of these extensions.
        compile_c("aarch64", [], source, tmp_path / "x.o")


def compile_c(arch: str, flags: list[str], source: Path, output: Path) -> None:
    """Compile one file; raise CalledProcessError if that fails."""
    command: list[str | Path] = [*TOOLCHAIN.compiler("c", arch), *flags]
    subprocess.run(
        [*command, "-O2", "-g0", "-c", source, "-o", output],
        check=True,
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )


# Stands for Linux without /sys/devices/system/cpu, and prints what cpuinfo finds there.
# Code that is only for Arm is compiled for this machine's processor, so that it runs here.
MAIN = r"""
#include <cpuinfo.h>
#undef CPUINFO_ARCH_ARM64
#define CPUINFO_ARCH_ARM64 1
#include "../src/linux/processors.c"
#undef cpuinfo_linux_parse_cpulist

bool cpuinfo_linux_parse_cpulist(const char* file, cpuinfo_cpulist_callback call, void* context) {
  return false;
}
bool cpuinfo_linux_parse_small_file(
    const char* file, size_t size, cpuinfo_smallfile_callback call, void* context) {
  return false;
}
static bool sibling(uint32_t processor, uint32_t start, uint32_t end, void* context) {
  return true;
}
int main(void) {
  uint32_t flags[1024] = {0};
  uint32_t most = cpuinfo_linux_get_max_processors_count(), marked = 0;
  printf("possible %u\n", 1 + cpuinfo_linux_get_max_possible_processor(most));
  printf("present %u\n", 1 + cpuinfo_linux_get_max_present_processor(most));
  cpuinfo_linux_detect_possible_processors(1024, flags, 4, CPUINFO_LINUX_FLAG_POSSIBLE);
  cpuinfo_linux_detect_present_processors(1024, flags, 4, CPUINFO_LINUX_FLAG_PRESENT);
  for (int i = 0; i < 1024; i++) {
    marked += flags[i] == (CPUINFO_LINUX_FLAG_POSSIBLE | CPUINFO_LINUX_FLAG_PRESENT);
  }
  printf("marked %u\n", marked);
  printf("siblings %d\n", cpuinfo_linux_detect_thread_siblings(1024, 0, sibling, NULL));
}
"""


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Mapping[bool, Path]:
    """Return cpuinfo's sources, with our patches (True) and without (False)."""
    place = os.environ.get("TFLITE_TREE")
    if not place:
        pytest.skip("no sources: run ./scripts/test, or set TFLITE_TREE to TensorFlow's tree")
    patched = Path(place).parent / "cpuinfo"
    return {
        True: patched,
        False: without_patches(patched, tmp_path_factory.mktemp("sources"), RECOMMENDED.version),
    }


def includes(tree: Path) -> list[str]:
    """Return the compiler's options for one of cpuinfo's sources."""
    folders = (tree / "include", tree / "src")
    return ["-D_GNU_SOURCE", "-DCPUINFO_LOG_LEVEL=0", *(f"-I{folder}" for folder in folders)]


def counted(tree: Path, folder: Path) -> dict[str, int]:
    """Return what cpuinfo finds on this machine if no file lists the processors."""
    main, program = folder / "main.c", folder / "count"
    main.write_text(MAIN)
    zig: list[str | Path] = [TOOLCHAIN.zig, "cc", *includes(tree), "-w", main, "-o", program]
    subprocess.run(zig, check=True, env=ENVIRONMENT)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", said)}


def test_the_online_processors_are_counted_where_none_are_listed(
    trees: Mapping[bool, Path], tmp_path: Path
) -> None:
    online = os.sysconf("SC_NPROCESSORS_ONLN")
    found = counted(trees[True], tmp_path)
    assert found == {"possible": online, "present": online, "marked": online, "siblings": 0}


def test_without_the_patch_there_are_none(trees: Mapping[bool, Path], tmp_path: Path) -> None:
    nothing = {"possible": 0, "present": 0, "marked": 0, "siblings": 0}
    assert counted(trees[False], tmp_path) == nothing


def test_other_processors_get_the_very_same_code(
    trees: Mapping[bool, Path], tmp_path: Path
) -> None:
    objects: dict[str, set[bytes]] = {}
    for arch in load_matrix().architectures:
        for tree in trees.values():
            output = tmp_path / "processors.o"
            compile_c(arch, includes(tree), tree / "src/linux/processors.c", output)
            objects.setdefault(arch, set()).add(output.read_bytes())
    assert {arch: len(found) for arch, found in objects.items()} == {"x86_64": 1, "aarch64": 2}


PYTHONS = [runtime.python for runtime in load_matrix().runtimes]


@pytest.fixture(params=PYTHONS)
def include(request: pytest.FixtureRequest) -> Path:
    """Return the headers of one of this machine's Pythons."""
    found = find_interpreter(request.param)
    if found is None or not found.has_headers:
        pytest.skip(f"no Python {request.param}: install it with its headers (pyenv install)")
    return found.include


def test_this_machines_headers_are_right_for_arm64(include: Path, tmp_path: Path) -> None:
    copy = checked_headers(include, "aarch64", TOOLCHAIN.cache, tmp_path / "log")
    assert (copy / "pyconfig.h").read_bytes() == (include / "pyconfig.h").read_bytes()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("SIZEOF_LONG 8", "SIZEOF_LONG 4"), ("SIZEOF_WCHAR_T 4", "SIZEOF_WCHAR_T 2")],
)
def test_headers_of_another_data_model_are_refused(right: str, wrong: str, tmp_path: Path) -> None:
    found = next(filter(None, map(find_interpreter, PYTHONS)), None)
    if found is None or not found.has_headers:
        pytest.skip("no Python with its headers: install one (pyenv install 3.12)")
    bad = tmp_path / "include"
    shutil.copytree(found.include, bad)
    text = (bad / "pyconfig.h").read_text()
    assert f"#define {right}\n" in text
    (bad / "pyconfig.h").write_text(text.replace(f"#define {right}\n", f"#define {wrong}\n"))
    with pytest.raises(HeadersError, match=r"checking the headers .* for aarch64"):
        checked_headers(bad, "aarch64", TOOLCHAIN.cache, tmp_path / "log")
