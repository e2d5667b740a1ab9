"""The good and bad events that are sent to a wheel's function, and the replies it must give."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
IMAGES = FOLDER / "images"
MODELS = FOLDER / "models"

# Limits of the functions under test. MAX_BYTES is small, so that it takes no time to exceed it.
# URL_SECONDS is enough for an emulated processor on a machine that compiles meanwhile.
MAX_BYTES = 100_000
URL_SECONDS = 5.0

SAMPLE = "7.png"
# The sample in other forms, in base64, made by Pillow: lossless WebP, white and black ink on a
# transparent background, and GIF, which the handler refuses.
SAMPLE_WEBP = (
    "UklGRlwAAABXRUJQVlA4TE8AAAAvB8ABAHdAkG0zgw/h/pyDEAiQIQckEAiQIQckmP9tAP5ZYiqBBYxi22pzaStM"
    "IAk3CGkKuhOWUVD3iZ6I/gfxF4QNLOm/07hi4RDwAhUAAA=="
)
SAMPLE_WHITE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAQAAABuBnYAAAAAVklEQVR42kWMMRGAMADEcoCQ4qASkICESsFRJYAE"
    "cAAKunYLQ+nxv+SHPCIuZlWDTAAsXNys3IC92d0oiMmiajHJuAE8VCoz568UQ6M2o/avAYDAwZcXj3E7qpZ6iVQA"
    "AAAASUVORK5CYII="
)
SAMPLE_BLACK = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAQAAABuBnYAAAAATklEQVR42k3LwQ1AQBQA0RcUsjpQghKUsB1uCZRA"
    "B1SwV7fvgDCnySQDjIoQEt0TNrvJ7kcxG27NqhCqTAsOp1Nv/YYq/f9BvNqAZHnDBfi9E1LINRN4AAAAAElFTkSu"
    "QmCC"
)
SAMPLE_GIF = (
    "R0lGODdhCAAIAIMAAAAAACAgIDAwMEBAQFBQUGBgYHBwcICAgI+Pj6+vr7+/v8/Pz9/f3+/v7////wAAACwAAAAA"
    "CAAIAAAIMQABABiQwIGDAAIBHDiAgEHChAkUCBBYoIHBBgUECjCQYMFDgQ0QPhTg4CMAAgoeBgQAOw=="
)
PHOTO, PHOTO_CLASS = "0.jpg", 0
CLASSES = 10
MAX_SCANS = 20
# The most characters of an error: an error is one short sentence of the handler's own words.
MAX_ERROR = 300


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model's known answers to the test images."""

    tolerance: float
    scores: Mapping[str, tuple[float, ...]]
    top1: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One event and the expected reply."""

    name: str
    event: object
    image: str = ""
    """The image in the event. The scores must match if the image has known answers."""
    reason: str = ""
    """Words that the error must contain; empty if the event must be answered."""

    @property
    def http(self) -> bool:
        """True if the reply is a proxy reply, with statusCode, headers and body."""
        return isinstance(self.event, dict) and "requestContext" in self.event


def known_answers() -> dict[str, Known]:
    """Return the known answers by model name; see smoke_lambda/train/digits.py."""
    data = json.loads((MODELS / "known.json").read_text())
    return {
        model: Known(
            tolerance=row["tolerance"],
            scores={image: tuple(a["scores"]) for image, a in row["answers"].items()},
            top1={image: a["top1"] for image, a in row["answers"].items()},
        )
        for model, row in data.items()
    }


def encoded(data: bytes) -> str:
    """Return the data in base64."""
    return base64.b64encode(data).decode()


def form(data: bytes, name: str = SAMPLE) -> bytes:
    """Return a form with a text and a file, as browsers and `curl -F` send it (RFC 7578)."""
    disposition = b'Content-Disposition: form-data; name="%s"'
    return b"\r\n".join(
        (
            b"--boundary",
            disposition % b"comment",
            b"",
            b"a seven",
            b"--boundary",
            disposition % b"file" + b'; filename="%s"' % name.encode(),
            b"Content-Type: image/png",
            b"",
            data,
            b"--boundary--",
            b"",
        )
    )


def image(name: str) -> str:
    """Return a test image in base64."""
    return encoded((IMAGES / name).read_bytes())


def rest_event(
    body: str | None, *, is_base64: bool, content_type: str = "image/png"
) -> dict[str, Any]:
    """Return a request as an API Gateway REST API (payload 1.0) passes it on."""
    return {
        "version": "1.0",
        "resource": "/classify",
        "path": "/classify",
        "httpMethod": "POST",
        "headers": {"Content-Type": content_type},
        "queryStringParameters": None,
        "requestContext": {"stage": "prod", "httpMethod": "POST", "path": "/prod/classify"},
        "body": body,
        "isBase64Encoded": is_base64,
    }


def http_event(
    body: str | None,
    *,
    is_base64: bool,
    content_type: str = "image/png",
    host: str = "a1.execute-api",
) -> dict[str, Any]:
    """Return a request as an API Gateway HTTP API (payload 2.0) or a function URL passes it on."""
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"content-type": content_type},
        "requestContext": {
            "domainName": f"{host}.us-east-1.example",
            "http": {"method": "POST", "path": "/", "protocol": "HTTP/1.1"},
        },
        "isBase64Encoded": is_base64,
    }
    # Without a body, payload 2.0 has no "body" key.
    return event if body is None else {**event, "body": body}


def cases(known: Known, server: str, *, private: bool) -> Iterator[Case]:
    """Yield every event for one model.

    Args:
        known: the model's known answers.
        server: URL of the loopback server (smoke_lambda/inside/server.py), no slash at its end.
        private: True if the function may reach the server; if False, it must refuse to.
    """
    for name in known.scores:
        yield Case(name=f"image {name}", event={"image": image(name)}, image=name)
    yield from _forms()
    yield from _bad_events()
    yield from _bad_images()
    yield from _bad_bodies()
    yield from _bad_urls()
    yield from _reachable(server) if private else _unreachable(server)


def _forms() -> Iterator[Case]:
    png, photo = image(SAMPLE), image(PHOTO)
    as_json = json.dumps({"image": png})
    data_url = f"data:image/png;base64,{png}"
    forms: dict[str, object] = {
        "data URL": {"url": data_url},
        "data URL as image": {"image": data_url},
        "WebP": {"image": SAMPLE_WEBP},
        "white on transparent": {"image": SAMPLE_WHITE},
        "black on transparent": {"image": SAMPLE_BLACK},
        "base64 with line breaks": {"image": png[:60] + "\n" + png[60:]},
        "REST API, image": rest_event(png, is_base64=True),
        "REST API, JSON": rest_event(as_json, is_base64=False),
        "HTTP API, image": http_event(png, is_base64=True),
        "HTTP API, JSON": http_event(json.dumps({"url": data_url}), is_base64=False),
        "function URL, image": http_event(png, is_base64=True, host="b2.lambda-url"),
        "function URL, JSON in base64": http_event(
            encoded(as_json.encode()), is_base64=True, host="b2.lambda-url"
        ),
        "function URL, form": http_event(
            encoded(form((IMAGES / SAMPLE).read_bytes())),
            is_base64=True,
            content_type="multipart/form-data; boundary=boundary",
            host="b2.lambda-url",
        ),
        "HTTP API, JSON with a byte-order mark": http_event("\ufeff" + as_json, is_base64=False),
    }
    for name, event in forms.items():
        yield Case(name=name, event=event, image=SAMPLE)
    yield Case(name="JPEG", event={"image": photo}, image=PHOTO)
    for name, make in (("REST API", rest_event), ("HTTP API", http_event)):
        event = make(photo, is_base64=True, content_type="image/jpeg")
        yield Case(name=f"{name}, JPEG", event=event, image=PHOTO)


def _bad_events() -> Iterator[Case]:
    wanted = 'either "url" or "image"'
    events: list[object] = [None, 7, "text", [], {}, {"picture": "x"}, {"url": "x", "image": "x"}]
    for event in events:
        yield Case(name=f"event {json.dumps(event)}", event=event, reason=wanted)
    values: list[object] = [None, 7, True, [], {}, ""]
    for value in values:
        for key in ("url", "image"):
            yield Case(
                name=f"{key} {json.dumps(value)}", event={key: value}, reason="must be a string"
            )


def _bad_images() -> Iterator[Case]:
    png = (IMAGES / SAMPLE).read_bytes()
    photo = (IMAGES / PHOTO).read_bytes()
    faults = {
        "text": (b"no image", "send PNG, JPEG"),
        "GIF": (base64.b64decode(SAMPLE_GIF), "send PNG, JPEG"),
        "truncated PNG": (png[:-40], "the PNG is damaged"),
        "truncated JPEG": (photo[: len(photo) // 2], "the JPEG is damaged"),
        "PNG signature only": (png[:8], "the PNG is damaged"),
        "decompression bomb": (bomb(30_000, 30_000), "is too large"),
        "tall PNG": (bomb(1, 24_000_000), "is too large"),
        "JPEG of many scans": (many_scans(), "scans"),
        "too large": (bytes(MAX_BYTES + 1), "is larger than"),
    }
    for name, (data, reason) in faults.items():
        yield Case(name=name, event={"image": encoded(data)}, reason=reason)
    yield Case(name="no base64", event={"image": "*"}, reason="not valid base64")
    yield Case(name="no ASCII", event={"image": "\ud800é"}, reason="not valid base64")


def _bad_bodies() -> Iterator[Case]:
    for name, make in (("REST API", rest_event), ("HTTP API", http_event)):
        bodies: dict[str, tuple[str | None, bool, str]] = {
            "no body": (None, False, "has no body"),
            "empty body": ("", True, "has no body"),
            "broken base64": ("*", True, "not valid base64"),
            "bytes read as text": ("\ufffdPNG\r\n", False, "neither JSON nor marked as base64"),
            "broken JSON": ('{"image": ', False, "not valid JSON"),
            "deep JSON": ("[" * 50_000, False, "not valid JSON"),
            "JSON list": ("[]", False, 'either "url" or "image"'),
            "text in base64": (encoded(b"text"), True, "not a readable image"),
            "form without a file": (encoded(b"--b\r\n\r\n\r\n--b--\r\n"), True, "has no file"),
            "JSON of many values": (f"[{'0,' * 200_000}0]", False, "too many values"),
        }
        for what, (body, is_base64, reason) in bodies.items():
            event = make(body, is_base64=is_base64)
            yield Case(name=f"{name}, {what}", event=event, reason=reason)


def _bad_urls() -> Iterator[Case]:
    schemes = ("ftp://example.com/x", "file:///etc/passwd", "gopher://x", "x", "http:", "//host/x")
    for url in schemes:
        yield Case(name=url, event={"url": url}, reason="only http, https and data URLs")
    for url in ("http://[", "http://a:b", "http://127.0.0.1:99999/", "http://\ud800/"):
        yield Case(name=ascii(url), event={"url": url}, reason="cannot be fetched")
    host = "é" * 300
    yield Case(name="long URL", event={"url": "http://a/" + "x" * 9000}, reason="is longer than")
    yield Case(name="long host", event={"url": f"http://{host}/"}, reason="is longer than")
    yield Case(name="data URL, no comma", event={"url": "data:x"}, reason="no comma")
    too_large = "data:," + "x" * (MAX_BYTES + 1)
    yield Case(name="data URL, too large", event={"url": too_large}, reason="is larger than")


def _reachable(server: str) -> Iterator[Case]:
    yield Case(name="http URL", event={"url": f"{server}/{SAMPLE}"}, image=SAMPLE)
    yield Case(name="redirect", event={"url": f"{server}/to/{SAMPLE}"}, image=SAMPLE)
    for path, reason in (
        ("to/file:///etc/passwd", "only http, https and data URLs"),
        ("loop", "redirects more than"),
        ("missing", "status 404"),
        ("large", "is larger than"),
        ("slow", "took longer than"),
    ):
        yield Case(name=f"URL, {path}", event={"url": f"{server}/{path}"}, reason=reason)
    plain = server.replace("http:", "https:")
    yield Case(name="https without TLS", event={"url": plain}, reason="cannot be fetched")


def _unreachable(server: str) -> Iterator[Case]:
    metadata = "169.254.169.254"
    for url in (
        server,
        f"http://{metadata}/latest/meta-data/",
        f"http://[::ffff:{metadata}]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[fd00:ec2::254]/",
        "http://[::1]/",
        "http://0x7f000001/",
        "http://localhost/",
        "https://10.0.0.1/",
        "http://192.0.0.8/",
        "http://[2002:a9fe:a9fe::1]/",
    ):
        name = "a loopback URL" if url == server else url
        yield Case(name=name, event={"url": url}, reason="not public")


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of few bytes whose header claims `width` times `height` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9)))


def many_scans() -> bytes:
    """Return the photo with its one scan repeated: decoding such a small file can take minutes."""
    photo = (IMAGES / PHOTO).read_bytes()
    scan = photo[photo.index(b"\xff\xda") : -2]
    return photo[:-2] + scan * MAX_SCANS + photo[-2:]


def judge(case: Case, reply: object, model: str, known: Known) -> str:
    """Return what is wrong with a reply, as expected against found; empty if nothing is."""
    status, body = 200, reply
    if case.http:
        try:
            assert isinstance(reply, dict)
            status, body = reply["statusCode"], json.loads(reply["body"])
            assert reply["headers"] == {"Content-Type": "application/json"}
        except (AssertionError, KeyError, TypeError, ValueError):
            return f"expected a proxy's reply with a JSON body, found {reply!r}"
    if case.reason:
        expected = {"error": f"...{case.reason}...", "statusCode": 400}
        right = (
            isinstance(body, dict)
            and body.keys() == expected.keys()
            and body["statusCode"] == 400
            and status == (400 if case.http else 200)
            and case.reason in str(body["error"])
            and is_plain(str(body["error"]))
        )
        return "" if right else f"expected {expected}, found {reply!r}"
    if status != 200 or not isinstance(body, dict) or body.keys() != {"class", "scores", "model"}:
        return f"expected an answer, found {reply!r}"
    return _judge_answer(case, body, model, known)


def is_plain(error: str) -> bool:
    """True if an error is one short line of ASCII without a traceback or an address in memory."""
    inner = ("Traceback", " at 0x", "\n")
    return error.isascii() and len(error) <= MAX_ERROR and not any(word in error for word in inner)


def _judge_answer(case: Case, body: dict[str, Any], model: str, known: Known) -> str:
    scores = body["scores"]
    if body["model"] != model:
        return f"expected model {model}, found {body['model']!r}"
    if type(body["class"]) is not int or not isinstance(scores, list):
        return f"expected an integer and a list, found {body!r}"
    if len(scores) != CLASSES or any(type(score) is not float for score in scores):
        return f"expected {CLASSES} numbers, found {scores!r}"
    top1 = PHOTO_CLASS if case.image == PHOTO else known.top1[case.image]
    if body["class"] != top1:
        return f"expected class {top1}, found {body['class']}"
    if case.image == PHOTO:  # JPEG decoders differ, and so do the scores
        return ""
    wrong = [
        f"{digit}: expected {wanted:g} to {known.tolerance:g}, found {score:g}"
        for digit, (score, wanted) in enumerate(zip(scores, known.scores[case.image], strict=True))
        if not abs(score - wanted) <= known.tolerance  # in this form, NaN is wrong too
    ]
    return "; ".join(wrong)
