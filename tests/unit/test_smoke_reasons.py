"""Why XNNPACK leaves nodes to the built-in kernels."""

from __future__ import annotations

from smoke_lambda.reasons import NOT_AMONG, NOTHING, OPEN_SHAPE, Reason, reasons

NODES = [("CONV_2D", True), ("CAST", False), ("CAST", False), ("TOPK_V2", False), ("ADD", False)]
SAID = """\
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
WARNING: unsupported type INT64 in tensor #3 in node #1
failed to delegate CAST node #1
unsupported type INT64 in tensor #9 in node #2
unsupported something in node #0
found: {}
"""


def test_like_reasons_are_counted_together_and_the_first_counts() -> None:
    assert reasons(NODES, [4], SAID) == (
        Reason(operator="CAST", reason="unsupported type INT64 in a tensor", count=2),
        Reason(operator="TOPK_V2", reason=NOT_AMONG, count=1),
        Reason(operator="ADD", reason=OPEN_SHAPE, count=1),
    )


def test_the_operator_may_be_the_reason() -> None:
    (first, *_) = reasons(NODES[:2], [], "failed to delegate CAST node #1")
    assert first.reason == "failed to delegate CAST"


def test_a_runtime_that_says_nothing() -> None:
    assert {reason.reason for reason in reasons(NODES, [], "INFO: hello\n")} == {NOTHING}
    assert reasons(NODES[:1], [], "") == ()
