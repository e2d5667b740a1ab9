"""The process in which the handler is fuzzed: it reads one case per line of its input.

There is no name server and no Internet: the case says which addresses a name has, and whatever
address the handler connects to, a server on loopback sends the replies of the case. The model is
a stand-in, which checks its input.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import importlib.util
import json
import os
import queue
import resource
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ADDRESS_SPACE = 4 << 30  # a decompression bomb must end this process, not the machine
URL_SECONDS = 1.0
MODELS: tuple[tuple[tuple[int, ...], type], ...] = (
    ((1, 8, 8, 1), np.float32),
    ((1, 224, 224, 3), np.uint8),
)

_connect = socket.create_connection
_resolve = socket.getaddrinfo


class Interpreter:
    """A stand-in for a model; it answers any tensor of its shape, type and range."""

    shape: tuple[int, ...]
    dtype: type

    def __init__(self, model_path: str) -> None:
        """Accept the same argument as the runtime's class, and do not use it."""

    def allocate_tensors(self) -> None:
        """Do nothing; the handler calls this method."""

    def invoke(self) -> None:
        """Do nothing; the handler calls this method."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Return the details of the input in the runtime's form."""
        scale = (0.0, 0) if self.dtype is np.float32 else (1 / 255, 0)
        shape = np.array(self.shape, np.int32)
        return [{"index": 0, "shape": shape, "dtype": self.dtype, "quantization": scale}]

    def get_output_details(self) -> list[dict[str, Any]]:
        """Return the details of the output in the runtime's form."""
        return [{"index": 1, "dtype": np.float32, "quantization": (0.0, 0)}]

    def set_tensor(self, _index: int, tensor: Any) -> None:  # noqa: ANN401 - an array
        """Check a tensor's shape, type and range."""
        assert tensor.shape == self.shape, f"shape {tensor.shape}"
        assert tensor.dtype == self.dtype, f"type {tensor.dtype}"
        assert 0 <= tensor.min() <= tensor.max() <= (1 if self.dtype is np.float32 else 255)

    def get_tensor(self, _index: int) -> Any:  # noqa: ANN401 - an array
        """Return ten scores."""
        return np.full((1, 10), 0.1, np.float32)


def load(app: Path, shape: tuple[int, ...], dtype: type) -> Any:  # noqa: ANN401 - a module
    """Return the handler's module, imported with a model of that input shape and type."""
    runtime = ModuleType("tflite_runtime.interpreter")
    members = {"shape": shape, "dtype": dtype}
    runtime.Interpreter = type("Interpreter", (Interpreter,), members)  # type: ignore[attr-defined]
    sys.modules["tflite_runtime"] = ModuleType("tflite_runtime")
    sys.modules["tflite_runtime.interpreter"] = runtime
    spec = importlib.util.spec_from_file_location("app", app)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Internet:
    """The network that the handler can reach: the names of a case, and a server on loopback."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.replies: list[dict[str, Any]] = []
        self.connected: list[str] = []
        self.outside: list[str] = []
        self._next: queue.Queue[dict[str, Any]] = queue.Queue()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        socket.getaddrinfo = self.resolve  # type: ignore[assignment]
        socket.create_connection = self.connect  # type: ignore[assignment]
        sys.addaudithook(self._audit)

    def start(self, case: dict[str, Any]) -> None:
        """Begin a case."""
        self.names = case.get("names", {})
        self.replies = list(case.get("replies", []))
        self.connected, self.outside = [], []

    def resolve(self, host: str, port: int, **_: object) -> list[Any]:
        """Return a name's addresses; like a resolver, accept any spelling of an address."""
        if host in self.names:
            kind = socket.SOCK_STREAM
            return [(0, kind, 6, "", (address, port)) for address in self.names[host]]
        return _resolve(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        """Connect to the server on loopback, for any address."""
        self.connected.append(address[0])
        if not self.replies:
            raise ConnectionRefusedError
        self._next.put(self.replies.pop(0))
        # socket.create_connection would look up names with this class's `resolve`.
        sock = socket.socket()
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def _serve(self) -> None:
        while True:
            sock, _ = self._server.accept()
            reply = self._next.get()
            threading.Thread(target=_send, args=(sock, reply), daemon=True).start()

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and arguments[1] != ("127.0.0.1", self.port):
            self.outside.append(repr(arguments[1])[:100])


def _send(sock: socket.socket, reply: dict[str, Any]) -> None:
    """Send a head, then a piece as often as the reply says; the other side may hang up."""
    piece = base64.b64decode(reply["piece"])
    with sock, contextlib.suppress(OSError):
        sock.settimeout(5)
        sock.recv(65536)
        sock.sendall(base64.b64decode(reply["head"]))
        for _ in range(reply["times"]):
            sock.sendall(piece)
            time.sleep(reply["pause"])


class Context:
    """The part of Lambda's context that a handler uses."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the time of a function with Lambda's default timeout."""
        return 3000


def peak_mb() -> int:
    """Return the peak of memory since `forget_peak`, in MB of 2**20 bytes (proc(5), VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def forget_peak() -> None:
    """Return free memory to the system, and reset the peak (proc(5), clear_refs)."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def tried(app: Any, internet: Internet, case: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Run the handler with a case; return its reply, costs and connections."""
    internet.start(case)
    forget_peak()
    cpu, wall = time.process_time(), time.monotonic()
    found: dict[str, Any] = {"reply": None, "raised": ""}
    try:
        # From Python 3.12 on, Lambda's client encodes so: text that is not Unicode ends it.
        reply = app.handler(case["event"], Context())
        found["reply"] = json.dumps(reply, ensure_ascii=False).encode().decode()
    except BaseException:
        found["raised"] = traceback.format_exc()[-1500:]
    found["cpu"], found["wall"] = time.process_time() - cpu, time.monotonic() - wall
    found["peak"] = peak_mb()
    found["connected"], found["outside"] = internet.connected, internet.outside
    return found


def main() -> None:
    """Answer cases until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # drop the handler's log
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    os.environ.update(URL_SECONDS=str(URL_SECONDS), ALLOW_PRIVATE_URLS="0")
    apps = [load(Path(sys.argv[1]), *model) for model in MODELS]
    internet = Internet()
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(tried(apps[case["model"]], internet, case)), file=answers, flush=True)


if __name__ == "__main__":
    main()
