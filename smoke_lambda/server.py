"""A loopback web server for the events that name a URL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from smoke_lambda.events import IMAGES, MAX_BYTES, URL_SECONDS


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Serve an image, or one of the ways in which a URL can be a bad one."""
        name = self.path[1:]
        if name.startswith("to/"):
            target = name.removeprefix("to/")
            self._redirect(target if ":" in target else f"/{target}")
        elif name == "loop":
            self._redirect("/loop")
        elif name == "large":
            self._answer(bytes(MAX_BYTES + 1))
        elif name == "slow":
            self._trickle()
        elif (IMAGES / name).is_file():
            self._answer((IMAGES / name).read_bytes())
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
        """One byte at a time, each too soon for the timeout of a socket to pass."""
        self.send_response(200)
        self.end_headers()
        end = time.monotonic() + 3 * URL_SECONDS
        while time.monotonic() < end:
            self.wfile.write(b".")
            time.sleep(URL_SECONDS / 10)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing; the emulator's log has the requests that matter."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A function that hangs up on a slow answer does right."""


@contextmanager
def serving() -> Iterator[str]:
    """Serve until the block ends; gives the URL, without a slash at its end."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
