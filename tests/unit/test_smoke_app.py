"""The handler, with a stand-in for the runtime that knows the answers."""

# ruff: noqa: ANN401 - the stand-ins take and give what the real ones do
from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import socket
import ssl
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from smoke_lambda import events

FOLDER = Path(events.__file__).parent
MODEL = "digits-float32"
KNOWN = events.known_answers()[MODEL]
PUBLIC, OTHER_PUBLIC, PRIVATE = "93.184.216.34", "2606:4700::1111", "10.0.0.7"


class Runtime:
    """Answers by the mean of an image, which differs for each test image."""

    input_dtype: Any = np.float32
    output_dtype: Any = np.float32
    shape = (1, 8, 8, 1)
    quantization: tuple[float, int] = (0.0, 0)

    def __init__(self, model_path: str) -> None:
        self.model_path = model_path
        self.tensor: Any = None

    def allocate_tensors(self) -> None: ...

    def invoke(self) -> None: ...

    def get_input_details(self) -> list[dict[str, Any]]:
        quantization = self.quantization if self.input_dtype != np.float32 else (0.0, 0)
        shape = np.array(self.shape, np.int32)
        return [
            {"index": 0, "shape": shape, "dtype": self.input_dtype, "quantization": quantization}
        ]

    def get_output_details(self) -> list[dict[str, Any]]:
        quantization = (1 / 256, -128) if self.output_dtype != np.float32 else (0.0, 0)
        return [{"index": 1, "dtype": self.output_dtype, "quantization": quantization}]

    def set_tensor(self, index: int, tensor: Any) -> None:
        assert index == 0
        assert tensor.dtype == self.input_dtype
        assert tensor.shape == self.shape
        self.tensor = tensor

    def get_tensor(self, index: int) -> Any:
        assert index == 1
        if self.output_dtype != np.float32:
            return np.array([[-128, 127, -64]], self.output_dtype)
        if self.shape != (1, 8, 8, 1):
            return np.array([[0.25, 0.75]], np.float32)
        mean = float(self.tensor.mean())
        name = min(MEANS, key=lambda image: abs(MEANS[image] - mean))
        scores = KNOWN.scores.get(name, np.eye(10)[events.PHOTO_CLASS])
        return np.array([scores], np.float32)


def mean_of(name: str) -> float:
    image = Image.open(events.IMAGES / name).resize((8, 8), Image.Resampling.BILINEAR)
    return float(np.asarray(image, np.float32).mean() / 255)


MEANS = {name: mean_of(name) for name in [*KNOWN.scores, events.PHOTO]}

Load = Callable[..., Any]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that imports the handler anew, with variables and runtime attributes."""

    def import_app(variables: Mapping[str, str] | None = None, **attributes: Any) -> Any:
        runtime = ModuleType("tflite_runtime.interpreter")
        runtime.Interpreter = type("Interpreter", (Runtime,), attributes)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tflite_runtime", ModuleType("tflite_runtime"))
        monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", runtime)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        settings = {"MAX_BYTES": events.MAX_BYTES, "URL_SECONDS": 2, **(variables or {})}
        for name, value in settings.items():
            monkeypatch.setenv(name, str(value))
        spec = importlib.util.spec_from_file_location("app_under_test", FOLDER / "app.py")
        assert spec is not None
        assert spec.loader is not None
        app = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(app)
        return app

    return import_app


@pytest.fixture(autouse=True)
def keep_warning_filters() -> Iterator[None]:
    with warnings.catch_warnings():
        yield


class Internet:
    """Stand-ins for name servers and web servers: lists in this process."""

    def __init__(self, names: Mapping[str, list[str]], replies: list[bytes]) -> None:
        self.names = names
        self.replies = replies
        self.asked: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self.requests: list[bytes] = []

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        found = self.names.get(host, [host])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def create_connection(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.connected.append(address)
        here, there = socket.socketpair()
        here.settimeout(timeout)
        reply = self.replies.pop(0)

        def answer() -> None:
            self.requests.append(there.recv(10_000))
            there.sendall(reply)
            there.close()

        threading.Thread(target=answer, daemon=True).start()
        return here


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Internet]:
    def connect(names: Mapping[str, list[str]], *replies: bytes) -> Internet:
        net = Internet(names, list(replies))
        monkeypatch.setattr(socket, "getaddrinfo", net.getaddrinfo)
        monkeypatch.setattr(socket, "create_connection", net.create_connection)
        return net

    return connect


def reply(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


PNG = (events.IMAGES / events.SAMPLE).read_bytes()


def test_every_event_of_the_smoke_test(load: Load, internet: Callable[..., Internet]) -> None:
    internet({"localhost": ["127.0.0.1"], "0x7f000001": ["127.0.0.1"]})
    app = load()
    cases = list(events.cases(KNOWN, "http://127.0.0.1:1", private=False))
    wrong = {}
    for case in cases:
        answer = json.loads(json.dumps(app.handler(case.event, None)))
        if fault := events.judge(case, answer, MODEL, KNOWN):
            wrong[case.name] = fault
    assert len(cases) > 50
    assert wrong == {}


def test_the_model_is_next_to_the_file_unless_told(load: Load) -> None:
    assert Path(load().interpreter.model_path) == FOLDER / "models" / f"{MODEL}.tflite"
    assert load({"MODEL_PATH": "other.tflite"}).interpreter.model_path == "other.tflite"


def test_numbers_are_plain(load: Load) -> None:
    answer = load().handler({"image": events.image("3.png")}, None)
    assert type(answer["class"]) is int
    assert {type(score) for score in answer["scores"]} == {float}


def test_quantized_model(load: Load) -> None:
    app = load(input_dtype=np.int8, output_dtype=np.int8, quantization=(1 / 255, -128))
    answer = app.handler({"image": events.image("3.png")}, None)
    pixels = np.asarray(Image.open(events.IMAGES / "3.png"), np.int16)
    assert np.array_equal(app.interpreter.tensor[0, ..., 0], pixels - 128)
    assert answer["scores"] == [0.0, round(255 / 256, 6), 0.25]
    assert answer["class"] == 1


def test_quantized_input_is_clipped(load: Load) -> None:
    app = load(input_dtype=np.uint8, quantization=(1 / 510, 0))
    app.handler({"image": events.image("3.png")}, None)
    assert app.interpreter.tensor.max() == 255


def test_colour_model_of_another_size(load: Load) -> None:
    app = load(shape=(1, 4, 6, 3))
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (255, 0, 51)).save(file, "PNG")
    answer = app.handler({"image": base64.b64encode(file.getvalue()).decode()}, None)
    assert answer["class"] == 1
    assert np.allclose(app.interpreter.tensor[0, 2, 3], [1, 0, 0.2])


def test_a_photo_is_turned_as_its_camera_says(load: Load) -> None:
    app = load(shape=(1, 2, 2, 1))
    image = Image.new("L", (2, 2))
    image.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    app.handler({"image": base64.b64encode(file.getvalue()).decode()}, None)
    assert app.interpreter.tensor[0, 1, 1, 0] == 1


@pytest.mark.parametrize("pixels", [100, 150, 300])
def test_too_many_pixels(load: Load, pixels: int) -> None:
    app = load({"MAX_PIXELS": "99"})
    file = io.BytesIO()
    Image.new("L", (pixels, 1)).save(file, "PNG")
    answer = app.handler({"image": base64.b64encode(file.getvalue()).decode()}, None)
    assert answer["error"] == "the image is too large: send at most 99 pixels, and 20000 per side"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        (OTHER_PUBLIC, True),
        ("::ffff:93.184.216.34", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("169.254.170.2", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("::127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:a9fe:a9fe::1", False),
        ("2001:0:1:2::3", False),
        ("fd00:ec2::254", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("192.0.0.8", False),
        ("192.0.0.171", False),
        ("192.0.2.1", False),
        ("192.88.99.1", False),
        ("198.19.0.1", False),
        ("198.51.100.7", False),
        ("203.0.113.7", False),
        ("3fff::1", False),
        ("3fff:fff::1", False),
        ("4000::1", False),
        ("5f00::1", False),
        ("100::1", False),
        ("2001:db8::1", False),
        ("2001:2::1", False),
        ("2001:10::1", False),
        ("2002:5db8:d822::1", False),
        ("::93.184.216.34", False),
        ("::ffff:0:93.184.216.34", False),
        ("64:ff9b:1::1", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::93.184.216.34", True),
        ("2001:200::1", True),
        ("2620:fe::fe", True),
        ("192.0.1.1", True),
        ("192.88.98.1", True),
        ("223.255.255.255", True),
    ],
)
def test_which_addresses_are_public(load: Load, address: str, public: bool) -> None:
    assert load().is_public(address) is public


def test_a_url(load: Load, internet: Callable[..., Internet]) -> None:
    net = internet({"host.example": [PUBLIC]}, reply(PNG))
    answer = load().handler({"url": "http://host.example/a b/ü?q=1#part"}, None)
    assert answer["class"] == KNOWN.top1[events.SAMPLE]
    assert net.connected == [(PUBLIC, 80)]
    first, *headers = net.requests[0].decode().split("\r\n")
    assert first == "GET /a%20b/%C3%BC?q=1 HTTP/1.1"
    assert "Host: host.example" in headers


def test_a_name_that_changes_its_address(
    load: Load, internet: Callable[..., Internet], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The handler connects to the checked address, and does not look the name up again.
    addresses = iter([[PUBLIC], [PRIVATE]])
    net = internet({}, reply(PNG))
    net.names = {"rebind.example": []}
    plain = net.getaddrinfo

    def changing(host: str, port: int, **options: Any) -> list[Any]:
        net.names = {host: next(addresses)}
        return plain(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    assert "class" in load().handler({"url": "http://rebind.example/"}, None)
    assert net.asked == ["rebind.example"]
    assert net.connected == [(PUBLIC, 80)]


def test_one_private_address_is_enough(load: Load, internet: Callable[..., Internet]) -> None:
    net = internet({"both.example": [PUBLIC, PRIVATE]})
    answer = load().handler({"url": "http://both.example/"}, None)
    assert answer == {
        "error": "the URL's host has an address that is not public",
        "statusCode": 400,
    }
    assert net.connected == []


@pytest.mark.parametrize(
    "target", ["http://inside.example/", "//inside.example", f"http://{PRIVATE}"]
)
def test_a_redirect_inside(load: Load, internet: Callable[..., Internet], target: str) -> None:
    names = {"host.example": [PUBLIC], "inside.example": [PRIVATE]}
    net = internet(names, reply(status="302 Found", Location=target))
    answer = load().handler({"url": "http://host.example/"}, None)
    assert "not public" in answer["error"]
    assert net.connected == [(PUBLIC, 80)]


def test_a_redirect_to_a_file(load: Load, internet: Callable[..., Internet]) -> None:
    internet({"host.example": [PUBLIC]}, reply(status="302 Found", Location="file:///etc/passwd"))
    answer = load().handler({"url": "http://host.example/"}, None)
    assert answer["error"] == "only http, https and data URLs are allowed"


def test_a_relative_redirect(load: Load, internet: Callable[..., Internet]) -> None:
    moved = reply(status="301 Moved", Location="../new.png")
    net = internet({"host.example": [PUBLIC]}, moved, reply(PNG))
    assert "class" in load().handler({"url": "http://host.example/a/old.png"}, None)
    assert net.requests[1].startswith(b"GET /new.png ")


def test_too_many_redirects(load: Load, internet: Callable[..., Internet]) -> None:
    app = load()
    moved = reply(status="302 Found", Location="/")
    net = internet({"host.example": [PUBLIC]}, *[moved] * 30)
    assert "redirects more than 20" in app.handler({"url": "http://host.example/"}, None)["error"]
    assert len(net.connected) == 21


def test_as_many_redirects_as_a_browser_takes(
    load: Load, internet: Callable[..., Internet]
) -> None:
    moved = reply(status="302 Found", Location="/")
    internet({"host.example": [PUBLIC]}, *[moved] * 20, reply(PNG))
    assert "class" in load().handler({"url": "http://host.example/"}, None)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(bytes(events.MAX_BYTES + 1)), "larger than"),
        (reply(status="404 Not Found"), "status 404"),
        (reply(status="204 No Content"), "status 204"),
        (b"no HTTP at all", "cannot be fetched"),
        (b"", "cannot be fetched"),
        (reply(status="302 Found"), "status 302"),
        (reply(status="999 <script>"), "status 999"),
        (reply(PNG[:50]), "the PNG is damaged"),
        (reply(b""), "send PNG"),
    ],
)
def test_bad_answers(
    load: Load, internet: Callable[..., Internet], answer: bytes, reason: str
) -> None:
    internet({"host.example": [PUBLIC]}, answer)
    found = load().handler({"url": "http://host.example/"}, None)
    assert found["statusCode"] == 400
    assert reason in found["error"]


def test_a_second_address_is_tried(
    load: Load, internet: Callable[..., Internet], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = internet({"host.example": [OTHER_PUBLIC, PUBLIC]}, reply(PNG))
    connect = net.create_connection

    def only_ipv4(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] == OTHER_PUBLIC:
            raise OSError("Network is unreachable")
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", only_ipv4)
    assert "class" in load().handler({"url": "http://host.example/"}, None)


def test_a_name_server_that_hangs(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    app = load({"URL_SECONDS": "0.2"})
    start = time.monotonic()
    answer = app.handler({"url": "http://host.example/"}, None)
    released.set()
    assert answer["error"] == "the URL took longer than 0.2 s"
    assert time.monotonic() - start < 5


def test_headers_that_trickle(
    load: Load, internet: Callable[..., Internet], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = internet({"host.example": [PUBLIC]})
    ended = threading.Event()

    def trickle(_address: tuple[str, int], timeout: float) -> socket.socket:
        here, there = socket.socketpair()
        here.settimeout(timeout)

        def drip() -> None:
            there.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            try:
                for _ in range(400):
                    there.sendall(b".")
                    time.sleep(0.05)
            except OSError:
                ended.set()

        threading.Thread(target=drip, daemon=True).start()
        return here

    monkeypatch.setattr(socket, "create_connection", trickle)
    app = load({"URL_SECONDS": "0.3"})
    assert "took longer" in app.handler({"url": "http://host.example/"}, None)["error"]
    assert ended.wait(5), "the connection outlives the time limit"
    assert net.asked == ["host.example"]


def test_https_checks_the_name_not_the_address(
    load: Load, internet: Callable[..., Internet], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = internet({"host.example": [PUBLIC]}, reply(PNG))
    names = []

    class Context(ssl.SSLContext):
        def wrap_socket(self, sock: Any, *_: Any, **options: Any) -> Any:
            assert self.check_hostname
            assert self.verify_mode is ssl.CERT_REQUIRED
            names.append(options["server_hostname"])
            return sock

    monkeypatch.setattr(ssl, "create_default_context", lambda: Context(ssl.PROTOCOL_TLS_CLIENT))
    assert "class" in load().handler({"url": "https://host.example/"}, None)
    assert names == ["host.example"]
    assert net.connected == [(PUBLIC, 443)]
    assert b"Host: host.example\r\n" in net.requests[0]


def test_private_addresses_by_permission(load: Load, internet: Callable[..., Internet]) -> None:
    internet({"inside.example": [PRIVATE]}, reply(PNG))
    app = load({"ALLOW_PRIVATE_URLS": "1"})
    assert "class" in app.handler({"url": "http://inside.example/"}, None)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


def seven() -> Image.Image:
    return Image.open(events.IMAGES / events.SAMPLE)


@pytest.mark.parametrize("ink", [255, 0])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_ink_on_a_transparent_ground_shows(load: Load, ink: int, mode: str) -> None:
    image = Image.merge("LA", [Image.new("L", (8, 8), ink), seven()]).convert("RGBA")
    if mode == "P":
        palette = sorted(set(seven().tobytes()))
        image = Image.fromarray(np.searchsorted(palette, np.asarray(seven())).astype(np.uint8), "P")
        image.putpalette([ink] * 3 * len(palette))
        event = {"image": encoded(image, transparency=bytes(palette))}
    else:
        event = {"image": encoded(image.convert(mode))}
    app = load()
    assert app.handler(event, None)["class"] == KNOWN.top1[events.SAMPLE]
    assert np.array_equal(app.interpreter.tensor[0, ..., 0] * 255, np.asarray(seven()))


@pytest.mark.parametrize(("ink", "ground"), [(10, 255), (245, 0)])
def test_a_colour_model_gets_a_ground_that_differs(load: Load, ink: int, ground: int) -> None:
    app = load(shape=(1, 2, 2, 3))
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    image.putpixel((0, 0), (ink, ink, ink, 255))
    app.handler({"image": encoded(image)}, None)
    assert np.allclose(app.interpreter.tensor[0, 0, 0] * 255, ink)
    assert np.allclose(app.interpreter.tensor[0, 1, 1] * 255, ground)


def test_what_is_opaque_stays_as_it_is(load: Load) -> None:
    app = load(shape=(1, 2, 2, 3))
    image = Image.new("RGBA", (2, 2), (10, 20, 30, 255))
    app.handler({"image": encoded(image)}, None)
    assert np.allclose(app.interpreter.tensor[0, 1, 1] * 255, [10, 20, 30])


def test_sixteen_bits_are_scaled(load: Load) -> None:
    app = load()
    image = Image.fromarray(np.asarray(seven(), np.uint16) * 257)
    assert app.handler({"image": encoded(image)}, None)["class"] == KNOWN.top1[events.SAMPLE]
    assert np.array_equal(app.interpreter.tensor[0, ..., 0] * 255, np.asarray(seven()))


def marked(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_as_pillow_turns_it(load: Load, kind: str, orientation: int) -> None:
    app = load(shape=(1, 16, 24, 1))
    image = Image.fromarray(np.arange(24 * 16, dtype=np.uint8).reshape(24, 16) // 2)
    exif = marked(orientation)
    options = {"lossless": True} if kind == "WEBP" else {}
    event = {"image": encoded(image, kind, exif=exif, **options)}
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(base64.b64decode(event["image"]))))
    assert "error" not in app.handler(event, None)
    wanted = upright.convert("L").resize((24, 16), Image.Resampling.BILINEAR)
    assert np.allclose(app.interpreter.tensor[0, ..., 0] * 255, np.asarray(wanted), atol=2)


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (b"", 1),
        (b"Exif\0\0zz", 1),
        (marked(6), 6),
        (marked(6)[6:], 6),
        (marked(6)[:-30], 1),
        (marked(9), 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"MM\0*\0\0\0\x08\xff\xff", 1),
        (b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x08\0\0", 8),
    ],
)
def test_exif_whole_and_broken(load: Load, exif: bytes, orientation: int) -> None:
    assert load().orientation_of(exif) == orientation


def test_a_png_with_broken_exif(load: Load) -> None:
    event = {"image": encoded(seven(), exif=b"Exif\0\0zz")}
    assert load().handler(event, None)["class"] == KNOWN.top1[events.SAMPLE]


def test_exif_that_repeats_itself_costs_nothing(load: Load) -> None:
    # 2,000 entries that each name the whole of 60 kB: Pillow before 11 copied all of them.
    entries = b"".join(struct.pack(">HHII", n, 7, 60_000, 8) for n in range(300, 2300))
    exif = (b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 2000) + entries).ljust(65_000, b"\0")
    photo = (events.IMAGES / events.PHOTO).read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    app = load()
    data, found = app.essence_of_jpeg(photo[:2] + segment + photo[2:])
    assert found == exif
    assert segment not in data
    assert app.decode(photo[:2] + segment + photo[2:]).size == (8, 8)


def test_a_jpeg_is_cut_to_what_its_picture_needs(load: Load) -> None:
    photo = (events.IMAGES / events.PHOTO).read_bytes()
    comment, multi = b"\xff\xfe\0\4no", b"\xff\xe2\0\6MPF\0"
    padded = photo[:2] + b"\xff" * 99 + comment[1:] + b"junk" + multi + photo[2:] + b"a video"
    app = load()
    assert app.essence_of_jpeg(padded) == app.essence_of_jpeg(photo)
    assert app.essence_of_jpeg(photo[:-9])[0] == app.essence_of_jpeg(photo)[0][:-9]


def test_padding_costs_no_more_than_its_bytes(load: Load) -> None:
    app = load({"MAX_BYTES": "1000000"})
    photo = (events.IMAGES / events.PHOTO).read_bytes()
    start = time.process_time()
    for padding in (b"\xff" * 500_000, b"\xff" * 500_000 + b"\0", b"\xff\0" * 250_000):
        assert app.decode(photo[:2] + padding + photo[2:]).size == (8, 8)
    with pytest.raises(app.RequestError, match="has no file"):
        app.file_of_form(b"-" * 500_000 + b"\r\n" + b"-" * 499_999)
    assert time.process_time() - start < 5


def test_a_progressive_jpeg_is_as_good_as_another(load: Load) -> None:
    app = load(shape=(1, 16, 16, 3))
    picture = seven().convert("RGB").resize((640, 480))
    found = []
    for progressive in (False, True):
        app.handler({"image": encoded(picture, "JPEG", progressive=progressive, quality=95)}, None)
        found.append(app.interpreter.tensor)
    assert np.allclose(found[0], found[1], atol=0.02)
    wanted = picture.resize((16, 16), Image.Resampling.BILINEAR)
    assert np.allclose(found[0] * 255, np.asarray(wanted), atol=8)


def test_the_photo_of_a_phone(load: Load) -> None:
    app = load({"MAX_BYTES": "1000000"})
    event = {"image": encoded(Image.new("L", (5712, 4284), 255), "JPEG", quality=20)}
    assert "class" in app.handler(event, None)
    assert app.interpreter.tensor.min() > 0.98


def test_too_many_parts(load: Load) -> None:
    app = load({"MAX_BYTES": "1000000"})
    chunk = b"\0\0\0\0teXt\0\0\0\0"
    with pytest.raises(app.RequestError, match="too many chunks"):
        app.decode(PNG[:33] + chunk * app.MAX_PARTS + PNG[33:])
    photo = (events.IMAGES / events.PHOTO).read_bytes()
    with pytest.raises(app.RequestError, match="too many segments"):
        app.decode(photo[:2] + b"\xff\xfe\0\2" * app.MAX_PARTS + photo[2:])


@pytest.mark.parametrize("size", [(20_001, 1), (1, 20_001), (3536, 3536)])
def test_sizes_that_are_refused(load: Load, size: tuple[int, int]) -> None:
    app = load()
    kind = "WEBP" if min(size) > 1 else "PNG"
    with pytest.raises(app.RequestError, match="is too large"):
        app.check_size(kind, *size)
    app.check_size("PNG", min(size[0], 20_000), min(size[1], 20_000))


def test_a_pillow_without_webp_names_what_it_reads(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = features.check
    monkeypatch.setattr(features, "check", lambda what: what != "webp" and check(what))
    answer = load().handler({"image": events.SAMPLE_WEBP}, None)
    assert answer["error"] == "not a readable image: send PNG, JPEG"


def test_the_samples_are_the_sample() -> None:
    def pixels(text: str, channel: str = "L") -> Any:
        image = Image.open(io.BytesIO(base64.b64decode(text)))
        return np.asarray(image.convert("L") if channel == "L" else image.getchannel(channel))

    sample = np.asarray(seven())
    assert np.array_equal(pixels(events.SAMPLE_WEBP), sample)
    assert np.array_equal(pixels(events.SAMPLE_GIF), sample)
    for text, ink in ((events.SAMPLE_WHITE, 255), (events.SAMPLE_BLACK, 0)):
        assert np.array_equal(pixels(text, "A"), sample)
        assert (pixels(text) == ink).all()


@pytest.mark.parametrize(
    "url",
    [
        "http://" + "é" * 100_000 + "\u2100",
        "http://\ud800\u2100.com/",
        "http://host.example/\ud800",
        "http://host.example:1\ud800/",
        "x" * 1_000_000,
        "http://" + "a." * 3_000 + "/",
    ],
)
def test_an_error_is_short_and_ascii(load: Load, url: str) -> None:
    answer = load().handler({"requestContext": {}, "body": json.dumps({"url": url})}, None)
    error = json.loads(answer["body"])["error"]
    assert events.is_plain(error)
    assert len(error) < 100


def test_what_a_server_says_is_not_passed_on(
    load: Load, internet: Callable[..., Internet], capsys: pytest.CaptureFixture[str]
) -> None:
    internet({"host.example": [PUBLIC]}, b"SSH-2.0-secret banner\r\n\r\n")
    answer = load().handler({"url": "http://host.example/"}, None)
    assert answer["error"] == "the URL cannot be fetched: its host does not speak HTTP"
    assert "secret banner" in capsys.readouterr().out


def test_the_log_of_an_error_is_one_short_line(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    load().refused("no", ValueError("\ud800\n" * 100_000))
    logged = capsys.readouterr().out
    assert len(logged) <= 501
    assert logged.isascii()
    assert logged.count("\n") == 1


@pytest.mark.parametrize("size", [b"-1", b"FFFFFFFFFFFF", b"-FFFFFFFF"])
def test_a_chunk_of_any_size_is_bounded(
    load: Load, monkeypatch: pytest.MonkeyPatch, internet: Callable[..., Internet], size: bytes
) -> None:
    internet({"host.example": [PUBLIC]})
    sent = 0

    def endless(_address: tuple[str, int], timeout: float) -> socket.socket:
        here, there = socket.socketpair()
        here.settimeout(timeout)

        def send() -> None:
            nonlocal sent
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n" % size
            with contextlib.suppress(OSError):
                there.sendall(head)
                while sent < 30_000_000:
                    sent += there.send(bytes(100_000))

        threading.Thread(target=send, daemon=True).start()
        return here

    monkeypatch.setattr(socket, "create_connection", endless)
    answer = load({"URL_SECONDS": "5"}).handler({"url": "http://host.example/"}, None)
    assert answer["error"].startswith(("the image is larger", "the URL cannot be fetched"))
    assert sent < 5_000_000


@pytest.mark.parametrize(
    ("location", "path"),
    [("/ä.png".encode(), b"/%C3%A4.png"), (b"/\xe4.png", b"/%E4.png"), (b"/a b", b"/a%20b")],
)
def test_a_redirect_in_raw_bytes(
    load: Load, internet: Callable[..., Internet], location: bytes, path: bytes
) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % location
    net = internet({"host.example": [PUBLIC]}, moved, reply(PNG))
    assert "class" in load().handler({"url": "http://host.example/"}, None)
    assert net.requests[1].startswith(b"GET %s HTTP/1.1\r\n" % path)


def test_it_says_who_asks_and_for_what(load: Load, internet: Callable[..., Internet]) -> None:
    net = internet({"host.example": [PUBLIC]}, reply(PNG))
    load().handler({"url": "http://host.example:8080/"}, None)
    headers = net.requests[0].split(b"\r\n")
    assert b"User-Agent: image-classifier/1.0 (AWS Lambda)" in headers
    assert b"Host: host.example:8080" in headers
    assert any(header.startswith(b"Accept: image/png") for header in headers)


def test_a_name_in_unicode(load: Load, internet: Callable[..., Internet]) -> None:
    net = internet({"xn--bcher-kva.example": [PUBLIC]}, reply(PNG))
    assert "class" in load().handler({"url": "http://Bücher.example/"}, None)
    assert b"Host: xn--bcher-kva.example\r\n" in net.requests[0]


class Context:
    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@pytest.mark.parametrize(
    ("context", "seconds"),
    [(None, 5), (Context(300_000), 5), (Context(3_000), 2), (Context(200), 0.1)],
)
def test_a_download_ends_before_the_function(load: Load, context: object, seconds: float) -> None:
    assert load({"URL_SECONDS": "5"}).url_seconds(context) == seconds


def test_a_form_with_an_empty_file_first(load: Load) -> None:
    app = load()
    empty = b'--b\r\nContent-Disposition: form-data; filename="x"\r\n\r\n'
    whole = events.form(PNG)
    assert app.file_of_form(whole) == PNG
    with pytest.raises(app.RequestError, match="has no file"):
        app.file_of_form(empty + b"\r\n--b--")
    with pytest.raises(app.RequestError, match="has no file"):
        app.file_of_form(b"--" + b"\r\n--" * 50_000)


@pytest.mark.parametrize(
    "event",
    [
        {"requestContext": {}, "body": "[" + "[]," * 200_000 + "1]"},
        {"requestContext": {}, "body": '{"url": ' + "1" * 100_000 + "}"},
        {"url": "data:," + "%41" * 200_000},
        {"image": "data:image/png;base64," + "%3D" * 200_000},
    ],
)
def test_text_that_would_fill_memory(load: Load, event: dict[str, Any]) -> None:
    answer = load().handler(event, None)
    error = json.loads(answer["body"])["error"] if "body" in answer else answer["error"]
    assert "too many" in error or "not valid JSON" in error or "must be a string" in error


def test_a_fault_of_ours_is_not_blamed_on_the_caller(load: Load) -> None:
    app = load()
    app.interpreter.invoke = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        app.handler({"image": events.image("3.png")}, None)
