"""Conformance: compare wheels with the answers of TensorFlow's reference kernels."""
