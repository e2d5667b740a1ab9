"""Fuzzes the handler smoke_lambda/app.py with events, images, URLs and hostile servers."""

from __future__ import annotations

import base64
import functools
import ipaddress
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from builders.child import Child
from builders.errors import UsageError
from ci.fuzz import images
from ci.fuzz.campaign import Case, Target
from smoke_lambda import events

ROOT = Path(__file__).parent.parent.parent
APP = ROOT / "smoke_lambda/app.py"

# The limits of one request. The handler's own limits are far below, but machines are slow and busy.
# CPU time shows the cost of a request; wall time only shows that it never ends.
CPU_SECONDS = 10.0
WALL_SECONDS = 300.0
PEAK_MB = 450
REPLY_BYTES = 10_000

INSIDE = ("127.0.0.1", "10.0.0.7", "169.254.169.254", "192.168.1.1", "::1", "fd00:ec2::254")
OUTSIDE = ("93.184.216.34", "2606:4700::1111")
# Hosts: spellings of inside addresses, their forms in IPv6, and names.
HOSTS = (
    *("0x7f000001", "2130706433", "0177.0.0.1", "127.1", "localhost", "0", "[::]", "[::1]"),
    *("[::ffff:7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[::7f00:1]"),
    *("192.0.0.8", "192.88.99.1", "[3fff::1]", "[fe80::1%25eth0]", "169.254.169.254"),
    *(
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "in.example",
        "out.example",
        "both.example",
        "93.184.216.34",
    ),
)
NAMES = {
    "in.example": [INSIDE[2]],
    "out.example": [OUTSIDE[0]],
    "both.example": [OUTSIDE[1], INSIDE[1]],
    "localhost": ["127.0.0.1"],
}


def texts() -> SearchStrategy[str]:
    """Return texts: short ones, long ones, and some that are not valid Unicode."""
    odd = st.sampled_from(
        ("\ud800", "\udc80", "\0", "\u2100", "é", "'\"<>", "\r\n", "a.", "%41", "[")
    )
    short = st.one_of(st.text(max_size=20), odd)
    times = st.sampled_from((1, 1, 1, 30, 50_000))
    return st.builds(lambda text, times: text * times, short, times)


def urls() -> SearchStrategy[str]:
    """Return URLs, most of which a parser accepts."""
    scheme = st.sampled_from((*["http://"] * 4, "HTTP://", "https://", "//", "file://", "data:"))
    host = st.one_of(st.sampled_from(HOSTS), st.just("out.example"), texts())
    user = st.sampled_from(("", "", "", "user:password@", "93.184.216.34@", "\\"))
    port = st.sampled_from(("", "", "", ":80", ":0", ":99999", ":x", ":1\ud800"))
    path = st.one_of(st.sampled_from(("/", "", "/a b?q#f", "/ä")), texts().map(lambda t: "/" + t))
    return st.one_of(st.tuples(scheme, user, host, port, path).map("".join), texts())


def encoded(data: bytes) -> str:
    """Return data in Base64."""
    return base64.b64encode(data).decode()


STATUSES = (
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 302 Found", b"HTTP/1.0 301 x"),
    *(b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK", b"HTTP/9 -1", b"SSH-2.0-secret", b""),
)
HEADERS = (
    *(b"Content-Length: -1", b"Content-Length: 99999999999", b"Content-Length: x"),
    *(b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"Location: /"),
    *(b"X: " + b"x" * 70_000, b" folded", b"no colon"),
)
CHUNKS = (
    b"",
    b"-1\r\n",
    b"0\r\n",
    b"5\r\n",
    b"FFFFFFFFFF\r\n",
    b"-FFFFFFFF\r\n",
    b"1;" + b"x" * 99,
)
# A piece that follows the head, how often it is sent, and the seconds between.
PIECES = ((b"", 0, 0.0), (bytes(100_000), 300, 0.0), (b"x", 30, 0.1), (b"X: y\r\n", 5000, 0.0))


def replies() -> SearchStrategy[dict[str, Any]]:
    """Return servers' replies: a head, then a piece several times, at worst without end."""
    header = st.one_of(
        st.sampled_from(HEADERS),
        urls().map(lambda url: b"Location: " + url.encode("utf-8", "surrogatepass")),
        st.binary(max_size=20),
    )
    return st.builds(
        reply,
        st.sampled_from(STATUSES),
        st.lists(header, max_size=4),
        st.sampled_from(CHUNKS),
        images.images(),
        st.sampled_from(PIECES),
    )


def reply(
    status: bytes, headers: list[bytes], chunk: bytes, body: bytes, often: tuple[bytes, int, float]
) -> dict[str, Any]:
    """Return one server's reply, in types that JSON knows."""
    head = b"\r\n".join([status, *headers, b"", chunk + body])
    piece, times, pause = often
    return {"head": encoded(head), "piece": encoded(piece), "times": times, "pause": pause}


def requests() -> SearchStrategy[Any]:
    """Return requests to the handler, as objects."""
    data = images.images().map(encoded)
    value = st.one_of(
        data,
        data.map(lambda text: "data:image/png;base64," + text),
        urls(),
        texts(),
        st.none(),
        st.integers(),
    )
    return st.one_of(
        data.map(lambda text: {"image": text}),
        urls().map(lambda url: {"url": url}),
        st.dictionaries(st.sampled_from(("url", "image", "x")), value, max_size=2),
        st.recursive(st.none() | st.booleans() | st.floats() | texts(), st.lists, max_leaves=5),
    )


def bodies() -> SearchStrategy[dict[str, Any]]:
    """Return bodies of HTTP events, with the field that says if they are in Base64."""
    image = images.images()
    form = st.builds(events.form, image, st.text("abc.", max_size=5))
    edited = st.builds(images.changed, form, st.lists(images.changes(), max_size=2), st.just(False))
    mark = st.sampled_from(("", "\ufeff"))
    in_json = st.builds(lambda mark, request: mark + json.dumps(request), mark, requests())
    text = st.one_of(
        in_json, texts(), st.sampled_from(("[" * 9000, "[0," * 90_000, "{" + "1" * 9000))
    )
    raw = st.one_of(image, edited, text.map(lambda t: t.encode("utf-8", "replace")))
    return st.one_of(
        raw.map(lambda data: {"body": encoded(data), "isBase64Encoded": True}),
        text.map(lambda body: {"body": body, "isBase64Encoded": False}),
        st.fixed_dictionaries({"body": st.none() | texts(), "isBase64Encoded": st.booleans()}),
    )


def cases() -> SearchStrategy[Case]:
    """Return cases: an event, the names and the servers' replies, and the model."""
    plain = requests()
    http = bodies().map(lambda body: {"requestContext": {}, **body})
    fetched = st.sampled_from(("http://out.example/", "http://93.184.216.34:8080/x")).map(
        lambda url: {"url": url}
    )
    return st.fixed_dictionaries(
        {
            "event": st.one_of(plain, http, fetched),
            "replies": st.lists(replies(), max_size=3),
            "names": st.just(NAMES),
            "model": st.integers(0, 1),
        }
    )


class Handler:
    """The handler in a separate process, which is started again after it ends."""

    def __init__(self, app: Path) -> None:
        command = [sys.executable, "-m", "ci.fuzz.handler_worker", str(app.absolute())]
        self._child = Child(command, folder=ROOT)

    @property
    def cases(self) -> SearchStrategy[Case]:
        """See Target."""
        return _cases()

    @property
    def told(self) -> str:
        """See Target."""
        return ""

    def fault(self, case: Case) -> str:
        """See Target."""
        self._child.send(json.dumps(case).encode())
        line = self._child.line(WALL_SECONDS)
        if line is None:
            self._child.close(0)
            return f"no reply within {WALL_SECONDS:g} s"
        if not line:
            return f"the process ended with status {self._child.close()}"
        return judged(case, json.loads(line))

    def close(self) -> None:
        """End the process."""
        self._child.close()


@functools.cache
def _cases() -> SearchStrategy[Case]:
    return cases()


@contextmanager
def target(app: Path) -> Iterator[Target]:
    """Give the handler of a file as a target, until the block ends.

    Raises:
        UsageError: there is no such file, or the handler does not answer an image.
    """
    if not app.is_file():
        raise UsageError(f"there is no {app}", remedy="name a handler by --app")
    handler = Handler(app)
    try:
        fault = handler.fault({"event": {"image": events.image(events.SAMPLE)}, "model": 0})
        if fault:
            raise UsageError(f"{app} does not answer an image: {fault}")
        yield handler
    finally:
        handler.close()


def judged(case: Case, found: dict[str, Any]) -> str:
    """Return the fault in what the handler did; an empty text if there is none."""
    if found["raised"]:
        return f"it raised {found['raised']}"
    faults = [
        (found["cpu"] > CPU_SECONDS, f"it took {found['cpu']:.1f} s of CPU"),
        (found["peak"] > PEAK_MB, f"it took {found['peak']} MB"),
        (len(found["reply"]) > REPLY_BYTES, f"its reply has {len(found['reply'])} characters"),
        (found["outside"], f"it connected to {found['outside']}, past every check"),
    ]
    for address in found["connected"]:
        faults.append((not is_outside(address), f"it connected to {address}"))
    for is_fault, words in faults:
        if is_fault:
            return words
    return fault_of_reply(case["event"], json.loads(found["reply"]))


def is_outside(address: str) -> bool:
    """True if an address is on the Internet, by Python's tables and the blocks that they lack."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or [None])[0]
        if inner is None and ip.packed.startswith(bytes.fromhex("0064ff9b0000000000000000")):
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if inner is not None:
            return is_outside(str(inner))
    lacking = ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "fec0::/10", "::/96")
    return (
        ip.is_global
        and not ip.is_multicast
        and not any(ip in ipaddress.ip_network(block) for block in lacking)
    )


def fault_of_reply(event: object, reply: Any) -> str:  # noqa: ANN401 - what the handler gave
    """Return the fault in a reply's form; an empty text if there is none."""
    status, body = 200, reply
    is_http = isinstance(event, dict) and "requestContext" in event
    try:
        if is_http:
            status, body = reply["statusCode"], json.loads(reply["body"])
        if body.keys() == {"class", "scores", "model"}:
            return "" if status == 200 else f"an answer has status {status}"
        error = body["error"]
    except (AttributeError, KeyError, TypeError, ValueError):
        return f"its reply has another form than answers and errors: {reply!a:.300}"
    if body != {"error": error, "statusCode": 400} or (is_http and status != 400):
        return f"its error has another form than errors: {reply!a:.300}"
    return "" if events.is_plain(error) else f"its error is not plain: {error!a:.300}"
