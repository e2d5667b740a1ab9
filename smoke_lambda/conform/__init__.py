"""Conformance: small models, with the answers that TensorFlow's reference kernels give."""
