"""The parts of an HTTP server that the model server and the gateway share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from smoke_lambda.serving.errors import Code, ServingError, http_status

RETRY_SECONDS = "1"


def error_response(code: int, reason: str) -> web.Response:
    """Return an error in the form of TensorFlow Serving's REST interface."""
    headers = {"Retry-After": RETRY_SECONDS} if code == 503 else {}
    return web.json_response({"error": reason}, status=code, headers=headers)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn exceptions into JSON answers."""
    try:
        return await handler(request)
    except ServingError as error:
        return error_response(http_status(error.code), error.reason)
    except web.HTTPException as error:
        return error_response(error.status, error.reason)


async def body_of(request: web.Request, seconds: float) -> bytes:
    """Return the body of a request.

    Raises:
        ServingError: DEADLINE_EXCEEDED, if the body does not come in time.
        web.HTTPException: the body is larger than the application's limit.
    """
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise ServingError(Code.DEADLINE_EXCEEDED, "the request's body did not come") from None


class Gate:
    """Admits at most `most` requests at once; it refuses others before their bodies are read."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.inside = 0

    def __enter__(self) -> None:
        if self.inside >= self._most:
            raise ServingError(Code.RESOURCE_EXHAUSTED, f"{self.inside} requests are here already")
        self.inside += 1

    def __exit__(self, *_: object) -> None:
        self.inside -= 1


def probes(is_ready: Callable[[], bool]) -> list[web.RouteDef]:
    """Return the routes of Kubernetes' probes.

    `/live` answers as long as the program does; `/ready` succeeds if requests are welcome.
    """

    async def live(_request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_request: web.Request) -> web.Response:
        if not is_ready():
            raise ServingError(Code.UNAVAILABLE, "not ready")
        return web.Response(text="ready\n")

    return [web.get("/live", live), web.get("/ready", ready)]


class HttpServer:
    """Serves an application on a port."""

    def __init__(self, app: web.Application, port: int, drain_seconds: float) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=drain_seconds)
        self._wanted = port
        self.port = 0

    async def start(self) -> None:
        """Start to answer; `port` is then the port in use.

        Raises:
            OSError: another program uses the port.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._wanted).start()
        # For port 0, IPv4 and IPv6 get different ports. min finds an IPv4 address, which is a pair.
        self.port = min(self._runner.addresses, key=len)[1]

    async def stop(self) -> None:
        """Accept no more connections, and answer the requests that have arrived."""
        await self._runner.cleanup()


def json_body(message: object, status: int = 200) -> web.Response:
    """Return a JSON answer, indented for people."""
    text = json.dumps(message, indent=2) + "\n"
    return web.Response(text=text, status=status, content_type="application/json")
