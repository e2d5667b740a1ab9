"""Files, and parts of files, that say again what the matrix or another file of data says.

`./scripts/update --text` rewrites them; a test demands that there is nothing to rewrite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.cache import write_atomically
from builders.docker import DOCKERFILE, PLATFORMS
from builders.matrix import Matrix, Target
from ci.marked import between
from ci.ops_page import PAGE, operators_page
from smoke_lambda.ops import load_ops

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BAKE_FILE = DOCKERFILE.with_name("docker-bake.json")
# Files in which any TensorFlow version of the matrix means the recommended one; and how the
# README names it, where it names others, too: as a part of a target's name.
SAM = ROOT / "smoke_lambda/sam"
NAMING = (DOCKERFILE, *sorted(SAM.glob("*.yaml")), SAM / "Dockerfile")
ANYWHERE, TARGET_NAME = r"(?<![\d.])({})(?![\w.])", r"\btf({})-cp"
RUNTIMES_BEGIN = "<!-- runtimes: written by ./scripts/update -->\n"
RUNTIMES_END = "<!-- /runtimes -->"


def generated(matrix: Matrix) -> Mapping[Path, str]:
    """The text of every such file as it should be."""
    return {
        README: with_recommended(with_runtimes(README.read_text(), matrix), matrix, TARGET_NAME),
        **{path: with_recommended(path.read_text(), matrix, ANYWHERE) for path in NAMING},
        BAKE_FILE: bake_file(matrix),
        PAGE: operators_page(load_ops()),
    }


def write_generated(matrix: Matrix) -> None:
    """Rewrite those that differ."""
    for path, text in generated(matrix).items():
        if not path.is_file() or path.read_text() != text:
            write_atomically(path, text.encode())


def with_runtimes(readme: str, matrix: Matrix) -> str:
    """The README with the table of runtimes that the matrix gives."""
    lines = ["", "| Lambda runtime | OS, glibc | AWS deprecates it | NumPy | verified |"]
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
    return between(readme, RUNTIMES_BEGIN, RUNTIMES_END, "\n".join([*lines, "", ""]))


def with_recommended(text: str, matrix: Matrix, pattern: str) -> str:
    """A text with the recommended version in the place of any other of the matrix.

    Args:
        pattern: where; `{}` in it stands for all versions.
    """
    versions = "|".join(re.escape(row.version) for row in matrix.tensorflows)
    return re.sub(
        pattern.format(versions),
        lambda found: found[0].replace(found[1], matrix.recommended.version),
        text,
    )


def bake_file(matrix: Matrix) -> str:
    """The file for `docker buildx bake`: a target for each verified one, all by default."""
    targets = [target for target in matrix.targets() if target.verified]
    names = [bake_name(target) for target in targets]
    data = {
        "//": "Written by ./scripts/update; not to be edited.",
        "group": {"default": {"targets": names}},
        "target": {name: _bake_target(t) for name, t in zip(names, targets, strict=True)},
    }
    return json.dumps(data, indent=2) + "\n"


def bake_name(target: Target) -> str:
    """The target's identifier without dots, which bake does not allow in a name."""
    return target.identifier.replace(".", "-")


def _bake_target(target: Target) -> dict[str, Any]:
    return {
        "context": ".",
        "dockerfile": DOCKERFILE.relative_to(ROOT).as_posix(),
        "platforms": [PLATFORMS[target.arch]],
        "args": {"TENSORFLOW": target.tensorflow.version, "PYTHON": target.runtime.python},
        "output": ["type=local,dest=dist"],
    }
