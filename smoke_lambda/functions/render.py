"""Renders the files of a function from the templates, as cookiecutter does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smoke_lambda.functions.plan import generic_plan

TEMPLATE = Path(__file__).with_name("template")
FOLDER = TEMPLATE / "{{cookiecutter.name}}"
APP = "app.py"
# The same options for cookiecutter, which reads them from cookiecutter.json.
OPTIONS = {"trim_blocks": True, "lstrip_blocks": True}


def environment() -> Environment:
    """Return a Jinja environment for the templates, with the options that cookiecutter has."""
    return Environment(
        loader=FileSystemLoader([FOLDER, TEMPLATE / "templates"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(name: str, context: Mapping[str, Any]) -> str:
    """Return the text of one file of the function.

    Args:
        name: the file's path below `FOLDER`.
        context: the keys of cookiecutter.json, with one answer per question.
    """
    return environment().get_template(name).render(cookiecutter=context).rstrip("\n") + "\n"


def files() -> Iterator[str]:
    """Yield the name of each file that a function has besides its model."""
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            yield path.relative_to(FOLDER).as_posix()


def demo_app() -> str:
    """Return the text of smoke_lambda/app.py: the handler for this repository's digits."""
    return render(
        APP,
        {
            "input": "image",
            "preprocess": "0..1",
            "resize": "bilinear",
            "_top": 0,
            "_made_by": "Written by ./scripts/update from smoke_lambda/functions/template.",
            "_plans": {"image": generic_plan("image", answer="class", is_demo=True)},
            "_scalings": {"0..1": {"divisor": 255, "mean": 0, "std": 1, "bgr": False}},
        },
    )
