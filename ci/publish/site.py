"""The package index: PEP 503's HTML and PEP 691's JSON, as files that any host can serve.

dumb-pypi is not used, because it lacks PEP 691 and writes the time into its pages. All links
are relative, so that a folder, a bucket or a site below any path can serve the files. PEP 740
wants the whole address of an attestation, so attestations are named only if that is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from ci.publish.hosting import INDEX, Hosting
from ci.publish.manifest import PROJECT, Manifest, State, Wheel
from ci.publish.product import attestation_path

# The relative path from simple/<project>/ to the wheels.
UP = "../../"
# The version of the index's API since PEP 740, which introduced attestations.
API_VERSION = "1.3"
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


def index_files(manifest: Manifest, hosting: Hosting) -> dict[str, bytes]:
    """Return the index's files, by path below wheels/."""
    project = f"{INDEX}{PROJECT}/"
    return {
        f"{INDEX}index.html": _page("Simple index", [_link(f"{PROJECT}/", PROJECT, {})]),
        f"{INDEX}index.json": _json({"projects": [{"name": PROJECT}]}),
        f"{project}index.html": _page(
            f"Links for {PROJECT}", [_file_link(wheel, hosting) for wheel in manifest.present]
        ),
        f"{project}index.json": _json(
            {
                "name": PROJECT,
                "versions": list(dict.fromkeys(w.tensorflow for w in manifest.present)),
                "files": [_file(wheel, hosting) for wheel in manifest.present],
            }
        ),
    }


def _file_link(wheel: Wheel, hosting: Hosting) -> str:
    core_metadata = f"sha256={wheel.metadata_sha256}"
    attributes = {
        "data-requires-python": wheel.requires_python,
        "data-core-metadata": core_metadata,
        # The same for clients older than PEP 714, which allows both in HTML, but not in JSON.
        "data-dist-info-metadata": core_metadata,
    }
    if wheel.state is State.YANKED:
        attributes["data-yanked"] = wheel.reason
    if (attestation := _attestation(wheel, hosting)) is not None:
        attributes["data-provenance"] = attestation
    return _link(f"{_url(wheel)}#sha256={wheel.sha256}", wheel.file, attributes)


def _file(wheel: Wheel, hosting: Hosting) -> dict[str, Any]:
    return {
        "filename": wheel.file,
        "url": _url(wheel),
        "hashes": {"sha256": wheel.sha256},
        "size": wheel.size,
        "requires-python": wheel.requires_python,
        "core-metadata": {"sha256": wheel.metadata_sha256},
        "yanked": wheel.reason if wheel.state is State.YANKED else False,
        "provenance": _attestation(wheel, hosting),
    }


def _attestation(wheel: Wheel, hosting: Hosting) -> str | None:
    """Return the address of a wheel's attestation; None if it has none or the site is unknown."""
    if wheel.attestation_sha256 is None or hosting.pages is None:
        return None
    return hosting.pages + quote(attestation_path(wheel.file))


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
