"""A model server with TensorFlow Serving's interface, and a gateway in front of it."""
