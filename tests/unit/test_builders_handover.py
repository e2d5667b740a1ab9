"""A core that goes from one cache to another: whole, the right one, or not at all."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from test_builders_toolchain import fake_toolchain

from builders import stage
from builders.cache import Cache, key_of
from builders.core import Core, core_key, load_core
from builders.errors import ArchiveError, ChecksumError, UsageError, UserError
from builders.handover import MANIFEST, CoreName, known_cores, pack_core, unpack_core
from builders.matrix import load_matrix
from builders.native import NativeRunner
from builders.progress import Reporter
from builders.sources import is_locked, load_lock
from ci.commands import core as command

INPUTS = {"tensorflow": "2.14.1", "flags": ["-O3"]}
KEY = key_of(INPUTS)
NAME = CoreName(tensorflow="2.14.1", arch="x86_64", origin="upstream")
KNOWN = {KEY: NAME}
FILES = {
    "lib/libtflite.a": b"!<arch>\n" + bytes(range(256)) * 99,
    "include/absl/a-header-with-a-name-that-is-longer-than-a-tar-header's-hundred-bytes/"
    "strings/internal/str_format/arg.h": b"#pragma once\n",
    "licences/absl/LICENSE": b"Apache\n",
}


def filled(folder: Path, inputs: object = INPUTS) -> Core:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "core.json").write_text(json.dumps({"inputs": inputs, "components": []}))
    return load_core(folder)


@pytest.fixture
def made(tmp_path: Path) -> Core:
    return filled(tmp_path / "made" / KEY)


@pytest.fixture
def packed(made: Core, tmp_path: Path) -> Path:
    file = tmp_path / "core.tar"
    pack_core(made, file)
    return file


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "other machine")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def products(cache: Cache) -> list[Path]:
    return [*(cache.root / "core").glob("*"), *(cache.root / "work").glob("*")]


def test_a_core_arrives_as_it_left(made: Core, packed: Path, cache: Cache) -> None:
    core = unpack_core(packed, KNOWN, cache)
    assert core.path == cache.path("core", KEY)
    assert core.record == made.record
    assert contents(core.path) == contents(made.path)
    assert products(cache) == [core.path]


def test_what_is_there_stays(packed: Path, cache: Cache) -> None:
    first = unpack_core(packed, KNOWN, cache).path.stat()
    assert unpack_core(packed, KNOWN, cache).path.stat() == first


def test_a_core_has_the_same_bytes_from_any_machine(packed: Path, tmp_path: Path) -> None:
    other = filled(tmp_path / "elsewhere" / KEY)
    for path in other.path.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o755 if path.is_dir() else 0o600)
    pack_core(other, tmp_path / "new folder" / "other.tar")
    assert (tmp_path / "new folder" / "other.tar").read_bytes() == packed.read_bytes()
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["other.tar"]


def test_what_a_killed_run_left_does_not_matter(packed: Path, cache: Cache) -> None:
    left = cache.root / "work" / "unpack-core" / "core" / "stale.h"
    left.parent.mkdir(parents=True)
    left.write_text("of another core")
    assert "stale.h" not in contents(unpack_core(packed, KNOWN, cache).path)


Members = dict[str, bytes]


def rewritten(packed: Path, change: Callable[[Members], None]) -> None:
    with tarfile.open(packed) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(packed, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def flip(members: Members) -> None:
    members["core/lib/libtflite.a"] = members["core/lib/libtflite.a"][:-1] + b"\0"


def drop(members: Members) -> None:
    del members["core/licences/absl/LICENSE"]


def add(members: Members) -> None:
    members["core/lib/more.a"] = b""


def no_manifest(members: Members) -> None:
    del members[MANIFEST]


def other_manifest(members: Members) -> None:
    members[MANIFEST] = b"[1]"


def other_key(members: Members) -> None:
    manifest = json.loads(members[MANIFEST]) | {"key": "0" * 16}
    members[MANIFEST] = json.dumps(manifest).encode()


def escape(members: Members) -> None:
    members["core/../../../escaped"] = b""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (flip, "lib/libtflite.a is not what was packed"),
        (drop, "licences/absl/LICENSE is not what was packed"),
        (add, "lib/more.a is not what was packed"),
        (no_manifest, "no packed core"),
        (other_manifest, "no packed core"),
        (other_key, f"its record is of {KEY}"),
        (escape, "would be outside its folder"),
    ],
)
def test_another_content_is_refused(
    packed: Path, cache: Cache, change: Callable[[Members], None], words: str
) -> None:
    rewritten(packed, change)
    with pytest.raises(ArchiveError, match=words) as caught:
        unpack_core(packed, {**KNOWN, "0" * 16: NAME}, cache)
    assert "packed again" in caught.value.remedy
    assert products(cache) == []
    assert not list(cache.root.parent.rglob("escaped"))


@pytest.mark.parametrize("bytes_left", [0, 100, 20_000])
def test_a_file_that_was_cut_off_is_refused(packed: Path, cache: Cache, bytes_left: int) -> None:
    packed.write_bytes(packed.read_bytes()[:bytes_left])
    with pytest.raises(ArchiveError, match=r"core\.tar"):
        unpack_core(packed, KNOWN, cache)
    assert products(cache) == []


def test_a_core_of_other_inputs_is_refused(packed: Path, cache: Cache) -> None:
    with pytest.raises(UsageError, match="this checkout would not make"):
        unpack_core(packed, {}, cache)
    assert products(cache) == []


def test_no_file_is_no_core(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        unpack_core(tmp_path / "none.tar", KNOWN, cache)
    assert not cache.root.exists()


def test_every_core_of_a_locked_version_is_known(tmp_path: Path) -> None:
    matrix, toolchain = load_matrix(), fake_toolchain(tmp_path)
    names = list(dict(known_cores(matrix, toolchain)).values())
    assert names == [
        CoreName(tensorflow=tensorflow.version, arch=arch, origin=origin)
        for tensorflow in matrix.tensorflows
        if is_locked(tensorflow.version)
        for arch in matrix.architectures
        for origin in load_lock(tensorflow.version).origins
    ]


@pytest.mark.parametrize("origin", ["auto", "debian"])
def test_with_a_core_in_the_cache_no_source_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str
) -> None:
    def fetch_nothing(*_: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr("builders.native.fetch_sources", fetch_nothing)
    tensorflow, toolchain = load_matrix().tensorflow("2.14.1"), fake_toolchain(tmp_path)
    runner = NativeRunner(
        toolchain.cache, Reporter(Console(quiet=True)), tmp_path / "logs", origin=origin
    )
    runner.toolchain = toolchain
    key = core_key(tensorflow, "x86_64", load_lock("2.14.1").sources("debian"), toolchain)
    target = load_matrix().target("tf2.14.1-cp312-x86_64")
    assert not runner.is_cached("core", target)
    filled(toolchain.cache.path("core", key))
    assert runner.core(tensorflow, "x86_64").path.name == key
    assert all(runner.is_cached(kind, target) for kind in ("fetch", "sources", "core"))
    other = load_matrix().target("tf2.14.1-cp312-aarch64")
    assert not runner.is_cached("fetch", other)
    runner.origin = "upstream"
    assert not runner.is_cached("core", target)


def test_the_command_packs_what_another_unpacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "core.tar")
    monkeypatch.setenv("TFLITE_WHEELS_CACHE", str(tmp_path / "one"))
    assert command.run(["key", "2.14.1", "arm64", "--origin", "debian"]) == 0
    key = capsys.readouterr().out.strip()
    with pytest.raises(UsageError, match=r"no core of .*; \./scripts/core build"):
        command.run(["pack", "2.14.1", "arm64", "--out", file])

    # What it was made from is not ours to invent: only the packing is looked at here.
    monkeypatch.setattr("builders.handover.key_of", lambda _inputs: key)
    filled(tmp_path / "one" / "core" / key)
    assert command.run(["pack", "2.14.1", "arm64", "--out", file]) == 0
    digest = capsys.readouterr().out.split()[-1]
    monkeypatch.setenv("TFLITE_WHEELS_CACHE", str(tmp_path / "two"))
    with pytest.raises(ChecksumError, match=f"digest {digest}, expected 0000"):
        command.run(["unpack", file, "--digest", "0" * 64])
    assert command.run(["unpack", file, "--digest", digest]) == 0
    assert f"{key}  tf2.14.1-aarch64 from debian sources" in capsys.readouterr().out
    assert contents(tmp_path / "two" / "core" / key)["lib/libtflite.a"] == FILES["lib/libtflite.a"]


def test_an_image_takes_the_core_that_it_is_handed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFLITE_WHEELS_CACHE", str(tmp_path / "cache"))
    assert command.run(["key", "2.14.1", "arm64", "--origin", "debian"]) == 0
    key = capsys.readouterr().out.strip()
    monkeypatch.setattr("builders.handover.key_of", lambda _inputs: key)
    (tmp_path / "cores").mkdir()
    pack_core(filled(tmp_path / "made" / key), tmp_path / "cores/any.tar")
    monkeypatch.setattr(stage, "CORES", tmp_path / "cores")
    out = tmp_path / "out"
    arguments = ["core", "--tensorflow", "2.14.1", "--arch", "arm64", "--origin", "debian"]
    # No network and no compiler is there in a unit test: it can only be the one handed in.
    assert stage.run([*arguments, "--out", str(out)]) == 0
    assert "tf2.14.1-aarch64 from debian sources is handed in" in capsys.readouterr().out
    assert contents(out / key)["lib/libtflite.a"] == FILES["lib/libtflite.a"]
    (tmp_path / "cores/any.tar").write_bytes(b"no core")
    with pytest.raises(ArchiveError, match=r"any\.tar"):
        stage.run([*arguments, "--out", str(out)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["key", "9.9.9", "x86_64"], "no TensorFlow '9.9.9'"),
        (["key", "2.14.1", "sparc"], "no architecture 'sparc'"),
        (["key", "2.15.1", "x86_64"], "not locked yet"),
    ],
)
def test_a_core_that_is_not_in_the_matrix(arguments: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        command.run(arguments)
