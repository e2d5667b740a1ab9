"""CPythons of another architecture, from the executables that cx_Freeze's wheels carry.

For the programs that it freezes, such a wheel has all of CPython as one executable, which
runs `__startup__.run()` where others read their command line, and the extension modules
of the standard library. What else that library is does not depend on the architecture,
and is taken from this machine's CPython of the same X.Y.
https://cx-freeze.readthedocs.io
"""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from elftools.elf.elffile import ELFFile

from builders.errors import ArchiveError
from builders.matrix import Runtime

STARTUP = Path(__file__).with_name("startup.py")


def freeze_python(wheel: Path, runtime: Runtime, machine: str, arch: str, lang: Path) -> None:
    """Make a copied CPython one of another architecture.

    Args:
        wheel: cx_Freeze's, for that Python and architecture.
        machine: the architecture of the copy, as `platform.machine` gives it.
        arch: the one it is to have.
        lang: the copy: an installation's prefix.

    Raises:
        ArchiveError: the wheel has no such executable.
    """
    library = lang / "lib" / runtime.name
    for own in (library / "lib-dynload", *lang.glob("lib/*.so*"), lang / "bin"):
        shutil.rmtree(own) if own.is_dir() else own.unlink()
    executable = lang / "bin" / runtime.name
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            target = _place(PurePosixPath(info.filename), executable, library, lang / "lib")
            if target is not None:
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(info))
    if not executable.exists():
        raise ArchiveError(f"{wheel.name} has no executable of CPython")
    cover_dynamic_section(executable)
    executable.chmod(0o755)
    # Where such an executable looks for its modules.
    (lang / "bin" / "lib").symlink_to(f"../lib/{runtime.name}")
    shutil.copy2(STARTUP, library / "__startup__.py")
    for data in library.glob(f"_sysconfigdata_*{machine}*.py"):
        text = data.read_text().replace(machine, arch)
        data.with_name(data.name.replace(machine, arch)).write_text(text)
        data.unlink()


def _place(member: PurePosixPath, executable: Path, library: Path, shared: Path) -> Path | None:
    """Where a file of the wheel goes, if anywhere."""
    if re.fullmatch(r"console-cpython-\d+-.*", member.name):
        return executable
    if not re.search(r"\.so(\.|$)", member.name):
        return None
    if member.parent.name == "lib-dynload":
        return library / "lib-dynload" / member.name
    if member.parent.name == "lib" or member.parent.suffix == ".libs":
        return shared / member.name
    return None


def cover_dynamic_section(executable: Path) -> None:
    """Have a segment cover the dynamic section, where patchelf left it between two.

    It lies within 64 KB, the pages of some arm64 kernels, of the end of the segment before
    it; with smaller ones it is not mapped, and the program dies before it starts.
    """
    data = bytearray(executable.read_bytes())
    elf = ELFFile(io.BytesIO(data))
    (dynamic,) = elf.iter_segments("PT_DYNAMIC")
    start, end = dynamic["p_offset"], dynamic["p_offset"] + dynamic["p_filesz"]
    before = [
        (number, segment.header)
        for number, segment in enumerate(elf.iter_segments())
        if segment["p_type"] == "PT_LOAD" and segment["p_offset"] <= start
    ]
    number, header = max(before, key=lambda entry: entry[1]["p_offset"])
    size = end - header["p_offset"]
    if header["p_filesz"] < size:
        header["p_filesz"], header["p_memsz"] = size, max(size, header["p_memsz"])
        position = elf["e_phoff"] + number * elf["e_phentsize"]
        data[position : position + elf["e_phentsize"]] = elf.structs.Elf_Phdr.build(header)
        executable.write_bytes(data)
