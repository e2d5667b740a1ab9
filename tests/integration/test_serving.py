"""Model server and gateway as programs of this machine, asked in every way that clients have."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow_protos
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from serving_support import (
    MODELS,
    PICTURES,
    SECONDS,
    Load,
    gateway,
    pixels,
    put,
    python,
    scores,
    server,
    until,
    wheel,
)
from support import script

from builders.cache import Cache, default_root
from builders.interpreters import find_interpreter
from ci.proof.tensorflow_environment import tensorflow_python
from smoke_lambda import events
from smoke_lambda.native import uv
from smoke_lambda.serving.client import Client
from smoke_lambda.serving.codec import encode
from smoke_lambda.serving.errors import Code
from smoke_lambda.serving.native import Program, running
from smoke_lambda.serving.protos import error_pb2, tensor_pb2
from smoke_lambda.serving.protos import serving_pb2 as pb

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
KNOWN = events.known_answers()
NAME = "digits-float32"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Program]]:
    with ExitStack() as stack:
        found = {}
        for model in MODELS:
            models = tmp_path_factory.mktemp(model)
            put(models, model, model)
            found[model] = stack.enter_context(server(models, model))
        yield found


@pytest.fixture(scope="module")
def gateways(
    servers: dict[str, Program], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Program]]:
    with ExitStack() as stack:
        found = {}
        for model, program in servers.items():
            folder = tmp_path_factory.mktemp(f"gateway-{model}")
            opened = gateway(folder, model, program.ports[0])
            found[model] = stack.enter_context(opened)
        for program in found.values():
            until(lambda port=program.ports[0]: fetch(port, "/ready")[0] == 200)  # type: ignore[misc]
        yield found


def fetch(port: int, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Fetch a URL; return its status, and its JSON or text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            status, text = response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def client_of(program: Program, name: str) -> Client:
    return Client(f"localhost:{program.ports[0]}", name, 0)


def channel_of(program: Program) -> Any:  # noqa: ANN401
    return grpc.insecure_channel(f"localhost:{program.ports[0]}")


@pytest.mark.parametrize("model", MODELS)
def test_the_answers_are_the_known_ones_over_grpc(servers: dict[str, Program], model: str) -> None:
    client = client_of(servers[model], model)
    described = client.describe(SECONDS)
    assert described.input.shape == (-1, 8, 8, 1)
    batch = np.concatenate([pixels(picture, described) for picture in PICTURES])
    version, outputs = client.predict({described.input_name: batch}, SECONDS)
    assert version == 1
    assert outputs[described.output_name].shape == (10, 10)
    for picture, row in zip(PICTURES, outputs[described.output_name], strict=True):
        expected = pytest.approx(KNOWN[model].scores[picture], abs=KNOWN[model].tolerance)
        assert scores(row, described) == expected
        inputs = {described.input_name: pixels(picture, described)}
        alone = client.predict(inputs, SECONDS)[1][described.output_name]
        assert scores(alone[0], described) == expected


@pytest.mark.parametrize("model", MODELS)
def test_the_answers_are_the_known_ones_over_rest(servers: dict[str, Program], model: str) -> None:
    program = servers[model]
    described = client_of(program, model).describe(SECONDS)
    batch = np.concatenate([pixels(picture, described) for picture in PICTURES]).tolist()
    path = f"/v1/models/{model}:predict"
    bodies: list[tuple[dict[str, Any], str]] = [
        ({"instances": batch}, "predictions"),
        ({"instances": [{described.input_name: row} for row in batch]}, "predictions"),
        ({"inputs": batch, "signature_name": "serving_default"}, "outputs"),
        ({"inputs": {described.input_name: batch}}, "outputs"),
    ]
    for body, key in bodies:
        status, reply = fetch(program.ports[1], path, json.dumps(body).encode())
        assert status == 200, reply
        for picture, row in zip(PICTURES, reply[key], strict=True):
            expected = pytest.approx(KNOWN[model].scores[picture], abs=KNOWN[model].tolerance)
            assert scores(np.array(row), described) == expected
    assert (
        fetch(
            program.ports[1], path.replace(":", "/versions/1:"), json.dumps(bodies[0][0]).encode()
        )[0]
        == 200
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_answers_are_the_known_ones_by_the_gateway(
    gateways: dict[str, Program], model: str
) -> None:
    for picture in PICTURES:
        data = (events.IMAGES / picture).read_bytes()
        status, reply = fetch(gateways[model].ports[0], "/predict", data)
        assert status == 200, reply
        assert reply["model"] == model
        assert reply["class"] == KNOWN[model].top1[picture]
        known = KNOWN[model]
        assert reply["scores"] == pytest.approx(known.scores[picture], abs=known.tolerance)


@pytest.fixture(scope="module")
def tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a function that runs a program with TensorFlow, and returns its JSON."""
    interpreter = find_interpreter("3.11")
    if interpreter is None:
        pytest.skip("no Python 3.11 here: pyenv install 3.11")
    folder = tmp_path_factory.mktemp("tensorflow")
    log = folder / "log"
    python = tensorflow_python(interpreter, Cache(default_root()), log)
    # Without its requirement: that is TensorFlow by another name, and is installed already.
    install = ("pip", "install", "--python", python, "--target", folder / "api", "--no-deps")
    locked = ("--require-hashes", "-r", HERE / "tensorflow_serving_api.txt")
    uv("installing tensorflow-serving-api", *install, *locked, log=log)

    def run(program: str, *arguments: str | Path) -> Any:  # noqa: ANN401
        done = subprocess.run(
            [python, HERE / program, *arguments],
            env={"PYTHONPATH": str(folder / "api"), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_our_messages_are_a_part_of_tensorflows(tensorflow: Callable[..., Any]) -> None:
    ours: dict[str, dict[str, Any]] = {}

    def add(message: Any) -> None:  # noqa: ANN401
        if not message.GetOptions().map_entry:
            ours[message.full_name] = {
                field.name: [field.number, field.type, tensorflow_protos._kind(field)]
                for field in message.fields
            }
        for inner in message.nested_types:
            add(inner)
        for enum in message.enum_types:
            ours[enum.full_name] = {value.name: value.number for value in enum.values}

    for file in (tensor_pb2.DESCRIPTOR, error_pb2.DESCRIPTOR, pb.DESCRIPTOR):
        for message in file.message_types_by_name.values():
            add(message)
        for enum in file.enum_types_by_name.values():
            ours[enum.full_name] = {value.name: value.number for value in enum.values}
    theirs = tensorflow("tensorflow_protos.py", *ours)
    assert "tensorflow.TensorProto" in ours
    for name, fields in ours.items():
        assert fields.items() <= theirs[name].items(), name


def test_a_client_of_tensorflow_serving_gets_its_answers(
    servers: dict[str, Program], tensorflow: Callable[..., Any]
) -> None:
    host = f"localhost:{servers[NAME].ports[0]}"
    found = tensorflow("tutorial_client.py", host, NAME, events.IMAGES / "7.png")
    expected = pytest.approx(KNOWN[NAME].scores["7.png"], abs=KNOWN[NAME].tolerance)
    assert found.pop("scores") == expected
    assert found.pop("array") == expected
    assert found == {
        "version": 1,
        "input": [-1, 8, 8, 1],
        "dtype": "float32",
        "state": "AVAILABLE",
        "error": "INVALID_ARGUMENT",
    }


def test_values_are_listed_unless_content_is_asked_for(servers: dict[str, Program]) -> None:
    call = channel_of(servers[NAME]).unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=pb.PredictRequest.SerializeToString,
        response_deserializer=pb.PredictResponse.FromString,
    )
    request = pb.PredictRequest(model_spec=pb.ModelSpec(name=NAME))
    request.inputs["image"].CopyFrom(encode(np.zeros((2, 8, 8, 1), np.float32)))
    listed = call(request).outputs["scores"]
    assert (len(listed.float_val), listed.tensor_content) == (20, b"")
    content = call(request, metadata=[("response-tensor-content", "1")]).outputs["scores"]
    assert (len(content.float_val), len(content.tensor_content)) == (0, 80)
    request.output_filter.append("scores")
    assert list(call(request).outputs) == ["scores"]


def test_status_metadata_and_metrics_over_rest(servers: dict[str, Program]) -> None:
    port = servers[NAME].ports[1]
    status, reply = fetch(port, f"/v1/models/{NAME}")
    assert status == 200
    assert reply == {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    status, reply = fetch(port, f"/v1/models/{NAME}/metadata")
    signature = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert reply["model_spec"]["version"] == "1"
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["image"]["dtype"] == "DT_FLOAT"
    assert fetch(port, "/live") == (200, "live\n")
    assert fetch(port, "/ready") == (200, "ready\n")
    assert (
        'tflite_requests_total{code="OK",method="GetModelStatus",protocol="rest"}'
        in (fetch(port, "/metrics")[1])
    )


def test_health_and_reflection(servers: dict[str, Program]) -> None:
    channel = channel_of(servers[NAME])
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    }
    file = database.FindFileContainingSymbol("tensorflow.serving.PredictRequest")
    assert file.package == "tensorflow.serving"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/other", None, 404),
        ("/v1/models/{}/versions/7", None, 404),
        ("/v1/models/{}/labels/stable", None, 400),
        ("/v1/nonsense", None, 400),
        ("/nonsense", None, 404),
        ("/v1/models/other:predict", b'{"instances": [1]}', 404),
        ("/v1/models/{}/versions/7:predict", b'{"instances": [1]}', 404),
        ("/v1/models/{}:classify", b"{}", 400),
        ("/v1/models/{}:predict", b"", 400),
        ("/v1/models/{}:predict", b'{"instances": [1]}', 400),
        ("/v1/models/{}:predict", b'{"instances": "x"}', 400),
        ("/v1/models/{}:predict", b'{"signature_name": "x", "instances": [1]}', 400),
        ("/v1/models/{}:predict", b"[" * (17 << 20), 413),
    ],
)
def test_faults_over_rest(
    servers: dict[str, Program], path: str, body: bytes | None, status: int
) -> None:
    found, reply = fetch(servers[NAME].ports[1], path.format(NAME), body)
    assert (found, list(reply)) == (status, ["error"])


def test_faults_over_grpc(servers: dict[str, Program]) -> None:
    good = np.zeros((1, 8, 8, 1), np.float32)
    cases: list[tuple[str, dict[str, Any], Code]] = [
        ("other", {"image": good}, Code.NOT_FOUND),
        (NAME, {"x": good}, Code.INVALID_ARGUMENT),
        (NAME, {"image": good.astype(np.float64)}, Code.INVALID_ARGUMENT),
        (NAME, {"image": good[0]}, Code.INVALID_ARGUMENT),
        (NAME, {"image": np.zeros((65, 8, 8, 1), np.float32)}, Code.INVALID_ARGUMENT),
        (NAME, {"image": np.zeros(5 << 20, np.float32)}, Code.RESOURCE_EXHAUSTED),
    ]
    for name, inputs, code in cases:
        with pytest.raises(grpc.RpcError) as caught:
            client_of(servers[NAME], name).predict(inputs, SECONDS)
        assert caught.value.code() is code
    with pytest.raises(grpc.RpcError) as caught:
        client_of(servers[NAME], NAME).call("GetModelMetadata", pb.GetModelMetadataRequest(), 5)
    assert caught.value.code() is Code.INVALID_ARGUMENT
    classify = channel_of(servers[NAME]).unary_unary(
        "/tensorflow.serving.PredictionService/Classify"
    )
    with pytest.raises(grpc.RpcError) as caught:
        classify(b"")
    assert caught.value.code() is Code.UNIMPLEMENTED


def test_copies_share_weights_that_were_packed_before(tmp_path: Path) -> None:
    model = tmp_path / "my.tflite"
    model.write_bytes((events.MODELS / f"{NAME}.tflite").read_bytes())
    done = script("prepack", model, "--wheel", wheel())
    assert done.returncode == 0, done.stderr
    packed = str(model.with_suffix(".packed"))
    put(tmp_path, NAME, NAME)
    variables = {"COPIES": "2", "TFLITE_XNNPACK_WEIGHT_CACHE": packed}
    with server(tmp_path, NAME, **variables) as program:
        mapped = Path(f"/proc/{program.process.pid}/maps").read_text().splitlines()
        assert sum(line.endswith(packed) for line in mapped) == 2
        client = client_of(program, NAME)
        described = client.describe(SECONDS)
        (picture, *_) = PICTURES
        inputs = {described.input_name: pixels(picture, described)}
        (row,) = client.predict(inputs, SECONDS)[1][described.output_name]
        expected = pytest.approx(KNOWN[NAME].scores[picture], abs=KNOWN[NAME].tolerance)
        assert scores(row, described) == expected


def test_a_full_server_refuses_and_answers_the_rest(tmp_path: Path) -> None:
    put(tmp_path, NAME, NAME)
    inputs = {"image": np.zeros((64, 8, 8, 1), np.float32)}
    found: list[str] = []
    with server(tmp_path, NAME, COPIES="1", QUEUE="0") as program:
        client = client_of(program, NAME)

        def ask() -> None:
            for _ in range(50):
                try:
                    client.predict(inputs, SECONDS)
                    found.append("OK")
                except grpc.RpcError as error:
                    found.append(error.code().name)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(found) == {"OK", "RESOURCE_EXHAUSTED"}
        text = fetch(program.ports[1], "/metrics")[1]
        assert 'code="RESOURCE_EXHAUSTED",method="Predict",protocol="grpc"' in text


def test_a_server_without_a_model_is_alive_and_not_ready(tmp_path: Path) -> None:
    variables = {"MODEL_NAME": NAME, "MODEL_BASE_PATH": str(tmp_path), "LAME_SECONDS": "0"}
    log = tmp_path / "log"
    with running("server", python=python(), variables=variables, log=log) as program:
        port = program.ports[1]
        assert fetch(port, "/live")[0] == 200
        assert fetch(port, "/ready")[0] == 503
        assert fetch(port, f"/v1/models/{NAME}:predict", b'{"instances": [1]}')[0] == 503
        stub = health_pb2_grpc.HealthStub(channel_of(program))
        answer = stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            client_of(program, NAME).describe(SECONDS)
        assert caught.value.code() is Code.UNAVAILABLE
        put(tmp_path, NAME, NAME)
        until(lambda: fetch(port, "/ready")[0] == 200)


def test_a_server_keeps_to_its_own_time(tmp_path: Path) -> None:
    put(tmp_path, NAME, NAME)
    with server(tmp_path, NAME, REQUEST_SECONDS="0.000001") as program:
        with pytest.raises(grpc.RpcError) as caught:
            client_of(program, NAME).predict({"image": np.zeros((1, 8, 8, 1), np.float32)}, 5)
        assert caught.value.code() is Code.DEADLINE_EXCEEDED
        body = json.dumps({"instances": np.zeros((1, 8, 8, 1)).tolist()}).encode()
        assert fetch(program.ports[1], f"/v1/models/{NAME}:predict", body)[0] == 504


def test_a_new_version_under_load_loses_nothing(tmp_path: Path) -> None:
    put(tmp_path, NAME, NAME)
    with (
        server(tmp_path, NAME, POLL_SECONDS="0.1") as program,
        Load(program.ports[0], NAME, retry_seconds=0).running() as load,
    ):
        for version in (2, 3):
            put(tmp_path, NAME, NAME, version)
            until(lambda: load.versions[-1] == version or bool(load.lost))  # noqa: B023
            load.answered(50)
        until(lambda: "version 2 is unloaded" in program.output())
    assert load.lost == []
    assert set(load.versions) == {1, 2, 3}


def test_the_end_of_a_server_under_load_loses_nothing(tmp_path: Path) -> None:
    put(tmp_path, NAME, NAME)
    with server(tmp_path, NAME) as program:
        port = program.ports[0]
        with Load(port, NAME).running() as load:
            program.process.send_signal(signal.SIGTERM)
            assert program.process.wait(SECONDS) == 0
            assert "stopped" in program.output()
            with server(tmp_path, NAME, GRPC_PORT=str(port)):
                load.answered(200)
                load.stop()
        assert load.lost == []


def test_a_bad_variable_or_port_is_one_line(servers: dict[str, Program], tmp_path: Path) -> None:
    from builders.errors import SmokeError

    put(tmp_path, NAME, NAME)
    for variables in ({"COPIES": "many"}, {"REST_PORT": str(servers[NAME].ports[1])}):
        with (
            pytest.raises(SmokeError, match="does not start: error: "),
            server(tmp_path, NAME, **variables),
        ):
            pass


def test_the_gateway_tells_whose_fault_it_is(tmp_path: Path) -> None:
    put(tmp_path, NAME, NAME)
    picture = (events.IMAGES / "7.png").read_bytes()
    with (
        server(tmp_path, NAME) as program,
        gateway(tmp_path, NAME, program.ports[0], REQUEST_SECONDS="3", RETRY_SECONDS="1") as front,
    ):
        port = front.ports[0]
        until(lambda: fetch(port, "/ready")[0] == 200)
        assert fetch(port, "/live")[0] == 200
        assert fetch(port, "/predict", picture)[0] == 200
        for body in (b"", b"{}", b'{"url": "http://127.0.0.1/x.png"}'):
            assert fetch(port, "/predict", body)[0] == 400
        assert fetch(port, "/predict", bytes(7_000_000))[0] == 413
        program.process.send_signal(signal.SIGSTOP)
        assert fetch(port, "/predict", picture)[0] == 504
        program.process.send_signal(signal.SIGCONT)
        until(lambda: fetch(port, "/predict", picture)[0] == 200)
        program.process.kill()
        program.process.wait()
        assert fetch(port, "/predict", picture)[0] == 503


def test_a_gateway_without_a_server_is_alive_and_not_ready(tmp_path: Path) -> None:
    with gateway(tmp_path, NAME, 1) as front:
        assert fetch(front.ports[0], "/live")[0] == 200
        assert fetch(front.ports[0], "/ready")[0] == 503
        assert fetch(front.ports[0], "/predict", b"x")[0] == 503
