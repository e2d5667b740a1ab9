"""The messages of TensorFlow Serving's interface; see generate.py."""
