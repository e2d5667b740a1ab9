"""Read a corpus: models, and cases of inputs with the answers that TensorFlow gives.

The module runs beside a wheel, on any Python from 3.8 on, with NumPy and no package of ours.
A corpus is a folder. `index.json` lists its models, and `<family>.zip` has `<name>.tflite` and
`<name>.npz` for each model. In the npz, the arrays of case c are `c.in.i` and `c.out.o`.
NumPy cannot save an array of strings without pickling. Such an array is saved as three arrays:
`c.in.i.bytes` (uint8, one string after the other), `c.in.i.offsets` (int64, the begin of each
string, and the end) and `c.in.i.shape`.
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
"""A NumPy array. Strings are in an array of objects, each `bytes` (UTF-8)."""


class CorpusError(ValueError):
    """The corpus is damaged, or has another format."""


class CaseNames(NamedTuple):
    """The inputs and outputs of a case, by the names that the model gives its tensors."""

    signature: str | None
    """The signature to run; None means the model's first graph, without a signature."""
    inputs: tuple[str, ...]
    """The names, in the order of get_input_details() without a signature, else sorted."""
    outputs: tuple[str, ...]


class Model(NamedTuple):
    """A model as the index describes it."""

    name: str
    pattern: str
    """The pattern that the model is made from; the models of a pattern differ in flavour."""
    family: str
    flavour: str
    """float32, float16 (weights), dynamic (int8 weights) or int8 (everything)."""
    sha256: str
    """The hash of the .tflite file."""
    since: str
    """The first TensorFlow version whose runtime has its operators; empty if all of ours do."""
    operators: tuple[tuple[str, int], ...]
    """The builtin operators and their versions, sorted."""
    stateful: bool
    """True if an answer depends on earlier calls. Its cases need a new interpreter, in order."""
    signatures: tuple[str | None, ...]
    """The signatures of its cases, each once."""
    tolerance: str
    """The name of a row of tolerance.toml."""
    seed: int
    """The seed of a random graph; 0 for other models."""
    largest: float
    """The largest magnitude of its numeric answers; int8 answers count as real numbers."""
    cases: tuple[CaseNames, ...]


class Case(NamedTuple):
    """One set of inputs with the expected answers.

    An input whose shape is not the model's own needs resize_tensor_input first.
    """

    inputs: list[Array]
    outputs: list[Array]
    signature: str | None
    names: CaseNames


class Index(NamedTuple):
    """The contents of a corpus."""

    tensorflow: str
    """The TensorFlow version that converted the models and gave the answers."""
    models: tuple[Model, ...]
    """The models, sorted by family, then by name."""


def read_index(folder: Path) -> Index:
    """Read the index of a corpus.

    Raises:
        CorpusError: there is no index, or it has another format.
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
        CorpusError: the family's archive lacks them, or they differ from the index.
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
    """Return the arrays of an npz file. Arrays of strings are put together from their parts."""
    import numpy as np  # an index can be read without NumPy

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
