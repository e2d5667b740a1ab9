"""The documents: links and anchors lead somewhere, and the README is short."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from documents import DOCUMENTS, ROOT, anchors, links

from builders.cache import sha256_of

FRONT = ("README.md", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "WHEELS.md")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in links(document.read_text()):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        target = (document.parent / unquote(parts.path)).resolve() if parts.path else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if target.suffix == ".whl":
            assert parts.fragment == f"sha256={sha256_of(target)}", link
        elif parts.fragment:
            assert parts.fragment in anchors(target.read_text()), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_no_document_has_a_placeholder(document: Path) -> None:
    for word in ("OWNER", "TODO", "FIXME", "XXX"):
        assert word not in document.read_text()


def test_the_front_door_is_complete_and_the_readme_short() -> None:
    for path in FRONT:
        assert (ROOT / path).is_file(), path
    assert len((ROOT / "README.md").read_bytes()) <= 6000
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def test_every_page_of_the_docs_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        seen.add(document)
        for link in links(document.read_text()):
            target = (document.parent / urlsplit(link).path).resolve()
            if not urlsplit(link).scheme and target.suffix == ".md" and target not in seen:
                waiting.append(target)
    assert {path for path in DOCUMENTS if path.parent in (ROOT, ROOT / "docs")} <= seen


def test_anchors_are_those_of_the_hosts() -> None:
    text = "# `a` & B\n## Lambda's [x](y.md)?\n```\n# no heading\n```\n## API: REST\n## API: REST\n"
    assert anchors(text) == {"a--b", "lambdas-x", "api-rest", "api-rest-1"}
