"""Locks of sources, generated from what a TensorFlow tree itself pins."""
