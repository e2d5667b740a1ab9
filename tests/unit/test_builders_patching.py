"""A patch applies where its lines are, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.errors import ArchiveError
from builders.patching import apply_patch, read_patch

PATCHES = Path(__file__).parents[2] / "builders/patches"
PATCH = """\
Why: they were wrong.
--- a/code.c
+++ b/code.c
@@ -1,3 +1,4 @@
 one
-two
+2
+2.5
 three
@@ -8,2 +9,2 @@
 eight
-nine
+9
"""
LINES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def patched(folder: Path, lines: tuple[str, ...], patch: str = PATCH) -> tuple[str, ...]:
    (folder / "x.patch").write_text(patch)
    (folder / "code.c").write_text("".join(f"{line}\n" for line in lines))
    apply_patch(folder / "x.patch", folder, "x 1.0")
    return tuple((folder / "code.c").read_text().splitlines())


@pytest.mark.parametrize(
    ("before", "between", "after"),
    [
        ((), ("four", "seven"), ()),
        (("zero", "half"), ("four",), ()),
        ((), (), ("ten",)),
        (("zero",), ("four", "five", "six", "seven"), ("ten", "one")),
    ],
)
def test_lines_that_moved_are_found(
    before: tuple[str, ...], between: tuple[str, ...], after: tuple[str, ...], tmp_path: Path
) -> None:
    lines = (*before, "one", "two", "three", *between, "eight", "nine", *after)
    found = patched(tmp_path, lines)
    assert found == (*before, "one", "2", "2.5", "three", *between, "eight", "9", *after)


@pytest.mark.parametrize(
    "lines",
    [
        LINES + LINES,
        ("one", "TWO", *LINES[2:]),
        LINES[:8],
        LINES[:1],
        (),
    ],
)
def test_a_patch_of_other_lines_changes_nothing(lines: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"patch x\.patch does not apply to x 1\.0"):
        patched(tmp_path, lines)
    assert tuple((tmp_path / "code.c").read_text().splitlines()) == lines


@pytest.mark.parametrize("patch", ["", "Only words.\n", PATCH.replace("code.c", "other.c")])
def test_what_is_no_patch_of_the_tree(patch: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        patched(tmp_path, LINES, patch)


ADDED = """\
--- /dev/null
+++ b/new/added.c
@@ -0,0 +1,2 @@
+first
+- second
"""


def test_a_file_is_added(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert patched(tmp_path, LINES, PATCH + ADDED)[1] == "2"
    assert (tmp_path / "new" / "added.c").read_text() == "first\n- second\n"


def test_a_file_that_is_there_is_not_added(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "added.c").write_text("other\n")
    with pytest.raises(ArchiveError, match=r"patch x\.patch does not apply"):
        patched(tmp_path, LINES, PATCH + ADDED)
    assert (tmp_path / "new" / "added.c").read_text() == "other\n"
    assert tuple((tmp_path / "code.c").read_text().splitlines()) == LINES


@pytest.mark.parametrize(
    "head", ["@@ -1,3 +1,3 @@", "@@ -1,2 +1,3 @@", "@@ -1,2 +1,1 @@"], ids=["new", "both", "fewer"]
)
def test_a_head_that_counts_fewer_lines_than_there_are(head: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="does not apply"):
        patched(tmp_path, LINES, PATCH.replace("@@ -1,3 +1,4 @@", head))
    assert tuple((tmp_path / "code.c").read_text().splitlines()) == LINES


def test_context_beyond_the_count_is_not_needed(tmp_path: Path) -> None:
    found = patched(tmp_path, LINES, PATCH + " ten\n")
    assert found == ("one", "2", "2.5", *LINES[2:8], "9", "ten")


@pytest.mark.parametrize("patch", sorted(PATCHES.glob("*/*.patch")), ids=lambda path: path.stem)
def test_our_own_are_read_as_a_whole(patch: Path) -> None:
    heads = sum(line.startswith(b"@@ ") for line in patch.read_bytes().splitlines())
    patch_set = read_patch(patch)
    assert patch_set is not None
    assert sum(len(item.hunks) for item in patch_set.items) == heads > 0
