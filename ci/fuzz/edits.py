"""Edits of bytes: a place, in millionths of a file, and the bytes to write or delete there."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

# Sizes, counts and offsets whose sums and products tend to go wrong.
ODD = (0, 1, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)
NESTED = (b"[" * 3_000, b'{"a":' * 3_000, b"(" * 3_000, b"\0" * 3_000, b"\x1b[31m", b"x,,\n" * 999)

Edit = list[Any]


def edits(most: int = 5) -> SearchStrategy[list[Edit]]:
    """Return lists of edits; an edit is [place, kind, bytes in hexadecimal or length]."""
    place = st.integers(0, 999_999)
    byte = st.binary(min_size=1, max_size=8)
    word = st.sampled_from(ODD).flatmap(
        lambda n: st.sampled_from((2, 4, 8)).map(
            lambda size: (n % (1 << 8 * size)).to_bytes(size, "little")
        )
    )
    content = st.one_of(byte, word, word).map(bytes.hex)
    long = st.one_of(byte, st.sampled_from(NESTED)).map(bytes.hex)
    length = st.integers(1, 4_000)
    one = st.one_of(
        st.tuples(place, st.just("set"), content),
        st.tuples(place, st.just("set"), content),
        st.tuples(place, st.just("insert"), long),
        st.tuples(place, st.just("delete"), length),
        st.tuples(place, st.just("repeat"), length),
    ).map(list)
    return st.lists(one, min_size=1, max_size=most)


def edited(data: bytes, changes: list[Edit]) -> bytes:
    """Return the bytes after the edits, which are made one after the other."""
    result = bytearray(data)
    for where, kind, what in changes:
        place = where * len(result) // 1_000_000
        if kind == "set":
            content = bytes.fromhex(what)
            result[place : place + len(content)] = content
        elif kind == "insert":
            result[place:place] = bytes.fromhex(what)
        elif kind == "delete":
            del result[place : place + what]
        else:
            result[place:place] = result[place : place + what]
    return bytes(result)
