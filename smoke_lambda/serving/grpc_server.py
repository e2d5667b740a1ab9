"""Serves TensorFlow Serving's interface over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from smoke_lambda.serving.codec import Array, decode, encode
from smoke_lambda.serving.errors import ServingError, invalid
from smoke_lambda.serving.interface import AS_CONTENT, QUANTIZATION, SIGNATURE_DEF
from smoke_lambda.serving.predictor import Predictor, quantization
from smoke_lambda.serving.protos import serving_pb2 as pb
from smoke_lambda.serving.settings import Settings
from smoke_lambda.serving.signature import Signature

SERVICES: tuple[ServiceDescriptor, ...] = tuple(pb.DESCRIPTOR.services_by_name.values())
CALLS_BESIDE = 16  # calls at once of health, reflection and status, besides predictions
GRACE_OF_CONNECTIONS = 2  # in multiples of `request_seconds`


class PredictionServer:
    """Answers the calls of PredictionService and ModelService."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    async def Predict(  # noqa: N802 - the interface's name
        self,
        request: pb.PredictRequest,
        context: Any,  # noqa: ANN401 - grpc has no types
    ) -> pb.PredictResponse:
        """Answer a request with the model's outputs."""
        max_bytes = self._predictor.models.settings.max_request_bytes

        def inputs(signature: Signature) -> Mapping[str, Array]:
            signature.check_names(request.inputs)
            return {name: decode(proto, max_bytes) for name, proto in request.inputs.items()}

        answer = await self._predictor.predict(
            request.model_spec, inputs, request.output_filter, context.time_remaining()
        )
        as_content = AS_CONTENT in (context.invocation_metadata() or ())
        return pb.PredictResponse(
            model_spec=spec(request.model_spec.name, answer.version, answer.signature.key),
            outputs={
                name: encode(array, as_content=as_content) for name, array in answer.outputs.items()
            },
        )

    async def GetModelMetadata(  # noqa: N802 - the interface's name
        self, request: pb.GetModelMetadataRequest, _context: object
    ) -> pb.GetModelMetadataResponse:
        """Return the model's inputs and outputs.

        Besides TensorFlow Serving's field `signature_def`, the field `quantization` has scale and
        zero point of int8 tensors, in JSON's types.
        """
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name not in (SIGNATURE_DEF, QUANTIZATION):
                raise invalid(f"Metadata field {name[:80]} is not supported")
        number, signatures = self._predictor.signatures(request.model_spec)
        response = pb.GetModelMetadataResponse(model_spec=spec(request.model_spec.name, number))
        for name in request.metadata_field:
            message: Message = signatures
            if name == QUANTIZATION:
                message = Struct()
                message.update(quantization(self._predictor.models.version(request.model_spec)))
            packed = AnyMessage()
            packed.Pack(message)
            response.metadata[name].CopyFrom(packed)
        return response

    async def GetModelStatus(  # noqa: N802 - the interface's name
        self, request: pb.GetModelStatusRequest, _context: object
    ) -> pb.GetModelStatusResponse:
        """Return the states of the model's versions."""
        return self._predictor.status(request.model_spec)

    def handlers(self) -> list[Any]:
        """Return gRPC's handlers for every method of SERVICES."""
        return [
            grpc.method_handlers_generic_handler(
                service.full_name,
                {
                    method.name: grpc.unary_unary_rpc_method_handler(
                        self._guarded(method.name, getattr(self, method.name)),
                        request_deserializer=GetMessageClass(method.input_type).FromString,
                        response_serializer=GetMessageClass(method.output_type).SerializeToString,
                    )
                    for method in service.methods
                },
            )
            for service in SERVICES
        ]

    def _guarded(
        self, name: str, answer: Callable[[Any, Any], Awaitable[Message]]
    ) -> Callable[[Any, Any], Awaitable[Message]]:
        async def call(request: Message, context: Any) -> Message:  # noqa: ANN401
            try:
                with self._predictor.counted("grpc", name):
                    return await answer(request, context)
            except ServingError as error:
                await context.abort(error.code, error.reason)
                raise AssertionError from None  # abort raises

        return call


def spec(name: str, version: int, signature: str = "") -> pb.ModelSpec:
    """Return the model's name, version and signature for an answer."""
    found = pb.ModelSpec(name=name, signature_name=signature)
    found.version.value = version
    return found


class GrpcServer:
    """A gRPC server, with the services for health and reflection."""

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        options = [
            ("grpc.max_receive_message_length", settings.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a port in use is an error; it is never shared
        ]
        if settings.connection_seconds:
            grace = GRACE_OF_CONNECTIONS * settings.request_seconds
            options += [
                ("grpc.max_connection_age_ms", int(1000 * settings.connection_seconds)),
                ("grpc.max_connection_age_grace_ms", int(1000 * grace)),
            ]
        self._server = grpc.aio.server(
            options=options,
            maximum_concurrent_rpcs=settings.copies + settings.queue + CALLS_BESIDE,
        )
        self._server.add_generic_rpc_handlers(PredictionServer(predictor).handlers())
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.full_name for service in SERVICES]
        self._services = ["", *names]
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        self.port = self._server.add_insecure_port(f"[::]:{settings.grpc_port}")

    async def start(self) -> None:
        """Start to answer; the server is healthy only after `ready(True)`."""
        await self.ready(False)
        await self._server.start()

    async def ready(self, is_ready: bool) -> None:
        """Tell the watchers of the health service if requests are welcome."""
        status = health_pb2.HealthCheckResponse
        for name in self._services:
            await self._health.set(name, status.SERVING if is_ready else status.NOT_SERVING)

    async def stop(self, seconds: float) -> None:
        """Accept no more requests, and answer those that have arrived, within `seconds`."""
        await asyncio.wait_for(self._server.stop(seconds), seconds + 5)
