"""Only what was audited and smoke-tested is published, as it was."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from publish_samples import (
    CP39,
    CP312,
    HOSTING,
    MATRIX,
    SOURCE,
    corpus_size,
    wheel_of,
    write_wheel,
)

from builders.errors import PublishError, UsageError
from ci.publish.intake import Candidate, take_in
from ci.publish.manifest import Conform, LambdaRuntime, NumPy, State
from ci.publish.product import metadata_path, provenance_path, read_contents, stored_files
from smoke_lambda.conform.run import corpus_digest

CRASH = {
    "model": "conv.int8",
    "pattern": "conv",
    "flavour": "int8",
    "what": "crash SIGABRT",
    "detail": "1 thread",
}


def taken(folder: Path, changes: dict[str, Any] | None = None) -> Candidate:
    return take_in(write_wheel(folder, CP312, changes), MATRIX, HOSTING)


def test_the_manifest_gets_what_wheel_record_and_matrix_say(tmp_path: Path) -> None:
    name, data = wheel_of(CP312)
    wheel = taken(tmp_path).wheel
    assert (wheel.file, wheel.size) == (name, len(data))
    assert wheel.sha256 == hashlib.sha256(data).hexdigest()
    assert (wheel.target, wheel.tensorflow, wheel.python) == (
        "tf2.14.1-cp312-x86_64",
        "2.14.1",
        "3.12",
    )
    assert (wheel.arch, wheel.build, wheel.glibc) == ("x86_64", 1, "2.17")
    assert wheel.requires_python == ">=3.8"
    numpy = CP312.runtime.numpy
    assert wheel.numpy == NumPy(floor=numpy.floor, below=numpy.below)
    assert wheel.runtime == LambdaRuntime(
        name="python3.12",
        os=CP312.runtime.os,
        glibc=CP312.runtime.glibc,
        deprecated=str(CP312.runtime.deprecated),
    )
    assert (wheel.verified, wheel.audit_checks, wheel.state) == (True, 2, State.CURRENT)
    assert [run.numpy for run in wheel.smoke] == list(numpy.smoke_versions)
    run = wheel.smoke[0]
    assert (run.place, run.checks, run.import_ms, run.first_inference_ms) == (
        "native",
        2,
        61.2,
        0.9,
    )
    assert run.xnnpack == {"digits-float32": 1.0, "digits-int8": 0.8889}
    assert wheel.conform == Conform(
        place="native",
        part="whole",
        corpus=corpus_digest(),
        models=corpus_size(CP312),
        operators=2,
        delegated=0.875,
    )


def test_its_files_are_the_wheel_its_metadata_and_its_provenance(tmp_path: Path) -> None:
    found = taken(tmp_path)
    file = found.wheel.file
    assert set(found.files) == {file, metadata_path(file), provenance_path(file)}
    assert {
        path: hashlib.sha256(data).hexdigest() for path, data in found.files.items()
    } == stored_files(found.wheel)
    with zipfile.ZipFile(tmp_path / file) as archive:
        assert found.files[metadata_path(file)] == archive.read(
            "tflite_runtime-2.14.1.dist-info/METADATA"
        )


def test_the_same_record_gives_the_same_bytes(tmp_path: Path) -> None:
    assert taken(tmp_path / "a") == taken(tmp_path / "b")


def test_a_declared_target_is_not_called_verified(tmp_path: Path) -> None:
    target = next(target for target in MATRIX.targets() if not target.verified)
    assert not take_in(write_wheel(tmp_path, target), MATRIX, HOSTING).wheel.verified


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("native /home/ada/.pyenv/versions/3.12.1/bin/python", "native"),
        ("docker public.example/lambda/python:3.12", "docker public.example/lambda/python:3.12"),
    ],
)
def test_what_a_record_says_besides_is_tolerated(tmp_path: Path, place: str, told: str) -> None:
    changes: dict[str, Any] = {
        "smoke.place": place,
        "smoke.runs.0.measures": {"least_mb": 80},
        "more": [],
    }
    assert {run.place for run in taken(tmp_path, changes).wheel.smoke} == {told}


def test_an_older_record_without_the_state_of_the_source_will_do(tmp_path: Path) -> None:
    with_source = taken(tmp_path / "a")
    without = taken(tmp_path / "b", {"source": None})
    path = provenance_path(with_source.wheel.file)
    assert SOURCE["commit"] in with_source.files[path].decode()  # type: ignore[operator]
    assert b"gitCommit" not in without.files[path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audit": None}, "has no record of its audit"),
        ({"smoke": None}, "has no record of its smoke test; .* on a machine that can run it"),
        ({"conform": None}, "no record of its comparison with TensorFlow; .* that can run it"),
        ({"conform.sha256": "0" * 64}, "the comparison with TensorFlow of .* was of other bytes"),
        ({"conform.ok": False}, "failed its comparison with TensorFlow"),
        ({"conform.wheel": "other.whl"}, "is of another wheel"),
        ({"conform.failures": [CRASH, CRASH]}, "fails with 1 models .* conv.int8: crash SIGABRT"),
        ({"conform.corpus": "0" * 64}, "was compared with an older corpus"),
        ({"conform.models": 0}, "compared with 0 models of the part 'whole', which has"),
        ({"conform.part": "1 in 2"}, "models of the part '1 in 2'"),
        ({"conform.part": "sample"}, "models of the part 'sample', which has"),
        ({"conform.expected_delegation": False}, "not known which nodes .* --write-delegated"),
        ({"conform": {"ok": True}}, "is damaged"),
        ({"audit.sha256": "0" * 64}, "the audit of .* was of other bytes"),
        ({"smoke.sha256": "0" * 64}, "the smoke test of .* was of other bytes"),
        ({"audit.ok": False}, "failed its audit"),
        ({"smoke.ok": False}, "failed its smoke test"),
        ({"audit.checks": []}, "checked nothing"),
        ({"audit.checks.1.ok": False}, "failed size"),
        ({"smoke.runs": []}, "ran nothing"),
        ({"smoke.runs.1.checks": []}, "checked nothing"),
        ({"smoke.runs.1.checks.0.ok": False}, "NumPy .* failed answers"),
        ({"audit.file": "other.whl"}, "is of another wheel"),
        ({"audit.target": "tf2.14.1-cp39-x86_64"}, "is of another wheel"),
        ({"smoke.wheel": "other.whl"}, "is of another wheel"),
        ({"audit": []}, "has no record of its audit"),
        ({"audit": {"ok": True}}, "is damaged"),
        ({"smoke.runs": [{}]}, "is damaged"),
        ({"smoke": "passed"}, "is damaged"),
    ],
)
def test_a_wheel_that_was_not_proven_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PublishError, match=message):
        taken(tmp_path, changes)


def test_a_version_that_is_only_verified_is_refused(tmp_path: Path) -> None:
    versions = [dataclasses.replace(row, publish=False) for row in MATRIX.tensorflows]
    matrix = dataclasses.replace(MATRIX, tensorflows=tuple(versions))
    with pytest.raises(PublishError, match="verified and not published"):
        take_in(write_wheel(tmp_path, CP312), matrix, HOSTING)


def test_a_wheel_without_a_record_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, CP312)
    (tmp_path / "records" / f"{wheel.name}.json").unlink()
    with pytest.raises(PublishError, match=r"has no record .*; build it again with \./scripts"):
        take_in(wheel, MATRIX, HOSTING)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_record_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    wheel = write_wheel(tmp_path, CP312)
    (tmp_path / "records" / f"{wheel.name}.json").write_text(text)
    with pytest.raises(PublishError, match=r"is no record|is not JSON"):
        take_in(wheel, MATRIX, HOSTING)


def test_other_bytes_than_were_tested_are_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, CP312)
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(PublishError, match="was of other bytes"):
        take_in(wheel, MATRIX, HOSTING)


def test_another_wheels_record_is_refused(tmp_path: Path) -> None:
    wheel, other = write_wheel(tmp_path, CP312), write_wheel(tmp_path, CP39)
    records = tmp_path / "records"
    (records / f"{other.name}.json").replace(records / f"{wheel.name}.json")
    with pytest.raises(PublishError, match="was of other bytes"):
        take_in(wheel, MATRIX, HOSTING)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numpy-2.0.0-1-cp312-cp312-manylinux_2_17_x86_64.whl", "project is numpy"),
        ("tflite_runtime-2.14.1-cp312-cp312-manylinux_2_17_x86_64.whl", "no build number"),
        ("tflite_runtime-2.14.1-1-cp312-cp312-win_amd64.whl", "is not manylinux"),
        ("tflite_runtime.whl", "is no wheel of this repository"),
    ],
)
def test_a_name_that_is_not_ours_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(PublishError, match=message):
        take_in(tmp_path / name, MATRIX, HOSTING)


def test_a_wheel_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.whl: No such file .*/scripts/build"):
        take_in(tmp_path / "x.whl", MATRIX, HOSTING)


def rewritten(wheel: Path, member: str, old: bytes, new: bytes) -> Path:
    path = wheel.with_name(f"rewritten-{wheel.name}")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith(member):
                assert old in data
                data = data.replace(old, new)
            target.writestr(info, data)
    return path


@pytest.mark.parametrize(
    ("member", "old", "new"),
    [
        ("METADATA", b"Requires-Dist: numpy", b"Requires-Dist: scipy"),
        ("METADATA", b"numpy<3,>=", b"numpy>="),
        ("METADATA", b'== "3.12"', b'== "3.11"'),
        ("METADATA", b'== "3.11"', b'== "3.12"'),
        ("METADATA", b"Metadata-Version: 2.4", b"Metadata-Version: ?"),
        ("WHEEL", b"Tag: cp312", b"Tag: cp312.cp311"),
        (".cdx.json", b'"components"', b'"component"'),
        (".cdx.json", b'"hashes"', b'"hash"'),
        (".cdx.json", b"{", b""),
    ],
)
def test_a_wheel_that_says_something_else_is_refused(
    tmp_path: Path, member: str, old: bytes, new: bytes
) -> None:
    wheel = rewritten(write_wheel(tmp_path, CP312), member, old, new)
    with pytest.raises(PublishError, match="is no wheel of this repository"):
        read_contents(wheel)


def test_sources_of_two_origins_are_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, CP312)
    assert read_contents(wheel).origin == "debian"
    mixed = read_contents(rewritten(wheel, ".cdx.json", b'"pypi"', b'"upstream"'))
    with pytest.raises(PublishError, match=re.escape("['debian', 'upstream']")):
        _ = mixed.origin


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"<html>")
    with pytest.raises(PublishError, match=r"x\.whl is no wheel .* not a readable zip"):
        read_contents(tmp_path / "x.whl")
