"""Locks from the pins of a small tree, which pins in the ways that TensorFlow uses."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from builders.cache import Cache, default_root, sha256_of
from builders.errors import ArchiveError, ChecksumError, UnreachableError, UsageError
from builders.fetch import Fetcher
from builders.locking import bazel, cmake, generate
from builders.locking.coherence import lines
from builders.locking.generate import changes, differing, load_components, lock_text
from builders.matrix import load_matrix
from builders.native import NativeRunner
from builders.progress import Reporter
from builders.sources import SOURCES, load_lock
from ci.commands import lock as lock_command

TENSORFLOW = load_matrix().tensorflow("2.14.1")
LOCK = load_lock("2.14.1")
# CMake's that Bazel's files do not have, too.
PINS = {"fp16": cmake.Pin(name="fp16_headers", commit="0a92994d729ff76a58f692d3028ca1b64b145d91")}

HTTP = """\
    tf_http_archive(
        name = "{name}",
        sha256 = "{sha256}",
        strip_prefix = "{folder}",
        urls = tf_mirror_urls("{url}"),
    )
"""
# abseil and Eigen are pinned like this, by constants of the function.
CONSTANTS = """\
load("//third_party:repo.bzl", "tf_http_archive", "tf_mirror_urls")

def repo():
    COMMIT = "{version}"
    SHA256 = "{sha256}"
    SYS_DIRS = {{n: n for n in ["a"]}}
    tf_http_archive(
        name = "{name}",
        build_file = "//third_party:x.BUILD",
        sha256 = SHA256,
        strip_prefix = "{stem}-{{commit}}".format(commit = COMMIT),
        urls = tf_mirror_urls("{url}"),
        system_link_files = SYS_DIRS,
    )
"""


def tree_of(folder: Path, replaced: Mapping[str, str] | None = None) -> Path:
    """Write a tree with the committed lock's pins, and with replacements in its text."""
    pins = []
    for named in load_components():
        if named.bazel:
            origin = next(c for c in LOCK.components if c.name == named.name).origins["upstream"]
            pins.append(
                {
                    "name": named.bazel,
                    "url": origin.archive.url,
                    "sha256": origin.archive.sha256,
                    "folder": origin.folder,
                    "version": origin.version,
                    "stem": origin.folder.rpartition("-")[0],
                }
            )
    eigen = next(pin for pin in pins if pin["name"] == "eigen_archive")
    pins.remove(eigen)
    texts = {
        "tensorflow/workspace2.bzl": "def _tf_repositories():\n    xla()\n"
        + "".join(HTTP.format(**pin) for pin in pins),
        "third_party/eigen3/workspace.bzl": CONSTANTS.format(**eigen),
        # The first pin of a repository counts.
        "third_party/xla/workspace2.bzl": "def x():\n"
        + HTTP.format(**{**pins[0], "sha256": "f" * 64}),
    }
    for name, text in texts.items():
        for old, new in (replaced or {}).items():
            text = text.replace(old, new)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_committed_lock_is_what_its_pins_give(tmp_path: Path) -> None:
    lock = generate.generate(TENSORFLOW, tree_of(tmp_path), LOCK, PINS)
    assert lock == LOCK
    assert lock_text(lock) == (SOURCES / "2.14.1.toml").read_text()
    assert [*changes(LOCK, lock)] == []


def test_without_a_lock_there_is_origin_upstream_alone(tmp_path: Path) -> None:
    lock = generate.generate(TENSORFLOW, tree_of(tmp_path), None, PINS)
    assert lock.origins == ("upstream",)
    assert lock.components[0].origins["upstream"].archive.sha256 == TENSORFLOW.sha256
    (tmp_path / "2.14.1.toml").write_text(lock_text(lock))
    assert load_lock("2.14.1", tmp_path) == lock


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({'name = "XNNPACK"': 'name = "YNNPACK"'}, "pins no xnnpack (XNNPACK of Bazel)"),
        (
            {f'"{LOCK.components[1].origins["upstream"].archive.sha256}"': '""'},
            "workspace2.bzl pins xnnpack without a SHA-256",
        ),
        ({"def _tf": "def _tf ?"}, "workspace2.bzl cannot be read as Starlark"),
    ],
)
def test_what_is_not_pinned_by_checksum_is_no_lock(
    tmp_path: Path, replaced: dict[str, str], words: str
) -> None:
    with pytest.raises(ArchiveError) as raised:
        generate.generate(TENSORFLOW, tree_of(tmp_path, replaced), LOCK, PINS)
    assert words in raised.value.what


def test_no_tree(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no tree of TensorFlow: .*workspace2\.bzl"):
        bazel.read_pins(tmp_path)
    with pytest.raises(ArchiveError, match=r"no tree of TensorFlow: .*modules"):
        cmake.read_pins(tmp_path)


def test_expressions_of_constants_are_read_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow/workspace2.bzl").write_text(
        """\
BASE = "https://x.example/" + "%s/%s.zip"
def a(version):
    http_archive(name = "one", url = BASE % ("a", "b"), sha256 = "1")
    http_archive(name = "two", urls = ["https://m/2", "https://u/2"], sha256 = version)
    BASE = version
    http_archive(name = "three", url = BASE)
    http_archive(name = version, url = "x")
    other(name = "four", url = "x")
"""
    )
    found = {name: (pin.url, pin.sha256) for name, pin in bazel.read_pins(tmp_path).items()}
    assert found == {"one": ("https://x.example/a/b.zip", "1"), "two": ("https://u/2", "")}


def test_differences_of_locks_name_the_component(tmp_path: Path) -> None:
    sha256 = LOCK.components[1].origins["upstream"].archive.sha256
    lock = generate.generate(TENSORFLOW, tree_of(tmp_path, {sha256: "e" * 64}), LOCK, PINS)
    (line,) = changes(LOCK, lock)
    assert line.startswith("xnnpack: upstream is b9d4073")
    assert "e" * 64 in line
    assert sha256 in line
    fewer = dataclasses.replace(LOCK, components=LOCK.components[1:])
    assert [*changes(LOCK, fewer)] == ["tensorflow: is no component any more"]
    assert [*changes(fewer, LOCK)] == ["tensorflow: is new"]
    first = dataclasses.replace(LOCK.components[0], licence="MIT", origins={})
    told = [*changes(LOCK, dataclasses.replace(LOCK, components=(first, *LOCK.components[1:])))]
    assert told[0] == "tensorflow: its licence is MIT, was Apache-2.0"
    assert all("is nothing, was 2.14.1" in line for line in told[1:])
    assert len(told) == 3


# --- CMake ----------------------------------------------------------------------------

MODULES = {
    "xnnpack": """\
if(TARGET xnnpack OR xnnpack_POPULATED)
  return()
endif()
include(OverridableFetchContent)
OverridableFetchContent_Declare(
  xnnpack
  GIT_REPOSITORY https://x.example/XNNPACK
  GIT_TAG {commit}
  GIT_PROGRESS TRUE
)
OverridableFetchContent_Populate(xnnpack)
""",
    "fft2d": """\
include(ExternalProject)
set(HASH SHA256={sha256})
OverridableFetchContent_Declare(fft2d URL https://x.example/1.zip URL_HASH ${{HASH}})
""",
    "no-content": "message(FATAL_ERROR x)\n",
}


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """Write a tree with CMake modules that pin XNNPACK and fft2d as in the committed lock."""
    origins = {c.name: c.origins["upstream"] for c in LOCK.components}
    folder = tmp_path / cmake.MODULES
    folder.mkdir(parents=True)
    for name, text in MODULES.items():
        filled = text.format(
            commit=origins["xnnpack"].version, sha256=origins["fft2d"].archive.sha256
        )
        (folder / f"{name}.cmake").write_text(filled)
    return tmp_path


@pytest.mark.usefixtures("allow_subprocess")
def test_where_cmake_differs_is_told(modules: Path) -> None:
    assert [*differing(LOCK, generate.cmake_pins_of(modules))] == []
    for name, old, new in (("xnnpack", "b9d4073", "0000000"), ("fft2d", "5f4dabc", "0000000")):
        path = modules / cmake.MODULES / f"{name}.cmake"
        path.write_text(path.read_text().replace(old, new))
    xnnpack, fft2d = differing(LOCK, generate.cmake_pins_of(modules))
    assert xnnpack.startswith("xnnpack: CMake pins 0000000a6913891ce")
    assert "taken is Bazel's b9d4073" in xnnpack
    assert fft2d.startswith("fft2d: CMake pins 0000000")


@pytest.mark.usefixtures("allow_subprocess")
def test_a_module_that_cmake_cannot_read(modules: Path) -> None:
    (modules / cmake.MODULES / "ruy.cmake").write_text("OverridableFetchContent_Declare(")
    with pytest.raises(ArchiveError, match=r"CMake cannot read ruy\.cmake: "):
        cmake.read_pins(modules)


# --- The command ----------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with one lock; replace CMake's pins by constants."""
    pins = PINS | {"ruy": cmake.Pin(name="ruy", commit="1234567")}
    monkeypatch.setattr(lock_command, "cmake_pins_of", lambda _tree: pins)
    folder = tmp_path / "sources"
    folder.mkdir()
    shutil.copy(SOURCES / "2.14.1.toml", folder)
    return folder


def test_the_command_checks_and_rewrites(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sources / "2.14.1.toml"
    good = path.read_text()
    tree = ["--tree", str(tree_of(tmp_path / "tree"))]
    assert lock_command.run(["2.14.1", *tree, "--check"], sources) == 0
    told = capsys.readouterr()
    *belonging, verdict = told.out.splitlines()
    assert verdict == "2.14.1.toml is what the tree calls for"
    assert belonging == [*lines(LOCK)]
    assert "xnnpack: debian: substituted: bbbaa73 of 2023-09-25 for b9d4073" in belonging
    fp16, ruy = told.err.splitlines()
    assert fp16.startswith("note: fp16: CMake pins 0a92994d729ff76a58f692d3028ca1b64b145d91; taken")
    assert ruy.startswith("note: ruy: CMake pins 1234567; taken is Bazel's 3286a34")

    altered = good.replace("b9d4073a", "b9d4073b")
    path.write_text(altered)
    with pytest.raises(ArchiveError, match="is not what the tree calls for: xnnpack: upstream"):
        lock_command.run(["2.14.1", *tree, "--check"], sources)
    assert path.read_text() == altered
    assert lock_command.run(["2.14.1", *tree], sources) == 0
    assert path.read_text() == good
    assert "wrote 2.14.1.toml" in capsys.readouterr().out


def test_a_relation_that_is_not_what_the_tree_says_is_refused(
    sources: Path, tmp_path: Path
) -> None:
    path = sources / "2.14.1.toml"
    good = path.read_text()
    tree = ["--tree", str(tree_of(tmp_path / "tree"))]
    for new, words in (
        ("pinned", "debian is substituted, of 2023-09-25, was pinned"),
        ("", "of no"),
    ):
        line = f'relation = "{new}"\n' if new else ""
        path.write_text(good.replace('relation = "substituted"\n', line, 1))
        with pytest.raises(ArchiveError, match=f"xnnpack: .*{words}"):
            lock_command.run(["2.14.1", *tree, "--check"], sources)
    assert lock_command.run(["2.14.1", *tree], sources) == 0
    assert path.read_text() == good


def test_a_chromium_tells_the_days_and_what_it_carries(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sources / "2.14.1.toml"
    good = path.read_text()
    chromium = tmp_path / "chromium-120.0.6099.224"
    for component in LOCK.components:
        origin = component.origins["debian"]
        top, _, folder = origin.folder.partition("/")
        if top == chromium.name:
            (chromium / folder).mkdir(parents=True)
            date = f"Date: {origin.date}\n" if origin.date else ""
            text = f"Version: {origin.version}\n{date}"
            (chromium / folder / "README.chromium").write_text(text)
    options = ["--tree", str(tree_of(tmp_path / "tree")), "--chromium", str(chromium)]
    assert lock_command.run(["2.14.1", *options, "--check"], sources) == 0
    path.write_text(good.replace("date = 2023-09-25\n", ""))
    assert lock_command.run(["2.14.1", *options], sources) == 0
    assert path.read_text() == good
    assert (
        "xnnpack: debian is substituted, of 2023-09-25, was substituted" in capsys.readouterr().out
    )
    (chromium / "third_party/ruy/src/README.chromium").write_text(f"Version: {'0' * 40}\n")
    with pytest.raises(ArchiveError, match=f"chromium-120.0.6099.224 carries ruy {'0' * 40}"):
        lock_command.run(["2.14.1", *options], sources)


def test_the_day_of_a_pin_is_kept_as_long_as_the_pin_is(tmp_path: Path) -> None:
    day = datetime.date(2023, 7, 20)
    xnnpack = LOCK.components[1]
    dated = dataclasses.replace(xnnpack.origins["upstream"], date=day)
    kept = dataclasses.replace(xnnpack, origins=dict(xnnpack.origins) | {"upstream": dated})
    lock = dataclasses.replace(LOCK, components=(LOCK.components[0], kept, *LOCK.components[2:]))
    same = generate.generate(TENSORFLOW, tree_of(tmp_path / "same"), lock, PINS)
    assert same == lock
    assert "date = 2023-07-20" in lock_text(same)
    other = tree_of(tmp_path / "other", {dated.version: "4" * 40})
    assert (
        generate.generate(TENSORFLOW, other, lock, PINS).components[1].origins["upstream"].date
        is None
    )


def test_a_version_without_a_lock_gets_one(sources: Path, tmp_path: Path) -> None:
    tree = ["--tree", str(tree_of(tmp_path / "tree"))]
    with pytest.raises(ArchiveError, match=r"there is no 2\.17\.1\.toml"):
        lock_command.run(["2.17.1", *tree, "--check"], sources)
    assert lock_command.run(["2.17.1", *tree], sources) == 0
    lock = load_lock("2.17.1", sources)
    assert lock.origins == ("upstream",)
    assert lock.components[0].origins["upstream"].archive.url.endswith("/v2.17.1.tar.gz")
    with pytest.raises(UsageError, match="no TensorFlow '9'"):
        lock_command.run(["9", *tree], sources)


@pytest.mark.parametrize("version", ["2.14.1", "2.17.1"])
def test_the_tree_is_fetched_by_its_checksum(
    version: str, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tree_of(tmp_path / f"tensorflow-{version}")
    archive = shutil.make_archive(
        str(tmp_path / "fetched"), "gztar", root_dir=tmp_path, base_dir=tree.name
    )
    asked: list[tuple[str, str]] = []

    def url(_self: Fetcher, where: str, sha256: str, _size: int) -> Path:
        asked.append((where, sha256))
        raise UnreachableError("no github here")

    def debian(_self: Fetcher, where: str, sha256: str, _size: int) -> Path:
        asked.append((where, sha256))
        return Path(archive)

    monkeypatch.setattr(Fetcher, "url", url)
    monkeypatch.setattr(Fetcher, "debian", debian)
    monkeypatch.setattr("builders.excerpt.verify", lambda *_: None)
    tensorflow = load_matrix().tensorflow(version)
    if version == "2.17.1":
        # Only upstream has it.
        with pytest.raises(UnreachableError):
            lock_command.run([version], sources)
    else:
        assert lock_command.run([version, "--check"], sources) == 0
        assert lock_command.run([version, "--check"], sources) == 0
        assert len(list((Cache(default_root()).root / "tensorflow").iterdir())) == 1
    assert asked[0] == (
        f"https://github.com/tensorflow/tensorflow/archive/refs/tags/v{version}.tar.gz",
        tensorflow.sha256,
    )


def packed(folder: Path, version: str) -> Path:
    """Pack a tree as upstream's tarball."""
    tree = tree_of(folder / f"tensorflow-{version}")
    return Path(
        shutil.make_archive(str(folder / "tarball"), "gztar", root_dir=folder, base_dir=tree.name)
    )


def test_a_declared_version_is_locked_by_its_own_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = packed(tmp_path, "2.17.1")
    declared = dataclasses.replace(load_matrix().tensorflow("2.17.1"), sha256=sha256_of(tarball))
    asked: list[str] = []

    def url(_self: Fetcher, where: str, sha256: str, _size: int) -> Path:
        assert sha256 == declared.sha256
        asked.append(where)
        return tarball

    monkeypatch.setattr(Fetcher, "url", url)
    reporter = Reporter(Console(quiet=True))
    runner = NativeRunner(Cache(tmp_path / "cache"), reporter, tmp_path / "logs")
    target = dataclasses.replace(load_matrix().target("tf2.17.1-cp312-x86_64"), tensorflow=declared)
    # Nothing is fetched in order to say what would be done.
    assert not any(runner.is_cached(kind, target) for kind in ("fetch", "sources", "core", "wheel"))
    assert asked == []
    with pytest.raises(UsageError, match=r"declared: .*upstream only; leave out --origin debian"):
        dataclasses.replace(runner, origin="debian").lock(declared)
    lock = runner.lock(declared)
    assert lock.origins == ("upstream",)
    assert lock.components[0].origins["upstream"].archive.sha256 == declared.sha256
    assert runner.lock(declared) == lock
    assert len(asked) == 1
    assert not runner.is_cached("fetch", target)


def test_another_tarball_is_no_source_of_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = packed(tmp_path, "2.17.1")
    monkeypatch.setattr(Fetcher, "url", lambda *_: tarball)
    runner = NativeRunner(Cache(tmp_path / "cache"), Reporter(Console(quiet=True)), tmp_path)
    with pytest.raises(ChecksumError, match="wrong checksum"):
        runner.lock(load_matrix().tensorflow("2.17.1"))
    assert not (tmp_path / "cache/lock").is_dir() or not [*(tmp_path / "cache/lock").iterdir()]
