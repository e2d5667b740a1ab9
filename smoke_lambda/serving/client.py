"""A client of model servers: asks all addresses of a name in turn, and retries after failures."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct

from smoke_lambda.serving.codec import DTYPES, Array, decode, encode
from smoke_lambda.serving.errors import Code
from smoke_lambda.serving.interface import AS_CONTENT, QUANTIZATION, SIGNATURE_DEF
from smoke_lambda.serving.protos import serving_pb2 as pb
from smoke_lambda.serving.protos.tensor_pb2 import SignatureDef, TensorInfo
from smoke_lambda.serving.signature import DEFAULT, Tensor

# With this, a client uses all addresses of a name, such as those of a headless Service.
# https://github.com/grpc/grpc/blob/master/doc/service_config.md
BALANCED = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
OPTIONS = (
    ("grpc.service_config", BALANCED),
    # The client finds the successor of a replaced server within seconds; by default, it takes
    # minutes.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)
# CANCELLED is here because this client cancels nothing itself. A call ends with it if it arrives at
# the moment when a gRPC server shuts down: gRPC's core drops a call that it has not yet handed to
# the program.
AGAIN = (Code.UNAVAILABLE, Code.CANCELLED)
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
MAX_BYTES = 1 << 30  # of an answer; we chose its server, and trust it


@dataclass(frozen=True)
class Described:
    """A model's signature with one input and one output, as its server describes it.

    Attributes:
        version: the version that is served.
    """

    version: int
    input_name: str
    input: Tensor
    output_name: str
    output: Tensor


class Client:
    """Sends requests for one model; any number of threads can share a client.

    Args:
        server: host and port; the addresses of the name take turns.
        retry_seconds: the time for which a call is retried while no server answers.
    """

    def __init__(self, server: str, model: str, retry_seconds: float) -> None:
        self.model, self._retry_seconds = model, retry_seconds
        self._channel = grpc.insecure_channel(f"dns:///{server}", options=OPTIONS)
        self._calls: dict[str, Callable[..., Any]] = {
            method.name: self._channel.unary_unary(
                f"/{service.full_name}/{method.name}",
                request_serializer=_written,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            for service in pb.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    def call(
        self,
        method: str,
        request: Message | bytes,
        seconds: float,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> Any:  # noqa: ANN401 - the method's response
        """Call a method, and retry while there is time if no server answers.

        Args:
            request: a message, or the bytes of one that is sent many times.

        Raises:
            grpc.RpcError: the answer is an error, or no server answers.
        """
        end = time.monotonic() + seconds
        give_up = min(end, time.monotonic() + self._retry_seconds)
        pause = FIRST_PAUSE
        while True:
            try:
                left = max(end - time.monotonic(), 0.001)
                return self._calls[method](request, timeout=left, metadata=metadata)
            except grpc.RpcError as error:
                # To retry is safe: an inference may run twice.
                if error.code() not in AGAIN or time.monotonic() + pause > give_up:
                    raise
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    def request(self, inputs: Mapping[str, Array]) -> pb.PredictRequest:
        """Return a request for the model with these inputs."""
        return pb.PredictRequest(
            model_spec=pb.ModelSpec(name=self.model),
            inputs={name: encode(array, as_content=True) for name, array in inputs.items()},
        )

    def send(
        self, request: pb.PredictRequest | bytes, seconds: float
    ) -> tuple[int, dict[str, Array]]:
        """Send a request; return the version that answered, and the outputs.

        Raises:
            grpc.RpcError: as for `call`.
            ServingError: the answer cannot be read.
        """
        answer = self.call("Predict", request, seconds, (AS_CONTENT,))
        outputs = {name: decode(proto, MAX_BYTES) for name, proto in answer.outputs.items()}
        return answer.model_spec.version.value, outputs

    def predict(self, inputs: Mapping[str, Array], seconds: float) -> tuple[int, dict[str, Array]]:
        """Ask the model; as `send`, with the inputs as arrays."""
        return self.send(self.request(inputs), seconds)

    def describe(self, seconds: float) -> Described:
        """Ask for the model's inputs and outputs.

        Raises:
            grpc.RpcError: as for `call`.
            ValueError: the model does not have exactly one input and one output.
        """
        request = pb.GetModelMetadataRequest(
            model_spec=pb.ModelSpec(name=self.model), metadata_field=(SIGNATURE_DEF, QUANTIZATION)
        )
        answer = self.call("GetModelMetadata", request, seconds)
        signatures, scales = pb.SignatureDefMap(), Struct()
        answer.metadata[SIGNATURE_DEF].Unpack(signatures)
        answer.metadata[QUANTIZATION].Unpack(scales)
        key = DEFAULT if DEFAULT in signatures.signature_def else min(signatures.signature_def)
        signature: SignatureDef = signatures.signature_def[key]
        if len(signature.inputs) != 1 or len(signature.outputs) != 1:
            raise ValueError(f"the model {self.model} has not one input and one output")
        (input_name, taken), (output_name, given) = (
            *signature.inputs.items(),
            *signature.outputs.items(),
        )
        return Described(
            version=answer.model_spec.version.value,
            input_name=input_name,
            input=_tensor(taken, _scale(scales, key, "inputs", input_name)),
            output_name=output_name,
            output=_tensor(given, _scale(scales, key, "outputs", output_name)),
        )


def _written(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def _tensor(info: TensorInfo, quantization: tuple[float, int]) -> Tensor:
    return Tensor(
        name=info.name,
        shape=tuple(dim.size for dim in info.tensor_shape.dim),
        dtype=DTYPES[info.dtype],
        quantization=quantization,
    )


def _scale(scales: Struct, *path: str) -> tuple[float, int]:
    found: Any = scales
    for name in path:
        if name not in found:
            return 0.0, 0
        found = found[name]
    return float(found[0]), int(found[1])
