"""A CPython of another architecture, put together from a copy and cx_Freeze's wheel."""

from __future__ import annotations

import os
import site
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from builders.errors import ArchiveError
from builders.matrix import load_matrix
from ci.images.standin.frozen import STARTUP, cover_dynamic_section, freeze_python

PY310 = load_matrix().runtime("3.10")
LOAD, DYNAMIC = 1, 2


def elf(*segments: tuple[int, int, int]) -> bytes:
    """Return an arm64 executable with only segments, given by type, offset and size."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 0xB7, 1, 0, 64, 0, 0, 64, 56,
                         len(segments), 0, 0, 0)  # fmt: skip
    table = b"".join(
        struct.pack("<IIQQQQQQ", kind, 6, start, start, start, size, size, 0x1000)
        for kind, start, size in segments
    )
    return (header + table).ljust(0x4000, b"\0")


def sizes(path: Path) -> list[tuple[int, int]]:
    with path.open("rb") as file:
        loads = ELFFile(file).iter_segments("PT_LOAD")
        return [(load["p_filesz"], load["p_memsz"]) for load in loads]


def test_a_segment_is_extended_over_the_dynamic_section(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(elf((LOAD, 0, 0x1E00), (DYNAMIC, 0x1F00, 0x200), (LOAD, 0x3000, 0x100)))
    cover_dynamic_section(path)
    assert sizes(path) == [(0x2100, 0x2100), (0x100, 0x100)]


def test_a_sound_executable_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "python"
    sound = elf((LOAD, 0, 0x1E00), (LOAD, 0x3000, 0x400), (DYNAMIC, 0x3100, 0x200))
    path.write_bytes(sound)
    cover_dynamic_section(path)
    assert path.read_bytes() == sound


WHEEL = {
    "cx_Freeze/bases/console-cpython-310-aarch64-linux-gnu": elf((LOAD, 0, 64), (DYNAMIC, 0, 8)),
    "cx_Freeze/bases/console_legacy-cpython-310-aarch64-linux-gnu": b"another",
    "cx_Freeze/bases/lib-dynload/math.cpython-310-aarch64-linux-gnu.so": b"math",
    "cx_Freeze/bases/share/tcl8.6/init.tcl": b"tcl",
    "cx_Freeze/util.cpython-310-aarch64-linux-gnu.so": b"its own",
    "cx_freeze.libs/libssl-1.so.3": b"ssl",
}


@pytest.fixture
def lang(tmp_path: Path) -> Path:
    """Write a copy of this machine's CPython."""
    for name, text in {
        "bin/python3.10": "for x86_64",
        "lib/libpython3.10.so.1.0": "for x86_64",
        "lib/python3.10/os.py": "for any",
        "lib/python3.10/lib-dynload/math.cpython-310-x86_64-linux-gnu.so": "for x86_64",
        "lib/python3.10/_sysconfigdata__linux_x86_64-linux-gnu.py": "M = 'x86_64-linux-gnu'",
        "include/python3.10/Python.h": "for any",
    }.items():
        path = tmp_path / "lang" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "lang"


def wheel(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "cx_Freeze.whl", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return folder / "cx_Freeze.whl"


def test_machine_code_is_exchanged_and_nothing_else(lang: Path, tmp_path: Path) -> None:
    freeze_python(wheel(tmp_path, WHEEL), PY310, "x86_64", "aarch64", lang)
    files = {str(p.relative_to(lang)) for p in lang.rglob("*") if p.is_file()}
    assert files - {f for f in files if f.startswith("bin/lib/")} == {
        "bin/python3.10",
        "include/python3.10/Python.h",
        "lib/libssl-1.so.3",
        "lib/python3.10/__startup__.py",
        "lib/python3.10/_sysconfigdata__linux_aarch64-linux-gnu.py",
        "lib/python3.10/lib-dynload/math.cpython-310-aarch64-linux-gnu.so",
        "lib/python3.10/os.py",
    }
    assert not [p for p in lang.rglob("*") if p.is_file() and b"x86_64" in p.read_bytes()]
    assert os.access(lang / "bin/python3.10", os.X_OK)
    assert (lang / "bin/lib").resolve() == lang / "lib/python3.10"


def test_a_wheel_of_something_else(lang: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"cx_Freeze\.whl has no executable"):
        freeze_python(wheel(tmp_path, {"x/y.so": b""}), PY310, "x86_64", "aarch64", lang)


PROGRAM = """\
import sys
print(__name__, sys.argv, sys.path[0] or "here", sys.prefix)
sys.exit(7)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make an installation with this machine's standard library and its own packages."""
    standard = Path(os.__file__).parent
    library = tmp_path / "lang/lib" / standard.name
    library.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        # Outside of a virtual environment, Debian's Python has another folder for packages.
        patch.setattr(sys, "base_prefix", sys.prefix)
        packages = Path(site.getsitepackages([str(tmp_path / "lang")])[0])
    packages.mkdir(parents=True)
    (packages / "installed.py").write_text("print('found')")
    for entry in standard.iterdir():
        if entry.name != "site-packages":
            (library / entry.name).symlink_to(entry)
    return tmp_path / "lang"


@pytest.fixture
def python(home: Path, tmp_path: Path) -> list[str]:
    """Return a command that runs startup.py as such an executable does: isolated, without site."""
    (tmp_path / "program.py").write_text(PROGRAM)
    run = f"import runpy, sys; sys.executable = sys.argv[0] = {str(home / 'bin/python')!r}; "
    run += f"startup = runpy.run_path({str(STARTUP)!r}); startup['init'](); startup['run']()"
    return [sys.executable, "-I", "-S", "-c", run]


@pytest.mark.usefixtures("allow_subprocess")
@pytest.mark.parametrize(
    ("words", "argv", "first"),
    [
        (["-m", "program", "-c", "x"], "{folder}/program.py", "{folder}"),
        (["-W", "ignore", "-s", "-m", "program", "-c", "x"], "{folder}/program.py", "{folder}"),
        (["{folder}/program.py", "-c", "x"], "{folder}/program.py", "{folder}"),
        (["-B", "-c", PROGRAM, "-c", "x"], "-c", "here"),
    ],
)
def test_the_command_line_is_that_of_python(
    words: list[str], argv: str, first: str, python: list[str], home: Path, tmp_path: Path
) -> None:
    command = [*python, *(word.replace("{folder}", str(tmp_path)) for word in words)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    argv, first = (text.format(folder=tmp_path) for text in (argv, first))
    assert done.stdout == f"__main__ {[argv, '-c', 'x']} {first} {home}\n", done.stderr
    assert done.returncode == 7


@pytest.mark.usefixtures("allow_subprocess")
def test_modules_are_found_as_the_environment_says(python: list[str], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/there.py").write_text("print('found')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "elsewhere")}
    for options, status in (([], 0), (["-E"], 1), (["-I"], 1)):
        done = subprocess.run(
            [*python, *options, "-m", "there"], env=env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (status, "" if status else "found\n")


@pytest.mark.usefixtures("allow_subprocess")
def test_what_pip_installed_is_found(python: list[str]) -> None:
    done = subprocess.run([*python, "-m", "installed"], capture_output=True, text=True, check=True)
    assert done.stdout == "found\n"


@pytest.mark.usefixtures("allow_subprocess")
def test_it_has_no_prompt(python: list[str]) -> None:
    done = subprocess.run([*python, "-s"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no prompt" in done.stderr
