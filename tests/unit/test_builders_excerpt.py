"""Excerpts give what the whole archive gives, and the whole archive where they cannot."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from blocks import Archive as Blocks
from blocks import archive
from hypothesis import given, settings
from hypothesis import strategies as st
from test_builders_fetch import Server
from test_builders_fetch import server as server  # a fixture
from test_builders_sources import write_lock
from test_builders_unpack import Member, folder, hardlink, symlink, tree

from builders import fetch
from builders.cache import Cache
from builders.errors import ArchiveError, ChecksumError, UnreachableError, UsageError
from builders.excerpt import Fetched
from builders.fetch import Fetcher
from builders.locking import excerpts as excerpting
from builders.locking.excerpts import excerpts, with_excerpts
from builders.locking.generate import changes, lock_text
from builders.shelf import put
from builders.sources import Archive, Component, Lock, Origin, Source, load_lock
from builders.trees import make_trees, trees_key

# Each file has a different text, long enough that folders span several blocks.
MEMBERS = (
    *(Member(f"top/before/{n}", bytes([n]) * 9000) for n in range(8)),
    folder("top/gemmlowp"),
    *(Member(f"top/gemmlowp/{n}", bytes([n, 1]) * 3000) for n in range(6)),
    Member("top/gemmlowp/" + "long" * 60, b"has a header of its own", mode=0o755),
    symlink("top/gemmlowp/link", "0"),
    *(Member(f"top/between/{n}", bytes([n, 2]) * 5000) for n in range(8)),
    Member("top/gemmlowp/late", b"far from the others"),
    hardlink("top/gemmlowp/hard", "top/gemmlowp/0"),
    Member("top/fft/a", b"a"),
    *(Member(f"top/after/{n}", bytes([n, 3]) * 5000) for n in range(8)),
)
SIZE = 7000


def quiet(_done: int, _total: int | None) -> None: ...


def excerpted(
    monkeypatch: pytest.MonkeyPatch, place: Path, made: Blocks, *folders: str
) -> dict[str, Origin]:
    """Write the archive to a file; return each folder's origin, with its excerpt."""
    monkeypatch.setattr(excerpting, "blocks_of", lambda _path: list(made.blocks))
    place.write_bytes(made.data)
    known = Archive(
        sha256=hashlib.sha256(made.data).hexdigest(),
        size=len(made.data),
        debian=f"f/{place.name}",
    )
    found = excerpts(place, folders, quiet)
    return {
        name: Origin(
            name="debian", version="1", archive=known, folder=name, excerpt=found.get(name)
        )
        for name in folders
    }


def sources_of(origins: dict[str, Origin]) -> tuple[Source, ...]:
    return tuple(
        Source(
            component=Component(
                name=Path(name).name, licence="MIT", licence_files=("x/LICENSE",), origins={}
            ),
            origin=origin,
        )
        for name, origin in origins.items()
    )


@pytest.fixture
def origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> dict[str, Origin]:
    """Return two components of one archive, on a mirror that serves pieces of files."""
    made = archive(tmp_path, MEMBERS, SIZE)
    server.data = made.data
    monkeypatch.setattr(fetch, "debian_mirrors", lambda: (server.address,))
    monkeypatch.setattr(fetch, "BACK_OFF_SECONDS", 0.0)
    return excerpted(monkeypatch, tmp_path / "a.tar.xz", made, "top/gemmlowp", "top/fft")


@pytest.fixture
def whole(tmp_path: Path, origins: dict[str, Origin]) -> dict[str, bytes | str]:
    """Unpack the whole archive; return its files."""
    sha256, path = origins["top/gemmlowp"].archive.sha256, tmp_path / "a.tar.xz"
    for name in origins:
        (tmp_path / "whole" / Path(name).name).mkdir(parents=True)
    targets = {name: tmp_path / "whole" / Path(name).name for name in origins}
    Fetched(name=path.name, files=((sha256, path),)).unpack(targets, quiet)
    return tree(tmp_path / "whole")


Make = Callable[[], dict[str, bytes | str]]


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return Fetcher(Cache(tmp_path / "cache"))


@pytest.fixture
def make(origins: dict[str, Origin], fetcher: Fetcher) -> Make:
    def made() -> dict[str, bytes | str]:
        sources = sources_of(origins)
        return tree(make_trees("1.0", sources, fetcher.cache, fetcher, lambda _name: quiet))

    return made


def sent(server: Server) -> list[str | None]:
    return [asked for _, asked in server.asked]


def test_the_trees_of_excerpts_are_those_of_the_archive(
    origins: dict[str, Origin], whole: dict[str, bytes | str], make: Make, server: Server
) -> None:
    assert len(whole) == 11
    assert make() == whole
    wanted = {block for o in origins.values() if o.excerpt for block in o.excerpt.blocks}
    assert len(origins["top/gemmlowp"].excerpt.spans) == 2  # type: ignore[union-attr]
    assert sorted(filter(None, sent(server))) == sorted(
        f"bytes={block.offset}-{block.offset + block.length - 1}" for block in wanted
    )
    assert sum(block.length for block in wanted) < len(server.data) / 2


def test_an_excerpt_is_in_no_key(origins: dict[str, Origin]) -> None:
    without = {name: replace(origin, excerpt=None) for name, origin in origins.items()}
    assert trees_key("1.0", sources_of(origins)) == trees_key("1.0", sources_of(without))


def test_what_was_fetched_is_not_asked_for_again(
    origins: dict[str, Origin], fetcher: Fetcher, make: Make, server: Server
) -> None:
    origin = origins["top/gemmlowp"]
    assert not origin.is_fetched(fetcher.cache)
    origin.fetch(fetcher)
    assert origin.is_fetched(fetcher.cache)
    assert not origin.archive.is_fetched(fetcher.cache)
    origins["top/fft"].fetch(fetcher)
    server.asked.clear()
    make()
    assert server.asked == []


def test_a_broken_transfer_is_resumed(
    whole: dict[str, bytes | str], make: Make, server: Server
) -> None:
    server.breaks = [10, 20]
    assert make() == whole


def test_progress_is_of_the_excerpt(origins: dict[str, Origin], fetcher: Fetcher) -> None:
    shown: list[tuple[str, int, int | None]] = []

    def progress(name: str) -> fetch.Progress:
        return lambda done, total: shown.append((name, done, total))

    origin = origins["top/gemmlowp"]
    origin.fetch(replace(fetcher, progress=progress))
    assert origin.excerpt
    size = origin.excerpt.size
    assert {(name, total) for name, _, total in shown} == {("a.tar.xz", size)}
    done = [done for _, done, _ in shown]
    assert done == sorted(done)
    assert done[-1] == size


@pytest.mark.parametrize("fault", ["no ranges", "a wrong block", "a changed block"])
def test_where_blocks_cannot_be_had_the_archive_is(
    origins: dict[str, Origin],
    whole: dict[str, bytes | str],
    fetcher: Fetcher,
    make: Make,
    server: Server,
    fault: str,
) -> None:
    origin = origins["top/gemmlowp"]
    assert origin.excerpt
    if fault == "no ranges":
        server.ranges = False
    else:
        first, *others = origin.excerpt.blocks
        wrong = replace(first, sha256="0" * 64)
        if fault == "a changed block":
            wrong = replace(first, offset=first.offset + 4)
        excerpt = replace(origin.excerpt, blocks=(wrong, *others))
        origins["top/gemmlowp"] = origin = replace(origin, excerpt=excerpt)
    told: list[str] = []
    fetched = origin.fetch(fetcher, told)
    assert fetched.excerpt is None
    assert len(told) == 1
    assert told[0].endswith("; fetching all of it")
    assert "a.tar.xz" in told[0]
    assert sent(server)[-1] is None
    assert make() == whole
    # The other component is taken from the archive that is here now.
    assert len(server.asked) == 2


def test_a_mirror_with_another_archive_is_refused(
    origins: dict[str, Origin], fetcher: Fetcher, server: Server
) -> None:
    server.data = b"?" * len(server.data)
    with pytest.raises(ChecksumError, match=origins["top/gemmlowp"].archive.sha256):
        origins["top/gemmlowp"].fetch(fetcher)


def test_a_mirror_that_is_away_is_no_reason_for_the_archive(
    origins: dict[str, Origin], fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "debian_mirrors", tuple)
    with pytest.raises(UnreachableError):
        origins["top/gemmlowp"].fetch(fetcher)


def test_the_shelf_has_blocks(
    origins: dict[str, Origin], whole: dict[str, bytes | str], fetcher: Fetcher, tmp_path: Path
) -> None:
    shelf = tmp_path / "shelf"
    put((origin.fetch(fetcher) for origin in origins.values()), shelf)
    offline = Fetcher(Cache(tmp_path / "other"), offline=True, shelf=shelf)
    found = make_trees("1.0", sources_of(origins), offline.cache, offline, lambda _name: quiet)
    assert tree(found) == whole


def test_an_archive_on_the_shelf_is_used_whole(
    origins: dict[str, Origin], whole: dict[str, bytes | str], tmp_path: Path
) -> None:
    known = origins["top/gemmlowp"].archive
    kept = tmp_path / "shelf" / known.sha256 / known.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes((tmp_path / "a.tar.xz").read_bytes())
    offline = Fetcher(Cache(tmp_path / "other"), offline=True, shelf=tmp_path / "shelf")
    found = make_trees("1.0", sources_of(origins), offline.cache, offline, lambda _name: quiet)
    assert tree(found) == whole


def test_a_damaged_block_of_the_shelf_is_named_offline(
    origins: dict[str, Origin], fetcher: Fetcher, tmp_path: Path
) -> None:
    put([origins["top/gemmlowp"].fetch(fetcher)], tmp_path / "shelf")
    kept = next((tmp_path / "shelf").rglob("a.tar.xz.*"))
    kept.unlink()
    kept.write_bytes(b"another")
    offline = Fetcher(Cache(tmp_path / "other"), offline=True, shelf=tmp_path / "shelf")
    with pytest.raises(ChecksumError, match=kept.name):
        origins["top/gemmlowp"].fetch(offline)


def test_a_tampered_block_is_not_unpacked(
    origins: dict[str, Origin], fetcher: Fetcher, make: Make, tmp_path: Path
) -> None:
    _sha256, path = origins["top/gemmlowp"].fetch(fetcher).files[0]
    path.write_bytes(b"evil" + path.read_bytes()[4:])
    with pytest.raises(ChecksumError, match=path.name):
        make()
    assert not path.exists()
    assert list((tmp_path / "cache" / "trees").iterdir()) == []


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        (lambda start, end: (start, end + 10**7), "ends before the last of its members"),
        (lambda start, end: (start + 100, end), "damaged or unsafe"),
    ],
)
def test_spans_of_something_else_are_named(
    origins: dict[str, Origin],
    fetcher: Fetcher,
    tmp_path: Path,
    moved: Callable[[int, int], tuple[int, int]],
    message: str,
) -> None:
    origin = origins["top/gemmlowp"]
    assert origin.excerpt
    spans = (moved(*origin.excerpt.spans[0]),)
    wrong = replace(origin, excerpt=replace(origin.excerpt, spans=spans))
    with pytest.raises(ArchiveError, match=message):
        wrong.fetch(fetcher).unpack({wrong.folder: tmp_path}, quiet)


def test_a_folder_that_is_not_in_the_excerpt_is_named(
    origins: dict[str, Origin], fetcher: Fetcher, tmp_path: Path
) -> None:
    fetched = origins["top/gemmlowp"].fetch(fetcher)
    with pytest.raises(ArchiveError, match=r"excerpt of a\.tar\.xz has no folder 'top/fft'"):
        fetched.unpack({"top/fft": tmp_path}, quiet)


def test_bytes_that_are_no_blocks_are_named(tmp_path: Path, origins: dict[str, Origin]) -> None:
    (tmp_path / "block").write_bytes(b"no block")
    sha256 = hashlib.sha256(b"no block").hexdigest()
    files = ((sha256, tmp_path / "block"),)
    fetched = Fetched(name="a.tar.xz", files=files, excerpt=origins["top/gemmlowp"].excerpt)
    with pytest.raises(ArchiveError, match=r"the excerpt of a\.tar\.xz is damaged"):
        fetched.unpack({"top/gemmlowp": tmp_path}, quiet)


NAMES = st.sampled_from(["a", "b", "a/c", "a/d", "b/e", "ab"])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(NAMES, st.integers(0, 2000)), min_size=1, max_size=20),
    st.integers(300, 5000),
    st.sampled_from(["a", "b", "a/c"]),
)
def test_whatever_the_members_and_blocks(
    files: Sequence[tuple[str, int]], size: int, wanted: str
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        place = Path(name)
        patched.setattr(excerpting, "WORTH", 1.0)
        members = [Member(f"{f}/{n}", bytes([n]) * length) for n, (f, length) in enumerate(files)]
        members.append(Member(f"{wanted}/last", b"there"))
        made = archive(place, members, size)
        if len(made.blocks) < 2:
            return
        origin = excerpted(patched, place / "a.tar.xz", made, wanted)[wanted]
        assert origin.excerpt
        files_ = []
        for block in origin.excerpt.blocks:
            path = place / str(block.offset)
            path.write_bytes(made.data[block.offset : block.offset + block.length])
            files_.append((block.sha256, path))
        for kind, fetched in {
            "whole": Fetched(name="a", files=((origin.archive.sha256, place / "a.tar.xz"),)),
            "blocks": Fetched(name="a", files=tuple(files_), excerpt=origin.excerpt),
        }.items():
            (place / kind).mkdir()
            fetched.unpack({wanted: place / kind}, quiet)
        assert tree(place / "whole") == tree(place / "blocks")


# --- Their lines in locks -------------------------------------------------------------


def test_a_lock_keeps_excerpts(origins: dict[str, Origin], tmp_path: Path) -> None:
    lock = lock_of(origins)
    (tmp_path / "1.0.toml").write_text(lock_text(lock))
    assert load_lock("1.0", tmp_path) == lock


def lock_of(origins: dict[str, Origin]) -> Lock:
    components = (
        replace(source.component, origins={"debian": source.origin})
        for source in sources_of(origins)
    )
    return Lock(tensorflow="1.0", components=tuple(components))


def test_a_lock_gets_the_excerpts_of_its_archives(
    origins: dict[str, Origin], fetcher: Fetcher
) -> None:
    bare = {name: replace(origin, excerpt=None) for name, origin in origins.items()}
    lock = with_excerpts(lock_of(bare), fetcher, lambda _name: quiet)
    assert lock == lock_of(origins)
    assert list(changes(lock_of(bare), lock)) == [
        "gemmlowp: debian has its folder in other blocks",
        "fft: debian has its folder in other blocks",
    ]


def test_most_of_an_archive_is_no_excerpt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    members = [Member(f"top/{n}", bytes([n]) * 5000) for n in range(9)]
    made = archive(tmp_path, members, SIZE)
    assert excerpted(monkeypatch, tmp_path / "a.tar.xz", made, "top")["top"].excerpt is None


def test_an_archive_of_one_block_has_no_excerpt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = archive(tmp_path, MEMBERS, 10**7)
    origin = excerpted(monkeypatch, tmp_path / "a.tar.xz", made, "top/gemmlowp")["top/gemmlowp"]
    assert origin.excerpt is None


def test_a_folder_that_is_not_there_has_no_excerpt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = archive(tmp_path, MEMBERS, SIZE)
    with pytest.raises(ArchiveError, match="no folder 'top/none'"):
        excerpted(monkeypatch, tmp_path / "a.tar.xz", made, "top/none")


@pytest.mark.parametrize(
    "changed",
    [
        {"blocks": []},
        {"blocks": [[0, 0, "1" * 64]]},
        {"blocks": [[0, 5, "1"]]},
        {"blocks": [[0, 5]]},
        {"blocks": [[0, True, "1" * 64]]},
        {"spans": []},
        {"spans": [[5, 5]]},
        {"spans": [[-1, 5]]},
        {"spans": None},
    ],
    ids=str,
)
def test_a_malformed_excerpt_is_named(tmp_path: Path, changed: dict[str, object]) -> None:
    table = {"version": "1", "debian": "r/a.tar.xz", "sha256": "2" * 64, "folder": "gemmlowp"}
    data: dict[str, object] = {"blocks": [[12, 5, "1" * 64]], "spans": [[0, 512]]}
    good = {key: value for key, value in (table | data).items() if value is not None}
    row = {"name": "gemmlowp", "licence": "MIT", "licence_files": ["gemmlowp/LICENSE"]}
    assert write_lock(tmp_path, row | {"origins": {"debian": good}}).components[0].origins
    bad = {key: value for key, value in (table | data | changed).items() if value is not None}
    with pytest.raises(UsageError, match=r"1\.0\.toml: component gemmlowp: debian"):
        write_lock(tmp_path, row | {"origins": {"debian": bad}})
