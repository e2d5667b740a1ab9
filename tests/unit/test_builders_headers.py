"""Where the headers of a target come from."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from builders import headers
from builders.cache import Cache
from builders.errors import ChecksumError, HeadersError, UsageError
from builders.fetch import Fetcher
from builders.headers import (
    locked_wheel,
    python_headers,
    runs_here,
    wheel_headers,
)
from builders.interpreters import Interpreter
from builders.matrix import load_matrix
from builders.sources import Archive
from builders.tables import is_sha256

MATRIX = load_matrix()
TARGET = MATRIX.target("tf2.14.1-cp313-x86_64")
RUNTIME = TARGET.runtime


def test_the_wheels_of_every_target_are_locked() -> None:
    for target in MATRIX.targets():
        runtime = target.runtime
        numpy, pybind11 = locked_wheel("numpy", target), locked_wheel("pybind11", target)
        name, version, _, tags = parse_wheel_filename(numpy.pypi)
        assert (name, str(version)) == ("numpy", runtime.numpy.headers)
        assert {(tag.interpreter, tag.abi) for tag in tags} == {(runtime.tag,) * 2} or (
            {tag.interpreter for tag in tags} == {runtime.tag}
        )
        assert all(tag.platform.endswith(target.arch) for tag in tags)
        name, version, _, tags = parse_wheel_filename(pybind11.pypi)
        assert (name, str(version)) == ("pybind11", runtime.pybind11)
        assert tags == {Tag("py3", "none", "any")}
        assert is_sha256(numpy.sha256)
        assert is_sha256(pybind11.sha256)


def test_no_wheel_is_locked_in_vain() -> None:
    used = {locked_wheel(p, t).pypi for t in MATRIX.targets() for p in ("numpy", "pybind11")}
    locked = re.findall(r'^file = "(.*)"$', headers.LOCK_FILE.read_text(), re.MULTILINE)
    assert sorted(locked) == sorted(used)


def test_an_unlocked_wheel_is_named_with_its_target() -> None:
    target = replace(TARGET, runtime=replace(RUNTIME, pybind11="9.9"))
    with pytest.raises(UsageError, match=r"no pybind11 9\.9 for tf2\.14\.1-cp313-x86_64; .*update"):
        locked_wheel("pybind11", target)


def test_a_lock_that_is_malformed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "headers.toml"
    file.write_text('[[wheel]]\nfile = "numpy-1-py3-none-any.whl"\nsha256 = "short"\n')
    monkeypatch.setattr(headers, "LOCK_FILE", file)
    with pytest.raises(
        UsageError, match=r"headers\.toml: wheel numpy-1-py3-none-any\.whl: 'sha256'"
    ):
        locked_wheel("numpy", TARGET)


def interpreter(folder: Path, arch: str = "x86_64") -> Interpreter:
    (folder / "include").mkdir(parents=True, exist_ok=True)
    (folder / "include/Python.h").write_text("#define X 1\n")
    return Interpreter(
        executable=folder / "python", version="3.13.1", arch=arch, include=folder / "include"
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Take Python and apt away from the machine."""
    monkeypatch.setattr(headers, "find_interpreter", lambda _python: None)
    monkeypatch.setattr(headers, "debian_mirrors", tuple)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return monkeypatch


def take(tmp_path: Path, arch: str = "x86_64") -> headers.PythonHeaders:
    return python_headers(RUNTIME, arch, Cache(tmp_path / "cache"), tmp_path / "log")


def test_this_machines_python_comes_first(tmp_path: Path, machine: pytest.MonkeyPatch) -> None:
    machine.setattr(headers, "find_interpreter", lambda _python: interpreter(tmp_path))
    machine.setattr(headers, "debian_mirrors", lambda: pytest.fail("asked apt"))
    found = take(tmp_path)
    assert found.folders == (tmp_path / "include",)
    assert found.origin == "Python 3.13.1 of this machine"


def test_their_digest_is_of_their_bytes(tmp_path: Path, machine: pytest.MonkeyPatch) -> None:
    digests = []
    for place, text in (("one", "1"), ("two", "1"), ("three", "2")):
        here = interpreter(tmp_path / place)
        (here.include / "pyconfig.h").write_text(text)
        machine.setattr(headers, "find_interpreter", lambda _python, here=here: here)
        digests.append(take(tmp_path).digest)
    assert digests[0] == digests[1] != digests[2]


def test_nothing_anywhere_is_one_clear_error(tmp_path: Path, machine: pytest.MonkeyPatch) -> None:
    del machine
    with pytest.raises(HeadersError, match=r"Python 3\.13 for x86_64 .*; .*pyenv install 3\.13"):
        take(tmp_path)


@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_a_python_without_headers_is_not_used(
    tmp_path: Path, machine: pytest.MonkeyPatch, arch: str
) -> None:
    here = interpreter(tmp_path, arch)
    (here.include / "Python.h").unlink()
    machine.setattr(headers, "find_interpreter", lambda _python: here)
    with pytest.raises(HeadersError):
        take(tmp_path)


def test_headers_of_another_processor_are_checked(
    tmp_path: Path, machine: pytest.MonkeyPatch
) -> None:
    machine.setattr(headers, "find_interpreter", lambda _python: interpreter(tmp_path))
    checked = []

    def check(include: Path, arch: str, *_: object) -> Path:
        checked.append((include, arch))
        return tmp_path / "checked"

    machine.setattr(headers, "checked_headers", check)
    found = take(tmp_path, "aarch64")
    assert found.folders == (tmp_path / "checked",)
    assert found.origin == "Python 3.13.1 of this machine, checked for aarch64"
    assert checked == [(tmp_path / "include", "aarch64")]


def test_only_a_python_of_this_machine_runs_here(
    tmp_path: Path, machine: pytest.MonkeyPatch
) -> None:
    assert not runs_here(RUNTIME, platform.machine())
    machine.setattr(headers, "find_interpreter", lambda _python: interpreter(tmp_path))
    assert runs_here(RUNTIME, platform.machine())
    assert not runs_here(RUNTIME, "s390x")


@pytest.fixture
def debian(
    tmp_path: Path, machine: pytest.MonkeyPatch, allow_subprocess: None
) -> pytest.MonkeyPatch:
    """Replace apt-get and dpkg-deb by scripts."""
    del allow_subprocess
    tools = tmp_path / "tools"
    tools.mkdir()
    scripts = {
        "apt-get": f"""echo "$@" >> {tmp_path}/asked
            [ -z "$FAIL" ] || {{ echo "E: $FAIL" >&2; exit 100; }}
            case "$*" in *download*) echo deb > python.deb;; esac""",
        "dpkg-deb": """[ "$1" = -x ] || exit 1
            mkdir -p "$3/usr/include/python3.13"
            [ -n "$EMPTY" ] || echo '// of' $(cat "$2") > "$3/usr/include/python3.13/Python.h" """,
    }
    for name, script in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    machine.setenv("PATH", f"{tools}{os.pathsep}{os.defpath}")
    machine.setattr(headers, "debian_mirrors", lambda: ("http://mirror.invalid/debian",))
    return machine


def test_debian_has_headers_of_other_machines(tmp_path: Path, debian: pytest.MonkeyPatch) -> None:
    del debian
    found = take(tmp_path, "aarch64")
    assert found.origin == "Debian trixie's libpython3.13-dev"
    own, shared = found.folders
    assert (own / "Python.h").read_text() == "// of deb\n"
    assert shared == own.parent
    update, download = (tmp_path / "asked").read_text().splitlines()
    assert update.endswith(" update")
    assert download.endswith(" download libpython3.13-dev:arm64")
    assert "APT::Architecture=arm64" in update
    [sources] = (tmp_path / "cache").rglob("sources.list")
    line = sources.read_text()
    assert line.endswith(" http://mirror.invalid/debian trixie main\n")
    # apt checks signatures against Debian's own keys alone.
    assert line.startswith("deb [signed-by=/")
    assert not list(tmp_path.glob("cache/python-headers/**/*.deb"))


def test_debians_own_come_before_those_of_another_processor(
    tmp_path: Path, debian: pytest.MonkeyPatch
) -> None:
    debian.setattr(headers, "find_interpreter", lambda _python: interpreter(tmp_path))
    assert take(tmp_path, "aarch64").origin == "Debian trixie's libpython3.13-dev"


def test_offline_debian_is_not_asked(tmp_path: Path, debian: pytest.MonkeyPatch) -> None:
    def offline() -> headers.PythonHeaders:
        cache = Cache(tmp_path / "cache")
        return python_headers(RUNTIME, "aarch64", cache, tmp_path / "log", offline=True)

    with pytest.raises(HeadersError, match="or in the cache; build once without --offline"):
        offline()
    debian.setattr(headers, "find_interpreter", lambda _python: interpreter(tmp_path))
    debian.setattr(headers, "checked_headers", lambda *_: tmp_path / "checked")
    assert offline().folders == (tmp_path / "checked",)
    there = take(tmp_path, "aarch64")
    assert offline().folders == there.folders != (tmp_path / "checked",)


def test_debian_is_asked_once(tmp_path: Path, debian: pytest.MonkeyPatch) -> None:
    first = take(tmp_path)
    debian.setenv("FAIL", "asked again")
    assert take(tmp_path).folders == first.folders


def test_apts_own_words_are_passed_on(tmp_path: Path, debian: pytest.MonkeyPatch) -> None:
    debian.setenv("FAIL", "no such suite")
    with pytest.raises(HeadersError, match=r"(?s)libpython3\.13-dev:amd64 .*E: no such suite"):
        take(tmp_path)
    assert list((tmp_path / "cache/python-headers").iterdir()) == []


def test_a_package_without_headers_is_no_product(
    tmp_path: Path, debian: pytest.MonkeyPatch
) -> None:
    debian.setenv("EMPTY", "yes")
    with pytest.raises(HeadersError, match=r"has no Python\.h"):
        take(tmp_path)
    assert list((tmp_path / "cache/python-headers").iterdir()) == []


def test_a_suite_that_lacks_the_python_is_not_asked(
    tmp_path: Path, debian: pytest.MonkeyPatch
) -> None:
    del debian
    runtime = replace(RUNTIME, debian="")
    with pytest.raises(HeadersError):
        python_headers(runtime, "x86_64", Cache(tmp_path / "cache"), tmp_path / "log")


def locked(tmp_path: Path, name: str, folder: str) -> Archive:
    """Put a wheel with one header into the cache."""
    wheel = tmp_path / name
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"{folder}/x/x.h", f"// {name}")
        file.writestr(f"{folder.split('/')[0]}/code.py", "")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    place = Cache(tmp_path / "cache").downloads / sha256 / name
    place.parent.mkdir(parents=True)
    wheel.rename(place)
    return Archive(sha256=sha256, pypi=name)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("numpy-1.19.0-cp38-cp38-manylinux2010_x86_64.whl", "numpy/core/include"),
        ("numpy-2.0.2-cp39-cp39-manylinux2014_x86_64.whl", "numpy/_core/include"),
        ("pybind11-3.1.0-py3-none-any.whl", "pybind11/include"),
    ],
)
def test_the_headers_of_a_wheel_are_where_its_version_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    archive = locked(tmp_path, name, folder)
    monkeypatch.setattr(headers, "locked_wheel", lambda *_: archive)
    cache = Cache(tmp_path / "cache")
    path, sha256 = wheel_headers(name.split("-")[0], TARGET, cache, Fetcher(cache))
    assert (path / "x/x.h").read_text() == f"// {name}"
    assert [p.name for p in path.iterdir()] == ["x"]
    assert sha256 == archive.sha256


def test_a_tampered_wheel_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "pybind11-3.1.0-py3-none-any.whl"
    archive = locked(tmp_path, name, "pybind11/include")
    monkeypatch.setattr(headers, "locked_wheel", lambda *_: archive)
    cache = Cache(tmp_path / "cache")
    [file] = cache.downloads.rglob("*.whl")
    with zipfile.ZipFile(file, "a") as wheel:
        wheel.writestr("pybind11/include/evil.h", "")
    with pytest.raises(ChecksumError, match=name):
        wheel_headers("pybind11", TARGET, cache, Fetcher(cache))
    assert list((cache.root / "headers").iterdir()) == []
