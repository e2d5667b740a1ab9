"""Texts that name published wheels: WHEELS.md, a part of the README, a function's skeleton."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from builders.errors import PublishError
from builders.matrix import Matrix
from ci.pages.marked import between
from ci.publish.choice import example
from ci.publish.functions import skeleton
from ci.publish.hosting import Hosting
from ci.publish.manifest import PROJECT, Manifest, Wheel
from ci.publish.places import ROOT
from ci.publish.versions import OLDER, published, requirement
from smoke_lambda.functions.context import COOKIECUTTER

BEGIN = "<!-- install: written by ./scripts/publish -->\n"
END = "<!-- /install -->"
WHEELS_PAGE = "WHEELS.md"

TITLE = f"""\
<!-- Written by ./scripts/publish; not to be edited. -->

# Published wheels of `{PROJECT}`
"""
NONE = "No wheel is published yet: [build one](docs/building.md), and install it from `dist/`."


def documents(
    readme: Path, manifest: Manifest, matrix: Matrix, hosting: Hosting
) -> Mapping[Path, str]:
    """Return the text that each document should have.

    Raises:
        PublishError: the README has lost the two marks around its generated part.
    """
    found = {
        readme: with_install(readme.read_text(), manifest, matrix, hosting),
        readme.with_name(WHEELS_PAGE): wheels_page(manifest, matrix, hosting),
    }
    template = readme.parent / COOKIECUTTER.relative_to(ROOT)
    if template.parent.is_dir():
        found[template] = skeleton(manifest, matrix, hosting)
    return found


def with_install(readme: str, manifest: Manifest, matrix: Matrix, hosting: Hosting) -> str:
    """Return the README with the lines that install the example wheel.

    Raises:
        PublishError: the README has lost the two marks around these lines.
    """
    part = "\n".join(["", *_install(manifest, matrix, hosting), "", ""])
    try:
        return between(readme, BEGIN, END, part)
    except ValueError as error:
        raise PublishError(f"the README has {error}", remedy="put the two marks back") from error


def wheels_page(manifest: Manifest, matrix: Matrix, hosting: Hosting) -> str:
    """Return the text of WHEELS.md."""
    return "\n".join([TITLE, *_wheels(manifest, matrix, hosting), ""])


def _install(manifest: Manifest, matrix: Matrix, hosting: Hosting) -> Iterator[str]:
    wheel = example(manifest, matrix)
    if wheel is None:
        yield NONE
        return
    yield "```dockerfile"
    yield f"FROM public.ecr.aws/lambda/python:{wheel.python}"
    yield from dockerfile_lines(wheel, hosting)
    yield "```"


def dockerfile_lines(wheel: Wheel, hosting: Hosting) -> Iterator[str]:
    """Give the Dockerfile lines that install NumPy and a wheel in an image.

    If no host is known, the lines are for a build in the root of a clone.
    """
    yield f'RUN pip install "{wheel.numpy.requirement}"'
    if hosting.raw:
        yield f"RUN pip install --no-deps {_pinned(wheel, hosting)}"
    else:
        yield f"ADD {hosting.raw_url(wheel.file)} /tmp/"
        yield f"RUN pip install --no-deps file:///tmp/{wheel.file}#sha256={wheel.sha256}"


def _wheels(manifest: Manifest, matrix: Matrix, hosting: Hosting) -> Iterator[str]:
    if not manifest.current:
        yield NONE
        return
    yield "Choose the row of your Lambda runtime and architecture (`aarch64` is what AWS calls"
    yield "arm64). Install its NumPy first, then the wheel:"
    yield ""
    shown = example(manifest, matrix) or manifest.current[-1]
    yield "```"
    yield f'pip install "{shown.numpy.requirement}"'
    # pip takes no checksum after a path, as in a clone.
    url = _pinned(shown, hosting) if hosting.raw else hosting.raw_url(shown.file)
    yield f"pip install --no-deps {url}"
    yield "```"
    yield ""
    yield from _versions(manifest, matrix)
    yield ""
    yield "| Lambda runtime | architecture | TensorFlow | NumPy | glibc | size | wheel |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for wheel in manifest.current:
        yield (
            f"| {wheel.runtime.name} | {wheel.arch} | {wheel.tensorflow} "
            f"| `{wheel.numpy.requirement}` | {wheel.glibc} | {wheel.size / 1e6:.2f} MB "
            f"| {_link(wheel, hosting)} |"
        )
    yield ""
    yield "`pip` needs the *raw* address of a file. The address of its page on the host"
    yield "(`…/blob/…`) gives HTML, and pip then says `BadZipFile`. What follows `#sha256=` is the"
    yield "checksum of the wheel: pip refuses a file that has another."
    yield ""
    yield "## As a package index"
    yield ""
    yield "`wheels/` is a static package index: where it is served as a site, pip finds the wheel"
    yield "for its Python by itself."
    if not hosting.pages:
        yield "In a clone, `python3 -m http.server --directory wheels` serves it."
    yield ""
    yield "```"
    wanted = requirement(manifest, matrix)
    yield f"pip install --no-deps --index-url {hosting.index_url} {wanted}"
    yield "```"
    if wanted != PROJECT:
        yield ""
        yield f"Given only the name, `{PROJECT}`, pip takes the newest release, and no pre-release."
    elif any(wheel.is_pre_release for wheel in manifest.current):
        yield ""
        yield "pip takes a pre-release with `--pre`, or if you name its version."


def _versions(manifest: Manifest, matrix: Matrix) -> Iterator[str]:
    """Give a line of a list for each TensorFlow version."""
    versions = published(manifest, matrix)
    for version in versions:
        name = f"**TensorFlow {version.version}**{' (recommended)' if version.recommended else ''}"
        yield f"- {name}: {version.about} {version.components}".rstrip()
    if versions[0].recommended and len(versions) > 1:
        yield ""
        yield OLDER


def _link(wheel: Wheel, hosting: Hosting) -> str:
    url = _pinned(wheel, hosting)
    return f"<{url}>" if hosting.raw else f"[{wheel.file}]({url})"


def _pinned(wheel: Wheel, hosting: Hosting) -> str:
    """Return the address of a wheel with its checksum, which pip and uv then check."""
    return f"{hosting.raw_url(wheel.file)}#sha256={wheel.sha256}"
