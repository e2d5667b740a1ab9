"""./scripts/serve: what it takes, and what it refuses before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.errors import EngineError, SmokeError, UsageError
from builders.matrix import load_matrix
from builders.progress import table_console
from ci.commands import serve
from ci.publish.places import WHEELS
from smoke_lambda import events
from smoke_lambda.serving import image

MODEL = events.MODELS / "digits-float32.tflite"


def failed(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = serve.main(list(arguments))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return status, said


def test_what_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "x.tflite"
    broken.write_bytes(b"nothing")
    gone = tmp_path / "gone.tflite"
    for path, words in (
        (broken, f"{broken} is not a TensorFlow Lite model: "),
        (gone, f"there is no file {gone}"),
    ):
        status, said = failed("--model", str(path), capsys=capsys)
        assert status == UsageError.exit_code
        assert words in said


def test_a_name_must_fit_into_a_url(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = failed("--model", str(MODEL), "--name", "a/b", capsys=capsys)
    assert (status, "choose letters" in said) == (UsageError.exit_code, True)


def test_the_wheel_is_the_published_one_of_the_images_python() -> None:
    wheel, runtime = serve.chosen(None, image.default_python())
    assert runtime.python == image.default_python()
    assert wheel.parent == WHEELS
    assert f"-{load_matrix().recommended.version}-" in wheel.name
    assert f"-{runtime.tag}-" in wheel.name


def test_a_wheel_must_be_there_and_of_a_python_that_serves(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no"):
        serve.chosen(tmp_path / "gone.whl", "3.12")
    old = tmp_path / "tflite_runtime-2.14.1-2-cp38-cp38-manylinux_2_17_x86_64.whl"
    old.touch()
    with pytest.raises(UsageError, match="none of the server's Pythons: cp311, "):
        serve.chosen(old, "3.12")
    new = tmp_path / "tflite_runtime-2.14.1-2-cp313-cp313-manylinux_2_17_x86_64.whl"
    new.touch()
    assert serve.chosen(new, "3.12")[1].python == "3.13"


def test_without_its_python_the_machine_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "find_interpreter", lambda _: None)
    with pytest.raises(SmokeError, match="choose --runner docker"):
        serve.with_interpreter(None)


def test_a_runner_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineError, match="there is no podman"):
        image.client_of("podman")


def test_the_context_of_an_image_has_what_the_dockerfile_copies(tmp_path: Path) -> None:
    wheel = tmp_path / "some.whl"
    wheel.touch()
    with image._context(wheel) as context:
        for name in ("app.py", "serving/__main__.py", "serving/protos/tensor_pb2.py"):
            assert (context / "smoke_lambda" / name).is_file()
        assert (context / "smoke_lambda/serving/requirements/cp312.txt").is_file()
        assert (context / "wheels/some.whl").is_file()
        assert not list(context.rglob("__pycache__"))
    assert not context.exists()


def test_both_ways_to_the_image_leave_out_the_same() -> None:
    ignored = image.DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert tuple(line[3:] for line in ignored if line.startswith("**/")) == image.LEFT_OUT


def test_a_load_is_shown_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    row = dict.fromkeys(("per_second", "p50_ms", "p95_ms", "p99_ms", "direct_p50_ms"), 1.5)
    serve.show([{"clients": 16, "ratio": 2.25, **row}], table_console())
    assert {"16", "2.25", "1.5"} <= set(capsys.readouterr().out.split())
