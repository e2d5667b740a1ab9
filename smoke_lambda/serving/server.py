"""Runs the model server, which serves one model over both protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smoke_lambda.serving.grpc_server import GrpcServer
from smoke_lambda.serving.lifetime import say, stopped
from smoke_lambda.serving.metrics import Metrics
from smoke_lambda.serving.model_copy import load
from smoke_lambda.serving.models import Models
from smoke_lambda.serving.predictor import Predictor
from smoke_lambda.serving.rest import RestServer
from smoke_lambda.serving.settings import Settings

READY_SECONDS = 0.05


class Server:
    """A server in this process's event loop."""

    def __init__(self, settings: Settings, log: Callable[[str], None] = say) -> None:
        self.settings, self._log = settings, log
        self.models = Models(settings, load, log)
        predictor = Predictor(self.models, Metrics())
        self.grpc = GrpcServer(predictor, settings)
        self.rest = RestServer(predictor, settings)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then answer the requests that have arrived, and end."""
        await self.rest.server.start()
        await self.grpc.start()
        self._log(
            f"{self.settings.model_name}: gRPC on port {self.grpc.port}, "
            f"REST on port {self.rest.server.port}; {self.settings.copies} copies with "
            f"{self.settings.threads} threads each"
        )
        watching = asyncio.create_task(self.models.watch())
        watching.add_done_callback(lambda _: stop.set())  # only an error ends it
        readiness = asyncio.create_task(self._become_ready())
        await stop.wait()
        self._log(f"stopping in {self.settings.lame_seconds:g} s")
        readiness.cancel()
        self.rest.is_ready = False
        await self.grpc.ready(False)
        await asyncio.sleep(0 if watching.done() else self.settings.lame_seconds)
        await asyncio.gather(self.grpc.stop(self.settings.drain_seconds), self.rest.server.stop())
        if watching.done():
            watching.result()
        watching.cancel()
        self._log("stopped")

    async def _become_ready(self) -> None:
        while self.models.current is None:
            await asyncio.sleep(READY_SECONDS)
        self.rest.is_ready = True
        await self.grpc.ready(True)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    await Server(settings).run(stopped())
