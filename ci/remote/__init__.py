"""What serves Bazel: the configuration of a cache and of an executor, and both on this machine."""
