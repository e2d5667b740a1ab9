"""The scalings of pictures, by name and by range."""

from __future__ import annotations

import pytest

from builders.errors import UsageError
from smoke_lambda.functions.preprocessing import Scaling, scaling_of, scalings


def test_the_modes_and_the_networks_of_keras_have_names() -> None:
    assert {"tf", "caffe", "torch", "none"} < set(scalings())
    assert scaling_of("xception") == scaling_of("tf") == scaling_of("-1..1")
    assert scaling_of("resnet50") == scaling_of("caffe")
    assert scaling_of("densenet") == scaling_of("torch")
    assert scaling_of("efficientnet") == Scaling()


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("none", (0, 255)),
        ("0..1", (0, 1)),
        ("-1..1", (-1, 1)),
        ("-0.5..0.5", (-0.5, 0.5)),
        ("caffe", (-123.68, 151.061)),
        ("torch", (-2.1179, 2.64)),
    ],
)
def test_what_black_and_white_become(text: str, limits: tuple[float, float]) -> None:
    assert scaling_of(text).limits == pytest.approx(limits, abs=1e-4)


@pytest.mark.parametrize("text", ["", "Xception", "1..0", "0..0", "0..", "0-1", "nan..1"])
def test_another_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="choose a range such as"):
        scaling_of(text)
