"""Compares runtimes for a function: the same network in each of them, side by side."""
