"""The model server under load: what it measures, and that its memory stays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from serving_support import SECONDS, put, server
from support import ROOT

from smoke_lambda import events
from smoke_lambda.serving.client import Client

pytestmark = pytest.mark.integration

NAME = "digits-float32"
REQUESTS, THREADS = 50_000, 8
# The memory that allocators keep; a leak of one small object per request would be more.
GROWTH_MB = 4.0


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    return int(kilobytes) / 1024


def ask(client: Client, requests: int) -> None:
    # Batches of several sizes, so that copies are resized too.
    inputs = [{"image": np.zeros((rows, 8, 8, 1), np.float32)} for rows in (1, 1, 1, 4)]

    def work() -> None:
        for number in range(requests // THREADS):
            client.predict(inputs[number // 500 % 4], SECONDS)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_memory_stays_over_many_requests(tmp_path: Path) -> None:
    put(tmp_path, NAME, NAME)
    with server(tmp_path, NAME) as program:
        client = Client(f"localhost:{program.ports[0]}", NAME, SECONDS)
        ask(client, REQUESTS // 5)
        before = resident_mb(program.process.pid)
        ask(client, REQUESTS)
        after = resident_mb(program.process.pid)
    print(f"resident: {before:.1f} MB, {after:.1f} MB after {REQUESTS} requests more")
    assert after - before < GROWTH_MB
    assert after < 256


@pytest.mark.parametrize("copies", [1, 2])
def test_the_command_measures_and_ends(copies: int) -> None:
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "scripts/serve", "--copies", str(copies)),
            *("--model", events.MODELS / f"{NAME}.tflite", "--load", "6"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    assert [int(row[1]) for row in rows] == [1, 4, 16]
    assert all(float(row[2]) > 0 and 0 < float(row[7]) < copies for row in rows)
