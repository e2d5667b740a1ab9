"""./scripts/serve: what it takes, and what it refuses before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.errors import EngineError, SmokeError, UsageError
from builders.matrix import load_matrix
from builders.progress import table_console
from ci.commands import serve
from ci.pages.load_page import BEGIN, COLUMNS, DOCUMENT, END, Loaded, write_document
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
    row = dict.fromkeys(COLUMNS, 1.5)
    serve.show([{**row, "clients": 16, "of_direct": 2.25}], table_console())
    assert {"16", "2.25", "1.5"} <= set(capsys.readouterr().out.split())


def test_a_load_is_written_into_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}\nafter\n")
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {0, 1})
    row = dict.fromkeys(COLUMNS, 1.5) | {"per_second": 200.0, "clients_cpu_ms": 0.6}
    loads = [
        Loaded(name=name, copies=copies, rows=[row | {"clients": 16, "of_direct": of_direct}])
        for name, copies, of_direct in (("digits", 2, 0.1), ("digits", 1, 0.05), ("one", 1, 0.9))
    ]
    write_document(loads, page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\nServer and clients")
    assert text.endswith(f"\n\n{END}\nafter\n")
    assert "| `digits` | 2 | 16 | 200.0 | 1.5 | 1.5 | 1.5 | 0.6 | 1.5 | 0.1 |\n" in text
    assert "2 copies of `digits` answer 2.00 times the requests of one" in text
    assert "the clients take 6% of the processors' time" in text
    assert "of `one` answer" not in text
    assert "old" not in text


def test_the_page_has_a_place_for_a_load() -> None:
    assert BEGIN in DOCUMENT.read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "give one model"),
        (("--document", "--model", str(MODEL)), "give one model"),
        (("--document", "--copies", "2"), "leave out --copies"),
    ],
)
def test_one_model_or_the_document(
    arguments: tuple[str, ...], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = failed(*arguments, capsys=capsys)
    assert (status, error in said) == (UsageError.exit_code, True)
