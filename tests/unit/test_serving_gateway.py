"""The gateway: the handler's own code, with a model that a server would have."""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest
from function_samples import context

from smoke_lambda import events
from smoke_lambda.functions.render import render
from smoke_lambda.serving.client import Client, Described
from smoke_lambda.serving.codec import Array
from smoke_lambda.serving.errors import Code
from smoke_lambda.serving.gateway import Gateway
from smoke_lambda.serving.remote import Remote, load_handler
from smoke_lambda.serving.settings import GatewaySettings
from smoke_lambda.serving.signature import Tensor

DIGITS = Described(
    version=1,
    input_name="image",
    input=Tensor(name="i:0", shape=(-1, 8, 8, 1), dtype=np.dtype(np.float32)),
    output_name="scores",
    output=Tensor(name="s:0", shape=(-1, 10), dtype=np.dtype(np.float32)),
)
INT8 = np.dtype(np.int8)
QUANTIZED = replace(
    DIGITS,
    input=replace(DIGITS.input, dtype=INT8, quantization=(1 / 255, -128)),
    output=replace(DIGITS.output, dtype=INT8, quantization=(1 / 256, -128)),
)
PICTURE = (events.IMAGES / "7.png").read_bytes()


class FailedError(grpc.RpcError):  # type: ignore[misc] # grpc has no types
    """The error with which a call ends."""

    def __init__(self, code: Code) -> None:
        self._code = code

    def code(self) -> Code:
        return self._code

    def details(self) -> str:
        return "for a reason"


class Server:
    """Answers as a model server would: class 7."""

    def __init__(self, described: Described = DIGITS) -> None:
        self.described = described
        self.error: Exception | None = None
        self.asked: list[Array] = []

    def describe(self, _seconds: float) -> Described:
        return self.described

    def predict(self, inputs: Mapping[str, Array], _seconds: float) -> tuple[int, dict[str, Array]]:
        array = inputs[self.described.input_name]
        self.asked.append(array)
        if array.dtype != self.described.input.dtype:
            raise FailedError(Code.INVALID_ARGUMENT)
        if self.error is not None:
            raise self.error
        scores = np.full((1, 10), 0 if array.dtype == np.float32 else -128)
        scores[0, 7] = 1 if array.dtype == np.float32 else 127
        return self.described.version, {
            self.described.output_name: scores.astype(self.described.output.dtype)
        }


def gateway(server: Server, **settings: Any) -> Gateway:  # noqa: ANN401
    found = Gateway(GatewaySettings(model_name="digits", **settings))
    found._client = cast(Client, server)
    found._load(1)
    return found


def answered(found: Gateway, body: bytes, seconds: float = 5) -> tuple[int, dict[str, Any]]:
    response = found._answer(body, time.monotonic() + seconds)
    assert isinstance(response.body, bytes)

    return response.status, json.loads(response.body)


def test_a_picture_is_answered_as_the_function_answers_it() -> None:
    server = Server()
    found = gateway(server)
    status, reply = answered(found, PICTURE)
    assert (status, reply["class"], reply["model"]) == (200, 7, "digits")
    encoded = base64.b64encode(PICTURE).decode()
    assert answered(found, f'{{"image": "{encoded}"}}'.encode()) == (status, reply)
    assert answered(found, f'{{"url": "data:image/png;base64,{encoded}"}}'.encode())[0] == 200
    assert {array.shape for array in server.asked} == {(1, 8, 8, 1)}
    assert len({array.tobytes() for array in server.asked}) == 1


def test_a_quantized_model_gets_quantized_values() -> None:
    server = Server(QUANTIZED)
    status, reply = answered(gateway(server), PICTURE)
    assert (status, reply["class"]) == (200, 7)
    assert reply["scores"][7] == pytest.approx(255 / 256)
    assert server.asked[0].dtype == np.int8


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{}", b'{"url": "file:///etc/passwd"}', b'{"url": "http://127.0.0.1/"}']
)
def test_a_bad_request_is_the_handlers_to_refuse(body: bytes) -> None:
    status, reply = answered(gateway(Server()), body)
    assert status == 400
    assert reply["statusCode"] == 400


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.UNAVAILABLE, 503),
        (Code.RESOURCE_EXHAUSTED, 503),
        (Code.DEADLINE_EXCEEDED, 504),
        (Code.INTERNAL, 502),
        (Code.INVALID_ARGUMENT, 502),
        (Code.NOT_FOUND, 502),
    ],
)
def test_what_the_server_answers_has_a_status(code: Code, status: int) -> None:
    server = Server()
    found = gateway(server)
    server.error = FailedError(code)
    assert answered(found, PICTURE) == (status, {"error": f"the model server answered {code.name}"})


def test_a_request_that_waited_too_long_is_not_begun() -> None:
    server = Server()
    assert answered(gateway(server), PICTURE, seconds=0)[0] == 504
    assert server.asked == []


def test_a_new_version_of_the_same_kind_goes_on() -> None:
    server = Server()
    found = gateway(server)
    server.described = replace(DIGITS, version=2)
    assert answered(found, PICTURE)[0] == 200
    assert len(server.asked) == 1


def test_a_new_version_of_another_kind_is_asked_anew() -> None:
    server = Server()
    found = gateway(server)
    server.described = replace(QUANTIZED, version=2)
    assert answered(found, PICTURE)[1]["class"] == 7
    assert [array.dtype for array in server.asked] == [np.float32, np.int8]


def test_the_handler_is_loaded_without_a_trace() -> None:
    before = {name for name in sys.modules if name.startswith("tflite_runtime")}
    remote = Remote(cast(Client, Server()), DIGITS)
    one = load_handler(remote, "a", threading.Semaphore())
    other = load_handler(remote, "b", threading.Semaphore())
    assert one is not other
    assert {name for name in sys.modules if name.startswith("tflite_runtime")} == before


def test_a_model_of_no_pictures_is_refused() -> None:
    described = replace(DIGITS, input=replace(DIGITS.input, shape=(-1, 4)))
    with pytest.raises(ValueError, match="is no picture"):
        load_handler(Remote(cast(Client, Server()), described), "m", threading.Semaphore())


def test_a_users_own_handler_asks_the_server(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(render("app.py", context("digits")))
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in "0123456789"))
    server = Server()
    found = gateway(server, handler=str(app))
    answer = answered(found, PICTURE)
    assert answer[0] == 200
    assert next(iter(answer[1])) == "7"
