"""What the HTTP sides of server and gateway share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from smoke_lambda.serving.errors import Code, ServingError, http_status

RETRY_SECONDS = "1"


def error_response(code: int, reason: str) -> web.Response:
    """An error as TensorFlow Serving's REST interface tells it."""
    headers = {"Retry-After": RETRY_SECONDS} if code == 503 else {}
    return web.json_response({"error": reason}, status=code, headers=headers)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what went wrong into an answer of JSON."""
    try:
        return await handler(request)
    except ServingError as error:
        return error_response(http_status(error.code), error.reason)
    except web.HTTPException as error:
        return error_response(error.status, error.reason)


async def body_of(request: web.Request, seconds: float) -> bytes:
    """The body of a request, if it comes in time.

    Raises:
        ServingError: DEADLINE_EXCEEDED.
        web.HTTPException: it is larger than the application's limit.
    """
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise ServingError(Code.DEADLINE_EXCEEDED, "the request's body did not come") from None


class Gate:
    """Lets so many requests in at once, and refuses more before their bodies are read."""

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
    """Kubernetes' probes: `/live` while the program answers, `/ready` if requests are welcome."""

    async def live(_request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_request: web.Request) -> web.Response:
        if not is_ready():
            raise ServingError(Code.UNAVAILABLE, "not ready")
        return web.Response(text="ready\n")

    return [web.get("/live", live), web.get("/ready", ready)]


class HttpServer:
    """An application on a port."""

    def __init__(self, app: web.Application, port: int, drain_seconds: float) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=drain_seconds)
        self._wanted = port
        self.port = 0

    async def start(self) -> None:
        """Answer from now on; `port` is the one that was given.

        Raises:
            OSError: another program has the port.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._wanted).start()
        # Where any port will do, IPv4 and IPv6 have one each; addresses of IPv4 are pairs.
        self.port = min(self._runner.addresses, key=len)[1]

    async def stop(self) -> None:
        """Take no connection any more, and answer the requests that are there."""
        await self._runner.cleanup()


def json_body(message: object, status: int = 200) -> web.Response:
    """A JSON answer, indented: people read it."""
    text = json.dumps(message, indent=2) + "\n"
    return web.Response(text=text, status=status, content_type="application/json")
