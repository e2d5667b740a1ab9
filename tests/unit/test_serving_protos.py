"""The compiled protos are those of the sources."""

from __future__ import annotations

from smoke_lambda.serving.protos import generate


def test_compiling_them_again_changes_nothing() -> None:
    found = generate.compiled()
    assert {name: (generate.HERE / name).read_text() for name in found} == found
    committed = {path.name for path in generate.HERE.glob("*_pb2.py*")}
    assert committed == set(found)
    assert len(found) == 2 * len(list(generate.HERE.glob("*.proto")))
