"""TensorFlow's own C++ tests of its kernels and of the XNNPACK delegate, run against a core."""
