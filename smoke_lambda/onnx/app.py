# Written by ./scripts/update from smoke_lambda/app.py; not to be edited.
# Written by ./scripts/update from smoke_lambda/functions/template.
"""An AWS Lambda function that classifies one image with ONNX Runtime.

Copy this file and your model; it needs numpy, Pillow and onnxruntime. Send it

    {"url": "https://..."}       http, https or data URL of a PNG, JPEG or WebP image
    {"image": "<base64>"}        the image itself, or its data URL

or put it behind a function URL, API Gateway or a load balancer, and POST the image
(binary, which Lambda receives as base64), a form with a file (multipart/form-data), or
either object above as JSON. The reply is

    {"class": 7, "scores": [0.01, ...], "model": "digits-float32"}

or, for a request that is at fault, {"error": "<reason>", "statusCode": 400}.

A camera's orientation is heeded. Where an image is transparent, dark ink is put on white
and bright ink on black, so that it shows; a model of one channel, as this one of bright
digits on black, gets bright ink in both cases.

Environment variables: MODEL_PATH, MAX_BYTES (of an image), MAX_PIXELS (half as many of a
WebP image; 25 million take 250 MB), URL_SECONDS (for a whole download; one second before
the function's own timeout it ends in any case), ALLOW_PRIVATE_URLS=1 (let a URL name a
private address).
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
import re
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]
from PIL import Image, features

DEFAULT_MODEL = Path(__file__).resolve().parent / "models" / "digits-float32.onnx"
MODEL_PATH = Path(os.environ.get("MODEL_PATH", DEFAULT_MODEL))
MAX_BYTES = int(os.environ.get("MAX_BYTES", "4000000"))
MAX_PIXELS = int(os.environ.get("MAX_PIXELS", "25000000"))  # a phone's photo is 5712 x 4284
MAX_SIDE = 20_000
MAX_SCANS = 20  # a progressive JPEG has about 10, and each costs as much as the picture
MAX_PARTS = 10_000  # of a file or form
MAX_MARKS = 100_000  # commas and brackets of JSON, % of a data URL: each costs memory
MAX_URL, MAX_HOST = 8192, 253
MAX_REDIRECTS = 20  # as browsers do
URL_SECONDS = float(os.environ.get("URL_SECONDS", "5"))
ALLOW_PRIVATE_URLS = os.environ.get("ALLOW_PRIVATE_URLS") == "1"

Image.MAX_IMAGE_PIXELS = None  # Pillow would only warn; see check_size

# --- The runtime, behind the interface that the rest of this file uses -------------------

QUANTIZATION = "quantization"
DTYPES = {"float": "float32", "double": "float64"}


class Interpreter:
    """A model and its tensors.

    Args:
        num_threads: for one inference; by default, ONNX Runtime decides.

    Raises:
        ValueError: the file is no model that this runtime can run, or its size is open.
    """

    def __init__(self, model_path: str, num_threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        # A thread that waits by spinning uses up the share of a processor that Lambda gives.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                model_path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its kinds of errors have no common class of their own
            raise ValueError(f"ONNX Runtime cannot load the model: {error}") from error
        found = self._session.get_modelmeta().custom_metadata_map.get(QUANTIZATION, "{}")
        scales = json.loads(found)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._inputs = [_details(number, node, scales) for number, node in enumerate(inputs)]
        self._outputs = [_details(number, node, scales) for number, node in enumerate(outputs)]
        for node in inputs:
            if 1 in _shape(node.shape[1:]) and _shape(node.shape[1:]) != list(node.shape[1:]):
                raise ValueError(
                    f"the input {node.name} of shape {node.shape} is open: "
                    "only its batch may be; export the model with a fixed size"
                )
        for detail in self._inputs:
            if _is_channels_first(detail["shape"]):
                detail["shape"] = detail["shape"][[0, 2, 3, 1]]
        self._feeds: dict[str, Any] = {}
        self._found: list[Any] = []

    def allocate_tensors(self) -> None:
        """See TensorFlow Lite; ONNX Runtime has done so, or does with the first inference."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Of each input: `index`, `name`, `shape`, `dtype`, `quantization` (scale, zero point)."""
        return self._inputs

    def get_output_details(self) -> list[dict[str, Any]]:
        """Of each output, as of the inputs."""
        return self._outputs

    def resize_tensor_input(self, index: int, shape: Any) -> None:  # noqa: ANN401
        """Give an input of open shape another one."""
        self._inputs[index]["shape"] = np.array(shape, np.int32)

    def set_tensor(self, index: int, tensor: Any) -> None:  # noqa: ANN401
        """The input of the next inference, of the shape and type that its details have."""
        node = self._session.get_inputs()[index]
        if tensor.ndim == 4 and _is_channels_first(np.array(_shape(node.shape))):
            tensor = tensor.transpose(0, 3, 1, 2)
        self._feeds[node.name] = np.ascontiguousarray(tensor)

    def invoke(self) -> None:
        """Run the model.

        Raises:
            ValueError: an input does not fit.
        """
        try:
            self._found = self._session.run(None, self._feeds)
        except Exception as error:  # see above
            raise ValueError(f"ONNX Runtime: {error}") from error

    def get_tensor(self, index: int) -> Any:  # noqa: ANN401
        """An output of the last inference."""
        return self._found[index]


def _details(index: int, node: Any, scales: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    kind = node.type[len("tensor(") : -1]
    scale, zero = scales.get(node.name, (0.0, 0))
    return {
        "index": index,
        "name": node.name,
        "shape": np.array(_shape(node.shape), np.int32),
        "dtype": np.dtype(DTYPES.get(kind, kind)).type,
        "quantization": (scale, zero),
    }


def _shape(shape: list[Any]) -> list[int]:
    """A shape with 1 for what is open: those have a name, or none."""
    return [size if isinstance(size, int) and size > 0 else 1 for size in shape]


def _is_channels_first(shape: Any) -> bool:  # noqa: ANN401
    """Whether a shape is that of a picture with its channels before its height and width."""
    return len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)


# Loaded once per container, outside the handler: every later request is fast.
interpreter = Interpreter(model_path=str(MODEL_PATH))
interpreter.allocate_tensors()
MODEL_INPUT = interpreter.get_input_details()[0]
MODEL_OUTPUT = interpreter.get_output_details()[0]
_, HEIGHT, WIDTH, CHANNELS = MODEL_INPUT["shape"].tolist()
MODE = "L" if CHANNELS == 1 else "RGB"


class RequestError(Exception):
    """The request is at fault; the text is the reason that the caller gets.

    It is made of our own words and numbers: what a client, server or file says may be
    long, private, or no text at all.
    """


def handler(event: Any, context: object) -> dict[str, Any]:  # noqa: ANN401
    """Answer one request in the form in which it came: plain, or as HTTP."""
    is_http = isinstance(event, dict) and "requestContext" in event
    seconds = url_seconds(context)
    try:
        data = image_of_http(event, seconds) if is_http else image_of(event, seconds)
        reply = answer(preprocess(decode(data)))
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


def refused(reason: str, error: Exception) -> RequestError:
    """The reason for the caller; the error goes to the log, where its owner may read it."""
    print(f"{reason}: {error!a}"[:500])
    return RequestError(reason)


# --- The request ----------------------------------------------------------------------


def image_of_http(event: dict[str, Any], seconds: float) -> bytes:
    """The image that the body of an HTTP request is, or stands for."""
    body = event.get("body")
    if not isinstance(body, str) or not body:
        raise RequestError("the request has no body: POST an image, or JSON")
    is_base64 = event.get("isBase64Encoded") is True
    data = decode_base64(body) if is_base64 else body.encode("utf-8", "replace")
    text = data[3:] if data.startswith(b"\xef\xbb\xbf") else data  # a byte-order mark
    if text.lstrip().startswith((b"{", b"[")):
        return image_of(parse_json(text), seconds)
    if not is_base64:
        raise RequestError(
            "the body is neither JSON nor marked as base64; "
            "a REST API needs the image's type among its binary media types"
        )
    return file_of_form(data) if data.startswith(b"--") else data


def parse_json(text: bytes) -> object:
    """What a JSON text says, if it is not made of so many values that they fill memory."""
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_MARKS:
        raise RequestError("the JSON has too many values")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RequestError("the body is not valid JSON") from None


def file_of_form(data: bytes) -> bytes:
    """The first file of a form (multipart/form-data, RFC 7578)."""
    boundary = data[:100].partition(b"\r\n")[0]  # it has at most 72 bytes
    for part in data.split(b"\r\n" + boundary, MAX_PARTS):
        head, _, content = part.partition(b"\r\n\r\n")
        if b"filename" in head.lower() and content:
            return content
    raise RequestError("the form has no file: send the image as one")


def image_of(request: object, seconds: float) -> bytes:
    """The image that {"url": ...} or {"image": ...} stands for."""
    if not isinstance(request, dict) or ("url" in request) == ("image" in request):
        raise RequestError('send an object with either "url" or "image"')
    key = "url" if "url" in request else "image"
    value = request[key]
    if not isinstance(value, str) or not value:
        raise RequestError(f'"{key}" must be a string that is not empty')
    if value[:5].lower() == "data:":
        return data_of_url(value)
    return download(value, seconds) if key == "url" else decode_base64(value)


def data_of_url(url: str) -> bytes:
    """What a data URL holds (RFC 2397)."""
    head, comma, data = url.partition(",")
    if not comma:
        raise RequestError("the data URL has no comma")
    if data.count("%") > MAX_MARKS:
        raise RequestError("the data URL has too many escapes: send base64")
    raw = urllib.parse.unquote_to_bytes(data.encode("utf-8", "replace"))
    return decode_base64(raw.decode("latin-1")) if head.lower().endswith(";base64") else raw


def decode_base64(text: str) -> bytes:
    """The bytes of a base64 text; line breaks in it do not matter."""
    try:
        return base64.b64decode(text.encode("ascii").translate(None, b" \t\r\n"), validate=True)
    except ValueError:
        raise RequestError("the image is not valid base64") from None


# --- Its URL, which must not reach what only this function can reach ------------------

# What has no host on the Internet: IANA's registries of special-purpose addresses
# (iana-ipv4-special-registry, iana-ipv6-special-registry) and multicast. Which of them
# the ipaddress module knows depends on the Python.
SPECIAL = [
    ipaddress.ip_network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
]
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")  # the only part of IPv6 given to hosts so far
# Forms of IPv4 addresses: mapped, and NAT64 (which DNS64 answers with).
IPV4_IN_IPV6 = [ipaddress.ip_network(block) for block in ("::ffff:0:0/96", "64:ff9b::/96")]

HEADERS = {
    "User-Agent": "image-classifier/1.0 (AWS Lambda)",  # some sites refuse whoever has none
    "Accept": "image/png, image/jpeg, image/webp;q=0.9, */*;q=0.1",
}
# Why a URL cannot be fetched, by the first kind of error that fits.
FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "its host is not known"),
    (ssl.SSLError, "its host has no valid certificate"),
    (OSError, "its host does not answer"),
    (ValueError, "it, or what its host answers, is not valid"),
    (http.client.HTTPException, "its host does not speak HTTP"),
)


def url_seconds(context: object) -> float:
    """How long a download may take: what Lambda leaves us, less the time to answer in."""
    left = getattr(context, "get_remaining_time_in_millis", None)
    return URL_SECONDS if left is None else max(min(URL_SECONDS, left() / 1000 - 1), 0.1)


def download(url: str, seconds: float) -> bytes:
    """What an http or https URL holds, within that time however slow the other side is."""
    result: queue.Queue[bytes | RequestError] = queue.Queue()
    late = f"the URL took longer than {seconds:.3g} s"

    def work() -> None:
        try:
            result.put(fetch(url, time.monotonic() + seconds))
        except RequestError as reason:
            result.put(reason)
        except (socket.timeout, TimeoutError):
            result.put(RequestError(late))
        except Exception as error:  # of an unknown kind, it would end the thread unheard
            why = next((words for kind, words in FAULTS if isinstance(error, kind)), "unknown")
            result.put(refused(f"the URL cannot be fetched: {why}", error))

    # A thread, since nothing else bounds how long a name server takes.
    threading.Thread(target=work, daemon=True).start()
    try:
        found = result.get(timeout=seconds)
    except queue.Empty:
        raise RequestError(late) from None
    if isinstance(found, RequestError):
        raise RequestError(str(found))  # a new one, since that one's traceback holds the thread's
    return found


def fetch(url: str, deadline: float) -> bytes:
    """GET a URL; each redirect is checked like the URL itself."""
    for _ in range(MAX_REDIRECTS + 1):
        with contextlib.closing(request(url, deadline)) as response:
            response.begin()
            if response.status == 200:
                return response.read(MAX_BYTES + 1)
            target = response.getheader("Location", "").encode("latin-1")
            if response.status not in (301, 302, 303, 307, 308) or not target:
                raise RequestError(f"the URL answers with status {response.status}")
            url = urllib.parse.urljoin(url, target.decode("utf-8", "surrogateescape"))
    raise RequestError(f"the URL redirects more than {MAX_REDIRECTS} times")


def request(url: str, deadline: float) -> http.client.HTTPResponse:
    """Send one GET; gives the response, of which nothing is read yet."""
    if len(url) > MAX_URL:  # before it is parsed, since urllib remembers what it parsed
        raise RequestError(f"the URL is longer than {MAX_URL} characters")
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestError("only http, https and data URLs are allowed")
    if len(parts.hostname) > MAX_HOST:
        raise RequestError(f"the URL's host is longer than {MAX_HOST} characters")
    host = parts.hostname.encode("idna").decode("ascii")
    default_port = 443 if parts.scheme == "https" else 80
    connection = http.client.HTTPConnection(host, parts.port or default_port)
    connection.default_port = default_port
    with contextlib.closing(connection):  # the response keeps the socket open
        connection.sock = connect(host, connection.port, deadline)
        if parts.scheme == "https":
            # The certificate must be that of the name, although we connect by address.
            tls = ssl.create_default_context()
            connection.sock = tls.wrap_socket(connection.sock, server_hostname=host)
        path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        path = urllib.parse.quote(path, safe="%/:=&?~+!$,;'@()*[]", errors="surrogateescape")
        connection.request("GET", path, headers=HEADERS)
        response = http.client.HTTPResponse(connection.sock, method="GET")
    response.fp = io.BufferedReader(Bounded(response.fp.detach(), deadline))
    return response


class Bounded(io.RawIOBase):
    """What comes from a socket, up to a deadline and as much as an image may need.

    http.client trusts the sizes that a server says; a chunk of size -1 has no end.
    """

    def __init__(self, file: io.RawIOBase, deadline: float) -> None:
        self.file = file
        self.deadline = deadline
        self.left = MAX_BYTES + 1_000_000  # headers, and the sizes of chunks

    def readable(self) -> bool:
        """So that a BufferedReader takes it."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Read some bytes; see io.RawIOBase."""
        if time.monotonic() > self.deadline:
            raise TimeoutError
        count = self.file.readinto(buffer) or 0
        self.left -= count
        if self.left < 0:
            raise RequestError(f"the image is larger than {MAX_BYTES} bytes")
        return int(count)

    def close(self) -> None:
        """Close the socket's file."""
        self.file.close()
        super().close()


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to a checked address; the name is not resolved again, so it cannot change."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(info[4][0]) for info in found]
    if not ALLOW_PRIVATE_URLS and not all(map(is_public, addresses)):
        raise RequestError("the URL's host has an address that is not public")
    for address in addresses:
        with contextlib.suppress(OSError):
            return socket.create_connection(
                (address, port), timeout=max(deadline - time.monotonic(), 0.001)
            )
    raise OSError(f"none of {len(addresses)} addresses answers")


def is_public(address: str) -> bool:
    """Whether an address is on the Internet: no loopback, private, link-local or metadata one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if any(ip in network for network in IPV4_IN_IPV6):
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.version == 6 and ip not in GLOBAL_IPV6:
        return False
    return not any(ip in network for network in SPECIAL)


# --- The image ------------------------------------------------------------------------

SIGNATURES = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
# By Pillow's names; it can be built without WebP.
FORMATS = {"PNG": "PNG", "JPEG": "JPEG", "WEBP": "WebP"}
if not features.check("webp"):
    del FORMATS["WEBP"]

# How to turn a picture upright, by its orientation (Exif 2.32, tag 0x0112).
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes) -> Image.Image:
    """The picture that a file holds: of the model's size and mode, upright, opaque."""
    if len(data) > MAX_BYTES:
        raise RequestError(f"the image is larger than {MAX_BYTES} bytes")
    kind = next((kind for kind in FORMATS if SIGNATURES[kind].match(data)), None)
    if kind is None:
        raise RequestError(f"not a readable image: send {', '.join(FORMATS.values())}")
    try:
        data, exif = essence(kind, data)
        image: Image.Image = Image.open(io.BytesIO(data), formats=(kind,))
        check_size(kind, *image.size)
        side = 2 * max(WIDTH, HEIGHT)
        image.draft(MODE, (side, side))  # a large JPEG is decoded at a half, fourth or eighth
        image.load()
        orientation = orientation_of(exif or image.info.get("exif", b""))
        size = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
        # Each step frees what the one before it made, if no other name holds it.
        image = simple(image)
        image = image.resize(size, Image.Resampling.BILINEAR)
        image = image if image.mode == MODE else opaque(image)
    except RequestError:
        raise
    except Exception as error:  # Pillow raises many kinds for a broken file
        reason = f"not a readable image: the {FORMATS[kind]} is damaged or cut off"
        raise refused(reason, error) from None
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def check_size(kind: str, width: int, height: int) -> None:
    """Refuse by its header a small file that would unpack to gigabytes."""
    most = MAX_PIXELS // 2 if kind == "WEBP" else MAX_PIXELS  # WebP takes twice the memory
    if width * height > most or max(width, height) > MAX_SIDE:
        raise RequestError(
            f"the image is too large: send at most {most} pixels, and {MAX_SIDE} per side"
        )


def essence(kind: str, data: bytes) -> tuple[bytes, bytes]:
    """A file with the parts alone that its picture needs, and its Exif data.

    Pillow reads the other parts too, and some can cost it minutes or gigabytes.
    """
    if kind == "WEBP":
        return data, b""  # libwebp reads no more than it needs
    return essence_of_png(data) if kind == "PNG" else essence_of_jpeg(data)


def essence_of_png(data: bytes) -> tuple[bytes, bytes]:
    """The same PNG with its necessary chunks alone, and its Exif data."""
    kept, exif, start = [data[:8]], b"", 8
    for _ in range(MAX_PARTS):
        kind = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[start:end])
        elif kind == b"eXIf":
            exif = data[start + 8 : end - 4]
        if kind in (b"IEND", b""):
            return b"".join(kept), exif
        start = end
    raise RequestError("the PNG has too many chunks")


def essence_of_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """The same JPEG without comments and applications' segments, and its Exif data."""
    marker = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")  # those are parts of scans
    kept, exif, scans, end = [data[:2]], b"", 0, 2
    for _ in range(MAX_PARTS):
        found = marker.search(data, end)
        if not found or found[1] == b"\xd9":  # the end of the image
            return b"".join(kept) + (b"\xff\xd9" if found else b""), exif
        start, kind = found.end(), found[1][0]
        end = start + int.from_bytes(data[start : start + 2], "big")
        if kind == 0xE1 and data[start + 2 : start + 8] == b"Exif\0\0":
            exif = exif or data[start + 2 : end]
        if kind == 0xDA:  # a scan: its pixels go on to the next marker
            scans += 1
            following = marker.search(data, end)
            end = following.start() if following else len(data)
        # Of the applications' segments, JFIF's and Adobe's tell what the colours are.
        if kind in (0xE0, 0xEE) or not (0xE1 <= kind <= 0xEF or kind == 0xFE):
            kept.append(data[found.start() : end])
        if scans > MAX_SCANS:
            raise RequestError(f"the JPEG has more than {MAX_SCANS} scans")
    raise RequestError("the JPEG has too many segments")


def orientation_of(exif: bytes) -> int:
    """The orientation that Exif data names, from 1 (upright) to 8; 1 if it names none."""
    tiff = exif[6:] if exif.startswith(b"Exif\0\0") else exif
    order = "<" if tiff.startswith(b"II") else ">"
    with contextlib.suppress(struct.error):
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * min(count, MAX_PARTS), 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if (tag, kind) == (0x0112, 3) and 1 <= value <= 8:
                return int(value)
    return 1


def simple(image: Image.Image) -> Image.Image:
    """The same picture in the model's mode, or, if it is transparent, in LA or RGBA."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8 rather than scale
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(MODE)
    if image.mode in (MODE, "LA", "RGBA") and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if "transparency" in image.info else MODE)


def opaque(image: Image.Image) -> Image.Image:
    """A transparent picture on a ground that shows it, in the model's mode."""
    pixels = np.asarray(image.convert("RGBA"), np.float32)
    ink, alpha = pixels[..., :3], pixels[..., 3:] / 255
    is_dark = float((ink * alpha).mean()) < 127.5 * float(alpha.mean())
    mixed = ink * alpha + (255 if is_dark else 0) * (1 - alpha)
    if is_dark and CHANNELS == 1:
        mixed = 255 - mixed
    return Image.fromarray(mixed.round().astype(np.uint8)).convert(MODE)


# --- The model ------------------------------------------------------------------------


def preprocess(image: Image.Image) -> np.ndarray[Any, Any]:
    """A picture as the model's input: shape [1, height, width, 1 or 3], its type and scale."""
    # Your model's preprocessing goes here; this one was trained on values from 0 to 1.
    pixels = np.asarray(image, np.float32)
    pixels = pixels / np.float32(255)
    return stored(pixels.reshape(MODEL_INPUT["shape"]), MODEL_INPUT)


def stored(values: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Real values in the type and scale of an input of the model."""
    scale, zero_point = detail["quantization"]
    if scale:
        limits = np.iinfo(detail["dtype"])
        values = np.clip(np.round(values / scale) + zero_point, limits.min, limits.max)
    return values.astype(detail["dtype"])


def answer(tensor: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The model's answer to its input, in types that JSON knows."""
    interpreter.set_tensor(MODEL_INPUT["index"], tensor)
    interpreter.invoke()
    scores = interpreter.get_tensor(MODEL_OUTPUT["index"]).reshape(-1).astype(np.float32)
    scale, zero_point = MODEL_OUTPUT["quantization"]
    if scale:
        scores = (scores - zero_point) * scale
    return {
        "class": int(scores.argmax()),
        "scores": [round(score, 6) for score in scores.tolist()],
        "model": MODEL_PATH.stem,
    }
