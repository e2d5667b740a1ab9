"""The shelf: what was downloaded, for a build without a network."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest

from builders import shelf
from builders.cache import Cache
from builders.errors import ChecksumError, UnreachableError
from builders.fetch import Fetcher
from builders.shelf import put, put_packages
from builders.sources import Archive

DATA = b"the source"
ARCHIVE = Archive(sha256=hashlib.sha256(DATA).hexdigest(), url="https://upstream.example/a.tar.gz")


@pytest.fixture
def downloaded(tmp_path: Path) -> Fetcher:
    fetcher = Fetcher(Cache(tmp_path / "cache"))
    path = fetcher.cache.downloads / ARCHIVE.sha256 / ARCHIVE.name
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    return fetcher


def test_what_is_on_the_shelf_is_had_without_a_network(downloaded: Fetcher, tmp_path: Path) -> None:
    put([ARCHIVE.fetched(downloaded)], tmp_path / "shelf")
    put([ARCHIVE.fetched(downloaded)], tmp_path / "shelf")
    elsewhere = Fetcher(Cache(tmp_path / "other"), offline=True, shelf=tmp_path / "shelf")
    assert ARCHIVE.fetch(elsewhere).read_bytes() == DATA


def test_the_shelf_may_be_on_another_file_system(
    downloaded: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    put([ARCHIVE.fetched(downloaded)], tmp_path / "shelf")
    (found,) = (tmp_path / "shelf" / ARCHIVE.sha256).iterdir()
    assert found.name == ARCHIVE.name
    assert found.read_bytes() == DATA


def test_what_is_nowhere_is_named_with_what_to_do(tmp_path: Path) -> None:
    fetcher = Fetcher(Cache(tmp_path / "cache"), offline=True, shelf=tmp_path / "shelf")
    with pytest.raises(UnreachableError, match=r"a\.tar\.gz") as caught:
        ARCHIVE.fetch(fetcher)
    assert "./scripts/fetch" in caught.value.remedy


def test_a_damaged_file_of_the_shelf_is_refused(downloaded: Fetcher, tmp_path: Path) -> None:
    put([ARCHIVE.fetched(downloaded)], tmp_path / "shelf")
    kept = tmp_path / "shelf" / ARCHIVE.sha256 / ARCHIVE.name
    kept.unlink()
    kept.write_bytes(b"another")
    fetcher = Fetcher(Cache(tmp_path / "other"), offline=True, shelf=tmp_path / "shelf")
    with pytest.raises(ChecksumError, match="wrong checksum"):
        ARCHIVE.fetch(fetcher)
    assert kept.read_bytes() == b"another"


def test_packages_are_those_of_the_python_that_will_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(shelf, "run", lambda command, **_: commands.append([*map(str, command)]))
    put_packages(tmp_path / "r.txt", "3.13", "x86_64", tmp_path / "shelf", tmp_path / "log")
    (command,) = commands
    assert "--require-hashes" in command
    assert command[command.index("--python-version") + 1] == "3.13"
    platforms = [b for a, b in itertools.pairwise(command) if a == "--platform"]
    assert platforms
    assert all(platform.endswith("_x86_64") for platform in platforms)
