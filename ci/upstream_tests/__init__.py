"""TensorFlow's own tests of its Python interpreter, run against our wheels."""
