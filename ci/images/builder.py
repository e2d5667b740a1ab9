"""The image that the stages of builders/Dockerfile which compile run in."""

from __future__ import annotations

import re

from builders.docker import DOCKERFILE
from builders.errors import UsageError


def builder_python() -> str:
    """The Python that builders/Dockerfile's stages run on.

    Raises:
        UsageError: its default image does not say.
    """
    found = re.search(r"^ARG BUILDER_IMAGE=\S+:(\d+\.\d+)$", DOCKERFILE.read_text(), re.MULTILINE)
    if found is None:
        raise UsageError(f"{DOCKERFILE.name} has no ARG BUILDER_IMAGE with a Python's tag")
    return found[1]
