"""The cache: products are whole or not there, and are made once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from builders.cache import Cache, default_root, digest_files, key_of, sha256_of, write_atomically
from builders.errors import ChecksumError, UsageError

REPOSITORY = Path(builders.__file__).parents[1]
WAIT_SECONDS = 20

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def reordered(value: object) -> object:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def write(text: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "file").write_text(text)

    return make


@contextmanager
def python(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@given(json_values)
def test_a_key_does_not_depend_on_order(value: object) -> None:
    assert key_of(value) == key_of(reordered(value))


@given(json_values, json_values)
def test_keys_of_different_inputs_differ(one: object, other: object) -> None:
    # JSON tells 1 from True; Python does not.
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (key_of(one) == key_of(other)) is same


def test_a_key_stays_what_it_was() -> None:
    # Or every cache is worthless after an update of Python.
    assert key_of({"b": [1, "é"], "a": None}) == key_of({"a": None, "b": (1, "é")})
    assert key_of({}) == "44136fa355b3678a"


def test_a_product_is_made_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert not cache.has("core", "k")
    path = cache.product("core", "k", write("first"))
    assert cache.product("core", "k", write("second")) == path == cache.path("core", "k")
    assert (path / "file").read_text() == "first"
    assert cache.has("core", "k")
    # The product is renamed, not copied, so that half of it is never there.
    assert list((tmp_path / "core").iterdir()) == [path]


def test_products_of_other_kinds_and_keys_are_others(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for kind, key in (("a", "k"), ("b", "k"), ("a", "l")):
        cache.product(kind, key, write(f"{kind}{key}"))
    assert (cache.path("a", "k") / "file").read_text() == "ak"
    assert (cache.path("b", "k") / "file").read_text() == "bk"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    cache = Cache(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise error

    with pytest.raises(error):
        cache.product("core", "k", fail)
    assert list((tmp_path / "core").iterdir()) == []
    assert cache.held_locks == ()
    path = cache.product("core", "k", write("whole"))
    assert [file.name for file in path.iterdir()] == ["file"]


def test_a_product_cannot_be_seen_half_made(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def look(folder: Path) -> None:
        (folder / "half").touch()
        assert not cache.has("core", "k")
        assert not cache.path("core", "k").exists()

    cache.product("core", "k", look)
    assert cache.has("core", "k")


@pytest.mark.usefixtures("allow_subprocess")
def test_what_a_killed_build_left_is_made_anew(tmp_path: Path) -> None:
    half_made = """
        import pathlib, sys, time
        from builders.cache import Cache
        def make(folder):
            (folder / "half").touch()
            print("making", flush=True)
            time.sleep(60)
        Cache(pathlib.Path(sys.argv[1])).product("core", "k", make)
    """
    cache = Cache(tmp_path)
    with python(half_made, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "making\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not cache.has("core", "k")
    path = cache.product("core", "k", write("whole"))
    assert [file.name for file in path.iterdir()] == ["file"]


@pytest.mark.usefixtures("allow_subprocess")
def test_two_processes_make_a_product_once(tmp_path: Path) -> None:
    maker = """
        import os, pathlib, sys, time
        from builders.cache import Cache
        root, start = map(pathlib.Path, sys.argv[1:])
        def make(folder):
            time.sleep(0.3)
            (folder / "maker").write_text(str(os.getpid()))
            with (root / "made").open("a") as file:
                file.write("x")
        print("ready", flush=True)
        while not start.exists():
            time.sleep(0.001)
        path = Cache(root).product("core", "k", make)
        print((path / "maker").read_text())
    """
    start = tmp_path / "start"
    with python(maker, tmp_path, start) as one, python(maker, tmp_path, start) as other:
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        start.touch()
        said = [process.communicate(timeout=WAIT_SECONDS)[0] for process in (one, other)]
    assert said[0] == said[1]
    assert said[0].strip() in (str(one.pid), str(other.pid))
    assert (tmp_path / "made").read_text() == "x"


def test_two_threads_make_a_product_once(tmp_path: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        time.sleep(0.1)
        made.append(folder)

    cache = Cache(tmp_path)
    threads = [threading.Thread(target=cache.product, args=("a", "k", make)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert cache.has("a", "k")


@pytest.mark.parametrize("error", [None, OSError, KeyboardInterrupt])
def test_a_scratch_folder_begins_empty_and_goes(
    tmp_path: Path, error: type[BaseException] | None
) -> None:
    cache = Cache(tmp_path)
    of_a_killed_run = tmp_path / "work" / "some" / "half.o"
    of_a_killed_run.parent.mkdir(parents=True)
    of_a_killed_run.touch()
    with suppress(*[error] if error else []), cache.scratch("some") as folder:
        assert folder == of_a_killed_run.parent
        assert not list(folder.iterdir())
        (folder / "new.o").touch()
        if error:
            raise error
    assert not folder.exists()


def test_who_waits_says_so_once(tmp_path: Path) -> None:
    told: list[str] = []
    holder, waiter = Cache(tmp_path), Cache(tmp_path, on_wait=told.append)
    got = threading.Event()

    def wait() -> None:
        with waiter.lock("core-k"):
            got.set()

    thread = threading.Thread(target=wait)
    with holder.lock("core-k"):
        thread.start()
        until(lambda: bool(told))
        # Longer than it sleeps between two attempts.
        assert not got.wait(0.5)
    assert got.wait(WAIT_SECONDS)
    thread.join()
    assert told == ["another build is making core-k; waiting for it"]


def test_a_free_lock_is_taken_silently(tmp_path: Path) -> None:
    told: list[str] = []
    cache = Cache(tmp_path, on_wait=told.append)
    for _ in range(2):
        with cache.lock("a"), cache.lock("b"):
            assert len(cache.held_locks) == 2
        assert not cache.held_locks
    assert told == []


@pytest.mark.usefixtures("allow_subprocess")
def test_a_released_lock_is_free_whoever_inherited_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.lock("core-k"):
        heir = subprocess.Popen(["sleep", "60"], pass_fds=cache.held_locks)
    try:
        told: list[str] = []
        with Cache(tmp_path, on_wait=told.append).lock("core-k"):
            assert told == []
    finally:
        heir.kill()
        heir.wait()


@pytest.mark.usefixtures("allow_subprocess")
def test_an_orphan_keeps_the_next_build_out(tmp_path: Path) -> None:
    # The compiler outlives its build: it ignores both signals that should end it.
    build = """
        import pathlib, sys
        from builders.cache import Cache
        from builders.errors import CompileError
        from builders.process import run
        root = pathlib.Path(sys.argv[1])
        cache = Cache(root)
        script = "trap '' TERM; echo $$; sleep 60 & wait; wait"
        with cache.lock("core-k"):
            run(["sh", "-c", script], log=root / "log", failure=CompileError, what="compiling",
                on_line=lambda line: print(line, flush=True), keep_open=cache.held_locks)
    """
    with python(build, tmp_path) as process:
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        process.kill()
        process.wait()
        told: list[str] = []
        got = threading.Event()

        def wait() -> None:
            with Cache(tmp_path, on_wait=told.append).lock("core-k"):
                got.set()

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: bool(told))
        assert not got.wait(0.5)
        os.killpg(orphan, signal.SIGKILL)
        assert got.wait(WAIT_SECONDS)
        thread.join()


def test_a_digest_tells_names_and_bytes_apart(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir()))) / "folder"
        for name, text in files.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return digest_files(folder)

    assert digest(a="1", b="2") == digest(b="2", a="1")
    different = [digest(a="1"), digest(b="1"), digest(a="2"), digest(a="1", b=""), digest(x__a="1")]
    assert len(set(different)) == len(different)


def test_a_digest_is_of_the_whole_and_not_of_where_it_is(tmp_path: Path) -> None:
    for place in ("one", "__pycache__"):
        (tmp_path / place / "folder/__pycache__").mkdir(parents=True)
        (tmp_path / place / "folder/a").write_text("1")
        (tmp_path / place / "folder/__pycache__/a.pyc").write_text(place)
    one, other = (digest_files(tmp_path / p / "folder") for p in ("one", "__pycache__"))
    assert one == other != digest_files()


def test_a_digest_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_files(tmp_path / "absent")


def test_a_digest_tells_which_file_is_which(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("1")
    assert len({digest_files(one), digest_files(other), digest_files(one, other)}) == 3


def test_sha256_is_the_standard_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    assert sha256_of(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new" / "file"
    write_atomically(file, b"old")

    def fail(path: Path, data: bytes) -> int:
        with path.open("wb") as half:
            half.write(data[:1])
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(OSError, match="no space"):
            write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def write_often(text: bytes) -> None:
        try:
            for _ in range(200):
                write_atomically(tmp_path / "file", text)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write_often, args=(b"%d" % i * 9,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (tmp_path / "file").read_bytes() in {b"%d" % i * 9 for i in range(4)}


def test_the_root_is_chosen_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFLITE_WHEELS_CACHE", "mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_root() == tmp_path / "mine"
    monkeypatch.delenv("TFLITE_WHEELS_CACHE")
    assert default_root() == tmp_path / "xdg" / "tflite-lambda-wheels"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_root() == tmp_path / "home/.cache/tflite-lambda-wheels"


@pytest.mark.parametrize("name", ["Jo's", 'a "b"', "a;b", "$HOME", "back\\slash", "two\nlines"])
def test_a_path_that_upstream_cannot_quote_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFLITE_WHEELS_CACHE", str(tmp_path / name))
    with pytest.raises(UsageError, match="cannot quote; set TFLITE_WHEELS_CACHE"):
        default_root()
    assert not (tmp_path / name).exists()
    monkeypatch.setenv("TFLITE_WHEELS_CACHE", str(tmp_path / "with a space"))
    assert default_root() == tmp_path / "with a space"


def test_a_core_that_was_changed_in_the_cache_is_refused(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "lib").mkdir()
        (folder / "lib/libtflite.a").write_bytes(b"!<arch>\n")
        (folder / "core.json").write_text("{}")

    core = Cache(tmp_path).product("core", "abc", make)
    (core / "core.json").write_text('{"follows": "the lock"}')
    assert Cache(tmp_path).product("core", "abc", make) == core
    (core / "lib/libtflite.a").write_bytes(b"!<arch>\nother")
    with pytest.raises(ChecksumError, match="core abc in the cache is not as it was made"):
        Cache(tmp_path).product("core", "abc", make)
    # Only what is to be linked is looked at again.
    tree = Cache(tmp_path).product("trees", "abc", make)
    (tree / "lib/libtflite.a").write_bytes(b"other")
    assert Cache(tmp_path).product("trees", "abc", make) == tree


def test_a_core_with_another_file_is_refused(tmp_path: Path) -> None:
    core = Cache(tmp_path).product("core", "abc", lambda _: None)
    (core / "more.h").write_text("")
    with pytest.raises(ChecksumError):
        Cache(tmp_path).product("core", "abc", lambda _: None)
