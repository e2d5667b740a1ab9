"""A build that is killed again and again, in another folder, gives the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import copy_tracked_files, records

from builders.audit import audit
from builders.cache import default_root
from builders.matrix import load_matrix

pytestmark = pytest.mark.integration

KILLS = 10
# The first kills fall into the unpacking, the others into the compilation and on.
KILLS_WITHOUT_TREES = 2
LONGEST_SECONDS = 20.0


def test_killed_ten_times_in_another_folder_it_gives_the_same_wheel(tmp_path: Path) -> None:
    checkout, cache = tmp_path / "another folder's checkout", tmp_path / "its cache"
    copy_tracked_files(checkout)
    cache.mkdir()
    (cache / "downloads").symlink_to(default_root() / "downloads")
    out = tmp_path / "out"
    target = sorted(records())[0]
    command: list[str | Path] = [
        sys.executable,
        checkout / "scripts/build",
        "--only",
        target,
        "--out",
        out,
    ]
    env = {**os.environ, "TFLITE_WHEELS_CACHE": str(cache)}
    seed = int(time.time())
    moments = random.Random(seed)
    print(f"seed {seed}")

    prepared = subprocess.run([*command, "--plan"], env=env, check=False, capture_output=True)
    assert prepared.returncode == 0, prepared.stderr
    for number in range(KILLS):
        if number == KILLS_WITHOUT_TREES:
            # As if the unpacking had come through: it takes longer than any of our kills.
            shutil.rmtree(cache / "trees", ignore_errors=True)
            shutil.copytree(default_root() / "trees", cache / "trees", copy_function=os.link)
        build = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            build.wait(moments.uniform(1.0, LONGEST_SECONDS))
        except subprocess.TimeoutExpired:
            build.kill()
            build.wait()
        assert list(out.glob("*.whl")) == [] or build.returncode == 0
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    (wheel,) = out.glob("*.whl")
    report = audit(wheel, load_matrix())
    assert report.failed == ()
    assert report.sha256 == records()[target]["sha256"]
