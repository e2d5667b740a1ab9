"""Layers of tiny wheels: what goes in, where, in which bytes, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import sys
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from builders.audit.wheelfile import UNPACKED_LIMIT
from builders.cache import Cache
from builders.errors import ArchiveError, FetchError, SmokeError, UsageError
from builders.interpreters import Interpreter
from builders.matrix import Runtime, load_matrix
from builders.wheel import wheel_name
from ci.commands import layer
from ci.layers import bytecode, layer_content, layer_plan, layer_zip
from smoke_lambda.lock import lock_path, locked

MATRIX = load_matrix()
ONE, OTHER = "tf2.14.1-cp312-x86_64", "tf2.14.1-cp313-x86_64"
RUNTIME = MATRIX.runtime("3.12")
NUMPY = {
    "numpy/__init__.py": b"",
    "numpy/LICENSE": b"licence",
    "numpy/tests/test_all.py": b"tests",
    "numpy/_core/tests/_natype.py": b"imported by numpy.testing",
    "numpy/conftest.py": b"tests",
    "numpy/__init__.pyi": b"stub",
    "numpy/py.typed": b"",
    "numpy/testing/__init__.py": b"kept",
    "numpy/f2py/__init__.py": b"raise ImportError",
    "numpy/f2py/crackfortran.py": b"tool",
    "numpy/distutils/core.py": b"tool",
    "numpy/doc/ufuncs.py": b"text",
    "numpy/_core/_simd.cpython-312-x86_64-linux-gnu.so": b"tests",
    "numpy/_core/_multiarray_tests.cpython-312-x86_64-linux-gnu.so": b"imported",
    "numpy/_core/_umath_tests.cpython-312-x86_64-linux-gnu.so": b"tests",
    "numpy/_core/include/numpy/ndarraytypes.h": b"header",
    "numpy/_core/include/numpy/LICENSE.txt": b"licence",
    "numpy/_core/lib/libnpymath.a": b"library",
    "numpy/_core/_umath.cpython-312-x86_64-linux-gnu.so": b"extension",
    "numpy.libs/libopenblas.so.0": b"library",
    "numpy-9.dist-info/METADATA": b"Name: numpy\n",
    "numpy-9.dist-info/licenses/numpy/tests/LICENSE.txt": b"licence",
}
STAYS = {
    "numpy/_core/tests/_natype.py",
    "numpy/__init__.py",
    "numpy/LICENSE",
    "numpy/testing/__init__.py",
    "numpy/f2py/__init__.py",
    "numpy/_core/include/numpy/LICENSE.txt",
    "numpy/_core/_umath.cpython-312-x86_64-linux-gnu.so",
    "numpy/_core/_multiarray_tests.cpython-312-x86_64-linux-gnu.so",
    "numpy.libs/libopenblas.so.0",
    "numpy-9.dist-info/METADATA",
    "numpy-9.dist-info/licenses/numpy/tests/LICENSE.txt",
    "numpy-9.dist-info/RECORD",
}


def make_wheel(path: Path, files: Mapping[str, bytes], info: str = "") -> Path:
    """Write a wheel of the files, with a RECORD of them if `info` names a .dist-info."""
    record = io.StringIO()
    csv.writer(record, lineterminator="\n").writerows(
        [[name, "sha256=x", len(data)] for name, data in files.items()]
        + [[f"{info}/RECORD", "", ""]]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
        if info:
            wheel.writestr(f"{info}/RECORD", record.getvalue())
    return path


def make_runtime(folder: Path, identifier: str, *, content: bytes = b"") -> Path:
    target = MATRIX.target(identifier)
    return make_wheel(folder / wheel_name(target), {"tflite_runtime/__init__.py": content})


@pytest.fixture
def locked_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the locked wheels by tiny ones; return the list of the requested wheels."""
    asked: list[str] = []

    def wheel(project: str, runtime: Runtime, arch: str, *_: object) -> Path:
        asked.append(f"{project} {runtime.python} {arch}")
        path = tmp_path / "locked" / f"{project}-9-{runtime.tag}-{runtime.tag}-linux_{arch}.whl"
        return make_wheel(path, {f"{project}/__init__.py": b""})

    monkeypatch.setattr(layer_plan, "locked_wheel", wheel)
    monkeypatch.setattr(layer_plan, "bytecode_of", lambda *_: {})
    return asked


def members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return file.namelist()


def test_a_function_gets_what_it_needs_and_every_licence(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "numpy-9-py3-none-any.whl", NUMPY, "numpy-9.dist-info")
    files = layer_content.site_packages([wheel])
    assert set(files) == STAYS
    rows = [*csv.reader(io.StringIO(files["numpy-9.dist-info/RECORD"].decode()))]
    assert {row[0] for row in rows} == STAYS
    f2py = files["numpy/f2py/__init__.py"]
    assert layer_content.record_row("numpy/f2py/__init__.py", f2py) in rows


def test_what_stands_in_for_a_tool_is_imported_and_has_nothing() -> None:
    (text,) = layer_content.STAND_INS.values()
    module = types.ModuleType("numpy.f2py")
    exec(text, vars(module))
    with pytest.raises(AttributeError, match=r"numpy\.f2py is not in this layer, nor .*compile"):
        module.compile  # noqa: B018 - it is looked up


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"<html>", "damaged"), (None, "no place for")],
)
def test_wheels_that_no_layer_holds(tmp_path: Path, content: bytes | None, words: str) -> None:
    wheel = make_wheel(tmp_path / "x-1-py3-none-any.whl", {"x-1.data/scripts/run": b""})
    if content is not None:
        wheel.write_bytes(content)
    with pytest.raises(ArchiveError, match=words):
        layer_content.site_packages([wheel])


def test_platforms_are_those_of_the_runtimes_glibc() -> None:
    old = layer_content.platforms(MATRIX.runtime("3.11"), "aarch64")
    assert old[0] == "manylinux_2_26_aarch64"
    assert "manylinux2014_aarch64" in old
    assert old.index("manylinux_2_17_aarch64") < old.index("manylinux_2_12_aarch64")
    assert layer_content.platforms(RUNTIME, "x86_64")[0] == "manylinux_2_34_x86_64"


def test_the_newest_locked_numpy_that_runs_there_is_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = MATRIX.runtime("3.11")
    commands: list[list[str]] = []

    def pip(command: list[str | Path], **_: object) -> None:
        words = [str(word) for word in command]
        commands.append(words)
        requirements = Path(words[words.index("-r") + 1]).read_text()
        assert requirements == locked(lock_path(runtime, runtime.numpy.on_lambda), "numpy")
        (Path(words[words.index("--dest") + 1]) / "numpy.whl").touch()

    monkeypatch.setattr(layer_content, "run", pip)
    cache = Cache(tmp_path)
    for arch in ("x86_64", "aarch64", "aarch64"):
        wheel = layer_content.locked_wheel("numpy", runtime, arch, cache, tmp_path / "log")
        assert wheel.name == "numpy.whl"
    assert len(commands) == 2
    assert "--require-hashes" in commands[0]
    assert "manylinux_2_26_x86_64" in commands[0]
    assert "manylinux_2_27_x86_64" not in commands[0]


@pytest.mark.parametrize(
    ("lines", "words"),
    [(["Looking", "ERROR: one", "ERROR: two"], "failed: two;"), ([], "does not say why")],
)
def test_a_download_that_fails_says_so_in_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], words: str
) -> None:
    def pip(_command: object, *, on_line: Callable[[str], None], **_: object) -> None:
        for line in lines:
            on_line(line)
        raise FetchError("exit status 1:\nLooking\nERROR")

    monkeypatch.setattr(layer_content, "run", pip)
    with pytest.raises(FetchError, match=words) as raised:
        layer_content.locked_wheel("numpy", RUNTIME, "x86_64", Cache(tmp_path), tmp_path / "log")
    assert "\n" not in str(raised.value)
    assert f"numpy=={RUNTIME.numpy.on_lambda} for python3.12 on x86_64" in str(raised.value)
    assert list((tmp_path / "layer-wheels").iterdir()) == []


def test_a_lock_gives_one_package_with_its_hashes() -> None:
    lock = lock_path(RUNTIME, RUNTIME.numpy.on_lambda)
    lines = locked(lock, "pillow").splitlines()
    assert lines[0].startswith("pillow==")
    assert len(lines) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])
    with pytest.raises(KeyError, match="no pil"):
        locked(lock, "pil")


def test_a_layer_per_target_and_one_of_pillow(tmp_path: Path, locked_wheels: list[str]) -> None:
    out = tmp_path / "out"
    make_runtime(tmp_path / "dist", ONE)
    arguments = [ONE, "--pillow", "--wheels", str(tmp_path / "dist"), "--out", str(out)]
    assert layer.run(arguments) == 0
    assert locked_wheels == ["numpy 3.12 x86_64", "pillow 3.12 x86_64"]
    assert members(out / f"layer-{ONE}.zip") == [
        "python/numpy/__init__.py",
        "python/tflite_runtime/__init__.py",
    ]
    assert members(out / "layer-pillow-cp312-x86_64.zip") == ["python/pillow/__init__.py"]


def test_one_layer_for_two_pythons(
    tmp_path: Path, locked_wheels: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    wheels = [str(make_runtime(tmp_path, identifier)) for identifier in (ONE, OTHER)]
    assert layer.run([*wheels, "--multi", "--json", "--out", str(out)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert members(Path(found["path"])) == [
        f"python/lib/python{python}/site-packages/{package}/__init__.py"
        for python in ("3.12", "3.13")
        for package in ("numpy", "tflite_runtime")
    ]
    assert found["CompatibleRuntimes"] == ["python3.12", "python3.13"]
    assert found["CompatibleArchitectures"] == ["x86_64"]
    assert found["packages"]["3.12"] == [
        Path(wheels[0]).name,
        "numpy-9-cp312-cp312-linux_x86_64.whl",
    ]
    assert found["zipped"] == Path(found["path"]).stat().st_size
    assert len(locked_wheels) == 2


def test_arm64_has_awss_name(
    tmp_path: Path, locked_wheels: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = make_runtime(tmp_path, "tf2.14.1-cp312-aarch64")
    assert layer.run([str(wheel), "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["CompatibleArchitectures"] == ["arm64"]
    assert locked_wheels == ["numpy 3.12 aarch64"]


def test_the_table_has_sizes_and_paths(
    tmp_path: Path, locked_wheels: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = make_runtime(tmp_path, ONE)
    layer.run([str(wheel), "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    for word in ("python3.12", "50 MB", "250 MB", "0.0 MB", f"{tmp_path}/layer-{ONE}.zip"):
        assert word in printed
    assert locked_wheels


def test_the_same_bytes_whenever_and_in_whatever_order(tmp_path: Path) -> None:
    files = {f"python/{name}": data for name, data in NUMPY.items()}
    layers = [
        layer_zip.write_layer(
            tmp_path / folder / "x.zip",
            dict(sorted(files.items(), reverse=back)),
            arch="x86_64",
            packages={},
        )
        for folder, back in (("a", False), ("b", True))
    ]
    assert layers[0].path.read_bytes() == layers[1].path.read_bytes()
    assert layers[0].sha256 == layers[1].sha256
    with zipfile.ZipFile(layers[0].path) as file:
        infos = file.infolist()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr >> 16 for info in infos} == {0o100644, 0o100755}


@pytest.mark.parametrize("limit", ["UNPACKED_LIMIT", "ZIPPED_LIMIT"])
def test_what_lambda_does_not_take_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    before = tmp_path / "x.zip"
    before.write_bytes(b"the layer of before")
    monkeypatch.setattr(layer_zip, limit, 40)
    with pytest.raises(UsageError, match="fewer targets"):
        layer_zip.write_layer(before, {"python/x": bytes(50)}, arch="x86_64", packages={})
    assert before.read_bytes() == b"the layer of before"
    assert list(tmp_path.iterdir()) == [before]


def test_the_limits_are_awss() -> None:
    assert layer_zip.ZIPPED_LIMIT == 52_428_800
    assert UNPACKED_LIMIT == 262_144_000


def test_the_highest_build_of_the_first_folder(tmp_path: Path) -> None:
    name = wheel_name(MATRIX.target(ONE))
    first, second = tmp_path / "wheels", tmp_path / "dist"
    for folder, build in ((first, 9), (first / "old", 10), (second, 11)):
        make_wheel(folder / name.replace("-1-", f"-{build}-"), {"x": b""})
    found = layer_plan.find_wheels([ONE], [first, second], MATRIX)
    assert found == {MATRIX.target(ONE): first / "old" / name.replace("-1-", "-10-")}
    assert layer_plan.find_wheels([ONE], [tmp_path / "none", second], MATRIX)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tf9-cp312-x86_64"], "--list"),
        ([ONE], "scripts/build --only"),
        (["tflite_runtime-2.14.1-1-cp312-cp312-manylinux_2_17_x86_64.whl"], "there is no wheel"),
        (["numpy-2.0-cp312-cp312-manylinux_2_17_x86_64.whl"], "project is numpy"),
    ],
)
def test_what_cannot_be_meant(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    wheels = tmp_path / "wheels"
    assert layer.main([*arguments, "--wheels", str(wheels), "--out", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("other", ["tf2.14.1-cp313-aarch64", "tf2.15.1-cp313-x86_64"])
def test_one_layer_is_of_one_kind(tmp_path: Path, other: str) -> None:
    wheels = {MATRIX.target(identifier): tmp_path for identifier in (ONE, other)}
    with pytest.raises(UsageError, match="call it once for each"):
        list(layer_plan.plan(wheels, multi=True, pillow=False))
    assert len(list(layer_plan.plan(wheels, multi=False, pillow=True))) == 4


def test_the_same_target_twice_is_one_layer(tmp_path: Path) -> None:
    wheel = make_runtime(tmp_path, ONE)
    assert layer_plan.find_wheels([ONE, str(wheel)], [tmp_path], MATRIX) == {
        MATRIX.target(ONE): wheel
    }


@pytest.mark.usefixtures("allow_subprocess")
def test_bytecode_is_loaded_without_a_look_at_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Interpreter(
        executable=Path(sys.executable), version="3.12.0", arch="x86_64", include=tmp_path
    )
    monkeypatch.setattr(bytecode, "find_interpreter", lambda _python: here)
    files = {"pkg/__init__.py": b"X = {'a', 'b'}\ndef f(): raise ValueError\n", "pkg/data": b"1"}
    found = [
        bytecode.bytecode_of(files, "python", RUNTIME, Cache(tmp_path / name), tmp_path / "log")
        for name in ("one", "two")
    ]
    assert found[0] == found[1], "the same bytes in any folder"
    ((path, content),) = found[0].items()
    assert path == f"pkg/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    # PEP 552: the file has a hash, and Python does not check it.
    assert int.from_bytes(content[4:8], "little") == 0b01
    assert b"/opt/python/pkg/__init__.py" in content
    assert not list((tmp_path / "one").rglob("*.py")), "sources are the wheel's"


@pytest.mark.usefixtures("allow_subprocess")
def test_a_file_that_does_not_compile_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Interpreter(
        executable=Path(sys.executable), version="3.12.0", arch="x86_64", include=tmp_path
    )
    monkeypatch.setattr(bytecode, "find_interpreter", lambda _python: here)
    with pytest.raises(SmokeError, match=r"bad\.py"):
        bytecode.bytecode_of(
            {"bad.py": b"def"}, "python", RUNTIME, Cache(tmp_path / "cache"), tmp_path / "log"
        )


def test_without_that_python_there_is_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "find_interpreter", lambda _python: None)
    with pytest.raises(UsageError, match=r"no Python 3\.12") as caught:
        bytecode.interpreter_of(RUNTIME)
    assert "--no-bytecode" in str(caught.value.remedy)


@pytest.mark.usefixtures("locked_wheels")
def test_bytecode_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_runtime(tmp_path / "wheels", ONE)
    written = {"numpy/__pycache__/__init__.pyc": b"bytecode"}
    monkeypatch.setattr(layer_plan, "bytecode_of", lambda *_: written)
    for options, found in (
        ([], ["python/numpy/__pycache__/__init__.pyc"]),
        (["--no-bytecode"], []),
    ):
        out = tmp_path / f"out{len(found)}"
        assert layer.run([str(wheel), "--out", str(out), *options]) == 0
        (path,) = out.glob("*.zip")
        assert [name for name in members(path) if name.endswith(".pyc")] == found
