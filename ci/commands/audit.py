"""`./scripts/audit`: inspect wheels; the code is in builders/, whose images do not have ci/."""

from __future__ import annotations

import sys

from builders.audit.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
