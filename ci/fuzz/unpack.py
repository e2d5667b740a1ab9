"""Fuzzes the unpacking of archives with odd names, links, kinds and sizes, and damaged bytes.

An archive must be unpacked, or refused with ArchiveError, in bounded time and memory. Nothing may
be written outside its folder, and no link in the folder may lead outside.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from builders.errors import ArchiveError
from builders.unpack import UNPACKED_FLOOR, unpack
from ci.fuzz.campaign import Case, Target
from ci.fuzz.edits import edited, edits
from ci.fuzz.worker import apart

SECONDS = 30.0
MEMORY = 1 << 30
TOP = "top"
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, 1),
    ".bz2": lambda data: bz2.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
}
KINDS = {
    kind.decode("latin-1"): kind
    for kind in (
        tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE,
        tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE, b"V",
    )
}  # fmt: skip


def members() -> SearchStrategy[Case]:
    """Return members of an archive."""
    part = st.sampled_from(
        (
            "a",
            "b",
            "lib",
            "..",
            ".",
            "",
            "x" * 90,
            "x" * 300,
            "é",
            "\\",
            "C:",
            "\x1b",
            "\udcff",
            TOP,
        )
    )
    name = st.lists(part, min_size=1, max_size=4).map("/".join)
    inside = name.map(lambda n: f"{TOP}/{n}")
    return st.fixed_dictionaries(
        {
            "name": st.one_of(inside, inside, inside, name),
            "kind": st.sampled_from(["0", "0", "0", "2", "1", "5", *KINDS]),
            "link": st.one_of(name, inside),
            "data": st.one_of(
                st.binary(max_size=40),
                st.sampled_from(
                    (
                        b"30 mtime=1e999\n",
                        b"22 GNU.sparse.major=1\n",
                        b"19 size=99999999999\n",
                        b"../../x\0",
                    )
                ),
            ).map(bytes.hex),
            "size": st.one_of(
                st.none(), st.none(), st.sampled_from((1, 1 << 20, 1 << 33, 1 << 62))
            ),
            "mode": st.sampled_from((0o644, 0o755, 0o4755, 0)),
        }
    )


def cases() -> SearchStrategy[Case]:
    """Return cases: the members, the archive's format, and the edits of its bytes."""
    return st.fixed_dictionaries(
        {
            "format": st.sampled_from([*COMPRESSORS, "zip"]),
            "members": st.lists(members(), min_size=1, max_size=8),
            "edits": st.one_of(st.just([]), st.just([]), edits(3)),
        }
    )


def archive_of(case: Case) -> bytes:
    """Return the bytes of a case's archive."""
    data = _zip(case) if case["format"] == "zip" else COMPRESSORS[case["format"]](_tar(case))
    return edited(data, case["edits"])


def _tar(case: Case) -> bytes:
    result = b""
    for member in case["members"]:
        data = bytes.fromhex(member["data"])
        header = tarfile.TarInfo(member["name"])
        header.type, header.linkname = KINDS[member["kind"]], member["link"]
        header.size = len(data) if member["size"] is None else member["size"]
        header.mode = member["mode"]
        result += header.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")
        result += data.ljust(-(-len(data) // 512) * 512, b"\0")
    return result + bytes(1024)


def _zip(case: Case) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # about duplicate names
        for member in case["members"]:
            name = member["name"].encode("utf-8", "replace").decode()
            info = zipfile.ZipInfo(name)
            info.external_attr = (
                {"2": 0o120000, "5": 0o040000}.get(member["kind"], 0o100000) | member["mode"]
            ) << 16
            is_link = member["kind"] == "2"
            text = member["link"].encode("utf-8", "replace")
            archive.writestr(info, text if is_link else bytes.fromhex(member["data"]))
    return file.getvalue()


def tried(case: Case, folder: Path) -> str:
    """Unpack the archive of a case; return the fault in one sentence, or an empty text."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    out = home / "deep" / "out"
    out.mkdir(parents=True)
    archive = home / "archive"
    archive.write_bytes(archive_of(case))
    try:
        unpack(archive, {TOP: out})
    except ArchiveError as error:
        if not str(error).isprintable():
            return "the error is not printable"
    except Exception as error:
        return f"unpacking ends with {type(error).__name__}: {error}"
    if {p.name for p in home.iterdir()} != {"deep", "archive"} or len(
        list(out.parent.iterdir())
    ) != 1:
        return "something is written outside the folder"
    real = out.resolve()
    paths = list(_paths(out))
    for path in paths:
        # The target of a link need not exist.
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(real):
            return f"the link {path.name!r} leads outside"
        if not path.is_symlink() and not (path.is_file() or path.is_dir()):
            return f"{path.name!r} is neither file nor folder"
    written = sum(path.lstat().st_size for path in paths)
    return "more is written than may be" if written > UNPACKED_FLOOR else ""


def _paths(folder: Path) -> Iterator[Path]:
    """Give all paths below a folder; Path.rglob fails at a link to a name that is too long."""
    for below, folders, files in os.walk(folder):
        yield from (Path(below, name) for name in (*folders, *files))


@contextmanager
def target() -> Iterator[Target]:
    """Give the unpacking as a target, until the block ends."""
    with apart(__name__, cases(), seconds=SECONDS, memory=MEMORY) as worker:
        yield worker
