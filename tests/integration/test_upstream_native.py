"""TensorFlow's C++ tests against a core: those of CI pass."""

from __future__ import annotations

import json
import platform
from typing import Any

import pytest
from support import RECOMMENDED, script

from ci.upstream_tests.native.parts import ARCH

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        platform.machine() != ARCH,
        reason=f"the C++ tests are for {ARCH}: run them on such a machine",
    ),
]


def reported(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = script("upstream-tests", "--native", "--json", *arguments)
    assert "Traceback" not in done.stderr
    (report,) = json.loads(done.stdout or "[{}]")
    return done.returncode, report, done.stderr


def test_what_ci_runs_passes() -> None:
    status, report, said = reported()
    assert status == 0, f"{report.get('faults')}\n{said}"
    assert report["tensorflow"] == RECOMMENDED.version
    assert report["faults"] == []
    # Some of the programs have hundreds.
    assert report["passed"] > 1000
    for suite in ("xnnpack/", "kernels/"):
        assert any(t["test"].startswith(suite) for t in report["tests"])
