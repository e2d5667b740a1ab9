"""Replaces generated parts in documents that people write."""

from __future__ import annotations


def between(text: str, begin: str, end: str, part: str) -> str:
    """Return a text with a new part between two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no part between {begin!r} and {end!r}")
    return before + begin + part + end + after
