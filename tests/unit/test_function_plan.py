"""The plan of a function, and choices that do not fit its model."""

from __future__ import annotations

from typing import Any

import pytest
from function_samples import LABELS, PICTURE, SCORES, model, tensor, two_signatures

from builders.errors import UsageError
from smoke_lambda.functions.facts import Facts
from smoke_lambda.functions.plan import Choice, generic_plan, make_plan
from smoke_lambda.functions.preprocessing import scaling_of

XCEPTION = scaling_of("xception")
ONE = model([PICTURE], [SCORES])
NUMBERS = model([tensor()], [tensor("y", (1, 1))])
TWO = model([PICTURE], [tensor("a", (1, 63)), tensor("b", (1, 1), position=1)])


@pytest.mark.parametrize(
    ("facts", "choice", "reason"),
    [
        (ONE, Choice(), "how does the model want pictures to be scaled"),
        (NUMBERS, Choice(scaling=XCEPTION), "no input is a picture"),
        (NUMBERS, Choice(kinds={"": "image"}, scaling=XCEPTION), "of shape [1, 4] is no picture"),
        (ONE, Choice(scaling=XCEPTION, labels=LABELS[:2]), "there are 2 labels, and the output y"),
        (ONE, Choice(scaling=XCEPTION, labels=("a", "b", "a")), "the label 'a' is there twice"),
        (ONE, Choice(scaling=XCEPTION, labels=("a", "", "c")), "line 2 of the labels is empty"),
        (TWO, Choice(scaling=XCEPTION, labels=LABELS), "labels are of one output"),
        (TWO, Choice(scaling=XCEPTION, output="c"), "no output 'c'"),
        (ONE, Choice(scaling=XCEPTION, kinds={"z": "json"}), "no input 'z'"),
        (ONE, Choice(scaling=XCEPTION, shapes={"z": (1,)}), "no input 'z'"),
        (ONE, Choice(scaling=XCEPTION, shapes={"": (1, 9, 9, 3)}), "cannot have the shape"),
        (ONE, Choice(scaling=XCEPTION, shapes={"": (1, 9)}), "cannot have the shape"),
        (ONE, Choice(scaling=XCEPTION, signature="serve"), "no choice of signatures"),
        (two_signatures([PICTURE], [SCORES]), Choice(), "has several signatures"),
        (two_signatures([PICTURE], [SCORES]), Choice(signature="x"), "no signature 'x'"),
        (
            model([tensor(shape=(1, 1, 1, 3), open_shape=(-1, -1, -1, 3))], [SCORES]),
            Choice(scaling=XCEPTION),
            "has open dimensions; name them: --shape x=?,?,?,3",
        ),
        (
            model([tensor(shape=(1, 8, 8, 1))], [SCORES]),
            Choice(scaling=scaling_of("vgg16")),
            "is for three colours",
        ),
        (
            model([tensor(shape=(1, 8, 8, 3), dtype="uint8")], [SCORES]),
            Choice(scaling=XCEPTION),
            "gives -1 to 1, and the input x (uint8) holds 0 to 255",
        ),
        (
            model([tensor(shape=(1, 8, 8, 3), dtype="int8", quantization=(1 / 127, 0))], [SCORES]),
            Choice(scaling=scaling_of("none")),
            "gives 0 to 255",
        ),
        (
            model([PICTURE, tensor("z", (1, 8, 8, 3), position=1)], [SCORES]),
            Choice(scaling=XCEPTION),
            "a function decodes one",
        ),
        (
            model([tensor("a b"), tensor("a_b", position=1)], [SCORES]),
            Choice(),
            "cannot be written in a request",
        ),
        (
            two_signatures([tensor('x"""\nimport os')], [SCORES]),
            Choice(signature="serve"),
            "cannot be written in a request",
        ),
        (model([tensor(dtype="object")], [SCORES]), Choice(), "which no request has"),
        (model([tensor()], [tensor("y", (1, 1000, 1000))]), Choice(), "larger than Lambda's 6 MB"),
        (NUMBERS, Choice(softmax=True), "softmax is for the scores"),
        (NUMBERS, Choice(kinds={"": "audio"}), "how many samples per second"),
        (
            model([tensor(shape=(1, 2, 8))], [SCORES]),
            Choice(kinds={"": "audio"}, rate=8000),
            "is no waveform",
        ),
        (
            model([tensor(dtype="int32")], [SCORES]),
            Choice(kinds={"": "audio"}, rate=8000),
            "samples are float32",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(facts: Facts, choice: Choice, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        make_plan(facts, choice)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.remedy


def plan(facts: Facts, **said: Any) -> dict[str, Any]:  # noqa: ANN401
    return make_plan(facts, Choice(scaling=XCEPTION, **said))


@pytest.mark.parametrize(
    ("last", "said", "softmax"),
    [
        ("FULLY_CONNECTED", None, True),
        ("SOFTMAX", None, False),
        ("LOGISTIC", None, False),
        ("", None, False),
        ("SOFTMAX", True, True),
        ("FULLY_CONNECTED", False, False),
    ],
)
def test_softmax_is_where_the_model_has_none(last: str, said: bool | None, softmax: bool) -> None:
    facts = model([PICTURE], [tensor("y", (1, 3), last=last)])
    assert plan(facts, softmax=said)["softmax"] is softmax


@pytest.mark.parametrize(
    ("count", "asked", "top"), [(3, 0, 3), (10, 0, 10), (1000, 0, 5), (1000, 7, 7), (3, 7, 3)]
)
def test_how_many_labels_are_answered(count: int, asked: int, top: int) -> None:
    facts = model([PICTURE], [tensor("y", (1, count), last="SOFTMAX")])
    assert plan(facts, labels=tuple(map(str, range(count))), top=asked)["top"] == top


def test_one_of_several_outputs_can_have_labels() -> None:
    found = plan(TWO, output="a", labels=tuple(map(str, range(63))), softmax=False)
    assert found["answer"] == "labels"
    assert [each["name"] for each in found["outputs"]] == ["a"]


def test_a_model_is_asked_only_for_what_it_needs() -> None:
    numbers = make_plan(NUMBERS, Choice())
    assert numbers["modules"] == ["base64", "json", "os"]
    assert not numbers["has_files"]
    assert {"ssl", "re"} <= set(plan(ONE)["modules"])
    assert "wave" in generic_plan("audio")["modules"]


def test_many_numbers_may_be_sent_to_a_model_that_wants_them() -> None:
    large = model([tensor(shape=(1, 300, 300, 3))], [SCORES])
    assert make_plan(large, Choice(kinds={"": "json"}))["marks"] == "540_000"


def test_names_are_what_json_and_python_have() -> None:
    strange = model([tensor('a"b\n\\'), tensor("serving_default_x:0", position=1)], [SCORES])
    names = [each["name"] for each in make_plan(strange, Choice())["inputs"]]
    assert names == ["a_b__", "serving_default_x:0"]
