"""Compile a core with CMake's own Ninja, or with Bazel on one machine or many: the same bytes."""
