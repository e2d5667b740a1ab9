"""The gateway takes pictures over HTTP, asks model servers, and answers with classes and scores.

    POST /predict    {"url": …} or {"image": …} as JSON, a picture, or a form with one. Requests
                     and answers are those of the Lambda function's handler over HTTP.
    GET /live, /ready

Its own errors are 502 if a server refuses the gateway's request or gives an unreadable answer, 503
if no server answers or all are full, and 504 if the time is over.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web

from smoke_lambda.serving.client import Client
from smoke_lambda.serving.errors import Code, ServingError, first_line
from smoke_lambda.serving.http_server import (
    Gate,
    HttpServer,
    body_of,
    error_response,
    errors,
    probes,
)
from smoke_lambda.serving.lifetime import say, stopped
from smoke_lambda.serving.remote import APP, ChangedError, Remote, load_handler
from smoke_lambda.serving.settings import GatewaySettings

DESCRIBE_SECONDS = 5.0
PAUSE = 0.5
STATUS = {Code.UNAVAILABLE: 503, Code.RESOURCE_EXHAUSTED: 503, Code.DEADLINE_EXCEEDED: 504}


@dataclass(frozen=True)
class Remaining:
    """Stands in for Lambda's context object: the time that a handler has left."""

    end: float

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left, in milliseconds, as Lambda's context object does."""
        return max(int(1000 * (self.end - time.monotonic())), 0)


class Gateway:
    """A gateway in this process's event loop."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.is_ready = False
        self._client = Client(settings.server, settings.model_name, settings.retry_seconds)
        self._decodes = threading.Semaphore(settings.decodes)
        self._handler: tuple[Any, Remote] | None = None
        self._threads = ThreadPoolExecutor(settings.request_threads, thread_name_prefix="request")
        self._gate = Gate(settings.request_threads + settings.queue)
        app = web.Application(middlewares=[errors], client_max_size=settings.max_request_bytes)
        app.add_routes(probes(lambda: self.is_ready))
        app.add_routes([web.post("/predict", self._predict)])
        self.server = HttpServer(app, settings.port, settings.drain_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until `stop` is set; then answer the requests that have arrived, and end."""
        await self.server.start()
        say(f"gateway on port {self.server.port}, for {self.settings.server}")
        readiness = asyncio.create_task(self._become_ready())
        await stop.wait()
        readiness.cancel()
        self.is_ready = False
        say(f"stopping in {self.settings.lame_seconds:g} s")
        await asyncio.sleep(self.settings.lame_seconds)
        await self.server.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        say("stopped")

    async def _become_ready(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._load, DESCRIBE_SECONDS)
            except (grpc.RpcError, ValueError) as error:
                said = error.details() if isinstance(error, grpc.RpcError) else first_line(error)
                say(f"no model yet: {said}")
                await asyncio.sleep(PAUSE)
            else:
                self.is_ready = True
                return

    def _load(self, seconds: float) -> None:
        remote = Remote(self._client, self._client.describe(seconds))
        name, app = self.settings.model_name, Path(self.settings.handler or APP)
        self._handler = load_handler(remote, name, self._decodes, app), remote

    async def _predict(self, request: web.Request) -> web.Response:
        end = time.monotonic() + self.settings.request_seconds
        with self._gate:
            if self._handler is None:
                raise ServingError(Code.UNAVAILABLE, "no model server has answered yet")
            body = await body_of(request, self.settings.request_seconds)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._answer, body, end)

    def _answer(self, body: bytes, end: float) -> web.Response:
        """Answer one request, in a thread."""
        if time.monotonic() >= end:
            return error_response(504, "the request was not answered within its time")
        try:
            try:
                return self._handled(body, end)
            except ChangedError:
                self._load(end - time.monotonic())
                return self._handled(body, end)
        except grpc.RpcError as error:
            code: Code = error.code()
            say(f"a server answered {code.name}: {first_line(Exception(error.details()))}")
            return error_response(STATUS.get(code, 502), f"the model server answered {code.name}")
        except (ServingError, ChangedError, ValueError) as error:
            say(f"a server's answer: {first_line(error)}")
            return error_response(502, "the model server's answer cannot be read")

    def _handled(self, body: bytes, end: float) -> web.Response:
        assert self._handler is not None
        handler, remote = self._handler
        remote.until(end)
        event = {
            "requestContext": {},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
        reply = handler.handler(event, Remaining(end))
        return web.json_response(json.loads(reply["body"]), status=reply["statusCode"])


async def serve(settings: GatewaySettings) -> None:
    """Answer until SIGTERM or SIGINT."""
    await Gateway(settings).run(stopped())
