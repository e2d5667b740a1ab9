"""The paths of the published wheels and of the README, which names them first."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / "wheels"
README = ROOT / "README.md"
