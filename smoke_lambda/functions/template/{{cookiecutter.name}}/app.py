{% set plan = cookiecutter._plans[cookiecutter.input] %}
{% set scaling = cookiecutter._scalings[cookiecutter.preprocess] %}
{% set file = plan.file %}
# {{ cookiecutter._made_by }}
"""{{ plan.about }}

{% if plan.is_demo %}
Copy this file and your model; it needs numpy, Pillow and tflite_runtime. Send it
{% else %}
It needs numpy, {% if plan.has_pictures %}Pillow, {% endif %}tflite_runtime, and model.tflite beside it. Send it
{% endif %}

{% if plan.single %}
    {"url": "https://..."}       http, https or data URL of {{ file.described }}
    {{ file.sample }}the {{ file.thing }} itself, or its data URL

or put it behind a function URL, API Gateway or a load balancer, and POST the {{ file.thing }}
(binary, which Lambda receives as base64), a form with a file (multipart/form-data), or
either object above as JSON. The reply is
{% else %}
    {{ plan.example }}

or put it behind a function URL, API Gateway or a load balancer, and POST that as JSON.
{% for input in plan.inputs %}
{{ input.name | tojson }} is {{ input.described }}.
{% endfor %}
The reply is
{% endif %}

    {{ plan.reply }}

or, for a request that is at fault, {"error": "<reason>", "statusCode": 400}.

{% if plan.has_pictures %}
{% if plan.is_demo %}
A camera's orientation is heeded. Where an image is transparent, dark ink is put on white
and bright ink on black, so that it shows; a model of one channel, as this one of bright
digits on black, gets bright ink in both cases.
{% else %}
A camera's orientation is heeded. Where an image is transparent, dark ink is put on white
and bright ink on black, so that it shows.
{% endif %}

{% endif %}
{% if plan.has_pictures %}
Environment variables: MODEL_PATH, MAX_BYTES (of an image), MAX_PIXELS (half as many of a
WebP image; 25 million take 250 MB), URL_SECONDS (for a whole download; one second before
the function's own timeout it ends in any case), ALLOW_PRIVATE_URLS=1 (let a URL name a
private address).
{% elif plan.has_files %}
Environment variables: MODEL_PATH, MAX_BYTES (of {{ file.a_thing }}), URL_SECONDS (for a whole
download; one second before the function's own timeout it ends in any case),
ALLOW_PRIVATE_URLS=1 (let a URL name a private address).
{% else %}
Environment variable: MODEL_PATH.
{% endif %}
"""

from __future__ import annotations

{% for module in plan.modules %}
import {{ module }}
{% endfor %}
from pathlib import Path
from typing import Any

import numpy as np
{% if plan.has_pictures %}
from PIL import Image, features
{% endif %}
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

{% if plan.is_demo %}
DEFAULT_MODEL = Path(__file__).resolve().parent / "models" / "digits-float32.tflite"
{% else %}
DEFAULT_MODEL = Path(__file__).resolve().parent / "model.tflite"
{% endif %}
MODEL_PATH = Path(os.environ.get("MODEL_PATH", DEFAULT_MODEL))
{% if plan.has_files %}
MAX_BYTES = int(os.environ.get("MAX_BYTES", "4000000"))
{% endif %}
{% if plan.has_pictures %}
MAX_PIXELS = int(os.environ.get("MAX_PIXELS", "25000000"))  # a phone's photo is 5712 x 4284
MAX_SIDE = 20_000
MAX_SCANS = 20  # a progressive JPEG has about 10, and each costs as much as the picture
{% endif %}
{% if plan.has_pictures or plan.single %}
MAX_PARTS = 10_000  # of a file or form
{% endif %}
MAX_MARKS = {{ plan.marks }}  # commas and brackets of JSON{% if plan.has_files %}, % of a data URL{% endif %}: each costs memory
{% if plan.has_files %}
MAX_URL, MAX_HOST = 8192, 253
MAX_REDIRECTS = 20  # as browsers do
URL_SECONDS = float(os.environ.get("URL_SECONDS", "5"))
ALLOW_PRIVATE_URLS = os.environ.get("ALLOW_PRIVATE_URLS") == "1"
{% endif %}

{% if plan.has_pictures %}
Image.MAX_IMAGE_PIXELS = None  # Pillow would only warn; see check_size

{% endif %}
# Loaded once per container, outside the handler: every later request is fast.
interpreter = Interpreter(model_path=str(MODEL_PATH))
{% for input in plan.inputs if input.resized %}
interpreter.resize_tensor_input(interpreter.get_input_details()[{{ input.position }}]["index"], {{ input.shape }})
{% endfor %}
{% if plan.signature %}
run = interpreter.get_signature_runner({{ plan.signature | tojson }})
{% else %}
interpreter.allocate_tensors()
{% endif %}
{% if plan.single %}
{% if plan.signature %}
MODEL_INPUT = run.get_input_details()[{{ plan.inputs[0].name | tojson }}]
{% else %}
MODEL_INPUT = interpreter.get_input_details()[0]
{% endif %}
{% elif plan.signature %}
INPUTS: dict[str, Any] = run.get_input_details()
{% else %}
INPUTS: dict[str, Any] = {
{% for input in plan.inputs %}
    {{ input.name | tojson }}: interpreter.get_input_details()[{{ input.position }}],
{% endfor %}
}
{% if plan.has_pictures %}
MODEL_INPUT = INPUTS[{{ plan.picture | tojson }}]
{% endif %}
{% endif %}
{% if plan.answer != "tensors" %}
{% if plan.signature %}
MODEL_OUTPUT = run.get_output_details()[{{ plan.outputs[0].name | tojson }}]
{% else %}
MODEL_OUTPUT = interpreter.get_output_details()[{{ plan.outputs[0].position }}]
{% endif %}
{% elif plan.signature %}
OUTPUTS: dict[str, Any] = run.get_output_details()
{% else %}
OUTPUTS: dict[str, Any] = {
{% for output in plan.outputs %}
    {{ output.name | tojson }}: interpreter.get_output_details()[{{ output.position }}],
{% endfor %}
}
{% endif %}
{% if plan.has_pictures %}
{% if plan.channels_first %}
_, CHANNELS, HEIGHT, WIDTH = MODEL_INPUT["shape"].tolist()
{% else %}
_, HEIGHT, WIDTH, CHANNELS = MODEL_INPUT["shape"].tolist()
{% endif %}
MODE = "L" if CHANNELS == 1 else "RGB"
{% endif %}
{% if plan.answer == "labels" %}
LABELS = (MODEL_PATH.parent / "labels.txt").read_text(encoding="utf-8").splitlines()
TOP = {{ cookiecutter._top }}  # so many labels are in a reply
{% endif %}
{% if plan.has_sounds %}
RATE = {{ plan.rate }}  # samples per second that the model was trained on
{% endif %}


class RequestError(Exception):
    """The request is at fault; the text is the reason that the caller gets.

    It is made of our own words and numbers: what a client, server or file says may be
    long, private, or no text at all.
    """


def handler(event: Any, context: object) -> dict[str, Any]:  # noqa: ANN401{% if not plan.has_files %}, ARG001{% endif %}

    """Answer one request in the form in which it came: plain, or as HTTP."""
    is_http = isinstance(event, dict) and "requestContext" in event
{% if plan.has_files %}
    seconds = url_seconds(context)
{% endif %}
    try:
{% if plan.single %}
        data = {{ file.key }}_of_http(event, seconds) if is_http else {{ file.key }}_of(event, seconds)
        reply = answer({% if plan.single == "image" %}preprocess(decode(data)){% elif plan.single == "audio" %}waveform(data, MODEL_INPUT){% else %}stored_array(data, MODEL_INPUT){% endif %})
{% else %}
        reply = answer(tensors_of(body_of(event) if is_http else event{% if plan.has_files %}, seconds{% endif %}))
{% endif %}
        status = 200
    except RequestError as reason:
        status = 400
        reply = {"error": str(reason), "statusCode": status}
    if not is_http:
        return reply
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(reply),
        "isBase64Encoded": False,
    }


{% if plan.has_files %}
def refused(reason: str, error: Exception) -> RequestError:
    """The reason for the caller; the error goes to the log, where its owner may read it."""
    print(f"{reason}: {error!a}"[:500])
    return RequestError(reason)


{% endif %}
{% if plan.single %}
{% include "app/forms.py.jinja" %}
{% else %}
{% include "app/named.py.jinja" %}
{% endif %}
{% if plan.has_files %}
{% include "app/download.py.jinja" %}
{% endif %}
{% if plan.has_pictures %}
{% include "app/picture.py.jinja" %}
{% endif %}
{% if plan.has_sounds %}
{% include "app/sound.py.jinja" %}
{% endif %}
{% if plan.has_arrays %}
{% include "app/array.py.jinja" %}
{% endif %}
{% if plan.has_numbers %}
{% include "app/numbers.py.jinja" %}
{% endif %}
{% include "app/model.py.jinja" %}
