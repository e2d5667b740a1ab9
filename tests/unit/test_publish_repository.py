"""What this repository publishes, or that it publishes nothing yet, is whole."""

from __future__ import annotations

import pytest

from builders.errors import UsageError
from builders.matrix import load_matrix
from ci.marked import replace_marked
from ci.publish.changes import refresh
from ci.publish.command import README, ROOT, WHEELS
from ci.publish.hosting import load_hosting
from ci.publish.manifest import read_manifest
from ci.publish.verify import faults, readme_faults


def test_every_file_is_what_was_published() -> None:
    assert faults(WHEELS, load_hosting()) == []


def test_the_readme_has_the_table_of_published_wheels() -> None:
    manifest = read_manifest(WHEELS)
    assert readme_faults(README, manifest, load_hosting()) == []
    for wheel in manifest.current:
        assert load_hosting().raw_url(wheel.file) in README.read_text()


def test_the_manifest_says_of_runtimes_what_the_matrix_does() -> None:
    manifest = read_manifest(WHEELS)
    assert refresh(manifest, load_matrix()) == manifest


def test_git_leaves_published_bytes_alone() -> None:
    assert "wheels/** -text" in (ROOT / ".gitattributes").read_text().splitlines()


def test_marked_text_is_replaced_and_the_rest_left_alone() -> None:
    text = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n"
    found = replace_marked(text, "<!-- a -->", "<!-- /a -->", ["new", "lines"])
    assert found == "before\n<!-- a -->\n\nnew\nlines\n\n<!-- /a -->\nafter\n"
    assert replace_marked(found, "<!-- a -->", "<!-- /a -->", ["new", "lines"]) == found


@pytest.mark.parametrize(
    "text", ["", "<!-- a -->", "<!-- /a -->", "<!-- /a --><!-- a -->", "<!-- a -->" * 2]
)
def test_a_document_that_lost_its_markers_is_not_touched(text: str) -> None:
    with pytest.raises(UsageError, match="once each"):
        replace_marked(text, "<!-- a -->", "<!-- /a -->", ["new"])
