"""The Lambda function for ONNX Runtime: the same handler, with a model in ONNX's format."""
