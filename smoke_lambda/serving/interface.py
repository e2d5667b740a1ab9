"""Names that server and client share, in addition to those in the protos."""

from __future__ import annotations

AS_CONTENT = ("response-tensor-content", "1")
"""Metadata of a request that asks for the answer's tensors as `tensor_content`.

TensorFlow Serving does not have this metadata.
"""

SIGNATURE_DEF = "signature_def"
"""The metadata field that TensorFlow Serving's GetModelMetadata has."""
QUANTIZATION = "quantization"
"""A metadata field of our own: scale and zero point of each quantized tensor, in JSON's types."""
