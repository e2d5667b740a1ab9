"""Invoke a function from inside its network, which leads nowhere else.

    python -m smoke_lambda.inside.relay IMAGES MAX_BYTES SECONDS TIMEOUT

The relay runs on any Python from 3.8 on. It serves the images on the function's own loopback,
waits for the emulator there, and prints a line with the server's URL. Then each line of input
is an event in JSON, and each line of output is its result: {"body": text, "ms": time} or
{"error": reason}. The relay ends when its input ends.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from smoke_lambda.inside.server import serving

URL = "http://127.0.0.1:8080/2015-03-31/functions/function/invocations"
START_SECONDS = 20.0

# A container may inherit proxies; requests to a loopback address bypass them.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def listens() -> bool:
    """Wait for the emulator's port; True if the emulator opens it in time."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", 8080), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def post(event: str, timeout: float) -> dict[str, object]:
    """Invoke the function; return its reply and the time, or an error."""
    start = time.perf_counter()
    try:
        with _OPENER.open(urllib.request.Request(URL, data=event.encode()), timeout=timeout) as r:
            body = r.read()
    except urllib.error.HTTPError as error:  # 502 if the function itself fails
        with error:
            body = error.read()
    except OSError as error:
        return {"error": str(error)}
    millis = (time.perf_counter() - start) * 1000
    return {"body": body.decode("utf-8", "replace"), "ms": millis}


def main(images: str, max_bytes: str, seconds: str, timeout: str) -> None:
    """Relay events until the input ends."""
    with serving(Path(images), int(max_bytes), float(seconds)) as server:
        said = {"server": server} if listens() else {"error": "the emulator does not listen"}
        print(json.dumps(said), flush=True)
        for line in sys.stdin:
            print(json.dumps(post(line, float(timeout))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
