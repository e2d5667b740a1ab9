"""The locks of the model server follow the matrix."""

from __future__ import annotations

import re

import pytest

from builders.matrix import load_matrix
from smoke_lambda.lock import Lock
from smoke_lambda.serving import lock

LOCKS = list(lock.locks(load_matrix()))
PIN = re.compile(r"^([a-z0-9-]+)(?:==(\S+))?", re.MULTILINE)


def test_one_file_per_python_and_no_other() -> None:
    assert {path.name for path in lock.FOLDER.glob("*.txt")} == {item.path.name for item in LOCKS}
    assert len(LOCKS) > 1


@pytest.mark.parametrize("item", LOCKS, ids=lambda item: item.path.name)
def test_a_lock_has_what_was_asked_for_with_hashes_and_no_host(item: Lock) -> None:
    text = item.path.read_text()
    assert "://" not in text
    found = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    wanted = dict(PIN.findall(item.requirements))
    assert {"grpcio", "aiohttp", "numpy", "pillow"} <= set(wanted) <= set(found)
    assert all(found[name] == version for name, version in wanted.items() if version)
    for block in re.split(r"\n(?=\S)", text.removeprefix(lock.HEADER)):
        assert re.fullmatch(r"\S+==\S+( \\\n +--hash=sha256:[0-9a-f]{64})+\n?", block), block


@pytest.mark.parametrize("item", LOCKS, ids=lambda item: item.path.name)
def test_the_protos_were_compiled_for_these_messages(item: Lock) -> None:
    # A runtime of protobuf reads code that its own or the previous major version has generated.
    (version,) = re.findall(r"^protobuf==(\d+)", item.path.read_text(), re.MULTILINE)
    compiled = (lock.FOLDER.parent / "protos/serving_pb2.py").read_text()
    (made,) = re.findall(r"Protobuf Python Version: (\d+)", compiled)
    assert int(version) in (int(made), int(made) + 1)
