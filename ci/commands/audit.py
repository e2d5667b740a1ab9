"""`./scripts/audit`: inspect wheels; builders/ has the command, since its images do without ci/."""

from __future__ import annotations

import sys

from builders.audit.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
