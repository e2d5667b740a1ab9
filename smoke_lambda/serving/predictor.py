"""Answers requests, whichever protocol they came by."""

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
"""What TensorFlow calls a signature that PredictionService.Predict answers."""

Decode = Callable[[Signature], Mapping[str, Array]]


@dataclass(frozen=True)
class Answer:
    """What a model gave.

    Attributes:
        outputs: by the names that clients use.
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
            decode: gives the inputs, as arrays, that the request has for a signature.
            wanted: names of outputs; all if there are none.
            seconds: that the client still waits.

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
        """Measure a request: its time, and the code that it ends with."""
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
        """The version that is served, and what it takes and gives.

        Raises:
            ServingError: there is no such model or version.
        """
        version = self.models.version(spec)
        described = {key: _described(each) for key, each in version.signatures.items()}
        return version.number, SignatureDefMap(signature_def=described)

    def status(self, spec: ModelSpec) -> GetModelStatusResponse:
        """How the model's versions are.

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
    """Scale and zero point of each tensor that has them, by signature, kind and name."""
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
