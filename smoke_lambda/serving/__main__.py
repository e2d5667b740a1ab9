"""Starts the model server: `python -m smoke_lambda.serving`; see settings.py for its variables."""

from __future__ import annotations

import asyncio
import sys

from smoke_lambda.serving.server import serve
from smoke_lambda.serving.settings import SettingsError, read


def main() -> int:
    """Serve; gives the exit code."""
    try:
        asyncio.run(serve(read()))
    except (SettingsError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
