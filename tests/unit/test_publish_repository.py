"""What this repository publishes is complete, even if it publishes nothing yet."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from builders.errors import PublishError
from builders.matrix import load_matrix
from ci.publish.changes import refresh
from ci.publish.choice import newest
from ci.publish.documents import BEGIN, END, wheels_page, with_install
from ci.publish.hosting import NOWHERE, read_hosting
from ci.publish.manifest import Manifest, State, read_manifest
from ci.publish.places import README, ROOT, WHEELS
from ci.publish.verify import document_faults, faults
from ci.publish.versions import OLDER

MATRIX = load_matrix()


def test_every_file_is_what_was_published() -> None:
    assert faults(WHEELS, read_hosting(WHEELS)) == []


def test_the_documents_are_those_of_the_published_wheels() -> None:
    manifest, hosting = read_manifest(WHEELS), read_hosting(WHEELS)
    assert document_faults(README, manifest, hosting) == []
    for wheel in manifest.current:
        assert hosting.raw_url(wheel.file) in README.with_name("WHEELS.md").read_text()


def test_nothing_names_a_host_that_is_made_up() -> None:
    documents = [README, *WHEELS.glob("*.*ml"), WHEELS / "hosting.json", ROOT / "ci/hosting.toml"]
    for path in documents:
        assert not re.search(r"\bOWNER\b|\bNAME\b", path.read_text()), path


def test_the_manifest_says_of_runtimes_what_the_matrix_does() -> None:
    manifest = read_manifest(WHEELS)
    assert refresh(manifest, load_matrix()) == manifest, "run ./scripts/publish --refresh"


def test_git_leaves_published_bytes_alone() -> None:
    assert "wheels/** -text" in (ROOT / ".gitattributes").read_text().splitlines()


def test_the_rest_of_a_readme_is_left_alone() -> None:
    text = f"before\n{BEGIN}old\n{END}\nafter\n"
    found = with_install(text, Manifest(), MATRIX, NOWHERE)
    assert found.startswith(f"before\n{BEGIN}\n")
    assert found.endswith(f"\n\n{END}\nafter\n")
    assert "old" not in found
    assert with_install(found, Manifest(), MATRIX, NOWHERE) == found


def test_the_example_is_the_recommended_version() -> None:
    wheel = read_manifest(WHEELS).current[0]
    recommended = replace(wheel, tensorflow=MATRIX.recommended.version, file="this.whl")
    other = replace(wheel, tensorflow="2.99.1", file="that.whl")
    manifest = Manifest((recommended, other))
    found = with_install(f"{BEGIN}{END}", manifest, MATRIX, NOWHERE)
    dockerfile = found.partition("```dockerfile")[2].partition("```")[0]
    assert "this.whl" in dockerfile
    assert "that.whl" not in dockerfile
    bold = f"- **TensorFlow {MATRIX.recommended.version}** (recommended): "
    page = wheels_page(manifest, MATRIX, NOWHERE)
    assert bold + MATRIX.recommended.about in page
    assert f"\n{OLDER}\n" in page


def test_without_the_recommended_version_a_pre_release_is_no_example() -> None:
    wheel = replace(read_manifest(WHEELS).current[0], tensorflow="2.99.0", file="release.whl")
    early = replace(wheel, tensorflow="2.99.1.dev1", file="early.whl")
    found = with_install(f"{BEGIN}{END}", Manifest((early, wheel)), MATRIX, NOWHERE)
    dockerfile = found.partition("```dockerfile")[2].partition("```")[0]
    assert "release.whl" in dockerfile
    assert "early.whl" not in dockerfile
    page = wheels_page(Manifest((early, wheel)), MATRIX, NOWHERE)
    assert "a pre-release with `--pre`" in page
    assert OLDER not in page
    assert "--pre" not in wheels_page(Manifest((wheel,)), MATRIX, NOWHERE)


@pytest.mark.parametrize("text", ["", BEGIN, END, END + BEGIN])
def test_a_readme_that_lost_its_marks_is_not_touched(text: str) -> None:
    with pytest.raises(PublishError, match="put the two marks back"):
        with_install(text, Manifest(), MATRIX, NOWHERE)


def test_what_is_current_the_manifest_says() -> None:
    """As text, build 10 would come before build 2; and the last build may be yanked."""
    wheel = next(w for w in read_manifest(WHEELS).current if w.python == "3.12")
    second, tenth, yanked = (
        replace(wheel, tensorflow=MATRIX.recommended.version, build=n, file=f"b{n}.whl", state=s)
        for n, s in ((2, State.RETIRED), (10, State.CURRENT), (11, State.YANKED))
    )
    manifest = Manifest((second, tenth, yanked))
    assert newest(manifest, MATRIX, "3.12", wheel.arch) == tenth
    assert newest(manifest, MATRIX, "3.11", wheel.arch) is None
    assert newest(manifest, MATRIX, "3.12", "riscv64") is None
