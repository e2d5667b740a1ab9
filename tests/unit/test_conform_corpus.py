from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conform_samples import entry, texts

from smoke_lambda.inside.conform.corpus import Array, CorpusError, load, read_arrays, read_index
from smoke_lambda.train.writing import differences, npz, write_corpus, write_family


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_corpus(tmp_path, "2.14.1", [entry(), entry("add.int8", "broadcast")])
    return tmp_path


def test_what_is_written_is_read(folder: Path) -> None:
    index = read_index(folder)
    assert index.tensorflow == "2.14.1"
    assert index.models == (entry().model, entry("add.int8", "broadcast").model)
    content, cases = load(folder, index.models[0])
    assert content == entry().content
    for read, written in zip(cases, entry().cases, strict=True):
        assert (read.names, read.signature) == (written.names, None)
        pairs = zip([*read.inputs, *read.outputs], [*written.inputs, *written.outputs], strict=True)
        for ours, theirs in pairs:
            assert ours.shape == theirs.shape
            assert ours.dtype == theirs.dtype
            assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize(
    "array",
    [
        np.float32(2.5),
        np.zeros((0, 3), np.int8),
        np.array([True, False]),
        np.array([1 + 2j], np.complex64),
        texts(b"", b"\x00", b"\xff"),
        np.empty((0,), dtype=object),
        np.array(b"scalar", dtype=object),
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
    ],
)
def test_an_array_survives(array: Array) -> None:
    read = read_arrays(npz({"0.in.0": array}))["0.in.0"]
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert read.tolist() == array.tolist()


def test_the_same_models_are_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    entries = [entry(), entry("tanh.float32"), entry("add.int8", "broadcast")]
    write_corpus(tmp_path / "a", "2.14.1", entries)
    write_corpus(tmp_path / "b", "2.14.1", reversed(entries))
    for name in ("index.json", "activation.zip", "broadcast.zip"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert differences(tmp_path / "a", tmp_path / "b") == []


def test_a_difference_is_named(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    changed = entry()._replace(content=b"TFL3 other")
    write_corpus(other, "2.14.1", [changed, entry("new.float32")])
    assert differences(other, folder) == [
        "activation/new.float32.npz: missing",
        "activation/new.float32.tflite: missing",
        "activation/relu.float32.tflite: differs",
        "broadcast/add.int8.npz: is no longer made",
        "broadcast/add.int8.tflite: is no longer made",
        "index.json: differs",
    ]


def test_a_family_that_is_no_longer_made_goes(folder: Path) -> None:
    write_corpus(folder, "2.14.1", [entry()])
    assert sorted(path.name for path in folder.iterdir()) == ["activation.zip", "index.json"]


def test_an_archive_is_of_a_fixed_date(folder: Path) -> None:
    with zipfile.ZipFile(folder / "activation.zip") as members:
        assert members.namelist() == ["relu.float32.npz", "relu.float32.tflite"]
        assert {info.date_time for info in members.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_model_that_is_another_is_refused(folder: Path) -> None:
    model = entry().model
    write_family(folder, "activation", [entry()._replace(content=b"TFL3 other")])
    with pytest.raises(CorpusError, match=r"relu\.float32\.tflite has sha256 .*, the index says"):
        load(folder, model)


def test_a_model_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"tanh\.int8 cannot be read"):
        load(folder, entry("tanh.int8").model)
    with pytest.raises(CorpusError, match=r"pool\.zip"):
        load(folder, entry("max.int8", "pool").model)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("[]", "not of format 1"),
        ('{"format": 2}', "not of format 1; make it again"),
        ('{"format": 1}', "malformed: KeyError"),
        ('{"format": 1, "tensorflow": "2", "models": [{"name": 1}]}', "malformed"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(CorpusError, match=said):
        read_index(tmp_path)


def test_the_index_has_one_model_a_line(folder: Path) -> None:
    lines = (folder / "index.json").read_text().splitlines()
    models = [line for line in lines if '"sha256"' in line]
    assert len(models) == 2
    assert json.loads(models[0].rstrip(","))["operators"] == [["ADD", 1], ["RELU", 2]]
