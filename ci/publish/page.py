"""The page of published wheels, wheels/index.html, from the manifest and the matrix's targets.

The page is one file that makes no requests. Style and script are inside it, and its Content
Security Policy allows only these two, by their digests.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from packaging.version import Version

from builders.architecture import aws_name, docker_platform
from builders.matrix import Matrix
from ci.publish.choice import example
from ci.publish.hosting import INDEX, Hosting
from ci.publish.intake import NATIVE, lambda_runtime
from ci.publish.manifest import (
    MANIFEST,
    PROJECT,
    SCHEMA,
    SUMS,
    LambdaRuntime,
    Manifest,
    State,
    Wheel,
)
from ci.publish.product import attestation_path, provenance_path
from ci.publish.versions import OLDER, requirement
from ci.publish.versions import published as published_versions

PAGE = "index.html"
TEMPLATES = Path(__file__).with_name("templates")

PLACES = {NATIVE: "Lambda's emulator on the builder's own Linux"}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A Python that can be chosen on the page.

    Attributes:
        tag: the Python's tag, such as cp312.
        numpy: the NumPy requirement of wheels for this Python.
    """

    python: str
    tag: str
    runtime: LambdaRuntime
    numpy: str


def page(manifest: Manifest, matrix: Matrix, hosting: Hosting) -> bytes:
    """Return the page; the same arguments give the same bytes."""
    style, script = _source("page.css"), _source("page.js")
    current = manifest.current
    published = {
        "tensorflows": _versions(wheel.tensorflow for wheel in current),
        "pythons": _versions(wheel.python for wheel in current),
        "architectures": sorted({wheel.arch for wheel in current}),
    }
    text = _template().render(
        hosting=hosting,
        project=PROJECT,
        wheels=[wheel for wheel in manifest.wheels if _is_shown(wheel)],
        current=current,
        by_target={wheel.target: wheel for wheel in current},
        published=published,
        tensorflows=_versions(
            [row.version for row in matrix.tensorflows], published["tensorflows"]
        ),
        pythons=_pythons(manifest, matrix),
        architectures=dict.fromkeys([*matrix.architectures, *published["architectures"]]),
        first=_first(manifest, matrix),
        versions={version.version: version for version in published_versions(manifest, matrix)},
        older=OLDER,
        recommended=matrix.recommended.version,
        requirement=requirement(manifest, matrix),
        style=Markup(style),
        script=Markup(script),
        style_digest=_csp_digest(style),
        script_digest=_csp_digest(script),
        files={"index": INDEX, "manifest": MANIFEST, "schema": SCHEMA, "sums": SUMS},
    )
    return text.encode()


def identifier(tensorflow: str, tag: str, arch: str) -> str:
    """Return the identifier of a target as the matrix and the script of the page spell it."""
    return f"tf{tensorflow}-{tag}-{arch}"


def _is_shown(wheel: Wheel) -> bool:
    return wheel.state in (State.CURRENT, State.YANKED)


def _versions(*found: Iterable[str]) -> list[str]:
    return sorted({version for versions in found for version in versions}, key=Version)


def _pythons(manifest: Manifest, matrix: Matrix) -> list[Choice]:
    """Return the Pythons of the matrix, and older Pythons that only current wheels have."""
    found = {
        wheel.python: Choice(
            python=wheel.python,
            tag=_tag(wheel.python),
            runtime=wheel.runtime,
            numpy=wheel.numpy.requirement,
        )
        for wheel in manifest.current
    }
    found |= {
        runtime.python: Choice(
            python=runtime.python,
            tag=runtime.tag,
            runtime=lambda_runtime(runtime),
            numpy=runtime.numpy.requirement,
        )
        for runtime in matrix.runtimes
    }
    return [found[python] for python in _versions(found)]


def _tag(python: str) -> str:
    return "cp" + python.replace(".", "")


def _first(manifest: Manifest, matrix: Matrix) -> tuple[str, str, str]:
    """Return the choice that the page shows at first: TensorFlow, Python tag, architecture.

    It is the wheel that examples install. If nothing is published, it is the recommended
    TensorFlow, the last released runtime and the first architecture of the matrix.
    """
    wheel = example(manifest, matrix)
    if wheel is not None:
        return wheel.tensorflow, _tag(wheel.python), wheel.arch
    released = [runtime for runtime in matrix.runtimes if not runtime.upcoming]
    return matrix.recommended.version, released[-1].tag, matrix.architectures[0]


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[[Any], str]] = {
        "aws_arch": aws_name,
        "platform": docker_platform,
        "place": lambda place: PLACES.get(place, place),
        "megabytes": lambda size: f"{size / 1e6:.2f} MB",
        "percent": lambda share: f"{share:.0%}",
        "attestation_path": attestation_path,
        "provenance_path": provenance_path,
    }
    environment.filters |= filters
    environment.globals["identifier"] = identifier
    return environment.get_template("page.html")


def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _csp_digest(source: str) -> str:
    """Return the name by which a Content Security Policy allows a text: the text's digest."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
