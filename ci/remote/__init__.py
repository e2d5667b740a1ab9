"""Servers for Bazel: the configuration of a cache and an executor, and both on this machine."""
