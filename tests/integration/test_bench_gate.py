"""The gate of speed, on the wheels that the main job made."""

from __future__ import annotations

import json
import platform
from collections import Counter
from pathlib import Path

import pytest
from support import script, wheels_folder

from builders.errors import UsageError
from builders.interpreters import find_interpreter
from builders.matrix import load_matrix
from builders.wheelname import parse_own_name
from ci.bench.settings import GROUPS, load_settings
from ci.commands.bench import published

pytestmark = pytest.mark.integration


def comparable() -> dict[str, Path]:
    """Return, by TensorFlow version, a wheel that runs here and whose target is published."""
    matrix, found = load_matrix(), {}
    for wheel in sorted(wheels_folder().glob("*.whl")):
        target = parse_own_name(wheel.name, matrix).target
        if target is None or target.arch != platform.machine():
            continue
        try:
            published(wheel, matrix)
        except UsageError:
            continue
        if find_interpreter(target.runtime.python):
            found[target.tensorflow.version] = wheel
    return found


def test_no_wheel_has_lost_its_speed() -> None:
    wheels = comparable()
    if not wheels:
        pytest.skip("no wheel has a published one of its target: ./scripts/build makes some")
    for wheel in wheels.values():
        done = script("bench", wheel, "--check", "--json")
        assert done.returncode == 0, f"{wheel.name}: {done.stdout}{done.stderr}"
        found = json.loads(done.stdout)
        names = [each["network"] for each in found["networks"]]
        assert sorted(names) == sorted(load_settings().gate.networks)
        groups = Counter(each["group"] for each in found["networks"])
        # The size of a group depends on XNNPACK's share, which depends on the TensorFlow version.
        assert groups.keys() == set(GROUPS)
        assert found["ok"]
