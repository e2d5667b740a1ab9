"""The audit of extensions that a compiler really made, and of wheels that were really published.

TFLITE_ZIG names the zig of the toolchain, TFLITE_WHEELS a folder of our own wheels.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from builders.audit import AuditReport, audit, extension_name
from builders.audit.elf_checks import ENTRY_POINT, XNNPACK
from builders.matrix import load_matrix

pytestmark = pytest.mark.integration

PYTHON = "3.12"

SOURCE = f"""
#include <stdio.h>
#include <stdlib.h>
extern void *PyModule_Create2(void *, int);
__attribute__((used)) static const char *const literals[] = {{"@PYTHON@", "2.14.1", "{XNNPACK}"}};
float table[64];
__attribute__((constructor)) static void fill(void) {{
  for (int i = 0; i < 64; i++) table[i] = table[i] * 1.5f + (float)atoi(literals[i % 3]);
}}
__attribute__((visibility("default"))) void *{ENTRY_POINT}(void) {{
  printf("%s", literals[0]);
  return PyModule_Create2((void *)literals, 1013);
}}
"""

# The checks that depend on how the extension was compiled and linked.
COMPILED = (
    "elf",
    "python",
    "libraries",
    "stack",
    "exports",
    "undefined",
    "glibc",
    "auditwheel",
    "stripped",
    "baseline",
    "tensorflow",
    "xnnpack",
)


@pytest.fixture(scope="session")
def zig() -> str:
    path = os.environ.get("TFLITE_ZIG")
    if not path:
        pytest.skip("no compiler: set TFLITE_ZIG to the toolchain's zig")
    return path


class Compiler:
    def __init__(self, zig: str, folder: Path) -> None:
        self.zig = zig
        self.folder = folder

    def inspect(
        self,
        *flags: str,
        arch: str = "x86_64",
        glibc: str = "2.17",
        source: str = SOURCE,
        compiled_for: str = PYTHON,
        strip: bool = True,
    ) -> AuditReport:
        """Compile an extension, put it into a wheel, and audit the wheel."""
        file, output = self.folder / "extension.c", self.folder / "extension.so"
        file.write_text(source.replace("@PYTHON@", compiled_for))
        command = [
            *(self.zig, "cc", "-target", f"{arch}-linux-gnu.{glibc}", "-shared", "-fPIC", "-O2"),
            *("-fvisibility=hidden", "-g0", "-lm", "-Wl,-s" if strip else "-g", *flags),
            *("-o", str(output), str(file)),
        ]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return self.pack(output, arch)

    def pack(self, extension: Path, arch: str) -> AuditReport:
        """Put an extension into a wheel, and audit the wheel."""
        runtime = load_matrix().runtime(PYTHON)
        tag = f"{runtime.tag}-{runtime.tag}-manylinux_2_17_{arch}"
        wheel = self.folder / f"tflite_runtime-2.14.1-1-{tag}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.write(extension, f"tflite_runtime/{extension_name(runtime, arch)}")
        return audit(wheel, load_matrix())


@pytest.fixture
def compiler(zig: str, tmp_path: Path) -> Compiler:
    return Compiler(zig, tmp_path)


def failed(report: AuditReport) -> set[str]:
    assert {check.name for check in report.checks} >= set(COMPILED)
    return set(report.failed).intersection(COMPILED)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_good_extension(compiler: Compiler, arch: str) -> None:
    report = compiler.inspect(arch=arch)
    assert [report.check(name) for name in failed(report)] == []
    assert " from 2 entries" in report.check("baseline").detail


def test_an_executable_stack(compiler: Compiler) -> None:
    # zig's compiler driver has no such switch, its linker has.
    (compiler.folder / "extension.c").write_text(SOURCE.replace("@PYTHON@", PYTHON))
    compile_ = ["cc", "-target", "x86_64-linux-gnu.2.17", "-c", "-fPIC", "-O2", "extension.c"]
    link = ["ld.lld", "-shared", "-s", "-z", "execstack", "extension.o", "-o", "extension.so"]
    for command in (compile_, link):
        subprocess.run(
            [compiler.zig, *command], check=True, capture_output=True, cwd=compiler.folder
        )
    report = compiler.pack(compiler.folder / "extension.so", "x86_64")
    assert "stack" in failed(report)
    assert "asks for an executable stack" in report.check("stack").detail


def test_writable_relocations(compiler: Compiler) -> None:
    assert failed(compiler.inspect("-Wl,-z,norelro")) == {"elf"}


def test_leaked_symbols(compiler: Compiler) -> None:
    report = compiler.inspect("-fvisibility=default")
    assert failed(report) == {"exports"}
    assert "leaks 1: table" in report.check("exports").detail


def test_a_python_of_another_version(compiler: Compiler) -> None:
    report = compiler.inspect(compiled_for="3.11")
    assert failed(report) == {"python"}
    assert not any(verdict.ok for verdict in report.runtimes)


@pytest.mark.parametrize("cpu", ["x86_64_v3", "x86_64_v4", "sandybridge"])
def test_a_newer_instruction_set_on_x86_64(compiler: Compiler, cpu: str) -> None:
    report = compiler.inspect(f"-mcpu={cpu}")
    assert failed(report) == {"baseline"}
    assert "AVX" in report.check("baseline").detail


@pytest.mark.parametrize(
    ("cpu", "code"),
    [
        ("generic+v8_2a+fullfp16", "value = (__fp16)(value * value);"),
        ("generic+lse", "__atomic_fetch_add(&counter, 2, 5);"),
        ("generic+sve", "for (int i = 0; i < n; i++) out[i] += in[i];"),
    ],
)
def test_a_newer_instruction_set_on_aarch64(compiler: Compiler, cpu: str, code: str) -> None:
    function = (
        "extern void PyErr_Print(void *); static int counter; static _Float16 value;"
        "static float in[999], out[999];"
        "__attribute__((constructor)) static void more(void) {"
        f" int n = counter + 999; {code} PyErr_Print(&counter); PyErr_Print(&value);"
        " PyErr_Print(in); PyErr_Print(out); }"
    )
    report = compiler.inspect(f"-mcpu={cpu}", arch="aarch64", source=SOURCE + function)
    assert failed(report) == {"baseline"}


def test_a_glibc_newer_than_the_floor(compiler: Compiler) -> None:
    source = "#include <math.h>\n" + SOURCE.replace("* 1.5f", "* expf(table[i])")
    report = compiler.inspect(glibc="2.34", source=source)
    assert failed(report) == {"glibc", "auditwheel"}
    assert report.glibc_floor == "2.27"
    assert "GLIBC_2.27 > 2.17" in report.check("glibc").detail


def test_an_undefined_symbol(compiler: Compiler) -> None:
    source = SOURCE.replace("return Py", "extern void xnn_missing(void); xnn_missing(); return Py")
    report = compiler.inspect("-Wl,-z,undefs", source=source)
    assert failed(report) == {"undefined"}
    assert "xnn_missing" in report.check("undefined").detail


def test_symbols_and_debug_information(compiler: Compiler) -> None:
    assert failed(compiler.inspect(strip=False)) == {"stripped"}


def test_a_run_path(compiler: Compiler) -> None:
    assert failed(compiler.inspect("-Wl,-rpath,/opt/lib")) == {"libraries"}


def test_the_wheel_on_pypi(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "tflite-runtime==2.14.0", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
    command += ["--platform=manylinux2014_x86_64", f"--dest={tmp_path}", "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    wheels = list(tmp_path.glob("*.whl"))
    if not wheels:
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
        pytest.skip(f"the wheel cannot be had ({reason}): run with a network and pip")
    report = audit(wheels[0], load_matrix())
    assert {"libraries", "glibc", "auditwheel", "exports", "stripped"} <= set(report.failed)
    assert "libstdc++.so.6" in report.check("libraries").detail
    assert "GLIBC_2.29 > 2.26 of python3.11 / Amazon Linux 2" in report.check("glibc").detail
    verdict = next(v for v in report.runtimes if v.runtime == "python3.11")
    assert not verdict.ok
    assert verdict.reason.startswith("needs GLIBC_2.29 > 2.26")
    # It binds lazily, so its table of called functions stays writable.
    assert report.check("elf").detail == "read-only relocations (RELRO) leave out DT_PLTGOT"
    # The audit must not report its correct parts.
    for name in ("archive", "record", "python", "stack", "baseline", "xnnpack"):
        assert report.check(name).ok, report.check(name)
