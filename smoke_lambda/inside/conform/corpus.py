"""Read a corpus: models, and cases of inputs with the answers that TensorFlow gives.

Runs beside a wheel, on any Python from 3.8 on, with NumPy and no package of ours.
A corpus is a folder: `index.json` says what there is, and `<family>.zip` has of each model
`<name>.tflite` and `<name>.npz`. In the npz, the arrays of case c are `c.in.i` and `c.out.o`.
NumPy has no array of strings that it saves without pickling: those are three arrays,
`c.in.i.bytes` (uint8, one string after the other), `c.in.i.offsets` (int64, where each
begins, and the end) and `c.in.i.shape`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 1
INDEX = "index.json"
STRING_PARTS = ("bytes", "offsets", "shape")

Array = Any
"""A NumPy array; of strings: an array of objects, each `bytes` (UTF-8)."""


class CorpusError(ValueError):
    """A corpus that is damaged, or of another format."""


class CaseNames(NamedTuple):
    """What a case feeds and asks, by the names that the model gives its tensors."""

    signature: str | None
    """The signature that it runs; None: the model's first graph, without a signature."""
    inputs: tuple[str, ...]
    """Without a signature in the order of get_input_details(), else sorted."""
    outputs: tuple[str, ...]


class Model(NamedTuple):
    """What the index says of a model."""

    name: str
    pattern: str
    """What it is a model of; the models of a pattern differ in flavour."""
    family: str
    flavour: str
    """float32, float16 (weights), dynamic (int8 weights) or int8 (all of it)."""
    sha256: str
    """Of the .tflite file."""
    since: str
    """The first TensorFlow whose runtime has its operators; empty: all of ours have."""
    operators: tuple[tuple[str, int], ...]
    """Builtin operators and their versions, sorted."""
    stateful: bool
    """An answer depends on the calls before: its cases are for a new interpreter, in order."""
    signatures: tuple[str | None, ...]
    """Of its cases, each once."""
    tolerance: str
    """A row of tolerance.toml."""
    seed: int
    """Of a random graph; else 0."""
    largest: float
    """The largest magnitude among its answers that are numbers; of int8, in real numbers."""
    cases: tuple[CaseNames, ...]


class Case(NamedTuple):
    """One set of inputs with the answers that are expected.

    An input whose shape is not the model's own needs resize_tensor_input first.
    """

    inputs: list[Array]
    outputs: list[Array]
    signature: str | None
    names: CaseNames


class Index(NamedTuple):
    """What a corpus has."""

    tensorflow: str
    """The version that converted the models and gave the answers."""
    models: tuple[Model, ...]
    """By family, then by name."""


def read_index(folder: Path) -> Index:
    """Read what a corpus has.

    Raises:
        CorpusError: there is no index, or it is not of this format.
    """
    try:
        data = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{folder / INDEX} cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise CorpusError(
            f"{folder / INDEX} is not of format {FORMAT}; "
            "make it again: python -m smoke_lambda.train.generate"
        )
    try:
        models = tuple(_model(entry) for entry in data["models"])
        return Index(tensorflow=data["tensorflow"], models=models)
    except (KeyError, TypeError, ValueError) as error:
        raise CorpusError(f"{folder / INDEX} is malformed: {error!r}") from error


def load(folder: Path, model: Model) -> tuple[bytes, list[Case]]:
    """Read a model's file and cases.

    Raises:
        CorpusError: the family's archive lacks them, or they are not what the index says.
    """
    archive = folder / (model.family + ".zip")
    try:
        with zipfile.ZipFile(archive) as members:
            content = members.read(model.name + ".tflite")
            arrays = read_arrays(members.read(model.name + ".npz"))
        cases = [_case(arrays, number, names) for number, names in enumerate(model.cases)]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CorpusError(f"{archive}: {model.name} cannot be read: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != model.sha256:
        raise CorpusError(
            f"{archive}: {model.name}.tflite has sha256 {found}, the index says {model.sha256}"
        )
    return content, cases


def read_arrays(content: bytes) -> dict[str, Array]:
    """The arrays of an npz file, those of strings put together."""
    import numpy as np  # an index can be read without

    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        plain = {name: stored[name] for name in stored.files}
    names = {name.rpartition(".")[0] for name in plain if name.endswith("." + STRING_PARTS[0])}
    for name in names:
        data, offsets, shape = (plain.pop(f"{name}.{part}") for part in STRING_PARTS)
        plain[name] = _strings(data.tobytes(), offsets.tolist(), tuple(shape.tolist()))
    return plain


def _strings(data: bytes, offsets: list[int], shape: tuple[int, ...]) -> Array:
    import numpy as np

    texts = np.empty(len(offsets) - 1, dtype=object)
    for number, begin in enumerate(offsets[:-1]):
        texts[number] = data[begin : offsets[number + 1]]
    return texts.reshape(shape)


def _case(arrays: Mapping[str, Array], number: int, names: CaseNames) -> Case:
    return Case(
        inputs=[arrays[f"{number}.in.{i}"] for i in range(len(names.inputs))],
        outputs=[arrays[f"{number}.out.{o}"] for o in range(len(names.outputs))],
        signature=names.signature,
        names=names,
    )


def _model(entry: Mapping[str, Any]) -> Model:
    values = dict(entry)
    values["operators"] = tuple((str(name), int(version)) for name, version in values["operators"])
    values["signatures"] = tuple(values["signatures"])
    values["cases"] = tuple(
        CaseNames(case["signature"], tuple(case["inputs"]), tuple(case["outputs"]))
        for case in values["cases"]
    )
    return Model(**values)
