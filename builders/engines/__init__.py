"""What compiles a core: CMake's own Ninja, or Bazel on one machine or on many; the same bytes."""
