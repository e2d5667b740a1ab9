"""What a CI service is told to build: from the matrix, by what changed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builders.errors import UsageError
from builders.matrix import Matrix, TensorFlow, load_matrix
from builders.sources import is_locked, load_lock
from ci.commands import matrix as module
from ci.commands.matrix import ROOT, run
from ci.jobs import changes
from ci.jobs.changes import changed_files, needed, old_matrix
from ci.jobs.plan import github_output, plan, published
from ci.jobs.rules import RULES_FILE, load_rules, parse_rules

MATRIX = load_matrix()
RULES = load_rules(MATRIX)
VERIFIED = [target for target in MATRIX.targets() if target.verified]
NAMES = [target.identifier for target in VERIFIED]


def both(tag: str) -> list[str]:
    """Return the targets of a Python."""
    return [target.identifier for target in VERIFIED if target.runtime.tag == tag]


def of_tensorflow(version: str, names: Sequence[str] = NAMES) -> list[str]:
    """Return the given targets of a TensorFlow version."""
    return [name for name in names if name.startswith(f"tf{version}-")]


# Of each TensorFlow and architecture; the targets of both are in the order of Pythons.
GROUPS = [
    [t.identifier for t in VERIFIED if (t.tensorflow, t.arch) == (tensorflow, arch)]
    for tensorflow in MATRIX.tensorflows
    for arch in MATRIX.architectures
]
ENDS = [name for group in GROUPS if group for name in dict.fromkeys((group[0], group[-1]))]


@pytest.fixture(autouse=True)
def nothing_is_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "WHEELS", tmp_path / "wheels")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:  # noqa: ANN401
    assert run(arguments) == 0
    return json.loads(capsys.readouterr().out)


def names(found: dict[str, Any]) -> list[str]:
    return [wheel["target"] for wheel in found["wheels"]]


def test_a_push_builds_and_publishes_all_that_is_verified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = printed(capsys)
    assert names(found) == NAMES
    assert (found["build"], found["publish"], found["deploy"]) == (True, True, True)
    assert {wheel["state"] for wheel in found["wheels"]} == {"verified"}
    assert names(printed(capsys, "--event", "push", "--changed", "README.md")) == NAMES


def test_declared_targets_are_included_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "--declared")
    assert names(found) == [target.identifier for target in MATRIX.targets()]
    cores = {(t.tensorflow.version, t.arch) for t in MATRIX.targets()}
    assert {(core["tensorflow"], core["arch"]) for core in found["cores"]} == cores
    assert len(found["cores"]) == len(cores)
    assert {(c["tensorflow"], c["arch"]) for c in found["native"]} == {
        core for core in cores if core[1] == "x86_64"
    }
    for core in found["cores"]:
        locked = is_locked(core["tensorflow"])
        assert (core["key"] is not None) == locked
        origins = load_lock(core["tensorflow"]).origins if locked else (None,)
        assert core["origin"] == origins[0]


@pytest.mark.parametrize("event", ["schedule", "workflow_dispatch", "pull_request"])
def test_only_a_push_publishes(capsys: pytest.CaptureFixture[str], event: str) -> None:
    found = printed(capsys, "--event", event, "--changed", "unknown.file")
    assert names(found) == NAMES
    assert (found["build"], found["publish"], found["deploy"]) == (True, False, False)


def test_every_wheel_has_its_core_machine_and_image(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "--declared")
    cores = {core["name"]: core for core in found["cores"]}
    for wheel in found["wheels"]:
        target = MATRIX.target(wheel["target"])
        core = cores[wheel["core"]]
        assert (core["tensorflow"], core["arch"]) == (target.tensorflow.version, target.arch)
        assert wheel["runner"] == RULES.runners[target.arch]
        assert wheel["base"] == f"public.ecr.aws/lambda/python:{target.runtime.python}"
        assert (wheel["python"], wheel["tag"]) == (target.runtime.python, target.runtime.tag)
    assert len(set(RULES.runners.values())) == len(MATRIX.architectures)


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        (["README.md"], []),
        (
            [
                "wheels/index.html",
                "tests/unit/test_ci_matrix.py",
                "ci/commands/gate.py",
                "ci/jobs/gate.py",
            ],
            [],
        ),
        ([".github/workflows/nightly.yml"], []),
        ([".github/workflows/ci.yml"], ENDS),
        (["builders/patches/tensorflow/a.patch"], ENDS),
        (["builders/sources/2.14.1.toml"], of_tensorflow("2.14.1", ENDS)),
        (["builders/sources/9.9.9.toml"], ENDS),  # no row has it yet: as any of builders/
        (["builders/cmake/CMakeLists.txt", "README.md"], ENDS),
        (["smoke_lambda/app.py"], ENDS),
        (["ci/proof/prove.py"], ENDS),
        (["smoke_lambda/requirements/cp310-numpy-2.2.6.txt"], both("cp310")),
        (
            ["smoke_lambda/requirements/cp310-numpy-2.2.6.txt", "builders/core.py"],
            [name for name in NAMES if name in ENDS + both("cp310")],
        ),
        (["pyproject.toml"], NAMES),
        (["unknown.file"], NAMES),
        (["builders/matrix.toml"], NAMES),  # its previous state is unknown
    ],
)
def test_a_pull_request_builds_what_its_change_calls_for(
    capsys: pytest.CaptureFixture[str], changed: Sequence[str], wanted: Sequence[str]
) -> None:
    found = printed(capsys, "--changed", *changed)
    assert names(found) == wanted
    assert found["build"] == bool(wanted)
    assert bool(found["cores"]) == bool(wanted)
    assert not found["publish"]


def other(tensorflow: TensorFlow, matrix: Matrix) -> Matrix:
    rest = [t for t in matrix.tensorflows if t.version != tensorflow.version]
    return dataclasses.replace(matrix, tensorflows=(tensorflow, *rest))


def of_the_rows(before: Matrix) -> list[str]:
    changed = ["builders/matrix.toml"]
    return [target.identifier for target in needed(VERIFIED, RULES, changed, before)]


def test_a_change_of_the_matrix_calls_for_the_rows_that_changed() -> None:
    assert of_the_rows(MATRIX) == []
    runtimes = list(MATRIX.runtimes)
    runtimes[3] = dataclasses.replace(runtimes[3], pybind11="3.0.0")
    assert of_the_rows(dataclasses.replace(MATRIX, runtimes=tuple(runtimes))) == both(
        runtimes[3].tag
    )
    without = dataclasses.replace(MATRIX, runtimes=MATRIX.runtimes[1:])
    assert of_the_rows(without) == both(MATRIX.runtimes[0].tag)

    tensorflow = MATRIX.tensorflow("2.14.1")
    rebuilt = dataclasses.replace(tensorflow, build=tensorflow.build + 1)
    assert of_the_rows(other(rebuilt, MATRIX)) == of_tensorflow("2.14.1")
    fewer = dataclasses.replace(tensorflow, verified=tensorflow.verified - {"cp312-x86_64"})
    assert of_the_rows(other(fewer, MATRIX)) == ["tf2.14.1-cp312-x86_64"]


def test_a_published_wheel_is_built_again_and_not_published_again(tmp_path: Path) -> None:
    assert published(tmp_path) == set()
    assert len(NAMES) > 1
    first = VERIFIED[0]
    tag = f"{first.runtime.tag}-{first.runtime.tag}-manylinux_2_17_x86_64.manylinux2014_x86_64"
    version = first.tensorflow
    (tmp_path / f"tflite_runtime-{version.version}-{version.build}-{tag}.whl").touch()
    there = published(tmp_path)
    found = plan(VERIFIED, RULES.runners, {}, "push", there)
    assert names(found) == NAMES
    assert found["wheels"][0]["artifact"] == f"wheel-again-{NAMES[0]}"
    assert found["wheels"][1]["artifact"] == f"wheel-new-{NAMES[1]}"
    assert found["publish"]
    assert not plan([first], RULES.runners, {}, "push", there)["publish"]
    rebuilt = dataclasses.replace(version, build=version.build + 1)
    again = dataclasses.replace(first, tensorflow=rebuilt)
    assert plan([again], RULES.runners, {}, "push", there)["publish"]


def test_what_is_verified_as_evidence_is_built_and_not_published() -> None:
    first = VERIFIED[0]
    evidence = dataclasses.replace(
        first, tensorflow=dataclasses.replace(first.tensorflow, publish=False)
    )
    found = plan([evidence], RULES.runners, {}, "push", set())
    assert names(found) == NAMES[:1]
    assert not found["publish"]
    assert found["wheels"][0]["artifact"].startswith("wheel-again-")
    assert [core["name"] for core in found["native"]] == [found["cores"][0]["name"]]


def test_the_nightly_job_tries_what_is_published_of_any_build() -> None:
    first = VERIFIED[0]
    there = {(first.tensorflow.version, 1, first.runtime.tag, first.arch)}
    found = plan(VERIFIED, RULES.runners, {}, "schedule", there)
    assert [wheel["target"] for wheel in found["published"]] == NAMES[:1]


def test_the_outputs_of_a_step_are_lines_that_are_json() -> None:
    lines = github_output(plan(VERIFIED, RULES.runners, {}, "push", set())).splitlines()
    values = dict(line.split("=", 1) for line in lines)
    assert (values["event"], values["build"], values["publish"]) == ("push", "true", "true")
    assert [wheel["target"] for wheel in json.loads(values["wheels"])] == NAMES


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.mark.usefixtures("allow_subprocess")
def test_what_changed_since_a_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(changes, "ROOT", tmp_path)
    monkeypatch.setattr(changes, "MATRIX_FILE", tmp_path / "builders" / "matrix.toml")
    text = (ROOT / "builders" / "matrix.toml").read_text()
    (tmp_path / "builders").mkdir()
    (tmp_path / "builders" / "matrix.toml").write_text(text.replace('"3.0.4" #', '"3.0.3" #'))
    (tmp_path / "notes.md").write_text("one")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    assert printed(capsys, "--changed-since", "HEAD")["wheels"] == []
    (tmp_path / "notes.md").rename(tmp_path / "ünïcode notes.md")
    (tmp_path / "builders" / "matrix.toml").write_text(text)
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "two")
    assert changed_files("HEAD^1") == [
        "builders/matrix.toml",
        "notes.md",
        "ünïcode notes.md",
    ]
    assert names(printed(capsys, "--changed-since", "HEAD^1")) == both("cp38")
    with pytest.raises(UsageError, match="git diff failed"):
        run(["--changed-since", "nonsense"])
    (tmp_path / "builders" / "matrix.toml").write_text("old = 'form'")
    git(tmp_path, "commit", "-qam", "a matrix that we cannot read")
    assert old_matrix("HEAD") is None


def test_a_pull_request_must_say_what_it_changed() -> None:
    with pytest.raises(UsageError, match="add --changed-since"):
        run(["--event", "pull_request"])


@pytest.mark.usefixtures("allow_subprocess")
def test_every_rule_is_of_files_that_are_there() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout: clone the repository")
    files = listed.stdout.splitlines()
    used = {RULES.match(file).files for file in files}
    # A folder that has nothing in it yet, and locks of versions that have none yet.
    later = {"wheels/*"} | {
        pattern.files for rule in RULES.patterns for pattern in rule if pattern.only
    }
    for rule in RULES.patterns:
        for pattern in rule:
            assert pattern.files in used | later, (
                f"{RULES_FILE.name}: {pattern.files} is of nothing"
            )
    assert any(RULES.match(file).only.get("tensorflow") == "2.14.1" for file in files)
    assert any("tag" in RULES.match(file).only for file in files)


GOOD: dict[str, Any] = {
    "runners": {"x86_64": "a", "aarch64": "b"},
    "rule": [{"files": ["*.md"], "needs": "none"}],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runners": {"x86_64": "a"}}, "runners: 'aarch64' is missing"),
        ({"runners": GOOD["runners"] | {"sparc": "c"}}, "unknown key 'sparc'"),
        ({"rule": [{"files": ["*"], "needs": "some"}]}, "unusable value 'some'"),
        ({"rule": [{"files": "*.md", "needs": "none"}]}, "must be a list"),
        ({"rule": [{"files": ["{flavour}/*"], "needs": "all"}]}, "unknown placeholder"),
        ({"rule": [{"files": ["*"], "needs": "all", "more": 1}]}, "unknown key 'more'"),
        ({"more": 1}, "unknown key 'more'"),
    ],
)
def test_a_malformed_rule_is_named(change: dict[str, Any], words: str) -> None:
    assert parse_rules(GOOD, MATRIX).match("a.md").needs == "none"
    with pytest.raises(UsageError, match=words):
        parse_rules(GOOD | change, MATRIX)
