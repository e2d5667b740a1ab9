"""A loopback web server for the events that name a URL; on any Python from 3.8 on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Serve an image, or one of the faults that a URL can have."""
        name = self.path[1:]
        if name.startswith("to/"):
            target = name[len("to/") :]
            self._redirect(target if ":" in target else f"/{target}")
        elif name == "loop":
            self._redirect("/loop")
        elif name == "large":
            self._answer(bytes(self.server.max_bytes + 1))
        elif name == "slow":
            self._trickle()
        elif (self.server.images / name).is_file():
            self._answer((self.server.images / name).read_bytes())
        else:
            self.send_error(404)

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()

    def _answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _trickle(self) -> None:
        """Send one byte at a time, each before the timeout of a socket passes."""
        self.send_response(200)
        self.end_headers()
        end = time.monotonic() + 3 * self.server.seconds
        while time.monotonic() < end:
            self.wfile.write(b".")
            time.sleep(self.server.seconds / 10)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing; the emulator's log has the requests that matter."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    images: Path
    max_bytes: int
    seconds: float

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error: a function that hangs up on a slow answer is right."""


@contextmanager
def serving(images: Path, max_bytes: int, seconds: float) -> Iterator[str]:
    """Serve until the block ends; yield the URL, without a slash at its end.

    Args:
        images: the folder of the images to serve.
        max_bytes: the largest size that a function accepts, in bytes.
        seconds: the longest time that a function waits for a download.
    """
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.images, server.max_bytes, server.seconds = images, max_bytes, seconds
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
