"""Generated parts of documents that people write: what stands between two markers."""

from __future__ import annotations

from collections.abc import Sequence

from builders.errors import UsageError


def replace_marked(text: str, begin: str, end: str, lines: Sequence[str]) -> str:
    """The text with those lines, as a paragraph of their own, between its markers.

    Raises:
        UsageError: it has not each marker once, in that order.
    """
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if text.count(begin) != 1 or text.count(end) != 1 or end not in rest:
        raise UsageError(f"the text must have {begin.strip()!r} and {end.strip()!r} once each")
    return "\n".join((before + begin, "", *lines, "", end + after))
