"""Write a corpus, the same bytes from the same models.

The compressed bytes are zlib's, so corpora are compared by what the archives hold.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from smoke_lambda.inside.conform.corpus import (
    FORMAT,
    INDEX,
    STRING_PARTS,
    Array,
    Case,
    Model,
)

DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold


class Entry(NamedTuple):
    """A model as it is made: what the index is to say of it, its file and its cases."""

    model: Model
    content: bytes
    cases: Sequence[Case]


def write_corpus(folder: Path, tensorflow: str, entries: Iterable[Entry]) -> None:
    """Write the index and the archives of families; archives of other families go.

    Args:
        tensorflow: the version that converted the models.
    """
    folder.mkdir(parents=True, exist_ok=True)
    families: dict[str, list[Entry]] = {}
    for entry in entries:
        families.setdefault(entry.model.family, []).append(entry)
    for path in folder.glob("*.zip"):
        if path.stem not in families:
            path.unlink()
    for family, members in families.items():
        write_family(folder, family, members)
    models = [entry.model for members in families.values() for entry in members]
    (folder / INDEX).write_text(index_text(tensorflow, models), encoding="utf-8")


def write_family(folder: Path, family: str, entries: Iterable[Entry]) -> None:
    """Write a family's archive: `<name>.tflite` and `<name>.npz` of each of its models."""
    files = {}
    for entry in entries:
        files[f"{entry.model.name}.tflite"] = entry.content
        files[f"{entry.model.name}.npz"] = npz(case_arrays(entry.cases))
    path = folder / f"{family}.zip"
    path.write_bytes(archive(files, zipfile.ZIP_DEFLATED))


def index_text(tensorflow: str, models: Iterable[Model]) -> str:
    """The text of index.json: one model a line, by family and name."""
    ordered = sorted(models, key=lambda model: (model.family, model.name))
    lines = ",\n".join("  " + json.dumps(_plain(model), sort_keys=True) for model in ordered)
    head = f' "format": {FORMAT},\n "tensorflow": {json.dumps(tensorflow)},\n'
    return f'{{\n{head} "models": [\n{lines}\n ]\n}}\n'


def archive(files: Mapping[str, bytes], compression: int) -> bytes:
    """A zip of files, sorted, without the date of today."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression, compresslevel=9) as members:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, DATE)
            info.compress_type = compression
            info.external_attr = 0o644 << 16
            members.writestr(info, files[name])
    return content.getvalue()


def npz(arrays: Mapping[str, Array]) -> bytes:
    """An npz file of arrays; the family's archive compresses it."""
    files = {}
    for name, array in arrays.items():
        for stored_name, stored in _stored(name, np.asarray(array)).items():
            content = io.BytesIO()
            np.lib.format.write_array(
                content, np.asarray(stored, order="C"), version=(1, 0), allow_pickle=False
            )
            files[f"{stored_name}.npy"] = content.getvalue()
    return archive(files, zipfile.ZIP_STORED)


def case_arrays(cases: Iterable[Case]) -> dict[str, Array]:
    """The arrays of cases by the names that they are stored under."""
    found: dict[str, Array] = {}
    for number, case in enumerate(cases):
        found |= {f"{number}.in.{i}": array for i, array in enumerate(case.inputs)}
        found |= {f"{number}.out.{o}": array for o, array in enumerate(case.outputs)}
    return found


def digest(content: bytes) -> str:
    """The SHA-256 of a model's file."""
    return hashlib.sha256(content).hexdigest()


def differences(made: Path, committed: Path) -> list[str]:
    """One line for each file that two corpora do not have alike."""
    ours, theirs = _files(made), _files(committed)
    found = [f"{name}: missing" for name in ours.keys() - theirs.keys()]
    found += [f"{name}: is no longer made" for name in theirs.keys() - ours.keys()]
    found += [f"{name}: differs" for name in ours.keys() & theirs if ours[name] != theirs[name]]
    return sorted(found)


def _files(folder: Path) -> dict[str, bytes]:
    index = folder / INDEX
    found = {INDEX: index.read_bytes()} if index.is_file() else {}
    for path in folder.glob("*.zip"):
        with zipfile.ZipFile(path) as members:
            found |= {f"{path.stem}/{name}": members.read(name) for name in members.namelist()}
    return found


def _plain(model: Model) -> dict[str, Any]:
    return {**model._asdict(), "cases": [case._asdict() for case in model.cases]}


def _stored(name: str, array: Array) -> dict[str, Array]:
    if array.dtype != object:
        return {name: array}
    texts = [bytes(text) for text in array.ravel()]
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    parts = (data, offsets, np.array(array.shape, dtype=np.int64))
    return {f"{name}.{part}": stored for part, stored in zip(STRING_PARTS, parts, strict=True)}
