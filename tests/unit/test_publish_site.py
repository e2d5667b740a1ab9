"""The package index: what PEP 503, 592, 658, 691 and 714 ask for, with relative links."""

from __future__ import annotations

import json
import posixpath
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from hypothesis import given
from hypothesis import strategies as st
from test_publish_manifest import REBUILT, RETIRED, WHEEL

from ci.publish.hosting import NOWHERE
from ci.publish.manifest import Manifest, State
from ci.publish.product import stored_files
from ci.publish.site import index_files

PROJECT = "simple/tflite-runtime/"
YANKED = replace(
    WHEEL,
    file=WHEEL.file.replace("312", "39"),
    target="tf2.14.1-cp39-x86_64",
    python="3.9",
    state=State.YANKED,
    reason='crashes on <arm64> & "graviton"',
)
REMOVED = replace(
    WHEEL,
    file=WHEEL.file.replace("312", "38"),
    target="tf2.14.1-cp38-x86_64",
    python="3.8",
    state=State.REMOVED,
    reason="wrong licence",
)
MANIFEST = Manifest().with_wheels([RETIRED, REBUILT, YANKED, REMOVED])


class Links(HTMLParser):
    """The links of a page: each link's text and attributes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str | None]] = {}
        self._attributes: dict[str, str | None] | None = None
        self.meta: dict[str, str | None] = {}
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._attributes = dict(attrs)
        if tag == "meta" and "name" in dict(attrs):
            self.meta[str(dict(attrs)["name"])] = dict(attrs)["content"]

    def handle_data(self, data: str) -> None:
        if self._attributes is not None:
            self.found[data] = self._attributes
            self._attributes = None


def as_json(path: str, manifest: Manifest = MANIFEST) -> Any:  # noqa: ANN401
    return json.loads(index_files(manifest, NOWHERE)[path])


def test_the_root_names_the_project_under_its_normalized_name() -> None:
    links = Links(index_files(MANIFEST, NOWHERE)["simple/index.html"]).found
    assert links == {"tflite-runtime": {"href": "tflite-runtime/"}}
    assert as_json("simple/index.json") == {
        "meta": {"api-version": "1.3"},
        "projects": [{"name": "tflite-runtime"}],
    }


def test_the_page_lists_all_that_is_there_with_hash_python_and_metadata() -> None:
    page = Links(index_files(MANIFEST, NOWHERE)[f"{PROJECT}index.html"])
    assert page.meta == {"pypi:repository-version": "1.3"}
    assert list(page.found) == [YANKED.file, RETIRED.file, REBUILT.file]
    assert page.found[REBUILT.file] == {
        "href": f"../../{REBUILT.file}#sha256={REBUILT.sha256}",
        "data-requires-python": ">=3.12,<3.13",
        "data-core-metadata": f"sha256={REBUILT.metadata_sha256}",
        "data-dist-info-metadata": f"sha256={REBUILT.metadata_sha256}",
    }
    assert "data-yanked" not in page.found[RETIRED.file]
    assert page.found[YANKED.file]["data-yanked"] == YANKED.reason


def test_markup_in_a_reason_stays_text() -> None:
    page = index_files(MANIFEST, NOWHERE)[f"{PROJECT}index.html"].decode()
    assert "<arm64>" not in page
    assert "&lt;arm64&gt; &amp; &quot;graviton&quot;" in page


def test_the_json_says_the_same() -> None:
    found = as_json(f"{PROJECT}index.json")
    assert found["meta"] == {"api-version": "1.3"}
    assert (found["name"], found["versions"]) == ("tflite-runtime", ["2.14.1"])
    assert [file["filename"] for file in found["files"]] == [
        YANKED.file,
        RETIRED.file,
        REBUILT.file,
    ]
    assert found["files"][2] == {
        "filename": REBUILT.file,
        "url": f"../../{REBUILT.file}",
        "hashes": {"sha256": REBUILT.sha256},
        "size": REBUILT.size,
        "requires-python": ">=3.12,<3.13",
        "core-metadata": {"sha256": REBUILT.metadata_sha256},
        "yanked": False,
        "provenance": None,
    }
    assert found["files"][0]["yanked"] == YANKED.reason


def test_every_link_is_relative_and_leads_to_a_published_file() -> None:
    base = "http://host.example/any/path/wheels/"
    page = urljoin(base, PROJECT)
    published = {base + path for wheel in MANIFEST.present for path in stored_files(wheel)}
    links = Links(index_files(MANIFEST, NOWHERE)[f"{PROJECT}index.html"]).found
    urls = [str(attributes["href"]) for attributes in links.values()]
    urls += [file["url"] for file in as_json(f"{PROJECT}index.json")["files"]]
    assert len(urls) == 6
    for url in urls:
        assert not posixpath.isabs(url)
        wheel = unquote(urldefrag(urljoin(page, url)).url)
        assert {wheel, f"{wheel}.metadata"} <= published


def test_an_empty_index_is_an_index() -> None:
    files = index_files(Manifest(), NOWHERE)
    assert Links(files[f"{PROJECT}index.html"]).found == {}
    assert as_json(f"{PROJECT}index.json", Manifest())["files"] == []


@given(st.permutations(MANIFEST.wheels))
def test_the_same_wheels_give_the_same_bytes(wheels: list[Any]) -> None:
    assert index_files(Manifest().with_wheels(wheels), NOWHERE) == index_files(MANIFEST, NOWHERE)
