"""Starts a model server or a gateway, which read their settings from variables (settings.py).

python -m smoke_lambda.serving server
python -m smoke_lambda.serving gateway
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from smoke_lambda.serving.settings import SettingsError, read, read_gateway


def main(arguments: Sequence[str]) -> int:
    """Run the program; gives the exit code."""
    try:
        # Each imports what the other does not need: the gateway has no runtime, the server no
        # pictures.
        if list(arguments) == ["server"]:
            from smoke_lambda.serving.server import serve

            asyncio.run(serve(read()))
        elif list(arguments) == ["gateway"]:
            from smoke_lambda.serving import gateway

            asyncio.run(gateway.serve(read_gateway()))
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except (SettingsError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
