"""Where this repository has what is published, and the page that names it first."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / "wheels"
README = ROOT / "README.md"
