"""Writes a function from the templates, as cookiecutter does from the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smoke_lambda.functions.plan import generic_plan

TEMPLATE = Path(__file__).with_name("template")
FOLDER = TEMPLATE / "{{cookiecutter.name}}"
APP = "app.py"
# What cookiecutter is told of the same in cookiecutter.json.
OPTIONS = {"trim_blocks": True, "lstrip_blocks": True}


def environment() -> Environment:
    """What reads the templates; as cookiecutter's."""
    return Environment(
        loader=FileSystemLoader([FOLDER, TEMPLATE / "templates"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(name: str, context: Mapping[str, Any]) -> str:
    """One file of the function.

    Args:
        name: below `FOLDER`.
        context: what cookiecutter.json has, answered.
    """
    return environment().get_template(name).render(cookiecutter=context).rstrip("\n") + "\n"


def files() -> Iterator[str]:
    """The names of the files that a function has besides its model."""
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            yield path.relative_to(FOLDER).as_posix()


def demo_app() -> str:
    """The handler of this repository's digits: smoke_lambda/app.py."""
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
