"""Downloads, against a server of this machine that behaves as badly as real ones."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_builders_cache import python

from builders import fetch
from builders.cache import Cache
from builders.errors import (
    ChecksumError,
    FetchError,
    PieceError,
    UnreachableError,
    UsageError,
    UserError,
)
from builders.fetch import Fetcher, debian_mirrors, verify

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass
class Server:
    """A server's answers, and the requests that it got."""

    data: bytes = DATA
    # The statuses of the first answers; then 200.
    statuses: list[int] = field(default_factory=list)
    # The number of body bytes after which each of the first answers breaks off.
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    # The bytes by which a piece is shifted, and by which it is longer, than requested.
    shift: int = 0
    excess: int = 0
    length: bool = True
    encoding: str = ""
    delay: float = 0.0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    accepted: set[str | None] = field(default_factory=set)
    address: str = ""

    @property
    def url(self) -> str:
        return f"{self.address}/folder/file.tar.gz?raw=1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers["Range"]
        self.asked.append((handler.path, wanted))
        self.accepted.add(handler.headers["Accept-Encoding"])
        time.sleep(self.delay)
        if self.statuses:
            handler.send_response(self.statuses.pop(0))
            handler.send_header("Content-Length", "5")
            handler.end_headers()
            handler.wfile.write(b"sorry")
            return
        piece = wanted if self.ranges else None
        first, _, last = (piece or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first) + self.shift, int(last or len(self.data) - 1) + 1 + self.excess
        if start >= len(self.data) and start:
            handler.send_error(416)
            return
        handler.send_response(206 if piece else 200)
        if piece:
            handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(self.data)}")
        if self.length:
            handler.send_header("Content-Length", str(len(self.data[start:end])))
        if self.encoding:
            handler.send_header("Content-Encoding", self.encoding)
        handler.end_headers()
        body = self.data[start:end]
        if self.breaks:
            body = body[: self.breaks.pop(0)]
        handler.wfile.write(body)
        handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    behaviour = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            behaviour.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        behaviour.address = f"http://127.0.0.1:{http.server_port}"
        yield behaviour
        http.shutdown()


def nobody() -> str:
    """Return the address of a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BACK_OFF_SECONDS", 0.0)
    monkeypatch.setattr(fetch, "CHUNK", 1024)
    monkeypatch.setattr(fetch, "READ_SECONDS", 5.0)


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return Fetcher(Cache(tmp_path / "cache"))


def files(fetcher: Fetcher) -> list[str]:
    downloads = fetcher.cache.downloads
    return sorted(str(p.relative_to(downloads)) for p in downloads.rglob("*") if p.is_file())


def partial(fetcher: Fetcher, data: bytes, name: str = "file.tar.gz") -> Path:
    """Write the partial file that a broken-off download leaves."""
    part = fetcher.cache.downloads / SHA256 / f"{name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(data)
    return part


def test_a_file_is_had_by_its_checksum(server: Server, fetcher: Fetcher) -> None:
    path = fetcher.url(server.url, SHA256)
    assert path.read_bytes() == DATA
    assert files(fetcher) == [f"{SHA256}/file.tar.gz"]
    assert server.asked == [("/folder/file.tar.gz?raw=1", None)]


def test_a_mirror_of_the_web_is_asked_by_host_and_path(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(fetch.UPSTREAM_VARIABLE, f"{server.address}/mirror/")
    path = fetcher.url("https://x.example/folder/file.tar.gz", SHA256)
    assert path.read_bytes() == DATA
    assert server.asked == [("/mirror/x.example/folder/file.tar.gz", None)]


def test_what_is_there_is_not_asked_for_again(server: Server, fetcher: Fetcher) -> None:
    fetcher.url(server.url, SHA256)
    fetcher.url(server.url, SHA256)
    assert len(server.asked) == 1


def test_files_of_one_name_do_not_meet(server: Server, fetcher: Fetcher) -> None:
    first = fetcher.url(server.url, SHA256)
    server.data = b"other"
    second = fetcher.url(server.url, hashlib.sha256(b"other").hexdigest())
    assert (first.read_bytes(), second.read_bytes()) == (DATA, b"other")
    assert first.name == second.name


def test_a_broken_transfer_is_resumed(server: Server, fetcher: Fetcher) -> None:
    server.breaks = [5000]
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA
    (_, first), (_, second) = server.asked
    assert first is None
    assert second is not None
    resumed_at = int(re.fullmatch(r"bytes=(\d+)-", second)[1])  # type: ignore[index]
    # At most one chunk is requested twice.
    assert 5000 - fetch.CHUNK <= resumed_at <= 5000


def test_the_next_run_resumes_too(server: Server, fetcher: Fetcher) -> None:
    partial(fetcher, DATA[:3000])
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA
    assert [asked for _, asked in server.asked] == ["bytes=3000-"]
    assert files(fetcher) == [f"{SHA256}/file.tar.gz"]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
@given(st.lists(st.integers(0, len(DATA) - 1), max_size=3), st.booleans())
def test_wherever_transfers_break_the_bytes_are_right(
    server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    breaks: list[int],
    ranges: bool,
) -> None:
    server.breaks, server.ranges = list(breaks), ranges
    fetcher = Fetcher(Cache(tmp_path_factory.mktemp("cache")))
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA


def test_a_server_that_cannot_resume_starts_over(server: Server, fetcher: Fetcher) -> None:
    server.ranges = False
    partial(fetcher, b"x" * 3000)
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA


def test_a_whole_partial_file_needs_no_more_bytes(server: Server, fetcher: Fetcher) -> None:
    partial(fetcher, DATA)
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA
    assert len(server.asked) == 1


def test_a_partial_file_of_something_longer_is_found_out(server: Server, fetcher: Fetcher) -> None:
    part = partial(fetcher, DATA + b"more")
    with pytest.raises(ChecksumError):
        fetcher.url(server.url, SHA256)
    assert not part.exists()
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA


def test_a_transfer_that_always_breaks_is_given_up_and_kept(
    server: Server, fetcher: Fetcher
) -> None:
    server.breaks = [1024] * 9
    with pytest.raises(FetchError, match="broke off 4 times") as caught:
        fetcher.url(server.url, SHA256)
    assert not isinstance(caught.value, UnreachableError)
    assert "resumes" in caught.value.remedy
    assert len(server.asked) == fetch.ATTEMPTS
    [part] = files(fetcher)
    assert part.endswith(".part")
    kept = (fetcher.cache.downloads / part).read_bytes()
    assert kept
    assert DATA.startswith(kept)
    server.breaks = []
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA
    assert server.asked[-1][1] == f"bytes={len(kept)}-"


def test_a_missing_file_is_no_missing_host(server: Server, fetcher: Fetcher) -> None:
    server.statuses = [404]
    with pytest.raises(FetchError, match=r"file\.tar\.gz.*404 Not Found; .*moved") as caught:
        fetcher.url(server.url, SHA256)
    assert not isinstance(caught.value, UnreachableError)
    assert len(server.asked) == 1
    assert files(fetcher) == []


def test_a_server_in_trouble_is_asked_again(server: Server, fetcher: Fetcher) -> None:
    server.statuses = [500, 503]
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA


def test_a_server_in_lasting_trouble_is_named(server: Server, fetcher: Fetcher) -> None:
    server.statuses = [500] * 9
    with pytest.raises(FetchError, match="500 Internal Server Error; try later"):
        fetcher.url(server.url, SHA256)
    assert len(server.asked) == fetch.ATTEMPTS


def test_an_error_page_is_never_kept(server: Server, fetcher: Fetcher) -> None:
    partial(fetcher, DATA[:100])
    server.statuses = [500]
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA
    assert server.asked[1][1] == "bytes=100-"


def test_wrong_bytes_name_file_expected_and_found(server: Server, fetcher: Fetcher) -> None:
    other = fetcher.url(server.url, SHA256)
    server.data = b"wrong"
    wrong, expected = hashlib.sha256(b"wrong").hexdigest(), "0" * 64
    with pytest.raises(ChecksumError) as caught:
        fetcher.url(server.url, expected)
    for part in ("file.tar.gz", expected, wrong):
        assert part in caught.value.what
    # That partial file is gone, and nothing else.
    assert files(fetcher) == [str(other.relative_to(fetcher.cache.downloads))]


def test_a_body_of_unknown_length_is_had(server: Server, fetcher: Fetcher) -> None:
    server.length = False
    seen: list[tuple[int, int | None]] = []
    fetcher.progress = lambda _name: lambda done, total: seen.append((done, total))
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA
    assert seen[-1] == (len(DATA), None)


def test_a_cut_body_of_unknown_length_never_becomes_the_file(
    server: Server, fetcher: Fetcher
) -> None:
    server.length, server.breaks = False, [100]
    with pytest.raises(ChecksumError):
        fetcher.url(server.url, SHA256)
    assert files(fetcher) == []


def test_an_archive_is_kept_as_it_is_when_it_is_called_encoded(
    server: Server, fetcher: Fetcher
) -> None:
    # Some servers send this header for every .gz file; decoding would change the file.
    server.data, server.encoding = gzip.compress(DATA, mtime=0), "x-gzip"
    sha256 = hashlib.sha256(server.data).hexdigest()
    assert fetcher.url(server.url, sha256).read_bytes() == server.data
    assert server.accepted == {"identity"}


def test_progress_goes_from_what_was_there_to_the_whole(server: Server, fetcher: Fetcher) -> None:
    partial(fetcher, DATA[:3000])
    seen: dict[str, list[tuple[int, int | None]]] = {}
    fetcher.progress = lambda name: lambda d, t: seen.setdefault(name, []).append((d, t))
    fetcher.url(server.url, SHA256)
    [steps] = seen.values()
    assert list(seen) == ["file.tar.gz"]
    assert steps[0] == (3000, len(DATA))
    assert steps[-1] == (len(DATA), len(DATA))
    assert steps == sorted(steps)


def test_an_unreachable_host_is_remembered(fetcher: Fetcher) -> None:
    address = nobody()
    with pytest.raises(UnreachableError, match="cannot reach 127"):
        fetcher.url(f"{address}/a", SHA256)
    with pytest.raises(UnreachableError, match="did not answer within the last day"):
        Fetcher(fetcher.cache).url(f"{address}/b", SHA256)
    assert files(fetcher) == []


def test_a_remembered_host_is_not_asked(server: Server, fetcher: Fetcher) -> None:
    host = server.address.removeprefix("http://")
    memory = fetcher.cache.root / "unreachable.json"
    memory.parent.mkdir()
    memory.write_text(json.dumps({host: time.time() - 23 * 3600}))
    with pytest.raises(UnreachableError):
        fetcher.url(server.url, SHA256)
    assert server.asked == []
    memory.write_text(json.dumps({host: time.time() - 25 * 3600}))
    fetcher.url(server.url, SHA256)


def test_a_forced_fetcher_asks_and_forgets(server: Server, fetcher: Fetcher) -> None:
    host = server.address.removeprefix("http://")
    memory = fetcher.cache.root / "unreachable.json"
    memory.parent.mkdir()
    memory.write_text(json.dumps({host: time.time(), "other": 1.0}))
    Fetcher(fetcher.cache, retry_unreachable=True).url(server.url, SHA256)
    assert json.loads(memory.read_text()) == {"other": 1.0}


@pytest.mark.parametrize("content", ["", "{", "[]", "1"])
def test_a_damaged_memory_is_no_memory(server: Server, fetcher: Fetcher, content: str) -> None:
    memory = fetcher.cache.root / "unreachable.json"
    memory.parent.mkdir()
    memory.write_text(content)
    assert fetcher.url(server.url, SHA256).read_bytes() == DATA


def test_a_host_that_is_gone_is_unreachable_whatever_was_had(fetcher: Fetcher) -> None:
    part = partial(fetcher, DATA[:3000], "a")
    with pytest.raises(UnreachableError):
        fetcher.url(f"{nobody()}/a", SHA256)
    assert part.read_bytes() == DATA[:3000]


def test_a_silent_server_is_unreachable(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "READ_SECONDS", 0.05)
    server.delay = 0.3
    with pytest.raises(UnreachableError):
        fetcher.url(server.url, SHA256)


def test_an_address_that_is_none_is_no_missing_host(fetcher: Fetcher) -> None:
    with pytest.raises(FetchError) as caught:
        fetcher.url("mailto:a", SHA256)
    assert not isinstance(caught.value, UnreachableError)


def test_a_full_disk_is_an_error_of_the_disk(server: Server, fetcher: Fetcher) -> None:
    part = fetcher.cache.downloads / SHA256 / "file.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        fetcher.url(server.url, SHA256)
    assert caught.value.errno == errno.ENOSPC
    assert not (part.parent / "file.tar.gz").exists()
    assert fetcher.cache.held_locks == ()


def test_two_threads_fetch_once(server: Server, fetcher: Fetcher) -> None:
    server.delay = 0.1
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: fetcher.url(server.url, SHA256), range(2))
    assert one == other
    assert one.read_bytes() == DATA
    assert len(server.asked) == 1


@pytest.mark.usefixtures("allow_subprocess")
def test_two_processes_fetch_once(server: Server, fetcher: Fetcher) -> None:
    code = """
        import pathlib, sys
        from builders.cache import Cache
        from builders.fetch import Fetcher
        root, url, sha256 = sys.argv[1:]
        print(Fetcher(Cache(pathlib.Path(root))).url(url, sha256).stat().st_size)
    """
    server.delay = 0.5
    arguments = (fetcher.cache.root, server.url, SHA256)
    with python(code, *arguments) as one, python(code, *arguments) as other:
        assert (
            one.communicate(timeout=20)[0] == other.communicate(timeout=20)[0] == f"{len(DATA)}\n"
        )
    assert len(server.asked) == 1


def test_verify_deletes_only_what_is_wrong(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for file in (right, wrong):
        file.write_bytes(DATA)
    verify(right, SHA256, "right")
    with pytest.raises(ChecksumError, match=f"^wrong .*{'0' * 64}.*{SHA256}"):
        verify(wrong, "0" * 64, "wrong")
    assert [file.name for file in tmp_path.iterdir()] == ["right"]


def mirrors(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    monkeypatch.setattr(fetch, "debian_mirrors", lambda: addresses)


def test_each_mirror_is_tried(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = nobody()
    mirrors(monkeypatch, gone, f"{server.address}/debian/")
    assert fetcher.debian("r/ruy/ruy_1.orig.tar.gz", SHA256).name == "ruy_1.orig.tar.gz"
    assert server.asked == [("/debian/pool/main/r/ruy/ruy_1.orig.tar.gz", None)]


def test_a_mirror_that_lacks_the_file_is_not_the_last(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors(monkeypatch, f"{server.address}/old", f"{server.address}/new")
    server.statuses = [404]
    fetcher.debian("r/x", SHA256)
    assert [path for path, _ in server.asked] == ["/old/pool/main/r/x", "/new/pool/main/r/x"]


def test_the_last_mirror_tells_why(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors(monkeypatch, server.address, nobody())
    server.statuses = [404]
    with pytest.raises(UnreachableError):
        fetcher.debian("r/x", SHA256)


def test_wrong_bytes_of_a_mirror_are_not_fetched_elsewhere(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors(monkeypatch, f"{server.address}/one", f"{server.address}/two")
    server.data = b"wrong"
    with pytest.raises(ChecksumError):
        fetcher.debian("r/x", SHA256)
    assert len(server.asked) == 1


def test_a_machine_without_mirrors_is_told_so(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors(monkeypatch)
    with pytest.raises(UnreachableError, match=r"no mirror configured.*--origin upstream"):
        fetcher.debian("r/x", SHA256)


Fake = Callable[[str, str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allow_subprocess: None) -> Fake:
    """Return a function that writes a program to the first folder of PATH."""
    del allow_subprocess
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def write(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def test_mirrors_are_apts_own(fake: Fake, tmp_path: Path) -> None:
    log = tmp_path / "asked"
    fake(
        "apt-get",
        f"""echo "$@" > {log}
        printf '%s\\n' http://a.invalid/debian/ file:/media/cd https://b.invalid/debian \\
          http://a.invalid/debian/ mirror+http://c.invalid/""",
    )
    assert debian_mirrors() == ("http://a.invalid/debian/", "https://b.invalid/debian")
    assert log.read_text().startswith("indextargets --format $(REPO_URI)")


def test_an_apt_that_fails_has_no_mirrors(fake: Fake) -> None:
    fake("apt-get", "echo http://a.invalid/; exit 100")
    assert debian_mirrors() == ()


@pytest.mark.usefixtures("allow_subprocess")
def test_without_apt_there_are_no_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debian_mirrors() == ()


WHEEL = "numpy-2.0.2-cp310-cp310-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"


@pytest.fixture
def pip(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that makes pip a script; it returns the file with pip's arguments."""

    def write(script: str) -> Path:
        log = tmp_path / "arguments"
        head = f'printf "%s\\n" "$@" > {log}; while [ "$1" != --dest ]; do shift; done; cd_to=$2'
        monkeypatch.setattr("sys.executable", str(fake("fake-python", f"{head}\n{script}")))
        return log

    return write


def test_pip_fetches_the_one_wheel_of_any_machine(
    pip: Callable[[str], Path], fetcher: Fetcher
) -> None:
    data = b"wheel"
    log = pip(f'mkdir -p "$cd_to"; printf {data.decode()} > "$cd_to/{WHEEL}"')
    path = fetcher.pypi("numpy", "2.0.2", WHEEL, hashlib.sha256(data).hexdigest())
    assert path.read_bytes() == data
    assert [p.name for p in path.parent.iterdir()] == [WHEEL]
    asked = " ".join(log.read_text().split())
    assert asked.startswith("-m pip download")
    for option in (
        "--no-deps",
        "--only-binary :all:",
        "numpy==2.0.2",
        "--implementation cp --python-version 310 --abi cp310",
        "--platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64",
    ):
        assert option in asked


def test_a_wheel_of_any_python_is_not_asked_for_by_platform(
    pip: Callable[[str], Path], fetcher: Fetcher
) -> None:
    name = "pybind11-3.1.0-py3-none-any.whl"
    log = pip(f'mkdir -p "$cd_to"; printf x > "$cd_to/{name}"')
    fetcher.pypi("pybind11", "3.1.0", name, hashlib.sha256(b"x").hexdigest())
    assert "--platform" not in log.read_text()


def test_pips_last_words_are_passed_on(pip: Callable[[str], Path], fetcher: Fetcher) -> None:
    pip("echo 'WARNING: old' >&2; echo 'ERROR: No matching distribution' >&2; exit 1")
    with pytest.raises(FetchError, match=rf"{WHEEL}: ERROR: No matching distribution;"):
        fetcher.pypi("numpy", "2.0.2", WHEEL, SHA256)


def test_another_file_of_pip_is_not_taken(pip: Callable[[str], Path], fetcher: Fetcher) -> None:
    pip('mkdir -p "$cd_to"; touch "$cd_to/numpy-2.0.2.tar.gz"')
    with pytest.raises(FetchError, match="not in the index"):
        fetcher.pypi("numpy", "2.0.2", WHEEL, SHA256)


def test_wrong_bytes_of_pip_are_refused(pip: Callable[[str], Path], fetcher: Fetcher) -> None:
    pip(f'mkdir -p "$cd_to"; printf wrong > "$cd_to/{WHEEL}"')
    with pytest.raises(ChecksumError, match=WHEEL):
        fetcher.pypi("numpy", "2.0.2", WHEEL, SHA256)
    assert files(fetcher) == []


def test_what_a_killed_pip_left_is_not_taken(pip: Callable[[str], Path], fetcher: Fetcher) -> None:
    left = fetcher.cache.downloads / SHA256 / "pip" / WHEEL
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    # As pip does: a file that is there is not fetched again.
    pip(f'mkdir -p "$cd_to"; [ -e "$cd_to/{WHEEL}" ] || head -c 0 /dev/null > "$cd_to/{WHEEL}"')
    with pytest.raises(ChecksumError, match=hashlib.sha256(b"").hexdigest()):
        fetcher.pypi("numpy", "2.0.2", WHEEL, SHA256)


@pytest.fixture
def raw_server() -> Iterator[Callable[[Callable[[socket.socket], object]], str]]:
    """Yield a function that serves raw answers by a function, and returns the server's URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(answer: Callable[[socket.socket], object]) -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        answer(connection)
                    except OSError:
                        pass

        def start(answer: Callable[[socket.socket], object]) -> str:
            threading.Thread(target=serve, args=(answer,), daemon=True).start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}/file.tar.gz"

        yield start
        listener.shutdown(socket.SHUT_RDWR)


RawServer = Callable[[Callable[[socket.socket], object]], str]


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(65536))


def endless_chunks(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


@pytest.mark.parametrize("answer", [endless, endless_chunks])
@pytest.mark.parametrize("size", [len(DATA), 0])
def test_what_is_larger_than_the_file_is_not_heard_out(
    raw_server: RawServer,
    fetcher: Fetcher,
    answer: Callable[[socket.socket], object],
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch, "MOST_BYTES", 200_000)
    with pytest.raises(FetchError, match=r"sends more than the [0-9,]+ bytes of the file"):
        fetcher.url(raw_server(answer), SHA256, size)
    assert partial_sizes(fetcher) == [0]


def partial_sizes(fetcher: Fetcher) -> list[int]:
    return [path.stat().st_size for path in fetcher.cache.downloads.rglob("*.part")]


def test_a_length_beyond_the_file_ends_the_transfer(server: Server, fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match="sends more than the 100 bytes"):
        fetcher.url(server.url, SHA256, 100)
    assert partial_sizes(fetcher) == [0]
    assert fetcher.url(server.url, SHA256, len(DATA)).read_bytes() == DATA


def test_a_trickle_ends(
    raw_server: RawServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SPEED_SECONDS", 0.05)
    monkeypatch.setattr(fetch, "ATTEMPTS", 2)

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.01)

    with pytest.raises(FetchError, match=r"less than 1,000 bytes per second; .* it resumes"):
        fetcher.url(raw_server(trickle), SHA256)


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: abc",
        b"Content-Length: -1",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        b"Transfer-Encoding: nothing",
        b"X: " + b"a" * 100_000,
        b"X: y\r\n" * 200 + b"Z: z",
        b"Content-Range: bytes 5-1/x",
        b"\xff\xfe: \xff",
        b"X",
    ],
)
@pytest.mark.parametrize("status", [b"200 OK", b"206 P", b"302 F\r\nLocation: http://.a../"])
def test_hostile_headers_are_one_line(
    raw_server: RawServer, fetcher: Fetcher, header: bytes, status: bytes
) -> None:
    url = raw_server(
        lambda c: c.sendall(b"HTTP/1.1 " + status + b"\r\n" + header + b"\r\n\r\nzz\r\n")
    )
    with pytest.raises(UserError) as told:
        fetcher.url(url, SHA256)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1_000


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 403 \xff\x1b[31m\r\n\r\n",
        b"HTTP/1.1 302 N\r\nLocation: file:///etc/passwd\r\n\r\n",
        b"HTTP/1.1 302 N\r\nLocation: http://[\r\n\r\n",
        b"HTTP/1.1 302 N\r\nLocation: \xff\xfe\r\n\r\n",
        b"HTTP/1.1 302 N\r\nLocation: http://127.0.0.1:99999/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nzz",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\nzz",
        b"",
    ],
)
def test_what_is_no_answer_is_one_line(
    raw_server: RawServer, fetcher: Fetcher, answer: bytes
) -> None:
    with pytest.raises(UserError) as told:
        fetcher.url(raw_server(lambda c: c.sendall(answer)), SHA256)
    assert str(told.value).isprintable()


@pytest.mark.parametrize("name", ["x" * 300, "é" * 150, "", ".", ".."])
def test_a_name_that_no_file_can_have(server: Server, fetcher: Fetcher, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a file"):
        fetcher.url(f"{server.address}/{name}", SHA256)
    assert server.asked == []


def test_a_cache_that_cannot_be_written_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UsageError, match="cannot be written: Not a directory; set TFLITE"):
        Fetcher(Cache(tmp_path / "cache")).url(server.url, SHA256)
    assert server.asked == []


# --- Pieces of files ------------------------------------------------------------------

PIECE = DATA[300:5300]
PIECE_SHA256 = hashlib.sha256(PIECE).hexdigest()


def fetch_piece(server: Server, fetcher: Fetcher, sha256: str = PIECE_SHA256) -> Path:
    return fetcher.url(server.url, sha256, len(PIECE), 300)


def test_a_piece_of_a_file_is_had_by_its_own_checksum(server: Server, fetcher: Fetcher) -> None:
    assert fetch_piece(server, fetcher).read_bytes() == PIECE
    assert fetch_piece(server, fetcher).name == "file.tar.gz.300"
    assert [asked for _, asked in server.asked] == ["bytes=300-5299"]


def test_a_piece_of_a_mirrors_file(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors(monkeypatch, nobody(), server.address)
    path = fetcher.debian("f/file.tar.gz", PIECE_SHA256, len(PIECE), 300)
    assert path.read_bytes() == PIECE


def test_a_broken_piece_is_resumed(server: Server, fetcher: Fetcher) -> None:
    server.breaks = [1000, 500]
    assert fetch_piece(server, fetcher).read_bytes() == PIECE
    asked = [asked for _, asked in server.asked]
    assert asked == ["bytes=300-5299", "bytes=1300-5299", "bytes=1800-5299"]


def test_a_whole_partial_piece_is_not_asked_for(server: Server, fetcher: Fetcher) -> None:
    part = fetcher.cache.downloads / PIECE_SHA256 / "file.tar.gz.300.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(PIECE)
    assert fetch_piece(server, fetcher).read_bytes() == PIECE
    assert server.asked == []


@pytest.mark.parametrize(
    "fault",
    [{"ranges": False}, {"shift": 7}, {"excess": 1}, {"data": DATA[:300]}],
    ids=["whole files only", "another piece", "more than it", "a shorter file"],
)
def test_a_server_that_does_not_give_the_piece(
    server: Server, fetcher: Fetcher, fault: dict[str, Any]
) -> None:
    for name, value in fault.items():
        setattr(server, name, value)
    with pytest.raises(PieceError):
        fetch_piece(server, fetcher)
    assert len(server.asked) == 1
    assert partial_sizes(fetcher) in ([], [0])


def test_another_mirror_may_give_the_piece(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transfer(url: str, part: Path, *_: object) -> None:
        if "first" in url:
            raise PieceError("whole files only")
        part.write_bytes(PIECE)

    mirrors(monkeypatch, "http://first.invalid", "http://second.invalid")
    monkeypatch.setattr(fetch, "_transfer", transfer)
    path = fetcher.debian("f/file.tar.gz", PIECE_SHA256, len(PIECE), 300)
    assert path.read_bytes() == PIECE


def test_a_piece_of_other_bytes_is_refused(server: Server, fetcher: Fetcher) -> None:
    with pytest.raises(ChecksumError, match=r"file\.tar\.gz\.300 has the wrong checksum"):
        fetch_piece(server, fetcher, "0" * 64)
    assert files(fetcher) == []
