"""Serves TensorFlow Serving's interface over HTTP and JSON."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from smoke_lambda.serving import json_codec, metrics
from smoke_lambda.serving.errors import invalid
from smoke_lambda.serving.grpc_server import spec
from smoke_lambda.serving.http_server import Gate, HttpServer, body_of, errors, json_body, probes
from smoke_lambda.serving.predictor import Predictor
from smoke_lambda.serving.protos.serving_pb2 import ModelSpec
from smoke_lambda.serving.settings import Settings

MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
PREDICT = re.compile(MODEL + ":predict")
STATUS = re.compile(MODEL + "(?P<metadata>/metadata)?")


class RestServer:
    """A server of the REST interface.

    Attributes:
        is_ready: True if requests are welcome.
    """

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self.is_ready = False
        self._predictor, self._settings = predictor, settings
        self._gate = Gate(settings.copies + settings.queue)
        # A thread parses JSON, so that the event loop can answer probes. There is only one such
        # thread: Python's threads share one processor, and one at a time bounds the memory.
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="json")
        app = web.Application(middlewares=[errors], client_max_size=settings.max_request_bytes)
        app.add_routes(probes(lambda: self.is_ready and predictor.models.current is not None))
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/v1/{rest:.*}", self._status),
                web.post("/v1/{rest:.*}", self._predict),
            ]
        )
        app.on_response_prepare.append(self._send_away)
        self.server = HttpServer(app, settings.rest_port, settings.drain_seconds)

    async def _send_away(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Close the connection if this server will stop, so that clients connect to another."""
        if not self.is_ready:
            response.force_close()

    async def _metrics(self, _request: web.Request) -> web.Response:
        text = self._predictor.metrics.text(self._predictor.models)
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _predict(self, request: web.Request) -> web.Response:
        found = PREDICT.fullmatch(request.path)
        if found is None:
            raise invalid(f"Malformed request: POST {request.path[:200]}")
        with self._predictor.counted("rest", "Predict"), self._gate:
            body = await body_of(request, self._settings.request_seconds)
            return await self._answer(_spec(found), body)

    async def _answer(self, wanted: ModelSpec, body: bytes) -> web.Response:
        self._predictor.models.version(wanted)  # refuse a wrong model before parsing
        parsed = await self._in_thread(json_codec.parse, body, self._settings.max_request_bytes)
        wanted.signature_name = parsed.signature_name
        with self._predictor.models.version(wanted).leased() as version:
            signature = version.signature(parsed.signature_name)
            inputs = await self._in_thread(parsed.inputs, signature)
            answer = await self._predictor.predict(wanted, lambda _: inputs, (), None)
        text = json_codec.answer(answer.outputs, is_row=parsed.is_row)
        return web.Response(body=text, content_type="application/json")

    async def _in_thread(self, work: Any, *arguments: object) -> Any:  # noqa: ANN401
        return await asyncio.get_running_loop().run_in_executor(self._parser, work, *arguments)

    async def _status(self, request: web.Request) -> web.Response:
        found = STATUS.fullmatch(request.path)
        if found is None:
            raise invalid(f"Malformed request: GET {request.path[:200]}")
        if found["metadata"]:
            with self._predictor.counted("rest", "GetModelMetadata"):
                number, signatures = self._predictor.signatures(_spec(found))
            described = {"signature_def": _as_dict(signatures)}
            model = _as_dict(spec(found["name"], number))
            return json_body({"model_spec": model, "metadata": described})
        with self._predictor.counted("rest", "GetModelStatus"):
            return json_body(_as_dict(self._predictor.status(_spec(found))))


def _spec(found: re.Match[str]) -> ModelSpec:
    asked = ModelSpec(name=found["name"])
    if found["version"]:
        asked.version.value = int(found["version"])
    if found["label"]:
        asked.version_label = found["label"]
    return asked


def _as_dict(message: Message) -> dict[str, Any]:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
