"""A command says something at once: what is slow to import is imported where it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = {"rfc3987_syntax", "botocore", "tensorflow", "docker"}


@pytest.mark.usefixtures("allow_subprocess")
def test_a_command_imports_nothing_slow() -> None:
    code = "import sys, ci.commands.build; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SLOW & set(done.stdout.split())
