"""The locks of sources, and which origin is used."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from packaging.licenses import canonicalize_license_expression

from builders import fetch
from builders.cache import Cache
from builders.errors import ChecksumError, FetchError, UnreachableError, UsageError
from builders.fetch import Fetcher
from builders.locking.coherence import with_relations
from builders.matrix import load_matrix
from builders.sources import ORIGINS, Archive, Lock, Relation, fetch_sources, load_lock
from builders.tables import is_sha256

SAMPLE: dict[str, Any] = {
    "name": "ruy",
    "licence": "Apache-2.0",
    "licence_files": ["ruy/LICENSE"],
    "origins": {
        "upstream": {"version": "1", "url": "https://a.invalid/ruy.zip", "sha256": "1" * 64},
        "debian": {"version": "1", "debian": "r/ruy.tar.xz", "sha256": "2" * 64, "folder": "ruy"},
    },
}


def write_lock(folder: Path, *components: dict[str, Any]) -> Lock:
    """Write a lock to a file, and read it back."""

    def table(data: dict[str, Any]) -> str:
        # JSON is valid TOML, except for tables.
        def value(v: object) -> str:
            return f"{{{table(v)}}}" if isinstance(v, dict) else json.dumps(v)

        return ", ".join(f"{key} = {value(v)}" for key, v in data.items())

    rows = "\n".join(f"  {{{table(component)}}}," for component in components)
    (folder / "1.0.toml").write_text(f"component = [\n{rows}\n]\n")
    return load_lock("1.0", folder)


def changed(origin: str = "", **values: object) -> dict[str, Any]:
    data = copy.deepcopy(SAMPLE)
    table = data["origins"][origin] if origin else data
    table.update(values)
    for key in [key for key, value in values.items() if value is None]:
        del table[key]
    return data


ROOT = Path(__file__).parents[2]
LOCKED = sorted(p.stem for p in Path(fetch.__file__).parent.glob("sources/*.toml"))


@pytest.mark.parametrize("version", LOCKED)
def test_every_lock_is_of_the_matrix_and_complete(version: str) -> None:
    load_matrix().tensorflow(version)
    lock = load_lock(version)
    assert lock.origins
    for origin in lock.origins:
        sources = lock.sources(origin)
        assert [source.component for source in sources] == list(lock.components)
        assert all(is_sha256(source.origin.archive.sha256) for source in sources)


def test_the_lock_of_the_main_job_has_both_origins() -> None:
    lock = load_lock("2.14.1")
    assert lock.origins == ORIGINS
    assert {"tensorflow", "xnnpack", "absl", "cpuinfo"} <= {c.name for c in lock.components}
    for component in lock.components:
        assert set(component.origins) == set(ORIGINS), component.name


@pytest.mark.parametrize("version", LOCKED)
def test_a_first_download_from_debian_is_small(version: str) -> None:
    """The size is that in docs/building.md."""
    megabytes = 130
    files = {}
    for source in load_lock(version).sources("debian"):
        origin = source.origin
        if origin.excerpt is None:
            files[origin.archive.sha256] = origin.archive.size
        else:
            files |= {block.sha256: block.length for block in origin.excerpt.blocks}
    assert all(files.values()), "every size is known"
    assert sum(files.values()) < megabytes * 1_000_000
    assert f"most {megabytes} MB" in (ROOT / "docs/building.md").read_text()


def test_upstreams_tensorflow_is_the_matrixs() -> None:
    matrix = load_matrix()
    for version in LOCKED:
        lock = load_lock(version)
        if "upstream" in lock.origins:
            [origin] = [
                s.origin for s in lock.sources("upstream") if s.component.name == "tensorflow"
            ]
            assert origin.archive.sha256 == matrix.tensorflow(version).sha256


def test_no_host_of_a_debian_mirror_is_written_down() -> None:
    for source in load_lock("2.14.1").sources("debian"):
        archive = source.origin.archive
        assert not archive.url
        assert not urlsplit(archive.debian).netloc


@pytest.mark.parametrize("version", LOCKED)
def test_every_lock_says_how_each_component_belongs(version: str) -> None:
    lock = load_lock(version)
    assert all(o.relation for c in lock.components for o in c.origins.values())
    # Without the tree's pins for CMake, components that only CMake pins are unknown.
    for component, bare in zip(lock.components, with_relations(lock, {}).components, strict=True):
        for name, origin in component.origins.items():
            assert origin.relation in (bare.origins[name].relation, Relation.PINNED)


def test_licences_are_expressions_and_their_files_are_in_trees() -> None:
    lock = load_lock("2.14.1")
    names = {component.name for component in lock.components}
    for component in lock.components:
        assert canonicalize_license_expression(component.licence) == component.licence
        assert {file.split("/")[0] for file in component.licence_files} <= names


MALFORMED = [
    ([changed(name=None)], "component ?: 'name' is missing"),
    ([changed(name="../ruy")], "component ../ruy: 'name'"),
    ([changed(licence="Apache 2")], "component ruy: 'licence'"),
    ([changed(licence_files=[])], "component ruy: needs an origin and a licence file"),
    ([changed(licence_files=[1])], "component ruy: 'licence_files'"),
    ([changed(origins={})], "component ruy: needs an origin"),
    ([changed(origins={"fedora": {}})], "component ruy: 'origins'"),
    ([changed(origins={"debian": "x"})], "component ruy: debian: must be a table"),
    ([changed(colour="red")], "component ruy: unknown key 'colour'"),
    ([changed("debian", sha256="2" * 63)], "component ruy: debian: 'sha256'"),
    ([changed("debian", sha256=None)], "component ruy: debian: 'sha256' is missing"),
    ([changed("debian", relation="near")], "component ruy: debian: 'relation'"),
    ([changed("debian", date="2023-09-25")], "component ruy: debian: 'date'"),
    ([changed("debian", version=None)], "component ruy: debian: 'version' is missing"),
    ([changed("debian", debian=None)], "component ruy: debian: needs exactly one of"),
    ([changed("debian", url="https://a.invalid/")], "component ruy: debian: needs exactly one"),
    ([changed("upstream", uri="x")], "component ruy: upstream: unknown key 'uri'"),
    ([SAMPLE, SAMPLE], "1.0.toml has a component twice: ruy, ruy"),
]


@pytest.mark.parametrize(("rows", "message"), MALFORMED, ids=[m for _, m in MALFORMED])
def test_a_malformed_row_is_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        write_lock(tmp_path, *rows)
    assert caught.value.what.startswith("1.0.toml")


def test_a_version_without_a_lock_is_told_the_locked_ones(tmp_path: Path) -> None:
    write_lock(tmp_path, SAMPLE)
    with pytest.raises(UsageError, match=r"TensorFlow 9\.9 .*not locked.*locked are: 1\.0"):
        load_lock("9.9", tmp_path)


@pytest.mark.parametrize("content", [b"component = [", b"\xff", b"component = 1", b"x = 1"])
def test_a_file_that_is_no_lock_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.0.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"1\.0\.toml"):
        load_lock("1.0", tmp_path)


def test_an_origin_that_one_component_lacks_is_none_of_the_lock(tmp_path: Path) -> None:
    other = {**SAMPLE, "name": "eigen", "origins": {"debian": SAMPLE["origins"]["debian"]}}
    lock = write_lock(tmp_path, SAMPLE, other)
    assert lock.origins == ("debian",)
    with pytest.raises(UsageError, match="no origin 'upstream'; choose one of debian"):
        lock.sources("upstream")


def test_an_archive_knows_where_it_is_to_be_had(tmp_path: Path) -> None:
    archives = {
        "https://a.invalid/b/c.zip": Archive(sha256="0", url="https://a.invalid/b/c.zip"),
        "debian:r/c.zip": Archive(sha256="0", debian="r/c.zip"),
        "pypi:c.zip": Archive(sha256="0", pypi="c.zip"),
    }
    for location, archive in archives.items():
        assert archive.location == location
        assert archive.name == "c.zip"
        assert not archive.is_fetched(Cache(tmp_path))


def contents(origin: str) -> bytes:
    return f"the archive of {origin}".encode()


def sha256(origin: str) -> str:
    return hashlib.sha256(contents(origin)).hexdigest()


@dataclass
class World:
    """The hosts of a lock: their files, which hosts are up, and which were asked."""

    up: set[str] = field(default_factory=lambda: {"upstream.invalid", "mirror.invalid"})
    bytes_of: dict[str, bytes] = field(
        default_factory=lambda: {
            "upstream.invalid": contents("upstream"),
            "mirror.invalid": contents("debian"),
        }
    )
    asked: list[str] = field(default_factory=list)

    def transfer(self, url: str, part: Path, *_: object) -> None:
        host = urlsplit(url).netloc
        self.asked.append(host)
        if host not in self.up:
            raise requests.ConnectionError(host)
        part.write_bytes(self.bytes_of[host])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(fetch, "_transfer", world.transfer)
    monkeypatch.setattr(fetch, "debian_mirrors", lambda: ("http://mirror.invalid/debian",))
    monkeypatch.setattr(fetch, "BACK_OFF_SECONDS", 0.0)
    return world


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    # Two components in one archive, as in chromium's.
    rows = []
    for name in ("ruy", "cpuinfo"):
        row = changed("upstream", url="https://upstream.invalid/a.zip", sha256=sha256("upstream"))
        row["origins"]["debian"] |= {"sha256": sha256("debian"), "folder": name}
        rows.append(row | {"name": name})
    return write_lock(tmp_path, *rows)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_auto_is_upstream_where_it_answers(world: World, lock: Lock, cache: Cache) -> None:
    told: list[str] = []
    sources = fetch_sources(lock, "auto", Fetcher(cache), told)
    assert {source.origin.name for source in sources} == {"upstream"}
    assert world.asked == ["upstream.invalid"]
    assert told == []
    assert all(source.origin.archive.is_fetched(cache) for source in sources)


def test_auto_falls_back_with_one_line(world: World, lock: Lock, cache: Cache) -> None:
    world.up = {"mirror.invalid"}
    told: list[str] = []
    sources = fetch_sources(lock, "auto", Fetcher(cache), told)
    assert {source.origin.name for source in sources} == {"debian"}
    assert told == ["origin upstream: cannot reach upstream.invalid; using the next one"]


def test_a_second_run_does_not_ask_again(world: World, lock: Lock, cache: Cache) -> None:
    world.up = {"mirror.invalid"}
    fetch_sources(lock, "auto", Fetcher(cache))
    world.asked.clear()
    told: list[str] = []
    sources = fetch_sources(lock, "auto", Fetcher(cache), told)
    assert world.asked == []
    assert {source.origin.name for source in sources} == {"debian"}
    assert len(told) == 1


def test_naming_an_origin_asks_again(world: World, lock: Lock, cache: Cache) -> None:
    world.up = {"mirror.invalid"}
    fetch_sources(lock, "auto", Fetcher(cache))
    world.up.add("upstream.invalid")
    sources = fetch_sources(lock, "upstream", Fetcher(cache))
    assert {source.origin.name for source in sources} == {"upstream"}


def test_a_named_origin_has_no_fallback(world: World, lock: Lock, cache: Cache) -> None:
    world.up = {"mirror.invalid"}
    told: list[str] = []
    with pytest.raises(UnreachableError, match=r"upstream\.invalid"):
        fetch_sources(lock, "upstream", Fetcher(cache), told)
    assert "mirror.invalid" not in world.asked
    assert told == []


def test_a_network_that_is_back_is_used(world: World, lock: Lock, cache: Cache) -> None:
    world.up = set()
    with pytest.raises(UnreachableError, match=r"mirror\.invalid"):
        fetch_sources(lock, "auto", Fetcher(cache))
    world.up = {"mirror.invalid"}
    sources = fetch_sources(lock, "auto", Fetcher(cache))
    assert {source.origin.name for source in sources} == {"debian"}


def test_wrong_bytes_are_no_reason_to_fall_back(world: World, lock: Lock, cache: Cache) -> None:
    world.bytes_of["upstream.invalid"] = b"tampered"
    with pytest.raises(ChecksumError, match=r"a\.zip"):
        fetch_sources(lock, "auto", Fetcher(cache))
    assert world.asked == ["upstream.invalid"]


def test_a_missing_file_is_no_reason_to_fall_back(
    world: World, lock: Lock, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        response = requests.Response()
        response.status_code, response.reason = 404, "Not Found"
        raise requests.HTTPError(response=response)

    monkeypatch.setattr(fetch, "_transfer", missing)
    with pytest.raises(FetchError, match="404 Not Found") as caught:
        fetch_sources(lock, "auto", Fetcher(cache))
    assert not isinstance(caught.value, UnreachableError)
    assert world.asked == []


def test_an_unknown_origin_is_told_the_known_ones(lock: Lock, cache: Cache) -> None:
    with pytest.raises(UsageError, match="no origin 'fedora'; choose one of upstream, debian"):
        fetch_sources(lock, "fedora", Fetcher(cache))


def test_a_lock_without_a_complete_origin_says_so(tmp_path: Path, cache: Cache) -> None:
    rows = []
    for name, origin in (("ruy", "upstream"), ("eigen", "debian")):
        rows.append({**SAMPLE, "name": name, "origins": {origin: SAMPLE["origins"][origin]}})
    with pytest.raises(UsageError, match="no complete origin"):
        fetch_sources(write_lock(tmp_path, *rows), "auto", Fetcher(cache))
