"""The fuzzer as a maintainer types it, for some seconds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SECONDS = "10"


def fuzz(*arguments: str, target: str = "handler") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/fuzz"), target, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.integration
@pytest.mark.parametrize("target", ["handler", "audit", "unpack"])
def test_it_withstands_some_seconds(tmp_path: Path, target: str) -> None:
    ran = fuzz("--seconds", SECONDS, "--out", str(tmp_path), target=target)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(rf"^{target}: seed \d+$", ran.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_a_handler_with_a_fault_is_found_out(tmp_path: Path) -> None:
    source = (ROOT / "smoke_lambda/app.py").read_text()
    plain = 'raise RequestError("the image is not valid base64") from None'
    assert plain in source
    app = tmp_path / "app.py"
    app.write_text(source.replace(plain, 'raise RequestError(f"not valid: {text}") from None'))
    out = tmp_path / "found"
    ran = fuzz("--app", str(app), "--seconds", "120", "--seed", "1", "--out", str(out))
    assert ran.returncode == 1, ran.stdout + ran.stderr
    (file,) = out.iterdir()
    assert f"--replay {file}" in ran.stdout
    assert fuzz("--app", str(app), "--replay", str(file)).returncode == 1
    assert fuzz("--replay", str(file)).returncode == 0
