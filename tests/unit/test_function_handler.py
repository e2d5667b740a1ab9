"""Handlers for models: what they pass to the model, and what they answer."""

# ruff: noqa: ANN401 - the handlers take and give what Lambda does
from __future__ import annotations

import base64
import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from function_samples import LABELS, MODELS, context, load
from PIL import Image

from smoke_lambda.functions import samples

COLOURS = np.random.default_rng(1).integers(0, 256, (6, 5, 3), np.uint8)


def png(pixels: Any) -> str:
    output = io.BytesIO()
    Image.fromarray(pixels).save(output, "PNG")
    return base64.b64encode(output.getvalue()).decode()


def npy(array: Any) -> str:
    output = io.BytesIO()
    np.save(output, array)
    return base64.b64encode(output.getvalue()).decode()


def wav(values: list[int], *, rate: int = 8000, channels: int = 1, width: int = 2) -> str:
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.array(values, {1: "u1", 2: "<i2", 4: "<i4"}[width]).tobytes())
    return base64.b64encode(output.getvalue()).decode()


ANSWERS = {"y": [*range(1, 11)], "a": [1, 2], "b": [3]}


def of(name: str, folder: Path, **answers: Any) -> tuple[Any, Any]:
    facts, _, _ = MODELS[name]
    outputs = (facts.signatures or (facts.whole,))[0].outputs
    told = {t.name: answers.get(t.name, ANSWERS[t.name][: t.count]) for t in outputs}
    return load(name, folder, told)


def test_the_labels_of_the_highest_scores_are_answered(tmp_path: Path) -> None:
    app, model = of("labelled", tmp_path)
    answer = app.handler({"image": png(COLOURS)}, None)
    weights = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    assert list(answer) == list(reversed(LABELS))
    assert list(answer.values()) == pytest.approx(weights[::-1], abs=1e-6)
    np.testing.assert_array_equal(
        model.given["x"][0], COLOURS.astype(np.float32) / np.float32(127.5) - np.float32(1)
    )


def test_a_picture_may_be_larger_and_the_nearest_pixels_are_taken(tmp_path: Path) -> None:
    app, model = of("labelled", tmp_path)
    app.handler({"image": png(COLOURS.repeat(3, 0).repeat(3, 1))}, None)
    large = model.given["x"].copy()
    app.handler({"image": png(COLOURS)}, None)
    np.testing.assert_array_equal(large, model.given["x"])


def test_caffe_has_blue_first_and_a_mean_of_its_own(tmp_path: Path) -> None:
    app, model = of("scores", tmp_path, y=[1, 3, 2])
    answer = app.handler({"image": png(COLOURS)}, None)
    assert answer["class"] == 1
    assert sum(answer["scores"]) == pytest.approx(1, abs=1e-5)
    mean = np.array([103.939, 116.779, 123.68], np.float32)
    np.testing.assert_array_equal(model.given["x"][0], COLOURS[..., ::-1].astype("f4") - mean)


def test_colours_may_come_first(tmp_path: Path) -> None:
    app, model = of("channels first", tmp_path)
    app.handler({"image": png(COLOURS)}, None)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    std = np.array([0.229, 0.224, 0.225], np.float32)
    wanted = (COLOURS.astype(np.float32) / np.float32(255) - mean) / std
    np.testing.assert_array_equal(model.given["x"][0], wanted.transpose(2, 0, 1))


def test_an_int8_model_has_its_scales(tmp_path: Path) -> None:
    app, model = of("int8", tmp_path, y=[-128, 127, 0])
    answer = app.handler({"image": png(COLOURS[..., 0])}, None)
    np.testing.assert_array_equal(model.given["x"][0, ..., 0], COLOURS[..., 0].astype(int) - 128)
    assert answer["scores"] == pytest.approx([0, 255 / 256, 0.5])


def test_all_outputs_are_answered_by_name(tmp_path: Path) -> None:
    app, _ = of("two outputs", tmp_path)
    answer = app.handler({"image": png(COLOURS)}, None)
    assert answer == {"outputs": {"a": [[1.0, 2.0]], "b": [[3.0]]}}


@pytest.mark.parametrize("value", [[1, 2, 3, 4.5], [[1, 2, 3, 4.5]]])
def test_numbers_come_with_and_without_the_batch(tmp_path: Path, value: Any) -> None:
    app, model = of("numbers", tmp_path)
    assert app.handler({"input": value}, None) == {"outputs": {"y": [[1.0]]}}
    assert model.given["x"].tolist() == [[1, 2, 3, 4.5]]


@pytest.mark.parametrize("is_base64", [False, True])
def test_numbers_come_by_http(tmp_path: Path, is_base64: bool) -> None:
    app, _ = of("numbers", tmp_path)
    body = json.dumps({"input": [1, 2, 3, 4]})
    body = base64.b64encode(body.encode()).decode() if is_base64 else body
    event = {"requestContext": {}, "body": body, "isBase64Encoded": is_base64}
    reply = app.handler(event, None)
    assert (reply["statusCode"], json.loads(reply["body"])) == (200, {"outputs": {"y": [[1.0]]}})


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, 'send an object with "input"'),
        ([1, 2, 3, 4], 'send an object with "input"'),
        ({"input": [1, 2, 3]}, "must have the shape [1, 4], not [3]"),
        ({"input": [[1, 2], [3]]}, "lists of equal lengths"),
        ({"input": ["1", "2", "3", "4"]}, "must be numbers"),
        ({"input": [None, 2, 3, 4]}, "must be numbers"),
        ({"input": [float("nan"), 2, 3, 4]}, "must be finite"),
        ({"input": [10**400, 2, 3, 4]}, "must be numbers"),
        ({"input": 1, "other": 2}, 'send an object with "input"'),
    ],
)
def test_what_are_no_such_numbers_is_refused(tmp_path: Path, request_: Any, reason: str) -> None:
    app, _ = of("numbers", tmp_path)
    answer = app.handler(request_, None)
    assert answer["statusCode"] == 400
    assert reason in answer["error"]


def test_an_integer_input_takes_integers_of_its_type(tmp_path: Path) -> None:
    app, model = of("two inputs", tmp_path)
    assert "error" not in app.handler({"inputs": {"a": [0] * 4, "b": [7, -7]}}, None)
    assert model.given["b"].tolist() == [[7, -7]]
    for wrong in ([0.5, 1], [2**31, 0]):
        answer = app.handler({"inputs": {"a": [0] * 4, "b": wrong}}, None)
        assert "must be integers of the type int32" in answer["error"]
    assert "which has a, b" in app.handler({"inputs": {"a": [0] * 4}}, None)["error"]


def test_inputs_of_several_kinds(tmp_path: Path) -> None:
    app, model = of("mixed", tmp_path)
    raw = np.array([[5, 6]], np.float32)
    inputs = {"pic": png(COLOURS), "meta": [1, 2], "raw": npy(raw), "wav": wav([16384, -32768])}
    assert app.handler({"inputs": inputs}, None) == {"outputs": {"y": [[1.0]]}}
    np.testing.assert_array_equal(model.given["pic"][0], COLOURS)
    np.testing.assert_array_equal(model.given["raw"], raw)
    assert model.given["wav"].tolist() == [[0.5, -1, 0, 0, 0, 0, 0, 0]]
    bad = app.handler({"inputs": inputs | {"pic": 7}}, None)
    assert "a file is a string" in bad["error"]


def test_a_sound_is_cut_or_filled_with_silence(tmp_path: Path) -> None:
    app, model = of("sound", tmp_path)
    app.handler({"audio": wav(list(range(0, 32000, 2000)))}, None)
    assert model.given["wav"].tolist() == [n * 2000 / 32768 for n in range(8)]
    app.handler({"audio": wav([255, 0, 128], width=1)}, None)
    assert model.given["wav"][:4].tolist() == [127 / 128, -1, 0, 0]
    app.handler({"audio": wav([2**30, -(2**30)], channels=2, width=4)}, None)
    assert model.given["wav"].tolist() == [0] * 8


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (wav([1], rate=44100), "send 8000 samples per second"),
        (base64.b64encode(b"RIFFxxxxWAVE").decode(), "not a readable sound"),
        (base64.b64encode(b"nothing").decode(), "not a readable sound"),
        (base64.b64encode(bytes(4_000_001)).decode(), "larger than 4000000 bytes"),
    ],
)
def test_what_is_no_such_sound_is_refused(tmp_path: Path, data: str, reason: str) -> None:
    app, _ = of("sound", tmp_path)
    answer = app.handler({"audio": data}, None)
    assert answer["statusCode"] == 400
    assert reason in answer["error"]


def test_an_array_is_given_as_it_is_and_its_answer_in_real_values(tmp_path: Path) -> None:
    app, model = of("array", tmp_path, y=[10, -20])
    array = np.array([[1, 2, 3, 4]], np.float32)
    answer = app.handler({"array": npy(array)}, None)
    assert answer["outputs"]["y"] == [pytest.approx([1.0, -2.0])]
    np.testing.assert_array_equal(model.given["x"], array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy(np.zeros((1, 4))), "the array must be float32 of the shape [1, 4]"),
        (npy(np.zeros((4, 1), np.float32)), "the array must be float32 of the shape [1, 4]"),
        (npy(np.array([{}], object)), "the array must be float32"),
        (npy(np.zeros((1, 4), np.float32))[:-8], "not a readable array"),
        (base64.b64encode(b"nothing").decode(), "not a readable array"),
        # It says that it has more than memory holds.
        (
            base64.b64encode(
                samples.array((1, 4), "float32").replace(b"(1, 4)", b"(9**9,)")
            ).decode(),
            "not a readable array",
        ),
        (
            base64.b64encode(
                samples.array((1, 4), "float32").replace(b"(1, 4), }      ", b"(99999999999,)}")
            ).decode(),
            "the array must be float32",
        ),
    ],
)
def test_what_is_no_such_array_is_refused(tmp_path: Path, data: str, reason: str) -> None:
    app, _ = of("array", tmp_path)
    answer = app.handler({"array": data}, None)
    assert answer["statusCode"] == 400
    assert reason in answer["error"]


def test_a_signature_is_run_by_its_name(tmp_path: Path) -> None:
    app, model = of("signature", tmp_path)
    request = {"inputs": {"x": [1] * 4, "z": [2] * 4}}
    assert app.handler(request, None) == {"outputs": {"y": [[1.0, 2.0]]}}
    assert model.given["z"].tolist() == [[2] * 4]
    app, _ = of("pictures of a signature", tmp_path)
    assert next(iter(app.handler({"image": png(COLOURS)}, None))) == LABELS[2]


def test_an_open_dimension_is_what_the_user_said(tmp_path: Path) -> None:
    app, model = of("told its shape", tmp_path)
    assert "error" not in app.handler({"input": [0] * 16}, None)
    assert model.resized == {0: [1, 16]}


@pytest.mark.parametrize("name", MODELS)
def test_the_made_up_request_is_one_that_the_handler_takes(tmp_path: Path, name: str) -> None:
    app, _ = of(name, tmp_path)
    sample = context(name)["_samples"]["input"]
    direct = app.handler(sample["direct"], None)
    assert "error" not in direct
    event = {"requestContext": {}, "body": sample["body"], "isBase64Encoded": sample["base64"]}
    assert json.loads(app.handler(event, None)["body"]) == direct
