"""Fetch files that are known by their SHA-256, from the web, a Debian mirror or PyPI.

A download goes to a partial file, which the next attempt resumes. The file gets its final name
only when its checksum is right. A download is bounded in bytes, by the size that the lock gives,
and in time, by a lowest speed.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from builders.cache import Cache, sha256_of, write_atomically
from builders.errors import (
    ChecksumError,
    FetchError,
    PieceError,
    UnreachableError,
    UsageError,
    printable,
)
from builders.wheelname import parse_name

MIRRORS_VARIABLE = "TFLITE_DEBIAN_MIRRORS"
UPSTREAM_VARIABLE = "TFLITE_UPSTREAM_MIRROR"
"""The variable that names a mirror of the web, for machines that reach no other host. Like
TensorFlow's own mirror, it has `https://host/path` under `<mirror>/host/path`."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
ATTEMPTS = 4
UNREACHABLE_ATTEMPTS = 2  # a host that answers none of these is not asked again
BACK_OFF_SECONDS = 0.5
CHUNK = 1 << 20
MOST_BYTES = 2_000_000_000
"""The most bytes of a file whose size no lock gives; the largest source has 941 MB."""
LOWEST_SPEED = 1_000.0
"""The lowest average speed over SPEED_SECONDS, in bytes per second. Names and idea are curl's."""
SPEED_SECONDS = 60.0
NAME_BYTES = 255 - len(".part")
"""The most bytes of a file's name: Linux's limit (NAME_MAX in limits.h), less our suffix."""
REMEMBER_UNREACHABLE_SECONDS = 24 * 3600

Progress = Callable[[int, int | None], None]
"""A callback that takes the bytes received so far, and the total; None if it is unknown."""


def _silent(_done: int, _total: int | None) -> None: ...


@dataclass
class Fetcher:
    """Downloads files into the cache; a file that is there is not downloaded again.

    Attributes:
        retry_unreachable: also ask a host that did not answer within the last day.
        offline: use no network at all.
        shelf: a folder of earlier downloads (see builders.shelf).
        progress: returns the progress callback of a file, given the file's name.
    """

    cache: Cache
    retry_unreachable: bool = False
    offline: bool = False
    shelf: Path | None = None
    progress: Callable[[str], Progress] = field(default=lambda _name: _silent)

    def url(self, url: str, sha256: str, size: int = 0, offset: int | None = None) -> Path:
        """Return the downloaded file of a URL, or a piece of it.

        Args:
            size: the file's size in bytes, or 0 if it is unknown. If a server sends more,
                the download stops.
            offset: where in the file the piece begins, in bytes; `sha256` and `size` are
                then those of the piece.

        Raises:
            UnreachableError: the host does not answer, or did not within the last day.
            PieceError: the host sends whole files only.
            FetchError: the host answers, but not with the file.
            ChecksumError: the bytes do not have the checksum.
        """
        parts = urlsplit(url)
        name = piece_name(parts.path.rsplit("/", 1)[-1], offset)
        if mirror := os.environ.get(UPSTREAM_VARIABLE):
            url = f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"
        return self._fetched(
            name, sha256, lambda part: self._download(url, part, name, size, offset)
        )

    def debian(self, pool_path: str, sha256: str, size: int = 0, offset: int | None = None) -> Path:
        """Return a file of Debian's archive, or a piece, downloaded from apt's configured mirrors.

        Args:
            pool_path: the path below `pool/main/`, such as `r/ruy/ruy_1.orig.tar.xz`.
            size, offset: as for `url`.

        Raises:
            UnreachableError: no mirror is configured, or none answers.
            FetchError, PieceError, ChecksumError: as for `url`.
        """
        name = piece_name(pool_path.rsplit("/", 1)[-1], offset)

        def download(part: Path) -> None:
            failure: FetchError | None = None
            for mirror in debian_mirrors():
                try:
                    url = f"{mirror.rstrip('/')}/pool/main/{pool_path}"
                    self._download(url, part, name, size, offset)
                except FetchError as error:
                    failure = error
                else:
                    return
            raise failure or UnreachableError(
                "apt has no mirror configured on this machine",
                remedy="use --origin upstream, or a Debian machine",
            )

        return self._fetched(name, sha256, download)

    def pypi(self, project: str, version: str, filename: str, sha256: str) -> Path:
        """Return a project's wheel, downloaded by pip as it is configured on this machine.

        Raises:
            FetchError: pip cannot download the wheel; the message has pip's last error.
            ChecksumError: the bytes do not have the checksum.
        """

        def download(part: Path) -> None:
            folder = part.with_name("pip")
            # pip would take an existing file for the one that it is to fetch.
            shutil.rmtree(folder, ignore_errors=True)
            _pip_download(project, version, filename, folder)
            (folder / filename).replace(part)
            shutil.rmtree(folder)

        return self._fetched(filename, sha256, download)

    def has(self, sha256: str, name: str) -> bool:
        """True if a file is in the cache or on the shelf."""
        places = [self.cache.downloads, *([self.shelf] if self.shelf else [])]
        return any((place / sha256 / name).is_file() for place in places)

    def _fetched(self, name: str, sha256: str, download: Callable[[Path], None]) -> Path:
        if not 0 < len(os.fsencode(name)) <= NAME_BYTES or name in (".", ".."):
            raise UsageError(
                f"{printable(name, 40)!r} cannot be the name of a file",
                remedy="name a URL that ends in a file's name",
            )
        final = self.cache.downloads / sha256 / name
        if final.is_file():
            return final
        with self.cache.lock(f"download-{sha256[:16]}"):
            if final.is_file():
                return final
            final.parent.mkdir(parents=True, exist_ok=True)
            part = final.with_name(f"{name}.part")
            kept = self.shelf / sha256 / name if self.shelf else None
            if kept and kept.is_file():
                shutil.copyfile(kept, part)
            elif self.offline:
                raise UnreachableError(
                    f"{name} is not among the earlier downloads, and no network is to be used",
                    remedy="run ./scripts/fetch where there is one",
                )
            else:
                download(part)
            verify(part, sha256, name)
            part.replace(final)
        return final

    def _download(self, url: str, part: Path, name: str, size: int, offset: int | None) -> None:
        host = urlsplit(url).netloc
        if not self.retry_unreachable and self._was_unreachable(host):
            raise UnreachableError(
                f"{host} did not answer within the last day",
                remedy="--origin upstream or debian tries it again",
            )
        silent = 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _transfer(url, part, self.progress(name), size or MOST_BYTES, offset)
            # Hostile headers make http.client and the codecs of names raise their own errors.
            except (
                requests.RequestException,
                urllib3.exceptions.HTTPError,
                http.client.HTTPException,
                ValueError,
            ) as error:
                failure, again = _explained(url, error)
                silent += isinstance(failure, UnreachableError)
                unreachable = silent == attempt == UNREACHABLE_ATTEMPTS
                if unreachable:
                    self._remember(host, reachable=False)
                if unreachable or not again or attempt == ATTEMPTS:
                    raise failure from error
                time.sleep(BACK_OFF_SECONDS * 2 ** (attempt - 1))
            else:
                self._remember(host, reachable=True)
                return

    @property
    def _unreachable_file(self) -> Path:
        return self.cache.root / "unreachable.json"

    def _was_unreachable(self, host: str) -> bool:
        since = _read_json(self._unreachable_file).get(host, 0.0)
        return time.time() - since < REMEMBER_UNREACHABLE_SECONDS

    def _remember(self, host: str, *, reachable: bool) -> None:
        before = _read_json(self._unreachable_file)
        hosts = {other: since for other, since in before.items() if other != host}
        if not reachable:
            hosts[host] = time.time()
        if hosts != before:
            write_atomically(self._unreachable_file, json.dumps(hosts).encode())


def piece_name(name: str, offset: int | None) -> str:
    """Return the name of a piece's file; without an offset, the name of the whole file."""
    return name if offset is None else f"{name}.{offset}"


def verify(path: Path, sha256: str, name: str) -> None:
    """Check a file against its SHA-256; if it differs, delete that file and nothing else.

    Raises:
        ChecksumError: the file differs. The message has its name and both checksums.
    """
    found = sha256_of(path)
    if found != sha256:
        path.unlink()
        raise ChecksumError(
            f"{name} has the wrong checksum: expected sha256 {sha256}, found {found}",
            remedy="it was deleted; run again, and if it stays wrong do not trust that source",
        )


class _TooSlowError(urllib3.exceptions.HTTPError):
    """A transfer was below the lowest speed; the next attempt resumes it."""


def _explained(url: str, error: Exception) -> tuple[FetchError, bool]:
    """Return the error that a user sees, and True if another attempt may succeed."""
    url = printable(url)
    if isinstance(error, requests.HTTPError):
        status = error.response.status_code
        remedy = "try later" if status >= 500 else "the lock may name a file that was moved"
        reason = printable(str(error.response.reason), 80)
        return FetchError(f"{url}: {status} {reason}", remedy=remedy), status >= 500
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        what = f"cannot reach {urlsplit(url).netloc}"
        return UnreachableError(what, remedy="check the network or the proxy variables"), True
    if isinstance(error, _TooSlowError):
        what = f"{url}: less than {LOWEST_SPEED:,.0f} bytes per second"
        return FetchError(what, remedy="run the same command again: it resumes"), True
    if isinstance(error, urllib3.exceptions.HTTPError):
        what = f"{url}: the transfer broke off {ATTEMPTS} times"
        return FetchError(what, remedy="run the same command again: it resumes"), True
    what = printable(f"{type(error).__name__}: {error}", 200)
    return FetchError(f"{url}: {what}", remedy="it is no answer of a web server"), False


def _transfer(
    url: str, part: Path, progress: Progress, most: int, offset: int | None = None
) -> None:
    """Download to the partial file, and resume it if the server can.

    Args:
        most: the most bytes that the whole file may have, or the size of the piece.
        offset: where in the file the piece begins; None for the whole file.

    Raises:
        requests.RequestException: the server did not answer, or answered with an error.
        urllib3.exceptions.HTTPError: the transfer broke off, or is too slow.
        http.client.HTTPException, ValueError: the answer is not HTTP.
        PieceError: the server does not send the piece alone, or sends more than the piece.
        FetchError: the server sends more than `most` bytes; the partial file is emptied.
    """
    had = part.stat().st_size if part.exists() else 0
    wanted = f"bytes={had}-" if had else ""
    if offset is not None:
        if had >= most:
            # No range is left to ask for. The checksum shows if the piece is right.
            return
        wanted = f"bytes={offset + had}-{offset + most - 1}"
    with requests.get(
        url,
        # Ask for the file's bytes without compression: checksum and range refer to them.
        headers={"Accept-Encoding": "identity"} | ({"Range": wanted} if wanted else {}),
        stream=True,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
    ) as response:
        beyond = response.status_code == requests.codes.requested_range_not_satisfiable
        resumed = response.status_code == requests.codes.partial_content
        if beyond and offset is None:
            # The partial file is complete, or is of another file: the checksum shows which.
            return
        if not beyond:
            response.raise_for_status()
        if offset is not None and not (resumed and _begins_at(response, offset + had)):
            raise PieceError(f"{printable(url)}: its server gives no piece of it")
        done = had if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        progress(done, total)
        with part.open("ab" if resumed else "wb") as file:
            for chunk in _received(response.raw):
                done += len(chunk)
                if max(done, total or 0) > most:
                    file.truncate(0)
                    raise (FetchError if offset is None else PieceError)(
                        f"{printable(url)} sends more than the {most:,} bytes of the file",
                        remedy="it is another file; do not trust that source",
                    )
                file.write(chunk)
                progress(done, total)


def _begins_at(response: requests.Response, offset: int) -> bool:
    """True if the range that a server sends begins where we asked (RFC 9110, 14.4)."""
    return response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _received(raw: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the bytes that a server sends, as they arrive.

    A plain read of many bytes would wait for the last of them.

    Raises:
        _TooSlowError: the bytes arrive below the lowest speed.
    """
    since, amount = time.monotonic(), 0
    while chunk := raw.read1(CHUNK, decode_content=False):
        yield chunk
        amount += len(chunk)
        if (passed := time.monotonic() - since) >= SPEED_SECONDS:
            if amount < LOWEST_SPEED * passed:
                raise _TooSlowError
            since, amount = time.monotonic(), 0


@functools.cache
def debian_mirrors() -> tuple[str, ...]:
    """Return the archive addresses of apt's configuration, which is never copied into ours.

    $TFLITE_DEBIAN_MIRRORS overrides them: it serves where there is no apt, as in a builder's
    image.
    """
    if os.environ.get(MIRRORS_VARIABLE):
        return tuple(os.environ[MIRRORS_VARIABLE].split())
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    addresses = dict.fromkeys(listed.split())
    return tuple(address for address in addresses if address.startswith(("http:", "https:")))


def _pip_download(project: str, version: str, filename: str, folder: Path) -> None:
    """Have pip download the wheel of that file name, whatever machine the wheel is for."""
    tags = parse_name(filename).tags
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), f"{project}=={version}"]
    tag = next(iter(tags))
    if tag.interpreter.startswith("cp"):
        command += ["--implementation", "cp", "--python-version", tag.interpreter[2:]]
        command += ["--abi", tag.abi]
        command += [part for t in sorted(tags, key=str) for part in ("--platform", t.platform)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode or not (folder / filename).is_file():
        lines = [line for line in result.stderr.splitlines() if "ERROR" in line]
        raise FetchError(
            f"pip cannot download {filename}: {lines[-1] if lines else 'it is not in the index'}",
            remedy="check the network and pip's configuration",
        )


def _read_json(path: Path) -> dict[str, float]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
