"""Tiny wheels with their records, as ./scripts/build leaves them, and a place to publish to."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import test_builders_wheel

from builders.audit import AuditReport
from builders.audit.report import Check as AuditCheck
from builders.matrix import Target, load_matrix
from ci.proof.conformer import Subject, corpus_of
from ci.proof.prove import Proof
from ci.publish.documents import BEGIN, END, WHEELS_PAGE
from ci.publish.hosting import Hosting
from ci.publish.manifest import PROJECT
from ci.publish.publisher import Decision, Plan, Publisher
from smoke_lambda.conform.report import ConformReport
from smoke_lambda.conform.run import corpus_digest
from smoke_lambda.conform.settings import WHOLE
from smoke_lambda.report import Check, SmokeRun

MATRIX = load_matrix()
CP312 = test_builders_wheel.first_build("tf2.14.1-cp312-x86_64")
CP39 = test_builders_wheel.first_build("tf2.14.1-cp39-x86_64")
HOSTING = Hosting(
    repository="https://git.example/ada/wheels",
    source="https://git.example/ada/wheels/blob/main/",
    raw="https://git.example/ada/wheels/raw/main/",
    pages="https://ada.pages.example/wheels/",
)
SOURCE = {"commit": "c" * 40, "modified": False, "files": {"builders/matrix.toml": "d" * 64}}


def later(target: Target, build: int = 2) -> Target:
    """Return the target with another build number."""
    return replace(target, tensorflow=replace(target.tensorflow, build=build))


@functools.cache
def wheel_of(target: Target) -> tuple[str, bytes]:
    """Return name and bytes of a wheel by make_wheel, with a fake core and extension."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = test_builders_wheel.build(Path(folder), target)
        return wheel.name, wheel.read_bytes()


def record_of(target: Target, name: str, data: bytes, source: object = None) -> dict[str, Any]:
    """Return the record of a wheel that passed every check."""
    sha256 = hashlib.sha256(data).hexdigest()
    audit = AuditReport(
        file=name,
        sha256=sha256,
        size=len(data),
        target=target.identifier,
        glibc_floor="2.17",
        checks=tuple(AuditCheck(name=check, ok=True, detail="") for check in ("archive", "size")),
        runtimes=(),
    )
    runs = tuple(
        SmokeRun(
            numpy=numpy,
            checks=(Check(name="answers", ok=True), Check(name="delegate", ok=True)),
            xnnpack={"digits-float32": 1.0, "digits-int8": 8 / 9},
            import_ms=61.234,
            first_inference_ms=0.857,
        )
        for numpy in target.runtime.numpy.smoke_versions
    )
    smoke = {
        "wheel": name,
        "sha256": sha256,
        "python": target.runtime.python,
        "runs": [dataclasses.asdict(run) | {"ok": run.ok} for run in runs],
        "log": "smoke.log",
        "ok": True,
    }
    proof = Proof(
        target=target,
        wheel=Path(name),
        audit=audit.as_dict(),
        smoke=smoke,
        conform=conform_of(target, name, sha256),
    )
    return json.loads(json.dumps(proof.as_json() | {"source": source or SOURCE}))  # type: ignore[no-any-return]


@functools.cache
def corpus_size(target: Target) -> int:
    """Return the number of models in the whole corpus for a target's TensorFlow."""
    subject = Subject.of(PROJECT, target.tensorflow.version)
    return len(corpus_of(subject, WHOLE, target.runtime, judge_delegation=False).models)


def conform_of(target: Target, name: str, sha256: str) -> dict[str, Any]:
    """Return the report of a wheel that agrees with TensorFlow."""
    models = corpus_size(target)
    report = ConformReport(
        wheel=name,
        sha256=sha256,
        python=target.runtime.python,
        numpy=target.runtime.numpy.on_lambda,
        place="native /usr/bin/python3.12",
        corpus=corpus_digest(),
        part=WHOLE,
        models=models,
        asked=models,
        operators=("ADD", "CONV_2D"),
        versions=3,
        uncovered=("ABS",),
        nodes=8,
        delegated=7,
        expected_delegation=True,
        heap_checked=True,
        memory_measured=2,
        failures=(),
        notes=(),
        seconds=12.5,
        log="conform.log",
    )
    return report.as_json()


def write_wheel(
    folder: Path,
    target: Target,
    changes: Mapping[str, Any] | None = None,
    content: bytes | None = None,
) -> Path:
    """Write a wheel and its record into a folder.

    Args:
        changes: values to put into the record, by dotted path.
        content: the bytes of the wheel, if not those of the target's own.
    """
    name, data = wheel_of(target)
    data = data if content is None else content
    record = record_of(target, name, data)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place: Any = record
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[last] = value
    (folder / "records").mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    (folder / "records" / f"{name}.json").write_text(json.dumps(record))
    return folder / name


class Place:
    """A repository with only the files that publishing writes."""

    def __init__(self, root: Path, hosting: Hosting = HOSTING) -> None:
        self.hosting = hosting
        self.dist = root / "dist"
        self.wheels = root / "wheels"
        self.readme = root / "README.md"
        self.page = root / WHEELS_PAGE
        self.wheels.mkdir(parents=True)
        self.readme.write_text(f"# Wheels\n\n{BEGIN}{END}\n\nMore.\n")

    @property
    def publisher(self) -> Publisher:
        """The publisher, as a command would make it."""
        return Publisher(self.wheels, self.readme, MATRIX, self.hosting)

    def publish(self, *wheels: Target | Path, decisions: tuple[Decision, ...] = ()) -> Plan:
        """Publish wheels, each given by its path or by the target to make it for."""
        paths = [w if isinstance(w, Path) else write_wheel(self.dist, w) for w in wheels]
        publisher = self.publisher
        publisher.tree.finish()
        plan = publisher.plan(paths, decisions)
        publisher.publish(plan)
        return plan

    def snapshot(self) -> dict[str, bytes]:
        """Return every file that publishing could have written, by path."""
        root = self.wheels.parent
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and self.dist not in path.parents
        }
