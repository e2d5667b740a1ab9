"""Trees are made of verified archives and of patches that apply."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_builders_unpack import Member, tree, write_tar

from builders import excerpt, trees
from builders.cache import Cache, key_of
from builders.errors import ArchiveError, ChecksumError
from builders.fetch import Fetcher
from builders.sources import Archive, Component, Origin, Source
from builders.trees import make_trees, trees_key

PATCH = """\
Why: it was wrong.
--- a/src/code.c
+++ b/src/code.c
@@ -1,3 +1,3 @@
 one
-two
+2
 three
"""
CODE = b"one\ntwo\nthree\n"


@dataclass
class World:
    """A cache with the archives of the sources, and our patches."""

    folder: Path
    progressed: list[str] = field(default_factory=list)

    @property
    def cache(self) -> Cache:
        return Cache(self.folder / "cache")

    @property
    def patches(self) -> Path:
        return self.folder / "patches"

    def patch(self, component: str, text: str = PATCH, name: str = "0001-x.patch") -> Path:
        path = self.patches / component / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def source(
        self, name: str, *members: Member, folder: str = "top", archive: Archive | None = None
    ) -> Source:
        """Put an archive into the cache; return its component."""
        if archive is None:
            file = write_tar(self.folder / f"{name}.tar.gz", members)
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            archive = Archive(sha256=sha256, url=f"https://a.invalid/{file.name}")
            place = self.cache.downloads / sha256 / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
        origin = Origin(name="upstream", version="1.2", archive=archive, folder=folder)
        component = Component(
            name=name, licence="MIT", licence_files=(f"{name}/LICENSE",), origins={}
        )
        return Source(component=component, origin=origin)

    def make(self, *sources: Source) -> Path:
        def progress(name: str) -> trees.Progress:
            self.progressed.append(name)
            return lambda _done, _total: None

        return make_trees("1.0", sources, self.cache, Fetcher(self.cache), progress)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr(
        trees,
        "patches_of",
        lambda _version, component: sorted((world.patches / component).glob("*.patch")),
    )
    return world


def with_origin(source: Source, **changes: object) -> Source:
    return replace(source, origin=replace(source.origin, **changes))  # type: ignore[arg-type]


def test_each_component_has_its_tree(world: World) -> None:
    ruy = world.source("ruy", Member("top/a", b"1"))
    eigen = world.source("eigen", Member("b", b"2"), folder="")
    assert tree(world.make(ruy, eigen)) == {"ruy/a": b"1", "eigen/b": b"2"}


def test_an_archive_of_several_components_is_read_once(world: World) -> None:
    ruy = world.source("ruy", Member("x/ruy/a", b"1"), Member("x/fft/b", b"2"), folder="x/ruy")
    fft = world.source("fft", folder="x/fft", archive=ruy.origin.archive)
    assert tree(world.make(ruy, fft)) == {"ruy/a": b"1", "fft/b": b"2"}
    assert world.progressed == ["ruy.tar.gz"]


def test_patches_are_applied_in_order(world: World) -> None:
    world.patch("ruy", PATCH.replace("two", "2").replace("+2", "+II"), "0002-y.patch")
    world.patch("ruy")
    ruy = world.source("ruy", Member("top/src/code.c", CODE))
    here = Path.cwd()
    assert tree(world.make(ruy)) == {"ruy/src/code.c": b"one\nII\nthree\n"}
    assert Path.cwd() == here


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        (PATCH, b"one\nTWO\nthree\n"),
        # It would fit twice.
        (PATCH, CODE + CODE),
        (PATCH, b"one\n"),
        (PATCH.replace("code.c", "other.c"), CODE),
        ("Only words.\n", CODE),
        ("", CODE),
        # Its second half does not fit.
        (PATCH + "@@ -9,1 +9,1 @@\n-nine\n+9\n", CODE),
    ],
)
def test_a_patch_that_does_not_apply_is_named(world: World, patch: str, code: bytes) -> None:
    world.patch("ruy", patch)
    here = Path.cwd()
    with pytest.raises(ArchiveError, match=r"0001-x\.patch .*ruy 1\.2 of origin upstream"):
        world.make(world.source("ruy", Member("top/src/code.c", code)))
    assert Path.cwd() == here
    assert list((world.cache.root / "trees").iterdir()) == []


def test_a_failed_patch_is_tried_again_when_it_is_mended(world: World) -> None:
    ruy = world.source("ruy", Member("top/src/code.c", b"one\nTWO\nthree\n"))
    world.patch("ruy")
    with pytest.raises(ArchiveError):
        world.make(ruy)
    world.patch("ruy", PATCH.replace("-two", "-TWO"))
    assert tree(world.make(ruy))["ruy/src/code.c"] == b"one\n2\nthree\n"


def test_a_tampered_download_is_not_unpacked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ruy = world.source("ruy", Member("top/a"))
    [file] = world.cache.downloads.rglob("*.tar.gz")
    write_tar(file, [Member("top/a", b"evil")])
    monkeypatch.setattr(excerpt, "unpack", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(ChecksumError, match=rf"ruy\.tar\.gz .*{ruy.origin.archive.sha256}"):
        world.make(ruy)
    assert not file.exists()
    assert list((world.cache.root / "trees").iterdir()) == []


def test_a_damaged_archive_leaves_no_tree(world: World) -> None:
    ruy = world.source("ruy", Member("top/a"), Member("top/dev", kind=b"3"))
    with pytest.raises(ArchiveError, match=r"ruy\.tar\.gz is damaged or unsafe"):
        world.make(ruy)
    assert list((world.cache.root / "trees").iterdir()) == []


def test_trees_that_are_there_are_not_made_again(world: World) -> None:
    ruy = world.source("ruy", Member("top/a"))
    assert world.make(ruy) == world.make(ruy) == world.cache.path("trees", trees_key("1.0", [ruy]))
    assert len(world.progressed) == 1


def test_the_key_changes_with_whatever_changes_the_trees(world: World) -> None:
    ruy = world.source("ruy", Member("top/a"))
    keys = [trees_key("1.0", [ruy])]
    archive = replace(ruy.origin.archive, sha256="0" * 64)
    keys.append(trees_key("1.0", [with_origin(ruy, archive=archive)]))
    keys.append(trees_key("1.0", [with_origin(ruy, folder="other")]))
    renamed = replace(ruy, component=replace(ruy.component, name="yur"))
    keys.append(trees_key("1.0", [renamed]))
    keys.append(trees_key("1.0", [ruy, renamed]))
    patch = world.patch("ruy")
    keys.append(trees_key("1.0", [ruy]))
    world.patch("ruy", PATCH.replace("+2", "+II"))
    keys.append(trees_key("1.0", [ruy]))
    patch.rename(patch.with_name("0002-x.patch"))
    keys.append(trees_key("1.0", [ruy]))
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_change_with_anything_else(world: World) -> None:
    ruy, eigen = world.source("ruy", Member("top/a")), world.source("eigen", Member("top/b"))
    key = trees_key("1.0", [ruy, eigen])
    # Elsewhere, but the same bytes; another name for the version; another order.
    archive = replace(ruy.origin.archive, url="", debian="r/ruy.tar.gz")
    same = with_origin(ruy, archive=archive, version="2", name="debian")
    world.patch("other")
    assert trees_key("1.0", [eigen, same]) == key
    assert key == key_of(trees.trees_inputs("1.0", [ruy, eigen]))
