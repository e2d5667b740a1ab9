"""The smoke test in Docker: real images, and the limits that they really run under."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import parse_wheel_filename
from rich.console import Console
from support import engine, script, wheels_folder

from builders.cache import Cache, default_root
from builders.docker_engine import Engine
from builders.errors import EngineError
from builders.matrix import Runtime, load_matrix
from builders.progress import Reporter
from ci.images.bases import BaseImages
from ci.images.standin.make import LABEL as MADE_FROM
from ci.proof.smoker import DockerSmoker
from smoke_lambda import bench, container, docker, events
from smoke_lambda.function import PATH, Function
from smoke_lambda.inside.flatbuffer import CODE_VERSION, field_position, operator_codes
from smoke_lambda.limits import Limits

pytestmark = pytest.mark.integration

PYTHON = "3.12"
DEAD = 2**22 + 1  # above the kernel's highest process id


@pytest.fixture(scope="module", name="engine")
def the_engine() -> Engine:
    return engine()


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return load_matrix().runtime(PYTHON)


@pytest.fixture(scope="module")
def wheel(engine: Engine, runtime: Runtime) -> Path:
    for path in sorted(wheels_folder().glob("*.whl")):
        tag = next(iter(parse_wheel_filename(path.name)[3]))
        if tag.interpreter == runtime.tag and tag.platform.endswith(engine.arch):
            return path
    pytest.skip(f"no wheel of Python {PYTHON} for {engine.arch}: ./scripts/build --python {PYTHON}")


@pytest.fixture(scope="module")
def bases(engine: Engine, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> BaseImages:
    reporter = Reporter(Console(stderr=True))
    found = BaseImages(engine, Cache(default_root()), reporter, tmp_path_factory.mktemp("logs"))
    try:
        found.get(runtime, engine.arch)
    except EngineError as error:
        pytest.skip(str(error))
    return found


@pytest.fixture(scope="module")
def smoker(engine: Engine, bases: BaseImages) -> DockerSmoker:
    return DockerSmoker(engine, bases, Cache(default_root()))


def smoked(smoker: DockerSmoker, wheel: Path, runtime: Runtime, folder: Path) -> dict[str, Any]:
    """Run a smoke test, with its log in the folder; return the report."""
    with smoker.site(wheel, runtime, log=folder / "log") as site:
        return bench.smoke(site).as_json()


@pytest.fixture(scope="module")
def report(
    smoker: DockerSmoker,
    wheel: Path,
    runtime: Runtime,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    return smoked(smoker, wheel, runtime, tmp_path_factory.mktemp("smoke"))


def leftovers(engine: Engine) -> str:
    """Return the containers of this process; another smoke test may be running."""
    ours = f"label={container.LABEL}={os.getpid()}"
    return engine.ask("ps", "--all", "--quiet", "--filter", ours, what="listing")


def test_a_wheel_of_ours_passes_and_is_measured(
    engine: Engine, report: dict[str, Any], runtime: Runtime
) -> None:
    failed = [check for run in report["runs"] for check in run["checks"] if not check["ok"]]
    assert failed == []
    assert report["ok"]
    assert [run["numpy"] for run in report["runs"]] == [*docker.lambda_numpys(runtime)]
    names = {check["name"] for check in report["runs"][0]["checks"]}
    # This includes the URL events, although there is no network, and the check of the delegate.
    assert {"digits-float32: http URL", "digits-float32: URL, slow", "digits-int8: XNNPACK"} < names
    (measures,) = [run["measures"] for run in report["runs"] if run["measures"]]
    assert [at["vcpus"] for at in measures["at"]] == [1, 2][: engine.cpus()]
    for at in measures["at"]:
        assert 0 < at["warm_ms"] < at["first_ms"]
        assert 0 < at["init_ms"] < at["first_ms"]
        assert 10e6 < at["resident_bytes"] < 512e6
        assert 10e6 < at["peak_bytes"] < 512e6
    assert measures["image_bytes"] > 50e6
    assert 128 <= measures["least_mb"] <= 512
    assert leftovers(engine) == ""


def test_a_wheel_that_does_not_install_is_a_failed_check(
    smoker: DockerSmoker, wheel: Path, runtime: Runtime, tmp_path: Path
) -> None:
    broken = tmp_path / wheel.name.replace("-1-cp", "-999-cp")
    broken.write_bytes(b"<!DOCTYPE html> as behind a /blob/ URL")
    found = smoked(smoker, broken, runtime, tmp_path)
    assert not found["ok"]
    for run in found["runs"]:
        (check,) = run["checks"]
        assert "expected a wheel that installs" in check["detail"]
        assert run["measures"] == {}


LOOK = r"""
import os, json, socket
def write(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.strerror
    return "written"
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "root": write("/var/task/x"), "tmp": write("/tmp/x"), "uid": os.getuid(),
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "cpu": os.listdir("/sys/devices/system/cpu"),
    "interfaces": [name for _, name in socket.if_nameindex() if name == "lo" or
                   open(f"/sys/class/net/{name}/operstate").read().strip() != "down"],
}))
"""
HOG = "data = bytearray(400 << 20); data[::4096] = b'x' * len(data[::4096]); print('had it')"


def test_limits_are_enforced(
    engine: Engine, report: dict[str, Any], runtime: Runtime, wheel: Path, tmp_path: Path
) -> None:
    assert report["ok"]
    name = docker.image_name(wheel, engine.arch, runtime.numpy.on_lambda)
    with (
        container.tools() as folder,
        container.running(engine, name, Limits(memory_mb=256), {}, folder, tmp_path / "log") as f,
    ):
        found = json.loads(engine.ask("exec", f.name, "python3", "-c", LOOK, what="looking"))
        assert found == {
            "root": "Read-only file system",
            "tmp": "written",
            "uid": 993,
            "capabilities": 0,
            "no_new_privileges": "1",
            "cpu": [],
            "interfaces": ["lo"],
        }
        hog = engine.attempt("exec", f.name, "python3", "-c", HOG)
        assert hog.returncode == 137  # killed
        assert "had it" not in hog.stdout
    assert leftovers(engine) == ""


def first_reply(function: Function, event: object) -> Any:  # noqa: ANN401 - any JSON
    """Wait until the container listens; return the reply to an event."""
    end = time.monotonic() + 20
    while True:
        try:
            return function.invoke(event)
        except OSError:
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.1)


def test_the_image_answers_as_a_users_would(
    engine: Engine, report: dict[str, Any], runtime: Runtime, wheel: Path
) -> None:
    assert report["ok"]
    name = docker.image_name(wheel, engine.arch, runtime.numpy.on_lambda)
    ran = engine.ask("run", "--detach", "--publish", "127.0.0.1::8080", name, what="running")
    try:
        address = engine.ask("port", ran, "8080/tcp", what="asking for the port")
        function = Function(url=f"http://{address}{PATH}", log=Path(os.devnull))
        reply = first_reply(function, {"image": events.image(events.SAMPLE)})
    finally:
        engine.attempt("rm", "--force", ran)
    assert reply["class"] == int(events.SAMPLE.removesuffix(".png"))


def smoke_model(model: Path, wheel: Path) -> tuple[int, dict[str, Any]]:
    done = script("smoke", "--runner", "docker", "--json", "--model", model, wheel)
    assert done.stdout, done.stderr
    (found,) = json.loads(done.stdout)
    return done.returncode, found


@pytest.mark.usefixtures("bases")
def test_a_model_that_runs(wheel: Path) -> None:
    status, found = smoke_model(events.MODELS / "digits-int8.tflite", wheel)
    assert status == 0
    assert found["ok"]
    assert found["operators"]["CONV_2D"] == [2, 2]
    assert found["operators"]["SOFTMAX"] == [1, 0]
    assert 0.8 < found["xnnpack"] < 1
    assert found["warm_ms"] > 0
    assert 128 <= found["advised_mb"] <= 512


@pytest.mark.usefixtures("bases")
def test_a_model_that_is_too_new(wheel: Path, tmp_path: Path) -> None:
    data = bytearray((events.MODELS / "digits-int8.tflite").read_bytes())
    for code in operator_codes(data)[:2]:
        struct.pack_into("<i", data, field_position(data, code.position, CODE_VERSION), 99)
    model = tmp_path / "new.tflite"
    model.write_bytes(data)
    status, found = smoke_model(model, wheel)
    assert status == 10
    assert not found["ok"]
    lacks = [(lack["name"], lack["version"]) for lack in found["missing"]]
    assert lacks == [("CONV_2D", 99), ("DEPTHWISE_CONV_2D", 99)]


def test_containers_of_killed_drivers_go(engine: Engine, bases: BaseImages) -> None:
    base = bases.get(load_matrix().runtime(PYTHON), engine.arch)
    options = ["--name", f"tflite-smoke-{DEAD}-0", "--label", f"{container.LABEL}={DEAD}"]
    left = engine.ask("create", *options, base, "app.handler", what="leaving one")
    container.reap(engine)
    assert engine.attempt("inspect", left).returncode != 0


def test_a_stand_in_is_made_once(engine: Engine, bases: BaseImages, runtime: Runtime) -> None:
    base = bases.get(runtime, engine.arch)
    if MADE_FROM not in engine.image_labels(base):
        pytest.skip(f"{base} is not a stand-in: AWS's image can be had")
    before = engine.image_id(base)
    done = script("standin", "--python", PYTHON)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [base]
    assert engine.image_id(base) == before
    assert "glibc" in done.stderr
