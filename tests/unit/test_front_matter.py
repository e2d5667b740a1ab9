"""The first files that a contributor or a reporter meets ask for the right things."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from builders.matrix import load_matrix
from ci.pages.pins import REQUIREMENTS
from ci.publish.manifest import read_manifest

ROOT = Path(__file__).parent.parent.parent


def test_a_commit_runs_the_unit_tests_command() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["language"]) == ("local", "system")
    assert hook["entry"] == "./scripts/test --unit"


def test_the_form_of_a_failing_wheel_asks_for_both_reports() -> None:
    text = (ROOT / ".github/ISSUE_TEMPLATE/wheel.yml").read_text()
    assert "./scripts/compat WHEEL" in text
    assert "./scripts/smoke --model my.tflite WHEEL" in text


def test_dependabot_looks_at_actions_and_at_every_requirements_file() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    by_ecosystem = {update["package-ecosystem"]: update for update in updates}
    assert set(by_ecosystem) == {"github-actions", "pip"}
    folders = {f"/{path.parent.relative_to(ROOT)}" for path in REQUIREMENTS}
    assert set(by_ecosystem["pip"]["directories"]) == folders


def test_the_changelog_has_every_published_build() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in text
    # "## 2.22.0 and 2.14.1 build 3 - DATE": versions that got the same build share a section.
    sections = re.findall(r"^## (.+) build (\d+) - ", text, re.MULTILINE)
    told = {(version, build) for names, build in sections for version in names.split(" and ")}
    for wheel in read_manifest(ROOT / "wheels").wheels:
        assert (wheel.tensorflow, wheel.file.split("-")[2]) in told, wheel.file


def test_the_readme_has_the_speeds_of_the_benchmark() -> None:
    text = (ROOT / "docs/performance.md").read_text()
    version = load_matrix().recommended.version
    # "## 2.22.0 build 5 / ai-edge-litert 2.3.0", and in its table "| all | 87 | 1.01 | …".
    found = re.findall(
        rf"^## {re.escape(version)} build \d+ / ([\w-]+) .*?^\| all \| (\d+) \| ([\d.]+) \|",
        text,
        re.MULTILINE | re.DOTALL,
    )
    means = {peer: mean for peer, _, mean in found}
    (count,) = {count for _, count, _ in found}
    row = f"mean of {count} networks | 1 | {means['tflite-runtime']} | {means['ai-edge-litert']} |"
    assert row in (ROOT / "README.md").read_text()
