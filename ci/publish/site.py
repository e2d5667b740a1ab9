"""The package index: PEP 503's HTML and PEP 691's JSON, as files that any host can serve.

Written here and not by dumb-pypi, which has no PEP 691 and writes the time into its
pages. All links are relative, so that a folder, a bucket or a site below any path will do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from ci.publish.hosting import INDEX
from ci.publish.manifest import PROJECT, Manifest, State, Wheel

# From simple/<project>/ to the wheels.
UP = "../../"
API_VERSION = "1.1"
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="{version}">
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
{links}</body>
</html>
"""


def index_files(manifest: Manifest) -> dict[str, bytes]:
    """The index's files, by path below wheels/."""
    project = f"{INDEX}{PROJECT}/"
    return {
        f"{INDEX}index.html": _page("Simple index", [_link(f"{PROJECT}/", PROJECT, {})]),
        f"{INDEX}index.json": _json({"projects": [{"name": PROJECT}]}),
        f"{project}index.html": _page(
            f"Links for {PROJECT}", [_file_link(wheel) for wheel in manifest.present]
        ),
        f"{project}index.json": _json(
            {
                "name": PROJECT,
                "versions": list(dict.fromkeys(w.tensorflow for w in manifest.present)),
                "files": [_file(wheel) for wheel in manifest.present],
            }
        ),
    }


def _file_link(wheel: Wheel) -> str:
    core_metadata = f"sha256={wheel.metadata_sha256}"
    attributes = {
        "data-requires-python": wheel.requires_python,
        "data-core-metadata": core_metadata,
        # The same for clients of before PEP 714, which allows both here, not in JSON.
        "data-dist-info-metadata": core_metadata,
    }
    if wheel.state is State.YANKED:
        attributes["data-yanked"] = wheel.reason
    return _link(f"{_url(wheel)}#sha256={wheel.sha256}", wheel.file, attributes)


def _file(wheel: Wheel) -> dict[str, Any]:
    return {
        "filename": wheel.file,
        "url": _url(wheel),
        "hashes": {"sha256": wheel.sha256},
        "size": wheel.size,
        "requires-python": wheel.requires_python,
        "core-metadata": {"sha256": wheel.metadata_sha256},
        "yanked": wheel.reason if wheel.state is State.YANKED else False,
    }


def _url(wheel: Wheel) -> str:
    return UP + quote(wheel.file)


def _link(href: str, text: str, attributes: Mapping[str, str]) -> str:
    listed = "".join(
        f' {name}="{escape(value)}"' for name, value in ({"href": href} | dict(attributes)).items()
    )
    return f"<a{listed}>{escape(text)}</a><br>\n"


def _page(title: str, links: list[str]) -> bytes:
    return PAGE.format(version=API_VERSION, title=escape(title), links="".join(links)).encode()


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps({"meta": {"api-version": API_VERSION}, **data}, indent=1) + "\n").encode()
