"""Habits and mistakes of users get an answer or an error; they never end the process.

A process that dies of a signal, or never answers, has no message that could say why.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import OTHER, RECOMMENDED, ROOT, records, wheels_folder

from builders.interpreters import find_interpreter
from builders.matrix import TensorFlow, load_matrix
from ci.publish.manifest import read_manifest
from smoke_lambda.bench import FLOAT32
from smoke_lambda.events import MODELS
from smoke_lambda.lock import lock_path

pytestmark = pytest.mark.integration

MACHINE = os.uname().machine
RUNTIME = load_matrix().runtime("3.11")
# Far longer than any of these processes takes.
SECONDS = 60
# CPU time of an inference with one thread too many. Upstream spins 2 ms at each wait, and an
# inference waits several times; waking a thread for each operator takes a part of a millisecond.
MOST_SECONDS = 0.002
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

PRELUDE = f"""\
import numpy, os, sys
from tflite_runtime.interpreter import Interpreter
def load(model={str(MODELS / f"{FLOAT32}.tflite")!r}, **more):
    made = Interpreter(model, **more)
    made.allocate_tensors()
    return made
def invoke(made):
    detail = made.get_input_details()[0]
    made.set_tensor(detail["index"], numpy.ones(detail["shape"], detail["dtype"]))
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"]).sum()
def error(act):
    try:
        act()
    except Exception as fault:
        return f"{{type(fault).__name__}}: {{fault}}"
    return "no error"
"""


@pytest.fixture(scope="module", params=[RECOMMENDED, OTHER], ids=lambda row: row.version)
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with the wheel: the main job's, or else the published one."""
    wheel = _wheel(request.param)
    interpreter = find_interpreter(RUNTIME.python)
    if interpreter is None:
        pytest.skip(f"no Python {RUNTIME.python}: install it (pyenv install {RUNTIME.python})")
    folder = tmp_path_factory.mktemp("habits") / "environment"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "-p", interpreter.executable, folder], check=True)
    install: list[str | Path] = [*uv, "pip", "install", "-q", "-p", folder / "bin/python"]
    lock = lock_path(RUNTIME, RUNTIME.numpy.smoke_versions[0])
    subprocess.run([*install, "--require-hashes", "-r", lock], check=True)
    subprocess.run([*install, "--no-deps", wheel], check=True)
    return folder / "bin/python"


def _wheel(tensorflow: TensorFlow) -> Path:
    target = f"tf{tensorflow.version}-{RUNTIME.tag}-{MACHINE}"
    if tensorflow is RECOMMENDED and target in records():
        return wheels_folder() / str(records()[target]["wheel"])
    for wheel in read_manifest(ROOT / "wheels").current:
        if wheel.target == target:
            return ROOT / "wheels" / wheel.file
    pytest.skip(f"no wheel of {target} is published")


def answer(python: Path, code: str) -> str:
    """Run code in a process, which must end by itself and in time; return its output."""
    done = subprocess.run(
        [python, "-c", PRELUDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-500:]}"
    return done.stdout.strip()


def test_an_image_that_is_smaller_than_a_window(python: Path) -> None:
    told = answer(
        python,
        """
        made = load()
        index = made.get_input_details()[0]["index"]
        def act():
            made.resize_tensor_input(index, (1, 1, 1, 1))
            made.allocate_tensors()
            invoke(made)
        print(error(act))
        """,
    )
    assert told.startswith("RuntimeError: "), told


def test_a_constant_is_not_set(python: Path) -> None:
    told = answer(
        python,
        """
        made = load()
        variable = {made.get_input_details()[0]["index"], made.get_output_details()[0]["index"]}
        weights = [each for each in made.get_tensor_details()
                   if each["index"] not in variable and "weight" in each["name"].lower()
                   or "kernel" in each["name"].lower() or each["index"] in (1, 2)]
        one = weights[0]
        print(error(lambda: made.set_tensor(one["index"], numpy.zeros(one["shape"], one["dtype"]))))
        print(round(float(invoke(made)), 4))
        """,
    )
    first, answered = told.splitlines()
    assert "Error: " in first
    assert "constant" in first or "read-only" in first, first
    assert answered == "1.0"


def test_a_model_without_graphs(python: Path, tmp_path: Path) -> None:
    # A table with one field, the version, 3 (flatbuffers.dev/internals).
    root = b"\x14\x00\x00\x00TFL3" + b"\x00" * 4 + b"\x06\x00\x08\x00\x04\x00\x00\x00"
    (tmp_path / "empty.tflite").write_bytes(root + b"\x08\x00\x00\x00\x03\x00\x00\x00")
    told = answer(python, f"print(error(lambda: Interpreter({str(tmp_path / 'empty.tflite')!r})))")
    assert told.startswith("ValueError: "), told


def test_a_child_of_a_process_with_threads(python: Path) -> None:
    told = answer(
        python,
        """
        made = load(num_threads=2)
        invoke(made)
        child = os.fork()
        if child == 0:
            told = error(lambda: invoke(made))
            print(told if told != "no error" else "answered", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        """,
    )
    assert told == "answered" or (told.startswith("RuntimeError: ") and "fork" in told), told


def test_a_child_that_makes_its_own(python: Path) -> None:
    told = answer(
        python,
        """
        invoke(load(num_threads=2))
        child = os.fork()
        if child == 0:
            print(round(float(invoke(load(num_threads=2))), 4), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        """,
    )
    assert told == "1.0"


@pytest.mark.parametrize("model", [FLOAT32, "digits-dynamic"])
def test_two_threads_on_one_processor(python: Path, model: str) -> None:
    # A thread that waits by spinning takes the processor from the one that it waits for. Build 2 of
    # 2.14.1 took 20 ms and more, where one thread takes 4 microseconds. CPU time is that of this
    # process alone, whatever else the machine does.
    told = answer(
        python,
        f"""
        import time
        os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
        made = load({str(MODELS / f"{model}.tflite")!r}, num_threads=2)
        invoke(made)
        def seconds():
            begin = time.process_time()
            for _ in range(200):
                made.invoke()
            return (time.process_time() - begin) / 200
        print(min(seconds() for _ in range(5)))
        """,
    )
    assert float(told) < MOST_SECONDS, told


@pytest.mark.skipif(not HUGE_PAGES.exists(), reason=f"this kernel has no {HUGE_PAGES}")
def test_huge_pages_are_asked_for(python: Path) -> None:
    # "hg": madvise was called for the memory (https://docs.kernel.org/filesystems/proc.html).
    told = answer(
        python,
        """
        def asked():
            text = open("/proc/self/smaps").read()
            return sum(" hg" in line for line in text.splitlines() if line.startswith("VmFlags"))
        before = asked()
        made = load()
        detail = made.get_input_details()[0]
        made.resize_tensor_input(detail["index"], [10_000, *detail["shape"][1:]])
        made.allocate_tensors()
        # XNNPACK of 2.14.1 takes its memory now.
        made.invoke()
        print(asked() - before)
        """,
    )
    assert int(told) > 0


def test_an_error_does_not_repeat_the_one_before(python: Path) -> None:
    told = answer(
        python,
        """
        made = load()
        for _ in range(3):
            print(len(error(lambda: made._interpreter.ResizeInputTensor(
                made.get_input_details()[0]["index"], numpy.array([0], numpy.int32), True))))
        """,
    )
    assert len(set(told.splitlines())) == 1, told
