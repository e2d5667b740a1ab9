"""An AWS Lambda function that classifies one image with TensorFlow Lite.

Copy this file and your model; it needs numpy, Pillow and tflite_runtime. Send it

    {"url": "https://..."}       http, https or data URL of a PNG or JPEG
    {"image": "<base64>"}        the PNG or JPEG itself

or put it behind a function URL, API Gateway or a load balancer, and POST the image
(binary, which Lambda receives as base64) or either form above as JSON. The reply is

    {"class": 7, "scores": [0.01, ...], "model": "digits-float32"}

or, for a request that is at fault, {"error": "<reason>", "statusCode": 400}.

Environment variables: MODEL_PATH, MAX_BYTES (of an image), MAX_PIXELS, URL_SECONDS
(for a whole download), ALLOW_PRIVATE_URLS=1 (let a URL name a private address).
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import ipaddress
import json
import os
import queue
import socket
import ssl
import threading
import time
import urllib.parse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

DEFAULT_MODEL = Path(__file__).resolve().parent / "models" / "digits-float32.tflite"
MODEL_PATH = Path(os.environ.get("MODEL_PATH", DEFAULT_MODEL))
MAX_BYTES = int(os.environ.get("MAX_BYTES", "4000000"))
URL_SECONDS = float(os.environ.get("URL_SECONDS", "5"))
MAX_REDIRECTS = 3
ALLOW_PRIVATE_URLS = os.environ.get("ALLOW_PRIVATE_URLS") == "1"

# A small file can unpack to gigabytes: refuse it by its header, before decoding.
Image.MAX_IMAGE_PIXELS = int(os.environ.get("MAX_PIXELS", "24000000"))
warnings.simplefilter("error", Image.DecompressionBombWarning)

# Loaded once per container, outside the handler: every later request is fast.
interpreter = Interpreter(model_path=str(MODEL_PATH))
interpreter.allocate_tensors()
MODEL_INPUT = interpreter.get_input_details()[0]
MODEL_OUTPUT = interpreter.get_output_details()[0]


class RequestError(Exception):
    """The request is at fault; the text is the reason that the caller gets."""


def handler(event: Any, context: object) -> dict[str, Any]:  # noqa: ANN401, ARG001
    """Answer one request in the form in which it came: plain, or as HTTP."""
    is_http = isinstance(event, dict) and "requestContext" in event
    try:
        reply = classify(image_of_http(event) if is_http else image_of(event))
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


# --- The request ----------------------------------------------------------------------


def image_of_http(event: dict[str, Any]) -> bytes:
    """The image that is the body of an HTTP request, or that its JSON body stands for."""
    body = event.get("body")
    if not isinstance(body, str) or not body:
        raise RequestError("the request has no body: POST an image, or JSON")
    is_base64 = event.get("isBase64Encoded") is True
    data = decode_base64(body) if is_base64 else body.encode("utf-8", "replace")
    if data.lstrip().startswith((b"{", b"[")):
        try:
            request = json.loads(data)
        except (ValueError, RecursionError):
            raise RequestError("the body is not valid JSON") from None
        return image_of(request)
    if not is_base64:
        raise RequestError(
            "the body is neither JSON nor marked as base64; "
            "a REST API needs the image's type among its binary media types"
        )
    return data


def image_of(request: object) -> bytes:
    """The image that {"url": ...} or {"image": ...} stands for."""
    if not isinstance(request, dict) or ("url" in request) == ("image" in request):
        raise RequestError('send an object with either "url" or "image"')
    key = "url" if "url" in request else "image"
    value = request[key]
    if not isinstance(value, str) or not value:
        raise RequestError(f'"{key}" must be a string that is not empty')
    return download(value) if key == "url" else decode_base64(value)


def decode_base64(text: str) -> bytes:
    """The bytes of a base64 text; line breaks in it do not matter."""
    try:
        return limited(base64.b64decode("".join(text.split()), validate=True))
    except ValueError:
        raise RequestError("the image is not valid base64") from None


def limited(data: bytes) -> bytes:
    """The same bytes, if they are not too many."""
    if len(data) > MAX_BYTES:
        raise RequestError(f"the image is larger than {MAX_BYTES} bytes")
    return data


# --- Its URL, which must not reach what only this function can reach ------------------


def download(url: str) -> bytes:
    """What a URL holds, within URL_SECONDS however slow the other side is."""
    if url[:5].lower() == "data:":
        return data_url(url)
    answer: queue.Queue[bytes | RequestError] = queue.Queue()
    sockets: list[socket.socket] = []

    def work() -> None:
        try:
            answer.put(fetch(url, sockets))
        except RequestError as reason:
            answer.put(reason)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer.put(RequestError(f"the URL cannot be fetched: {error}"))

    # A thread, since a socket's timeout bounds neither a name server nor a trickle.
    threading.Thread(target=work, daemon=True).start()
    try:
        result = answer.get(timeout=URL_SECONDS)
    except queue.Empty:
        result = RequestError(f"the URL took longer than {URL_SECONDS:g} s")
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # ends the thread
    if isinstance(result, RequestError):
        raise result
    return result


def data_url(url: str) -> bytes:
    """What a data URL holds (RFC 2397)."""
    head, comma, data = url.partition(",")
    if not comma:
        raise RequestError("the data URL has no comma")
    raw = urllib.parse.unquote_to_bytes(data.encode("utf-8", "replace"))
    is_base64 = head.lower().endswith(";base64")
    return decode_base64(raw.decode("latin-1")) if is_base64 else limited(raw)


def fetch(url: str, sockets: list[socket.socket]) -> bytes:
    """GET an http(s) URL; each redirect is checked like the URL itself."""
    deadline = time.monotonic() + URL_SECONDS
    for _ in range(MAX_REDIRECTS + 1):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestError("only http, https and data URLs are allowed")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        sock = connect(parts.hostname, port, deadline)
        connection = http.client.HTTPConnection(parts.hostname, port)
        if parts.scheme == "https":
            # The certificate must be that of the name, although we connect by address.
            context = ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=parts.hostname)
            connection = http.client.HTTPSConnection(parts.hostname, port, context=context)
        connection.sock = sock
        sockets.append(sock)
        with contextlib.closing(connection):
            target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
            connection.request("GET", urllib.parse.quote(target, safe="%/:=&?~+!$,;'@()*[]"))
            response = connection.getresponse()
            if response.status == 200:
                return limited(response.read(MAX_BYTES + 1))
            if response.status not in (301, 302, 303, 307, 308):
                raise RequestError(f"the URL answers with status {response.status}")
            url = urllib.parse.urljoin(url, response.getheader("Location", ""))
    raise RequestError(f"the URL redirects more than {MAX_REDIRECTS} times")


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to a checked address; the name is not resolved again, so it cannot change."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(info[4][0]) for info in found]
    if not ALLOW_PRIVATE_URLS and not all(map(is_public, addresses)):
        raise RequestError("the URL's host has an address that is not public")
    problem: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection(
                (address, port), timeout=max(deadline - time.monotonic(), 0.001)
            )
        except OSError as error:
            problem = error
    raise OSError(f"no connection to {host}: {problem}")


def is_public(address: str) -> bool:
    """Whether an address is on the Internet: no loopback, private, link-local or metadata one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        # Nor any other form that leads to an IPv4 address: NAT64, 6to4.
        if ip not in ipaddress.ip_network("2000::/3") or ip.sixtofour:
            return False
    return ip.is_global and not ip.is_multicast


# --- The model ------------------------------------------------------------------------


def classify(data: bytes) -> dict[str, Any]:
    """The model's answer to an image, in types that JSON knows."""
    interpreter.set_tensor(MODEL_INPUT["index"], to_tensor(data))
    interpreter.invoke()
    scores = interpreter.get_tensor(MODEL_OUTPUT["index"])[0].astype(np.float32)
    scale, zero_point = MODEL_OUTPUT["quantization"]
    if scale:
        scores = (scores - zero_point) * scale
    return {
        "class": int(scores.argmax()),
        "scores": [round(score, 6) for score in scores.tolist()],
        "model": MODEL_PATH.stem,
    }


def to_tensor(data: bytes) -> np.ndarray[Any, Any]:
    """An image as the model's input: shape [1, height, width, 1 or 3], its type and scale."""
    _, height, width, channels = MODEL_INPUT["shape"].tolist()
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow raises many kinds for a broken file
        raise RequestError(f"not a readable PNG or JPEG image: {error}") from None
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    # Your model's preprocessing goes here; this one was trained on values from 0 to 1.
    pixels = np.asarray(image, np.float32).reshape(MODEL_INPUT["shape"]) / np.float32(255)
    scale, zero_point = MODEL_INPUT["quantization"]
    if scale:
        limits = np.iinfo(MODEL_INPUT["dtype"])
        pixels = np.clip(np.round(pixels / scale) + zero_point, limits.min, limits.max)
    return pixels.astype(MODEL_INPUT["dtype"])
