"""What this repository publishes, or that it publishes nothing yet, is whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders.errors import PublishError
from builders.matrix import load_matrix
from ci.publish.changes import refresh
from ci.publish.command import README, ROOT, WHEELS
from ci.publish.hosting import load_hosting
from ci.publish.manifest import Manifest, read_manifest
from ci.publish.readme import BEGIN, END, with_wheels
from ci.publish.verify import faults, readme_faults
from ci.publish.versions import OLDER

MATRIX = load_matrix()


def test_every_file_is_what_was_published() -> None:
    assert faults(WHEELS, load_hosting()) == []


def test_the_readme_has_the_table_of_published_wheels() -> None:
    manifest = read_manifest(WHEELS)
    assert readme_faults(README, manifest, load_hosting()) == []
    for wheel in manifest.current:
        assert load_hosting().raw_url(wheel.file) in README.read_text()


def test_the_manifest_says_of_runtimes_what_the_matrix_does() -> None:
    manifest = read_manifest(WHEELS)
    assert refresh(manifest, load_matrix()) == manifest, "run ./scripts/publish --refresh"


def test_git_leaves_published_bytes_alone() -> None:
    assert "wheels/** -text" in (ROOT / ".gitattributes").read_text().splitlines()


def test_the_rest_of_a_readme_is_left_alone() -> None:
    text = f"before\n{BEGIN}old\n{END}\nafter\n"
    found = with_wheels(text, Manifest(), MATRIX, load_hosting())
    assert found.startswith(f"before\n{BEGIN}\n")
    assert found.endswith(f"\n\n{END}\nafter\n")
    assert "old" not in found
    assert with_wheels(found, Manifest(), MATRIX, load_hosting()) == found


def test_the_example_is_the_recommended_version() -> None:
    wheel = read_manifest(WHEELS).current[0]
    recommended = replace(wheel, tensorflow=MATRIX.recommended.version, file="this.whl")
    other = replace(wheel, tensorflow="2.99.1", file="that.whl")
    found = with_wheels(f"{BEGIN}{END}", Manifest((recommended, other)), MATRIX, load_hosting())
    dockerfile = found.partition("```dockerfile")[2].partition("```")[0]
    assert "this.whl" in dockerfile
    assert "that.whl" not in dockerfile
    bold = f"- **TensorFlow {MATRIX.recommended.version}** (recommended): "
    assert bold + MATRIX.recommended.about in found
    assert f"\n{OLDER}\n" in found


def test_without_the_recommended_version_a_pre_release_is_no_example() -> None:
    wheel = replace(read_manifest(WHEELS).current[0], tensorflow="2.99.0", file="release.whl")
    early = replace(wheel, tensorflow="2.99.1.dev1", file="early.whl")
    found = with_wheels(f"{BEGIN}{END}", Manifest((early, wheel)), MATRIX, load_hosting())
    dockerfile = found.partition("```dockerfile")[2].partition("```")[0]
    assert "release.whl" in dockerfile
    assert "early.whl" not in dockerfile
    assert "a pre-release with `--pre`" in found
    assert OLDER not in found
    assert "--pre" not in with_wheels(f"{BEGIN}{END}", Manifest((wheel,)), MATRIX, load_hosting())


@pytest.mark.parametrize("text", ["", BEGIN, END, END + BEGIN])
def test_a_readme_that_lost_its_marks_is_not_touched(text: str) -> None:
    with pytest.raises(PublishError, match="put the two marks back"):
        with_wheels(text, Manifest(), MATRIX, load_hosting())
