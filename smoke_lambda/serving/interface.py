"""Names that server and client share, beside those of the protos."""

from __future__ import annotations

AS_CONTENT = ("response-tensor-content", "1")
"""Metadata of a request: the answer's tensors are to come as `tensor_content`; our own."""

SIGNATURE_DEF = "signature_def"
"""The field of GetModelMetadata that TensorFlow Serving has."""
QUANTIZATION = "quantization"
"""One of our own: scale and zero point of each tensor that has them, as JSON has them."""
