"""Writes files, and parts of files, that are made from the matrix or from another file of data.

`./scripts/update --text` rewrites them. A test fails if one of them is out of date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.architecture import docker_platform
from builders.cache import write_atomically
from builders.docker import DOCKERFILE
from builders.matrix import Matrix, Target
from ci.pages.house import house_map
from ci.pages.marked import between
from ci.pages.ops_page import PAGE, operators_page
from smoke_lambda.functions.context import requirements
from smoke_lambda.functions.render import demo_app
from smoke_lambda.onnx.handler import OUTPUT as ONNX_HANDLER
from smoke_lambda.onnx.handler import onnx_handler
from smoke_lambda.ops import load_ops

ROOT = Path(__file__).parents[2]
RUNTIMES_PAGE = ROOT / "docs/runtimes.md"
HANDLER = ROOT / "smoke_lambda/app.py"
BAKE_FILE = DOCKERFILE.with_name("docker-bake.json")
ARCHITECTURE = ROOT / "docs/architecture.md"
MAP_BEGIN = "<!-- map: written by ./scripts/update -->\n"
MAP_END = "<!-- /map -->"
RUNTIMES_HEAD = """\
<!-- Written by ./scripts/update; not to be edited. -->

# Lambda's Python runtimes

For each runtime: its system, the day on which AWS deprecates it, the NumPy that a wheel for it
accepts, and the targets that are *verified*: this repository builds, audits and smoke-tests
them. The same commands build a *declared* target, if its sources and headers can be had.
"""
# Files in which any TensorFlow version of the matrix is replaced by the recommended one.
SAM = ROOT / "smoke_lambda/sam"
NAMING = (DOCKERFILE, *sorted(SAM.glob("*.yaml")), SAM / "Dockerfile")
# Documents that also name other versions. There a version is only replaced in a target's name, or
# in a requirement for pip.
EXAMPLES = (ROOT / "docs/building.md", ROOT / "docs/lambda.md")
ANYWHERE, EXAMPLE = r"(?<![\d.])({})(?![\w.])", r"\b(?:tf|tflite-runtime==)({})(?=-cp|\s)"


def generated(matrix: Matrix) -> Mapping[Path, str]:
    """Return the text that each generated file should have."""
    return {
        RUNTIMES_PAGE: runtimes_page(matrix),
        ARCHITECTURE: with_map(ARCHITECTURE.read_text(), ROOT),
        **{path: _named(path.read_text(), matrix) for path in NAMING},
        **{path: with_recommended(path.read_text(), matrix, EXAMPLE) for path in EXAMPLES},
        ONNX_HANDLER: onnx_handler(),
        BAKE_FILE: bake_file(matrix),
        PAGE: operators_page(load_ops()),
        HANDLER: demo_app(),
        **requirements(matrix.runtimes),
    }


def write_generated(matrix: Matrix) -> None:
    """Rewrite the generated files that differ."""
    for path, text in generated(matrix).items():
        if not path.is_file() or path.read_text() != text:
            write_atomically(path, text.encode())


def with_map(text: str, root: Path) -> str:
    """Return the architecture page with a new map of the source tree."""
    return between(text, MAP_BEGIN, MAP_END, f"\n{house_map(root)}\n")


def runtimes_page(matrix: Matrix) -> str:
    """Return the page of Lambda's runtimes."""
    lines = [RUNTIMES_HEAD, "| Lambda runtime | OS, glibc | AWS deprecates it | NumPy | verified |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for runtime in matrix.runtimes:
        verified = [
            f"{target.tensorflow.version} {target.arch}"
            for target in matrix.targets()
            if target.runtime == runtime and target.verified
        ]
        lines.append(
            f"| {runtime.name} | {runtime.os}, {runtime.glibc} "
            f"| {'not released yet' if runtime.upcoming else runtime.deprecated} "
            f"| `{runtime.numpy.requirement}` | {', '.join(verified) or 'declared'} |"
        )
    return "\n".join([*lines, ""])


def with_recommended(text: str, matrix: Matrix, pattern: str) -> str:
    """Return a text with all versions of the matrix replaced by the recommended one.

    Args:
        pattern: the regular expression of a place; `{}` in it stands for the versions.
    """
    versions = "|".join(re.escape(row.version) for row in matrix.tensorflows)
    return re.sub(
        pattern.format(versions),
        lambda found: found[0].replace(found[1], matrix.recommended.version),
        text,
    )


def _named(text: str, matrix: Matrix) -> str:
    return with_builder(with_recommended(text, matrix, ANYWHERE), matrix)


def with_builder(text: str, matrix: Matrix) -> str:
    """Return a Dockerfile whose builder image, if any, has the matrix's Python."""
    return re.sub(r"(?m)^(ARG BUILDER_IMAGE=\S+:).*$", rf"\g<1>{matrix.builder.python}", text)


def bake_file(matrix: Matrix) -> str:
    """Return the file for `docker buildx bake`: it has each verified target, all by default."""
    targets = [target for target in matrix.targets() if target.verified]
    names = [bake_name(target) for target in targets]
    data = {
        "//": "Written by ./scripts/update; not to be edited.",
        "group": {"default": {"targets": names}},
        "target": {name: _bake_target(t) for name, t in zip(names, targets, strict=True)},
    }
    return json.dumps(data, indent=2) + "\n"


def bake_name(target: Target) -> str:
    """Return the target's identifier without dots, which bake does not allow in a name."""
    return target.identifier.replace(".", "-")


def _bake_target(target: Target) -> dict[str, Any]:
    return {
        "context": ".",
        "dockerfile": DOCKERFILE.relative_to(ROOT).as_posix(),
        "platforms": [docker_platform(target.arch)],
        "args": {"TENSORFLOW": target.tensorflow.version, "PYTHON": target.runtime.python},
        "output": ["type=local,dest=dist"],
    }
