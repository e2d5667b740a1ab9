"""A client as in tutorials of TensorFlow Serving; needs TensorFlow.

    python tutorial_client.py HOST:PORT MODEL IMAGE

Prints the scores, then the answers to the other calls of TensorFlow Serving's interface, as JSON.
"""

from __future__ import annotations

import json
import sys

import grpc  # type: ignore[import-untyped,unused-ignore]
import numpy as np
import tensorflow as tf  # type: ignore[import-untyped,import-not-found,unused-ignore]
from PIL import Image
from tensorflow_serving.apis import (  # type: ignore[import-not-found,unused-ignore]
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


def main(host: str, model: str, image: str) -> None:
    """Ask once for each call."""
    channel = grpc.insecure_channel(host)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    pixels = np.asarray(Image.open(image).convert("L"), np.float32).reshape(1, 8, 8, 1) / 255

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serving_default"
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(pixels, shape=pixels.shape))
    response = stub.Predict(request, timeout=20.0)
    scores = list(response.outputs["scores"].float_val)

    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = model
    metadata.metadata_field.append("signature_def")
    described = stub.GetModelMetadata(metadata, timeout=20.0)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    described.metadata["signature_def"].Unpack(signatures)
    taken = signatures.signature_def["serving_default"].inputs["image"]

    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = model
    status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(asked, timeout=20.0)

    request.model_spec.signature_name = "gone"
    try:
        stub.Predict(request, timeout=20.0)
        code = "OK"
    except grpc.RpcError as error:
        code = error.code().name

    print(
        json.dumps(
            {
                "scores": scores,
                "array": tf.make_ndarray(response.outputs["scores"]).tolist()[0],
                "version": response.model_spec.version.value,
                "input": [dim.size for dim in taken.tensor_shape.dim],
                "dtype": tf.dtypes.as_dtype(taken.dtype).name,
                "state": get_model_status_pb2.ModelVersionStatus.State.Name(
                    status.model_version_status[0].state
                ),
                "error": code,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
