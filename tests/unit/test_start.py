"""A command starts in its locked environment, and says something at once."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLOW = {"rfc3987_syntax", "botocore", "tensorflow", "docker"}
STARTS = re.compile(r'start\("(?P<module>[\w.]+)"(?:, "(?P<requirements>[^"]+)")?\)')
PIN = re.compile(r"^([\w.-]+)==", re.MULTILINE)


HIDE = """
import importlib, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.usefixtures("allow_subprocess")
def test_a_command_imports_nothing_slow() -> None:
    code = "import sys, ci.commands.build; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SLOW & set(done.stdout.split())


@pytest.mark.usefixtures("allow_subprocess")
def test_a_command_imports_only_what_its_environment_has() -> None:
    """The tests' environment has more packages; those that only it has are hidden here."""
    modules: dict[str, list[str]] = {}
    for script in (ROOT / "scripts").iterdir():
        if script.is_file() and (start := STARTS.search(script.read_text())):
            requirements = start["requirements"] or "builders/requirements.txt"
            modules.setdefault(requirements, []).append(start["module"])
    assert "builders/requirements.txt" in modules
    for requirements, names in modules.items():
        pinned = {normal(name) for name in PIN.findall((ROOT / requirements).read_text())}
        hidden = {
            module
            for module, projects in packages_distributions().items()
            if not pinned & {normal(project) for project in projects}
        }
        code = f"hidden = {hidden!r}{HIDE}import {', '.join(sorted(names))}"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{requirements}: {done.stderr}"


def normal(name: str) -> str:
    """Return a project's name in the form that PEP 503 compares."""
    return re.sub(r"[-_.]+", "-", name).lower()
