"""Helpers for tests of the model server: a wheel, an environment, servers, and load."""

from __future__ import annotations

import functools
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from support import RECOMMENDED, ROOT

from builders.cache import Cache, default_root
from builders.interpreters import find_interpreter
from builders.matrix import load_matrix
from smoke_lambda import events
from smoke_lambda.serving.client import Client, Described
from smoke_lambda.serving.codec import Array
from smoke_lambda.serving.native import Program, running, serving_python

RUNTIME = load_matrix().runtime("3.12")
SECONDS = 20.0
MODELS = tuple(events.known_answers())
PICTURES = tuple(f"{digit}.png" for digit in range(10))


def wheel() -> Path:
    """Return the recommended wheel of the main job, or else the published one."""
    folders = [Path(os.environ["TFLITE_WHEELS"])] if os.environ.get("TFLITE_WHEELS") else []
    for folder in (*folders, ROOT / "wheels"):
        pattern = f"*-{RECOMMENDED.version}-*-{RUNTIME.tag}-*_{platform.machine()}.whl"
        if found := sorted(folder.glob(pattern)):
            return found[-1]
    pytest.skip("no wheel of this machine: ./scripts/build makes it")


@functools.cache
def python() -> Path:
    """Return the Python of an environment with the wheel; skip if this machine lacks it."""
    interpreter = find_interpreter(RUNTIME.python)
    if interpreter is None:
        pytest.skip(f"no Python {RUNTIME.python} here: pyenv install {RUNTIME.python}")
    cache = Cache(default_root())
    log = cache.root / "logs" / "serving-environment.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return serving_python(interpreter, RUNTIME, wheel(), cache, log)


def put(models: Path, name: str, model: str, version: int = 1) -> None:
    """Put a version of a model into place in one step, as users should."""
    folder = models / name
    folder.mkdir(parents=True, exist_ok=True)
    new = models / f".{name}-{version}"
    new.mkdir()
    (new / "model.tflite").write_bytes((events.MODELS / f"{model}.tflite").read_bytes())
    new.rename(folder / str(version))


@contextmanager
def server(models: Path, name: str, **variables: str) -> Iterator[Program]:
    """Run a server, and yield it when it is ready."""
    settings = {"MODEL_NAME": name, "MODEL_BASE_PATH": str(models), "LAME_SECONDS": "0"}
    with running(
        "server", python=python(), variables=settings | variables, log=models / f"{name}.log"
    ) as program:
        until(lambda: "is served" in program.output())
        yield program


@contextmanager
def gateway(folder: Path, name: str, port: int, **variables: str) -> Iterator[Program]:
    """Run a gateway for the server at a port, and yield it when it is ready."""
    settings = {"MODEL_NAME": name, "SERVER": f"localhost:{port}", "LAME_SECONDS": "0"}
    with running(
        "gateway", python=python(), variables=settings | variables, log=folder / "gateway.log"
    ) as program:
        yield program


def until(is_so: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it does not come to be so"
        time.sleep(0.05)


def pixels(picture: str, described: Described) -> Array:
    """Return a picture as the model's input."""
    image = Image.open(events.IMAGES / picture).convert("L")
    values = np.asarray(image, np.float32).reshape(1, 8, 8, 1) / np.float32(255)
    scale, zero_point = described.input.quantization
    if scale:
        values = np.clip(np.round(values / scale) + zero_point, -128, 127)
    return values.astype(described.input.dtype)


def scores(output: Array, described: Described) -> list[float]:
    """Return the scores in the model's output."""
    scale, zero_point = described.output.quantization
    values = output.astype(np.float32)
    found: list[float] = ((values - zero_point) * scale if scale else values).tolist()
    return found


@dataclass
class Load:
    """Requests in a loop, from several threads, each retried while no server answers.

    Attributes:
        versions: the versions that answered, in order.
        lost: the errors of the requests that were not answered.
    """

    port: int
    name: str
    threads: int = 4
    retry_seconds: float = SECONDS
    versions: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _workers: list[threading.Thread] = field(default_factory=list)

    def _work(self, client: Client, inputs: dict[str, Any]) -> None:
        while not self._stop.is_set():
            try:
                self.versions.append(client.predict(inputs, SECONDS)[0])
            except grpc.RpcError as error:
                self.lost.append(f"{error.code()}: {error.details()}")

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Send requests until the block ends."""
        client = Client(f"localhost:{self.port}", self.name, self.retry_seconds)
        described = client.describe(SECONDS)
        inputs = {described.input_name: pixels("7.png", described)}
        self._workers = [
            threading.Thread(target=self._work, args=(client, inputs)) for _ in range(self.threads)
        ]
        for worker in self._workers:
            worker.start()
        try:
            self.answered(50)
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Send no more requests, and wait for the answers."""
        self._stop.set()
        for worker in self._workers:
            worker.join()

    def answered(self, more: int) -> None:
        """Wait for `more` further answers."""
        wanted = len(self.versions) + more
        until(lambda: len(self.versions) >= wanted or bool(self.lost), 3 * SECONDS)
