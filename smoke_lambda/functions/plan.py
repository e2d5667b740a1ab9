"""Plans what a function does: how a request becomes inputs, and how outputs become an answer.

A plan is plain data for the templates (template/). It leaves them nothing to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from builders.errors import UsageError
from smoke_lambda.functions.facts import Facts, Signature, Tensor
from smoke_lambda.functions.fits import (
    channels_of,
    check_audio,
    check_image,
    check_labels,
    check_type,
    product,
    shape_of,
    with_plain_names,
)
from smoke_lambda.functions.preprocessing import Scaling

KINDS = ("image", "json", "audio", "array")
FILES: Mapping[str, dict[str, str]] = {
    "image": {
        "thing": "image",
        "a_thing": "an image",
        "described": "a PNG, JPEG or WebP image",
        "accept": "image/png, image/jpeg, image/webp;q=0.9, */*;q=0.1",
        "agent": "image-classifier",
    },
    "audio": {
        "thing": "sound",
        "a_thing": "a sound",
        "described": "a WAV file of PCM samples",
        "accept": "audio/wav, audio/x-wav;q=0.9, */*;q=0.1",
        "agent": "sound-classifier",
    },
    "array": {
        "thing": "array",
        "a_thing": "an array",
        "described": "what numpy.save writes (.npy)",
        "accept": "*/*",
        "agent": "model-function",
    },
}
NO_FILE = {"thing": "body", "a_thing": "a body"}
SOME_FILE = {"thing": "file", "a_thing": "a file", "accept": "*/*", "agent": "model-function"}
MARKS = 100_000
LABELLED_TOP = 10
SHOWN_TOP = 5
ENDS_IN_SCORES = ("SOFTMAX", "LOGISTIC")
# The JSON of an answer may have 6 MB, Lambda's limit for a response. A number takes some 20 bytes.
MOST_NUMBERS = 300_000


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The user's choices for a model.

    Attributes:
        kinds: the kind of each input, by the input's name; the empty name stands for all others.
        shapes: the shapes of inputs with open dimensions, by name in the same way.
        scaling: the scaling of pictures; None if the user named none.
        labels: the names of the output's values.
        softmax: True to apply a softmax; None to apply it if the model does not end in scores.
        output: the only output in the answer; empty for all.
        rate: the sample rate of sounds, in samples per second.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    scaling: Scaling | None = None
    labels: Sequence[str] = ()
    top: int = 0
    softmax: bool | None = None
    signature: str = ""
    output: str = ""
    rate: int = 0


def make_plan(facts: Facts, choice: Choice) -> dict[str, Any]:
    """Return the plan of a model's function.

    Raises:
        UsageError: a choice does not fit the model.
    """
    signature = with_plain_names(_signature(facts, choice.signature))
    known = [tensor.name for tensor in signature.inputs]
    for what, named in (("--input", choice.kinds), ("--shape", choice.shapes)):
        for name in named:
            if name not in ("", *known):
                raise UsageError(
                    f"{what}: the model has no input {name!r}",
                    remedy=f"its inputs are {', '.join(known)}",
                )
    inputs = [_input(tensor, choice) for tensor in signature.inputs]
    outputs = _outputs(signature, choice.output)
    return _summed(signature, inputs, outputs, choice)


def generic_plan(kind: str, *, answer: str = "", is_demo: bool = False) -> dict[str, Any]:
    """Return the plan of a function whose model is not known yet: one input, one output.

    Args:
        answer: `class` or `labels` to answer with scores; empty to answer with all numbers.
        is_demo: True for this repository's own function, which reads digits.
    """
    one = {"position": 0, "quantized": True, "name": "input", "kind": kind, "resized": False}
    inputs = [one | {"described": described(kind)}]
    return _laid_out(
        kinds=[kind],
        inputs=inputs,
        outputs=[{"name": "output", "position": 0}],
        answer=answer or "tensors",
        dequantized=True,
        layout="[1, height, width, 1 or 3]",
        is_demo=is_demo,
    )


def described(kind: str) -> str:
    """Return a sentence for people: the form of an input in a request that names it."""
    if kind == "json":
        return "numbers, in lists"
    return f"{FILES[kind]['described']}: base64, a data URL, or an http or https URL"


def _signature(facts: Facts, name: str) -> Signature:
    if not facts.signatures:
        if name:
            raise UsageError(
                f"the model has no choice of signatures, and so no {name!r}",
                remedy="leave --signature out",
            )
        return facts.whole
    names = [each.name for each in facts.signatures]
    wanted = name or ("serving_default" if "serving_default" in names else "")
    for each in facts.signatures:
        if each.name == wanted:
            return each
    raise UsageError(
        f"the model has no signature {name!r}" if name else "the model has several signatures",
        remedy=f"choose one with --signature: {', '.join(names)}",
    )


def _of(named: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - a kind or a shape
    return named.get(name, named.get(""))


def _input(tensor: Tensor, choice: Choice) -> dict[str, Any]:
    shape, is_resized = shape_of(tensor, _of(choice.shapes, tensor.name))
    check_type(tensor)
    kind = _of(choice.kinds, tensor.name) or ("image" if channels_of(shape) else "json")
    found = {
        "name": tensor.name,
        "position": tensor.position,
        "kind": kind,
        "shape": list(shape),
        "resized": is_resized,
        "quantized": tensor.is_quantized and kind != "array",
        "dtype": tensor.dtype,
    }
    if kind == "image":
        check_image(tensor, shape, choice.scaling)
    elif kind == "audio":
        check_audio(tensor, shape, choice.rate)
    shown = list(shape)
    about = {
        "json": f"numbers of the shape {shown}; the first 1 may be left out",
        "array": f"a .npy file of {tensor.dtype} of the shape {shown}: base64 or a URL",
        "audio": f"a WAV file of {choice.rate} samples per second: base64 or a URL",
        "image": "a PNG, JPEG or WebP image: base64 or a URL",
    }
    return found | {"described": about[kind]}


def _outputs(signature: Signature, wanted: str) -> list[Tensor]:
    names = [tensor.name for tensor in signature.outputs]
    if wanted and wanted not in names:
        raise UsageError(
            f"the model has no output {wanted!r}", remedy=f"its outputs are {', '.join(names)}"
        )
    return [t for t in signature.outputs if not wanted or t.name == wanted]


def _answer(outputs: Sequence[Tensor], labels: Sequence[str], kinds: Sequence[str]) -> str:
    """Return the form of the answer.

    Returns:
        `labels` for scores by label, `class` for scores and the number of the best one, `tensors`
        for all numbers.
    """
    if labels:
        check_labels(labels)
        if len(outputs) != 1:
            raise UsageError(
                f"labels are of one output, and the model has {len(outputs)}",
                remedy=f"choose it with --output: {', '.join(t.name for t in outputs)}",
            )
        if outputs[0].count != len(labels):
            raise UsageError(
                f"there are {len(labels)} labels, and the output {outputs[0].name} has "
                f"{outputs[0].count} values",
                remedy="write one label per line, in the order of the model's classes",
            )
        return "labels"
    is_scores = len(outputs) == 1 and len(outputs[0].shape) == 2 and outputs[0].count > 1
    return "class" if is_scores and outputs[0].shape[0] == 1 and "image" in kinds else "tensors"


def _summed(
    signature: Signature,
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[Tensor],
    choice: Choice,
) -> dict[str, Any]:
    kinds = [each["kind"] for each in inputs]
    for kind in ("image", "audio"):
        if kinds.count(kind) > 1:
            raise UsageError(
                f"the model has {kinds.count(kind)} inputs that are {kind}",
                remedy=f"a function decodes one: give the others as --input NAME=array, of "
                f"{', '.join(each['name'] for each in inputs)}",
            )
    if choice.scaling is not None and "image" not in kinds:
        raise UsageError(
            "no input is a picture, and so there is nothing to preprocess",
            remedy="leave --preprocess out",
        )
    answer = _answer(outputs, choice.labels, kinds)
    count = sum(tensor.count for tensor in outputs)
    if answer == "tensors" and count > MOST_NUMBERS:
        raise UsageError(
            f"an answer of {count} numbers is larger than Lambda's 6 MB",
            remedy="choose a smaller output with --output",
        )
    softmax = choice.softmax
    if softmax is None:
        last = outputs[0].last
        softmax = answer != "tensors" and bool(last) and last not in ENDS_IN_SCORES
    if softmax and (answer == "tensors" or outputs[0].count < 2):
        raise UsageError("softmax is for the scores of several classes", remedy="leave it out")
    shape = next((each["shape"] for each in inputs if each["kind"] == "image"), None)
    found = _laid_out(
        kinds=kinds,
        inputs=inputs,
        outputs=[{"name": t.name} | {"position": t.position} for t in outputs],
        answer=answer,
        dequantized=any(tensor.is_quantized for tensor in outputs),
        layout=str(shape),
        channels_first=shape is not None and shape[3] not in (1, 3),
        signature=signature.name,
        softmax=softmax,
        rate=choice.rate,
    )
    top = choice.top or (len(choice.labels) if len(choice.labels) <= LABELLED_TOP else SHOWN_TOP)
    return found | {"top": min(top, len(choice.labels))}


def _laid_out(
    *,
    kinds: Sequence[str],
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
    answer: str,
    dequantized: bool,
    layout: str,
    channels_first: bool = False,
    is_demo: bool = False,
    signature: str = "",
    softmax: bool = False,
    rate: int = 16000,
) -> dict[str, Any]:
    single = kinds[0] if len(kinds) == 1 and kinds[0] in FILES else ""
    has_files = any(kind in FILES for kind in kinds)
    file = FILES[single] | {"key": single} if single else SOME_FILE if has_files else NO_FILE
    numbers = sum(product(each["shape"]) for each in inputs if "shape" in each)
    reply = {
        "labels": '{"<label>": 0.98, ...}',
        "class": '{"class": 7, "scores": [0.01, ...], "model": "digits-float32"}'
        if is_demo
        else '{"class": 7, "scores": [0.01, ...], "model": "model"}',
        "tensors": '{"outputs": {' + ", ".join(f'"{o["name"]}": [...]' for o in outputs) + "}}",
    }
    example = (
        '{"input": [...]}'
        if len(inputs) == 1
        else '{"inputs": {' + ", ".join(f'"{each["name"]}": ...' for each in inputs) + "}}"
    )
    return {
        "single": single,
        "is_single": len(inputs) == 1,
        "is_demo": is_demo,
        "about": _about(single, answer),
        "file": file | {"sample": f'{{"{single}": "<base64>"}}'.ljust(29)},
        "example": example,
        "reply": reply[answer],
        "modules": _modules(kinds),
        "has_files": has_files,
        "has_pictures": "image" in kinds,
        "has_sounds": "audio" in kinds,
        "has_arrays": "array" in kinds,
        "has_numbers": "json" in kinds,
        "picture": next((each["name"] for each in inputs if each["kind"] == "image"), ""),
        "marks": f"{max(MARKS, 2 * numbers if 'json' in kinds else 0):_}",
        "inputs": list(inputs),
        "outputs": list(outputs),
        "signature": signature,
        "answer": answer,
        "softmax": softmax,
        "quantized": any(each["quantized"] for each in inputs),
        "dequantized": dequantized,
        "layout": layout,
        "channels_first": channels_first,
        "rate": rate,
    }


def _about(single: str, answer: str) -> str:
    """Return the first line of the handler's docstring."""
    what = FILES[single]["thing"] if single else "request"
    verb = "answers one" if answer == "tensors" else "classifies one"
    return f"An AWS Lambda function that {verb} {what} with TensorFlow Lite."


def _modules(kinds: Sequence[str]) -> list[str]:
    """Return the standard library modules that the handler imports."""
    found = {"base64", "json", "os"}
    if any(kind in FILES for kind in kinds):
        found |= {"contextlib", "http.client", "io", "ipaddress", "queue", "socket", "ssl"}
        found |= {"threading", "time", "urllib.parse"}
    if "image" in kinds:
        found |= {"re", "struct"}
    if "audio" in kinds:
        found.add("wave")
    return sorted(found)
