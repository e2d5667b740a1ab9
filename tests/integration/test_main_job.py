"""The main job as a maintainer types it, and the properties that it promises."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import RECOMMENDED, ROOT, records, script, wheels_folder

from builders.cache import default_root
from builders.headers import runs_here
from builders.interpreters import find_interpreter
from builders.matrix import load_matrix
from ci.publish.product import read_contents
from ci.publish.rebuild import compare
from smoke_lambda.bench import FLOAT32
from smoke_lambda.docker import lambda_numpys
from smoke_lambda.events import MODELS
from smoke_lambda.lock import lock_path

pytestmark = pytest.mark.integration

MACHINE = os.uname().machine
REPEAT_SECONDS = 15


def test_every_python_of_this_machine_has_a_proven_wheel() -> None:
    runtimes = [r for r in load_matrix().runtimes if runs_here(r, MACHINE)]
    found = records()
    assert set(found) == {
        f"tf{RECOMMENDED.version}-{runtime.tag}-{MACHINE}" for runtime in runtimes
    }
    for target, record in found.items():
        assert record["audit"]["ok"], target
        assert record["smoke"]["ok"], target
        numpys = [run["numpy"] for run in record["smoke"]["runs"]]
        runtime = load_matrix().target(target).runtime
        in_image = record["smoke"]["place"].startswith("docker ")
        wanted = lambda_numpys(runtime) if in_image else runtime.numpy.smoke_versions
        assert numpys == list(wanted)
        limit = load_matrix().target(target).tensorflow.size_limit
        assert (wheels_folder() / record["wheel"]).stat().st_size <= limit


def test_the_wheels_are_the_published_ones() -> None:
    pairs = [
        (ROOT / "wheels" / r["wheel"], wheels_folder() / r["wheel"]) for r in records().values()
    ]
    published = [(theirs, ours) for theirs, ours in pairs if theirs.exists()]
    if not published:
        pytest.skip("these are not published yet: ./scripts/publish")
    for theirs, ours in published:
        if read_contents(theirs).origin != read_contents(ours).origin:
            pytest.skip(f"{theirs.name} was built from other archives: --origin debian builds it")
        found = compare(theirs, ours)
        assert found.ok, found.detail


def test_a_repeat_does_nothing_and_is_quick(tmp_path: Path) -> None:
    started = time.monotonic()
    done = script("build", "--runner", "native", "--json", "--out", tmp_path)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    again = {record["target"]: record["sha256"] for record in json.loads(done.stdout)}
    assert again == {target: record["sha256"] for target, record in records().items()}
    assert "core" not in done.stderr
    assert seconds <= REPEAT_SECONDS


def test_the_plan_of_what_was_done_is_all_done() -> None:
    plan = script("build", "--runner", "native", "--plan")
    steps = plan.stdout.splitlines()
    assert steps
    assert [step for step in steps if not step.startswith("done ")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--tensorflow", "9.9.9"], 2, "no TensorFlow '9.9.9'"),
        (["--tensorflow", "2.15.1", "--origin", "debian"], 2, "are known upstream only"),
        (["--python", "2.7"], 2, "no Python '2.7'"),
        (["--only", "tf2.14.1-cp27-x86_64"], 2, "--list"),
        (["--arch", "sparc"], 2, "choose one of x86_64, aarch64"),
        (["--jobs", "0"], 2, "--jobs"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    done = script("build", "--runner", "native", *arguments, "--out", tmp_path / "out")
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    unshare = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here: run as root, or allow them")
    (tmp_path / "environments").symlink_to(default_root() / "environments")
    command: list[str | Path] = [
        *unshare,
        sys.executable,
        ROOT / "scripts/build",
        "--runner",
        "native",
        "--out",
        tmp_path / "out",
    ]
    env = {**os.environ, "TFLITE_WHEELS_CACHE": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "cannot reach" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_two_builds_at_once_share_the_work(tmp_path: Path) -> None:
    """Both builds need an extension and a smoke test that nobody has made yet."""
    python = sorted(records())[0].split("-")[1]
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("core", "downloads", "environments", "headers", "trees", "zig"):
        (cache / name).symlink_to(default_root() / name)
    env = {**os.environ, "TFLITE_WHEELS_CACHE": str(cache)}
    command: list[str | Path] = [
        sys.executable,
        ROOT / "scripts/build",
        "--runner",
        "native",
        "--python",
        python,
        "--json",
        "--out",
    ]
    builds = [
        subprocess.Popen(
            [*command, tmp_path / name], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for name in ("one", "two")
    ]
    outputs = [build.communicate() for build in builds]
    assert [build.returncode for build in builds] == [0, 0], outputs
    shas = [json.loads(out)[0]["sha256"] for out, _ in outputs]
    assert len(set(shas)) == 1
    assert len(list((cache / "extension").iterdir())) == 1


@pytest.mark.parametrize(
    ("cpu", "runs"), [("Nehalem", True), ("qemu64", False)], ids=["x86-64-v2", "older"]
)
def test_it_infers_on_a_processor_of_its_level_and_refuses_an_older_one(
    tmp_path: Path, cpu: str, runs: bool
) -> None:
    """The processor has no AVX: this runs what the audit only reads in the code."""
    qemu = shutil.which("qemu-x86_64-static")
    if qemu is None or MACHINE != "x86_64":
        pytest.skip("no emulator of a CPU: apt install qemu-user-static, on x86_64")
    # Newer NumPys need more than the baseline themselves.
    runtime = load_matrix().runtime("3.9")
    record = records().get(f"tf{RECOMMENDED.version}-{runtime.tag}-x86_64")
    interpreter = find_interpreter(runtime.python)
    if record is None or interpreter is None:
        pytest.skip(f"no Python {runtime.python}: install it (pyenv install {runtime.python})")
    venv = tmp_path / "venv"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-p", interpreter.executable, venv], check=True)
    install: list[str | Path] = [*uv, "pip", "install", "-p", venv / "bin/python"]
    lock = lock_path(runtime, runtime.numpy.floor)
    subprocess.run([*install, "--require-hashes", "-r", lock], check=True)
    subprocess.run([*install, "--no-deps", wheels_folder() / record["wheel"]], check=True)
    model = MODELS / f"{FLOAT32}.tflite"
    infer = (
        "import numpy\n"
        "from tflite_runtime.interpreter import Interpreter\n"
        f"interpreter = Interpreter({str(model)!r})\n"
        "interpreter.allocate_tensors()\n"
        "detail = interpreter.get_input_details()[0]\n"
        # Uninitialized memory may hold NaN.
        "interpreter.set_tensor(detail['index'], numpy.ones(detail['shape'], detail['dtype']))\n"
        "interpreter.invoke()\n"
        "print(interpreter.get_tensor(interpreter.get_output_details()[0]['index']).sum())\n"
    )
    command = [qemu, "-cpu", cpu, str((venv / "bin/python").resolve()), "-c", infer]
    site = next((venv / "lib").glob("python*/site-packages"))
    done = subprocess.run(
        command,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    if runs:
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) == pytest.approx(1.0, abs=1e-5)
    else:
        # If SIGILL ends Python, there is no traceback.
        assert "ImportError: this processor lacks SS" in done.stderr
