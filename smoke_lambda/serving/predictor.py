"""Answers requests of either protocol, with deadlines and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from smoke_lambda.serving.codec import NUMBERS, Array, shape_proto
from smoke_lambda.serving.errors import Code, ServingError, too_late
from smoke_lambda.serving.metrics import Metrics
from smoke_lambda.serving.models import Models, Runnable, Version
from smoke_lambda.serving.protos.serving_pb2 import (
    GetModelStatusResponse,
    ModelSpec,
    ModelVersionStatus,
    SignatureDefMap,
    StatusProto,
)
from smoke_lambda.serving.protos.tensor_pb2 import SignatureDef, TensorInfo
from smoke_lambda.serving.signature import Signature, Tensor

METHOD = "tensorflow/serving/predict"
"""TensorFlow's name for signatures that PredictionService.Predict answers."""

Decode = Callable[[Signature], Mapping[str, Array]]


@dataclass(frozen=True)
class Answer:
    """A model's answer.

    Attributes:
        outputs: the outputs, by the names that clients use.
    """

    version: int
    signature: Signature
    outputs: Mapping[str, Array]


@dataclass(frozen=True)
class Predictor:
    """The model, with deadlines and metrics around it."""

    models: Models
    metrics: Metrics

    async def predict(
        self, spec: ModelSpec, decode: Decode, wanted: Sequence[str], seconds: float | None
    ) -> Answer:
        """Answer one request.

        Args:
            decode: returns the request's inputs for a signature, as arrays.
            wanted: the names of the outputs to return; all if it is empty.
            seconds: the time that the client still waits; None if it sets no limit.

        Raises:
            ServingError: the request cannot be answered.
        """
        settings = self.models.settings
        limit = settings.request_seconds if seconds is None else seconds
        with self.models.version(spec).leased() as version:
            signature = version.signature(spec.signature_name)
            outputs = signature.wanted(wanted)
            inputs = decode(signature)
            signature.check(inputs, settings.max_batch)
            work = self._run(version, signature, inputs, outputs)
            try:
                async with asyncio.timeout(min(limit, settings.request_seconds)):
                    found = await work
            except TimeoutError:
                raise too_late("the request was not answered within its time") from None
        return Answer(version.number, signature, found)

    async def _run(
        self,
        version: Version,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: tuple[str, ...],
    ) -> dict[str, Array]:
        def timed(copy: Runnable) -> dict[str, Array]:
            begun = time.perf_counter()
            try:
                return copy.run(signature.key, inputs, outputs)
            finally:
                self.metrics.inference.observe(time.perf_counter() - begun)

        return await version.pool.run(timed)

    @contextmanager
    def counted(self, protocol: str, method: str) -> Iterator[None]:
        """Count the request of the block: its time, and the code with which it ends."""
        begun = time.perf_counter()
        code = Code.OK
        try:
            yield
        except ServingError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = Code.CANCELLED
            raise
        except BaseException:
            code = Code.INTERNAL
            raise
        finally:
            seconds = time.perf_counter() - begun
            self.metrics.requests.labels(protocol, method, code.name).inc()
            self.metrics.seconds.labels(protocol, method).observe(seconds)

    def signatures(self, spec: ModelSpec) -> tuple[int, SignatureDefMap]:
        """Return the number of the served version, and its signatures.

        Raises:
            ServingError: there is no such model or version.
        """
        version = self.models.version(spec)
        described = {key: _described(each) for key, each in version.signatures.items()}
        return version.number, SignatureDefMap(signature_def=described)

    def status(self, spec: ModelSpec) -> GetModelStatusResponse:
        """Return the states of the model's versions.

        Raises:
            ServingError: there is no such model or version.
        """
        return GetModelStatusResponse(
            model_version_status=[
                ModelVersionStatus(
                    version=number,
                    state=status.state,
                    status=StatusProto(error_code=status.code.name, error_message=status.reason),
                )
                for number, status in self.models.status(spec).items()
            ]
        )


def _described(signature: Signature) -> SignatureDef:
    return SignatureDef(
        inputs=_infos(signature.inputs), outputs=_infos(signature.outputs), method_name=METHOD
    )


def _infos(tensors: Mapping[str, Tensor]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            name=tensor.name, dtype=NUMBERS[tensor.dtype], tensor_shape=shape_proto(tensor.shape)
        )
        for name, tensor in tensors.items()
    }


def quantization(version: Version) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return scale and zero point of each quantized tensor, by signature, kind and name."""
    return {
        key: {
            kind: {
                name: [*tensor.quantization]
                for name, tensor in tensors.items()
                if tensor.quantization[0]
            }
            for kind, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs))
        }
        for key, signature in version.signatures.items()
    }
