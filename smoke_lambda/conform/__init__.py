"""Conformance: small models, with the answers that TensorFlow's reference kernels give."""

MARK = "conform: "
"""Begins the lines that smoke_lambda/conform/probe.py prints of its own."""
