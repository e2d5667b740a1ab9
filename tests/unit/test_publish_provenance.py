"""The statement of how a wheel was built, and what a build records for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from publish_samples import CP312, HOSTING, MATRIX, SOURCE, write_wheel

from builders.cache import sha256_of
from ci.proof.source_state import ROOT, source_state
from ci.publish.hosting import NOWHERE
from ci.publish.intake import take_in
from ci.publish.product import provenance_path, read_contents
from ci.publish.provenance import make_statement


def statement(folder: Path, changes: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
    found = take_in(write_wheel(folder, CP312, changes), MATRIX, HOSTING)
    return json.loads(found.files[provenance_path(found.wheel.file)])


def test_it_is_a_statement_about_the_wheel(tmp_path: Path) -> None:
    found = statement(tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [{"name": wheel.name, "digest": {"sha256": sha256_of(wheel)}}]


def test_it_says_what_was_typed_and_who_built(tmp_path: Path) -> None:
    predicate = statement(tmp_path)["predicate"]
    assert predicate["buildDefinition"]["externalParameters"] == {
        "target": "tf2.14.1-cp312-x86_64",
        "origin": "debian",
        "command": "./scripts/build --only tf2.14.1-cp312-x86_64 --origin debian",
    }
    assert predicate["runDetails"]["builder"]["id"] == f"{HOSTING.source}scripts/build"
    assert predicate["buildDefinition"]["buildType"].startswith(HOSTING.source)


def test_a_repository_without_a_host_is_named_without_an_address(tmp_path: Path) -> None:
    found = take_in(write_wheel(tmp_path, CP312), MATRIX, NOWHERE)
    predicate = json.loads(found.files[provenance_path(found.wheel.file)])["predicate"]
    assert predicate["runDetails"]["builder"]["id"] == "urn:tflite-lambda-wheels:scripts/build"
    definition = predicate["buildDefinition"]
    assert definition["buildType"] == "urn:tflite-lambda-wheels:docs/architecture.md"
    assert definition["resolvedDependencies"][0] == {
        "name": "git",
        "digest": {"gitCommit": SOURCE["commit"]},
        "annotations": {"modified": False},
    }


def test_its_inputs_are_the_repository_the_locks_and_the_sboms_parts(tmp_path: Path) -> None:
    inputs = statement(tmp_path)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert inputs[:2] == [
        {
            "uri": f"git+{HOSTING.repository}",
            "digest": {"gitCommit": SOURCE["commit"]},
            "annotations": {"modified": False},
        },
        {"name": "builders/matrix.toml", "digest": {"sha256": "d" * 64}},
    ]
    (wheel,) = tmp_path.glob("*.whl")
    parts = read_contents(wheel).parts
    assert [item["name"] for item in inputs[2:]] == [part.name for part in parts]
    assert {"tensorflow", "xnnpack", "numpy", "libcxx"} <= {part.name for part in parts}
    for item, part in zip(inputs[2:], parts, strict=True):
        assert item["digest"] == {"sha256": part.sha256}
        assert item["uri"] == part.location


def test_it_does_not_claim_a_commit_that_is_not_known(tmp_path: Path) -> None:
    found = statement(tmp_path, {"source.commit": None, "source.modified": None})
    inputs = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert not any("gitCommit" in item["digest"] for item in inputs)
    assert inputs[0]["name"] == "builders/matrix.toml"


def test_the_same_record_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = read_contents(write_wheel(tmp_path, CP312))
    first, second = (
        make_statement({"x.whl": "1" * 64}, CP312.identifier, contents, SOURCE, HOSTING)
        for _ in range(2)
    )
    assert first == second


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.usefixtures("allow_subprocess")
def test_a_build_records_the_commit_and_whether_the_builders_differ(tmp_path: Path) -> None:
    (tmp_path / "builders").mkdir()
    (tmp_path / "builders" / "core.py").write_text("pass\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    state = source_state(CP312.tensorflow, tmp_path)
    assert state["commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert state["modified"] is False
    (tmp_path / "README.md").write_text("not what a wheel comes from\n")
    assert source_state(CP312.tensorflow, tmp_path)["modified"] is False
    (tmp_path / "builders" / "core.py").write_text("raise\n")
    assert source_state(CP312.tensorflow, tmp_path)["modified"] is True


@pytest.mark.usefixtures("allow_subprocess")
def test_outside_a_clone_there_is_no_commit_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "repository" / "copy"
    below.mkdir(parents=True)
    git(below.parent, "init", "--quiet")
    state = source_state(CP312.tensorflow, below)
    assert (state["commit"], state["modified"]) == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    state = source_state(CP312.tensorflow, below.parent)
    assert (state["commit"], state["modified"]) == (None, None)


def test_a_build_records_the_files_that_name_its_inputs(tmp_path: Path) -> None:
    files = source_state(CP312.tensorflow, tmp_path)["files"]
    assert "builders/sources/2.14.1.toml" in files
    assert {"builders/matrix.toml", "builders/requirements.txt"} <= set(files)
    for path, sha256 in files.items():
        assert sha256_of(ROOT / path) == sha256
