from __future__ import annotations

from pathlib import Path

import pytest

from builders.errors import UsageError
from builders.matrix import load_matrix
from builders.wheelname import WheelName, name_of, parse_name, parse_own_name

MATRIX = load_matrix()
OURS = "tflite_runtime-2.14.1-2-cp311-cp311-manylinux_2_17_{0}.manylinux2014_{0}.whl"


@pytest.mark.parametrize("arch", MATRIX.architectures)
def test_a_wheel_of_ours(arch: str) -> None:
    name = parse_name(OURS.format(arch))
    assert (name.project, str(name.version), name.build) == ("tflite-runtime", "2.14.1", (2, ""))
    assert (name.interpreter, name.arch) == ("cp311", arch)
    assert name.is_of(MATRIX.runtime("3.11"))
    assert not name.is_of(MATRIX.runtime("3.12"))
    assert [other for other in MATRIX.architectures if name.runs_on(other)] == [arch]
    own = parse_own_name(OURS.format(arch), MATRIX)
    assert own.faults == ()
    assert own.target == MATRIX.target(f"tf2.14.1-cp311-{arch}")
    assert own.glibc == (2, 17)


@pytest.mark.parametrize(
    ("tags", "arch", "runs"),
    [
        ("cp311-cp311-win_amd64", None, False),
        ("cp311-cp311-macosx_11_0_x86_64", None, True),
        ("cp311-cp311-manylinux_2_17_s390x", None, False),
        ("py3-none-any", None, True),
        ("py2.py3-none-any", None, True),
        ("cp311-abi3-manylinux1_x86_64.manylinux_2_17_x86_64", "x86_64", True),
        ("cp311-abi3-manylinux_2_17_x86_64.manylinux_2_17_aarch64", None, True),
    ],
)
def test_what_others_wheels_are_for(tags: str, arch: str | None, runs: bool) -> None:
    name = parse_name(f"some_thing-1.0-{tags}.whl")
    assert name.project == "some-thing"
    assert name.arch == arch
    assert name.runs_on("x86_64") is runs
    assert name.interpreter == min(tags.split("-")[0].split("."))


def test_what_is_no_wheel(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nonsense"):
        parse_name("nonsense.whl")
    (fault,) = parse_own_name("nonsense.whl", MATRIX).faults
    assert "nonsense" in fault
    wheel = tmp_path / OURS.format("x86_64")
    with pytest.raises(UsageError, match=r"there is no wheel .*; ./scripts/build"):
        name_of(wheel)
    wheel.touch()
    assert isinstance(name_of(wheel), WheelName)
