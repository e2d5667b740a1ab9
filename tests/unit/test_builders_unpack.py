"""Archives are unpacked where they belong, and nowhere else."""

from __future__ import annotations

import errno
import io
import lzma
import os
import random
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builders.errors import ArchiveError
from builders.unpack import unpack


@dataclass(frozen=True)
class Member:
    """A member of an archive; by default, a regular file."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644


def folder(name: str) -> Member:
    return Member(name, kind=tarfile.DIRTYPE, mode=0o755)


def symlink(name: str, to: str) -> Member:
    return Member(name, kind=tarfile.SYMTYPE, link=to)


def hardlink(name: str, to: str) -> Member:
    return Member(name, kind=tarfile.LNKTYPE, link=to)


def write_tar(path: Path, members: Sequence[Member]) -> Path:
    compression = path.suffix[1:]
    mode = f"w:{compression}" if compression in ("gz", "xz", "bz2") else "w"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname, info.mode = member.kind, member.link, member.mode
            info.size = len(member.data)
            tar.addfile(info, io.BytesIO(member.data))
    return path


ZIP_KINDS = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


def write_zip(path: Path, members: Sequence[Member]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member in members:
            suffix = "/" if member.kind == tarfile.DIRTYPE else ""
            info = zipfile.ZipInfo(member.name + suffix)
            info.external_attr = (ZIP_KINDS[member.kind] | member.mode) << 16
            file.writestr(info, member.link.encode() or member.data)
    return path


Write = Callable[[Path, Sequence[Member]], Path]
FORMATS = {".tar": write_tar, ".tar.gz": write_tar, ".tar.xz": write_tar, ".tar.bz2": write_tar}
FORMATS |= {".zip": write_zip}
BOTH = pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
ALL = pytest.mark.parametrize("suffix", FORMATS)


def make(place: Path, suffix: str, *members: Member) -> Path:
    return FORMATS[suffix](place / f"archive{suffix}", members)


def tree(root: Path) -> dict[str, bytes | str]:
    """Return every file with its bytes, and every link with its target, below a folder."""
    return {
        path.relative_to(root).as_posix(): (
            str(path.readlink()) if path.is_symlink() else path.read_bytes()
        )
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return the destination, deep in an otherwise empty folder."""
    path = tmp_path / "world" / "deep" / "out"
    path.mkdir(parents=True)
    return path


def assert_nothing_outside(out: Path) -> None:
    assert [p for p in (out.parents[1]).rglob("*") if not p.is_relative_to(out)] == [out.parent]


@ALL
def test_only_the_wanted_folders_are_written(tmp_path: Path, out: Path, suffix: str) -> None:
    archive = make(
        tmp_path,
        suffix,
        folder("top"),
        Member("top/a/x", b"1"),
        Member("top/a/deep/y", b"2"),
        Member("top/ab/z", b"3"),
        Member("top/c/w", b"4"),
    )
    unpack(archive, {"top/a": out / "one", "top/c": out / "two"})
    assert tree(out) == {"one/x": b"1", "one/deep/y": b"2", "two/w": b"4"}


@ALL
def test_an_empty_name_is_the_whole_archive(tmp_path: Path, out: Path, suffix: str) -> None:
    archive = make(tmp_path, suffix, Member("./x", b"1"), Member("a/y", b"2"))
    unpack(archive, {"": out})
    assert tree(out) == {"x": b"1", "a/y": b"2"}


@ALL
def test_a_missing_folder_is_named(tmp_path: Path, out: Path, suffix: str) -> None:
    archive = make(tmp_path, suffix, Member("a/x"), Member("b", b"a file of that name"))
    with pytest.raises(ArchiveError, match=rf"archive{suffix} has no folder 'b'"):
        unpack(archive, {"a": out / "a", "b": out / "b"})


@ALL
def test_programs_stay_programs(tmp_path: Path, out: Path, suffix: str) -> None:
    archive = make(tmp_path, suffix, Member("a/run", mode=0o4775), Member("a/text", mode=0o666))
    unpack(archive, {"a": out})
    assert stat.S_IMODE((out / "run").stat().st_mode) == 0o755
    assert not (out / "text").stat().st_mode & 0o111


@BOTH
def test_what_an_archive_calls_read_only_can_be_written(
    tmp_path: Path, out: Path, suffix: str
) -> None:
    locked = Member("a/b", kind=tarfile.DIRTYPE, mode=0o555)
    unpack(make(tmp_path, suffix, locked, Member("a/b/x", mode=0o444)), {"a": out})
    assert (out / "b").stat().st_mode & stat.S_IWUSR
    assert (out / "b/x").stat().st_mode & stat.S_IWUSR


@BOTH
def test_of_two_members_with_one_name_the_last_counts(
    tmp_path: Path, out: Path, suffix: str
) -> None:
    members = [Member("a/x", b"first", mode=0o755), Member("a/x", b"last"), symlink("a/l", "x")]
    with pytest.warns(UserWarning, match="Duplicate name") if suffix == ".zip" else nullcontext():
        archive = make(tmp_path, suffix, *members, Member("a/l", b"file"))
    unpack(archive, {"a": out})
    # The link is replaced, not written through.
    assert tree(out) == {"x": b"last", "l": b"file"}
    assert not (out / "x").stat().st_mode & 0o111


@BOTH
@pytest.mark.parametrize(
    ("name", "to"),
    [("a/l", "x"), ("a/b/c/l", "../../x"), ("a/l", "b/c"), ("a/b/l", ".."), ("a/l", "absent")],
)
def test_links_inside_are_kept(tmp_path: Path, out: Path, suffix: str, name: str, to: str) -> None:
    unpack(make(tmp_path, suffix, Member("a/x", b"1"), symlink(name, to)), {"a": out})
    assert tree(out)[name.removeprefix("a/")] == to


def test_a_hard_link_is_a_file_of_its_own(tmp_path: Path, out: Path) -> None:
    archive = make(tmp_path, ".tar.gz", Member("a/x", b"1", mode=0o755), hardlink("a/b/y", "./a/x"))
    unpack(archive, {"a": out})
    assert tree(out) == {"x": b"1", "b/y": b"1"}
    assert (out / "b/y").stat().st_mode & stat.S_IXUSR
    (out / "b/y").write_bytes(b"patched")
    assert (out / "x").read_bytes() == b"1"


OUTSIDE = [
    ("a parent", [Member("a/../../evil", b"!")]),
    ("a parent inside", [Member("a/b/../x", b"!")]),
    ("an absolute name", [Member("a//evil", b"!")]),
    ("an absolute link", [symlink("a/l", "/")]),
    ("a link out", [symlink("a/l", "..")]),
    ("a link out and in", [symlink("a/b/l", "../../a/x")]),
    ("a link that climbs late", [symlink("a/l", "b/../../x")]),
    ("an empty link", [symlink("a/l", "")]),
    ("a file behind a link", [symlink("a/l", "b"), Member("a/l/evil", b"!")]),
    ("a folder behind a link", [symlink("a/l", "b"), folder("a/l/evil")]),
    ("a link behind a link", [symlink("a/l", "b/c"), symlink("a/l/evil", "../x")]),
    ("a file behind a link to a folder", [folder("a/b"), symlink("a/l", "b"), Member("a/l/evil")]),
    ("a climb from behind a link", [symlink("a/b/c/l", "../.."), symlink("a/b/c/l/x", "../../..")]),
    ("a device", [Member("a/dev", kind=tarfile.CHRTYPE)]),
    ("a pipe", [Member("a/pipe", kind=tarfile.FIFOTYPE)]),
    ("a file that is a folder", [folder("a/x"), Member("a/x", b"!")]),
    ("a folder that is a file", [Member("a/x", b"!"), Member("a/x/evil", b"!")]),
]


@BOTH
@pytest.mark.parametrize("members", [m for _, m in OUTSIDE], ids=[name for name, _ in OUTSIDE])
def test_what_is_unsafe_is_refused(
    tmp_path: Path, out: Path, suffix: str, members: list[Member]
) -> None:
    with pytest.raises(ArchiveError, match=rf"archive{suffix} is damaged or unsafe"):
        unpack(make(tmp_path, suffix, *members), {"a": out})
    assert_nothing_outside(out)
    assert "!" not in str(tree(out).get("evil", ""))


def test_an_absolute_name_is_refused_where_all_is_wanted(tmp_path: Path, out: Path) -> None:
    for suffix in (".tar", ".zip"):
        archive = make(tmp_path, suffix, Member(str(out.parent / "evil"), b"!"))
        with pytest.raises(ArchiveError, match="outside its folder"):
            unpack(archive, {"": out})
    assert_nothing_outside(out)


@pytest.mark.parametrize(
    "members",
    [
        [hardlink("a/h", "a/../../world/secret")],
        [hardlink("a/h", "secret")],
        [hardlink("a/h", "/etc/hostname")],
        [hardlink("a/h", "a/absent")],
        [folder("a/b"), hardlink("a/h", "a/b")],
        # The link's target does not exist.
        [symlink("a/b/l", "../x"), hardlink("a/h", "a/b/l")],
    ],
)
def test_a_hard_link_to_what_was_not_unpacked_is_refused(
    tmp_path: Path, out: Path, members: list[Member]
) -> None:
    (tmp_path / "world" / "secret").write_text("secret")
    with pytest.raises(ArchiveError):
        unpack(make(tmp_path, ".tar", *members), {"a": out})
    assert not (out / "h").exists()
    assert not (out / "h").is_symlink()


names = st.lists(st.sampled_from(["a", "b", "..", ".", "", "l"]), max_size=5).map("/".join)
members = st.one_of(
    st.builds(Member, names, st.just(b"!")),
    st.builds(symlink, names, names),
    st.builds(hardlink, names, names),
    st.builds(folder, names),
)


def is_loop(link: Path) -> bool:
    """Return True if a link leads only to itself; realpath(3) invents a name for such a link."""
    try:
        link.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(members, max_size=6), st.sampled_from(["", "a", "a/b"]))
@example([symlink("a/l", "b"), symlink("a/b/l", ".."), Member("a/l/l/x", b"!")], "")
@example([symlink("a/l", "./..")], "")
@example([symlink("a", "a//a")], "")
def test_no_archive_writes_or_leads_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member], wanted: str
) -> None:
    world = tmp_path_factory.mktemp("world")
    (out := world / "deep" / "out").mkdir(parents=True)
    archive = write_tar(tmp_path_factory.mktemp("archive") / "archive.tar", members)
    with suppress(ArchiveError):
        unpack(archive, {wanted: out})
    assert [p for p in world.rglob("*") if not p.is_relative_to(out)] == [out.parent]
    for path in out.rglob("*"):
        if path.is_symlink() and not is_loop(path):
            target = os.path.realpath(path)
            assert target == str(out) or target.startswith(f"{out}/")


@ALL
def test_a_cut_archive_is_damaged_wherever_it_is_cut(
    tmp_path: Path, out: Path, suffix: str
) -> None:
    content = random.Random(0).randbytes(2000)
    archive = make(tmp_path, suffix, *(Member(f"a/{i}", content[i:]) for i in range(4)))
    data = archive.read_bytes()
    whole = {str(i): content[i:] for i in range(4)}
    errors = 0
    for cut in [*range(0, len(data), 97), *range(0, len(data), 512)]:
        archive.write_bytes(data[:cut])
        try:
            unpack(archive, {"a": out})
        except ArchiveError:
            errors += 1
        else:
            # Only the part after the last member was cut off.
            assert tree(out) == whole, cut
        shutil.rmtree(out)
        out.mkdir()
    assert errors > 20 if suffix.startswith(".tar.") or suffix == ".zip" else errors > 80


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        b"\x1f\x8b\x08",
        b"\x1f\x8b\x08broken",
        b"\x1f\x8b\x08\x04" + bytes(6) + b"\x07\x00an extra field",
        b"PK\x03\x04",
        b"\xff" * 999,
    ],
)
def test_what_is_no_archive_is_damaged(tmp_path: Path, out: Path, data: bytes) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"archive\.tar\.gz is damaged"):
        unpack(archive, {"": out})


def test_a_damaged_header_is_not_the_end(tmp_path: Path, out: Path) -> None:
    archive = make(tmp_path, ".tar", Member("a/1", b"1"), Member("a/2", b"2"))
    data = bytearray(archive.read_bytes())
    data[1024 + 148] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(archive, {"a": out})


def test_a_changed_byte_of_a_zip_is_found(tmp_path: Path, out: Path) -> None:
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a/x", b"content")
    archive.write_bytes(archive.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(archive, {"a": out})


@ALL
def test_progress_ends_at_the_whole(tmp_path: Path, out: Path, suffix: str) -> None:
    archive = make(tmp_path, suffix, Member("a/x", os.urandom(100_000)))
    seen: list[tuple[int, int | None]] = []
    unpack(archive, {"a": out}, lambda done, total: seen.append((done, total)))
    size = archive.stat().st_size
    assert seen[-1] == (size, size)
    assert seen == sorted(seen)


def bomb(path: Path, *members: tuple[str, bytes, int]) -> Path:
    """Write a tar whose members are zeros of the stated sizes, without holding it in memory."""
    with lzma.open(path, "wb", preset=0) as file:
        for name, kind, size in members:
            header = tarfile.TarInfo(name)
            header.size, header.type = size, kind
            file.write(header.tobuf(tarfile.GNU_FORMAT))
            file.write(bytes(-(-size // 512) * 512))
        file.write(bytes(1024))
    return path


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("top/f", tarfile.REGTYPE, 80_000_000)], "unpacks to more than 64,000,000 bytes"),
        ([("other/f", tarfile.REGTYPE, 80_000_000)], "unpacks to more than 64,000,000 bytes"),
        ([("x", tarfile.XHDTYPE, 2_000_000)], "a header of 2,000,000 bytes"),
        ([("x", tarfile.GNUTYPE_LONGNAME, 2_000_000)], "a header of 2,000,000 bytes"),
    ],
)
def test_a_bomb_is_refused_by_its_headers(
    tmp_path: Path, out: Path, members: list[tuple[str, bytes, int]], says: str
) -> None:
    archive = bomb(tmp_path / "a.tar.xz", *members)
    assert archive.stat().st_size < 100_000
    with pytest.raises(ArchiveError, match=says):
        unpack(archive, {"top": out})
    assert [p for p in out.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("size", [1 << 33, 1 << 62])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE, b"V"])
def test_a_size_that_the_archive_does_not_have(
    tmp_path: Path, out: Path, size: int, kind: bytes
) -> None:
    # tarfile would skip 2^62 bytes, 10,240 at a time.
    header = tarfile.TarInfo("other/f")
    header.size, header.type = size, kind
    archive = tmp_path / "a.tar"
    archive.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(ArchiveError):
        unpack(archive, {"top": out})


def test_a_bomb_of_empty_files_is_refused(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builders.unpack.UNPACKED_FLOOR", 100_000)
    archive = bomb(tmp_path / "a.tar.xz", *[("top/f", tarfile.REGTYPE, 0)] * 300)
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        unpack(archive, {"top": out})


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_name_of_300_bytes_is_refused(tmp_path: Path, out: Path, suffix: str) -> None:
    archive = (write_tar if suffix == ".tar" else write_zip)(
        tmp_path / f"a{suffix}", [Member("top/" + "x" * 300)]
    )
    with pytest.raises(ArchiveError, match="File name too long"):
        unpack(archive, {"top": out})


def test_headers_of_headers_of_headers_end(tmp_path: Path, out: Path) -> None:
    archive = bomb(tmp_path / "a.tar.xz", *[("x", tarfile.GNUTYPE_LONGNAME, 1)] * 5_000)
    with pytest.raises(ArchiveError):
        unpack(archive, {"top": out})
