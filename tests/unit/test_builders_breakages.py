"""What each TensorFlow version needs is data, and all of it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.breakages import (
    PATCHES,
    breakages_of,
    definitions_of,
    load_breakages,
    needs_host_flatc,
    patches_of,
    python_patches_of,
)
from builders.errors import UsageError
from builders.matrix import load_matrix

DEV = "2.22.0.dev20260518"
ROW = """\
[[breakage]]
name = "it is broken"
source = "https://example.invalid/1"
"""


def test_every_patch_is_of_a_breakage_and_of_some_version() -> None:
    versions = [tensorflow.version for tensorflow in load_matrix().tensorflows]
    folders = {path.parent.name for path in PATCHES.glob("*/*.patch")}
    used = {p for v in versions for folder in folders for p in patches_of(v, folder)}
    assert used == set(PATCHES.glob("*/*.patch"))


@pytest.mark.parametrize("version", [t.version for t in load_matrix().tensorflows])
def test_the_python_files_are_patched_in_the_wheel_alone(version: str) -> None:
    found = python_patches_of(version)
    assert set(found) == set(patches_of(version, "python"))
    kept = python_patches_of(version, upstream_warnings=True)
    assert any("advise" in p.name for p in found) is (version >= "2.18")
    assert not any("advise" in p.name for p in kept)


def test_every_patch_says_why() -> None:
    for patch in PATCHES.glob("*/*.patch"):
        why = patch.read_text().partition("\n--- a/")[0]
        assert len(why.splitlines()) >= 3, patch.name


def test_every_breakage_concerns_a_version_of_the_matrix() -> None:
    versions = [tensorflow.version for tensorflow in load_matrix().tensorflows]
    for breakage in load_breakages():
        assert any(breakage.concerns(version) for version in versions), breakage.name


@pytest.mark.parametrize(
    ("since", "before", "concerned"),
    [
        ("", "", (True, True, True, True)),
        ("2.20", "", (False, True, True, True)),
        ("", "2.20", (True, False, False, False)),
        ("2.20", "2.22.0.dev0", (False, True, False, False)),
        # A nightly comes before its release.
        ("2.22", "", (False, False, False, True)),
    ],
)
def test_a_breakage_concerns_the_versions_between(
    since: str, before: str, concerned: tuple[bool, ...], tmp_path: Path
) -> None:
    bounds = "".join(f'{k} = "{v}"\n' for k, v in (("since", since), ("before", before)) if v)
    file = tmp_path / "breakages.toml"
    file.write_text(f"{ROW}host_flatc = true\n{bounds}")
    (breakage,) = load_breakages(file)
    found = tuple(breakage.concerns(version) for version in ("2.14.1", "2.20.0", DEV, "2.22.0"))
    assert found == concerned


def test_the_macros_of_a_nightly_are_its_own() -> None:
    assert definitions_of("2.14.1") == ()
    assert definitions_of(DEV)[-4:] == (
        "TF_MAJOR_VERSION=2",
        "TF_MINOR_VERSION=22",
        "TF_PATCH_VERSION=0",
        'TF_VERSION_SUFFIX="-dev20260518"',
    )
    assert 'TF_VERSION_SUFFIX=""' in definitions_of("2.20.0")


def test_versions_that_were_built_keep_what_they_were_built_with() -> None:
    assert [breakage.patches for breakage in breakages_of("2.14.1")] == [
        ("cpuinfo/count-online-processors-on-arm.patch",),
        ("tensorflow/filter-names-not-paths.patch",),
        ("tensorflow/name-the-overload-of-abs.patch",),
        ("python/take-paths.patch",),
        ("python/take-num-threads-as-documented.patch",),
        ("tensorflow/compute-shapes-when-preparing.patch",),
        ("tensorflow/convert-constants-again.patch",),
        ("tensorflow/explain-what-xnnpack-leaves.patch",),
        ("tensorflow/verify-a-model-from-file.patch",),
        ("tensorflow/verify-a-model-from-bytes.patch",),
        ("xnnpack/clamp-same-padding-2023.patch",),
        ("tensorflow/refuse-a-model-without-subgraphs.patch",),
        ("tensorflow/refuse-a-window-that-fits-nowhere.patch",),
        ("tensorflow/refuse-to-set-a-constant.patch",),
        ("pthreadpool/spin-briefly.patch",),
        ("ruy/spin-briefly.patch",),
        ("python/refuse-threads-after-a-fork.patch",),
        ("xnnpack/multiply-int8-by-avx512.patch",),
        ("xnnpack/fuse-the-padding-of-int8.patch",),
        ("xnnpack/look-up-swish-of-int8.patch",),
        ("tensorflow/compute-int8-activations-once.patch",),
        ("xnnpack/ask-for-huge-pages.patch",),
        ("tensorflow/collect-errors-in-a-string.patch",),
        ("tensorflow/choose-avx2-for-int8.patch",),
    ]
    assert not needs_host_flatc("2.14.1")
    assert needs_host_flatc(DEV)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ROW, "does nothing"),
        (ROW + "warning = true\n", "does nothing"),
        (ROW + 'patches = ["x/none.patch"]\n', "there is no patch x/none.patch"),
        (ROW + 'definitions = "A"\n', "'definitions' must be a list"),
        (ROW + 'host_flatc = true\nsince = "two"\n', "'since' has the unusable value"),
        (ROW + "host_flatc = true\nmore = 1\n", "unknown key 'more'"),
        (ROW.replace("https", "ftp"), "'source' has the unusable value"),
        ("= 1", "is not TOML"),
    ],
)
def test_a_malformed_file_is_refused(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "breakages.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        load_breakages(file)
