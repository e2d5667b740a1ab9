"""The patch of cpuinfo fits the sources of every origin.

The effect of the patch is tested in tests/integration/test_arm64_compiled.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.breakages import patches_of
from builders.errors import ArchiveError
from builders.matrix import load_matrix
from builders.patching import apply_patch

# The first lines of src/linux/processors.c, all that the patch needs: before upstream
# reformatted its sources, and after.
TABS = "".join(
    f"{line}\n"
    for line in (
        *(f"#include <{name}.h>" for name in ("stdbool", "stdint", "stdlib", "stdio", "string")),
        "",
        "#if !defined(__ANDROID__)",
        "\t#include <sched.h>",
        "#endif",
    )
)
SORTED = TABS.replace("stdlib", "x").replace("stdio", "stdlib").replace("x", "stdio", 1)
FILE = "src/linux/processors.c"


def applied(text: str, folder: Path) -> str:
    """Write the text to a file, apply the patch, and return the result."""
    [patch] = patches_of("2.14.1", "cpuinfo")
    file = folder / FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)
    apply_patch(patch, folder, "cpuinfo")
    return file.read_text()


@pytest.mark.parametrize("text", [TABS, SORTED, TABS.replace("\t", "")])
def test_it_fits_every_layout_and_adds_lines_alone(text: str, tmp_path: Path) -> None:
    found = applied(text, tmp_path)
    before, rest = text.split("#if !defined", 1)
    added = found.removeprefix(before).removesuffix(f"#if !defined{rest}")
    assert len(added) == len(found) - len(text)
    first, guard, *_, end, _blank = added.splitlines()
    assert first == "#include <linux/api.h>"
    assert guard == "#if CPUINFO_ARCH_ARM || CPUINFO_ARCH_ARM64"
    assert end == "#endif"


def test_it_does_not_fit_another_file(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="count-online"):
        applied(TABS.replace("string", "strings"), tmp_path)


def test_every_version_has_it() -> None:
    for tensorflow in load_matrix().tensorflows:
        assert len(patches_of(tensorflow.version, "cpuinfo")) == 1


def test_it_says_what_it_mends_and_where_that_was_reported() -> None:
    [patch] = patches_of("2.14.1", "cpuinfo")
    header = patch.read_text().partition("\n--- ")[0]
    assert "/sys/devices/system/cpu" in header
    assert "https://github.com/pytorch/cpuinfo/issues/143" in header
