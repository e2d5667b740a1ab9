"""The core's check of instructions, on objects that the compiler really made.

TFLITE_ZIG names the zig of the toolchain.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from builders.core import check_no_leaked_instructions
from builders.errors import CompileError

pytestmark = pytest.mark.integration

# The optimizer cannot see through it, so the inline function stays a function.
SHARED = "__attribute__((noinline)) int sum(const int *v) { return v[0] + v[1] + v[2]; }"
CALLER = "int {name}(const int *v) {{ return sum(v); }}"


@pytest.fixture
def zig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = os.environ.get("TFLITE_ZIG")
    if not path:
        pytest.skip("no compiler: set TFLITE_ZIG to the toolchain's zig")
    for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, str(tmp_path / "zig")))
    return path


def compile_two(zig: str, build: Path, target: str, flags: list[str], linkage: str) -> None:
    """Compile an object for some CPUs and one for any, which share a function of a linkage."""
    commands = []
    for name, extra in (("special", flags), ("baseline", [])):
        source = build / f"{name}.cc"
        source.write_text(f"{linkage} {SHARED}\n{CALLER.format(name=name)}\n")
        command = [zig, "c++", "-target", target, BASELINE[target], "-g0", "-O2", *extra]
        command += ["-c", str(source), "-o", f"{name}.o"]
        subprocess.run(command, cwd=build, check=True)
        commands.append({"command": " ".join(command), "output": f"{name}.o"})
    (build / "compile_commands.json").write_text(json.dumps(commands))


BASELINE = {
    "x86_64-linux-gnu.2.17": "-mcpu=x86_64_v2",
    "aarch64-linux-gnu.2.17": "-mcpu=generic",
}
TARGETS = pytest.mark.parametrize(
    ("target", "flags"),
    [
        ("x86_64-linux-gnu.2.17", ["-mavx2"]),
        ("aarch64-linux-gnu.2.17", ["-mcpu=generic+v8_2a+fullfp16"]),
    ],
)


@TARGETS
def test_an_inline_function_of_both_is_a_leak(
    zig: str, tmp_path: Path, target: str, flags: list[str]
) -> None:
    compile_two(zig, tmp_path, target, flags, "inline")
    with pytest.raises(
        CompileError, match=r"baseline\.o, for any CPU, could link _Z3sumPKi of special\.o"
    ):
        check_no_leaked_instructions(tmp_path, BASELINE[target])


@TARGETS
def test_a_function_of_each_its_own_is_none(
    zig: str, tmp_path: Path, target: str, flags: list[str]
) -> None:
    compile_two(zig, tmp_path, target, flags, "static")
    check_no_leaked_instructions(tmp_path, BASELINE[target])
