"""The README's part about published wheels: how to use one, and all of them."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from builders.errors import PublishError
from ci.marked import between
from ci.publish.hosting import Hosting
from ci.publish.manifest import PROJECT, Manifest, Wheel

BEGIN = "<!-- wheels: written by ./scripts/publish -->\n"
END = "<!-- /wheels -->"


def with_wheels(readme: str, manifest: Manifest, hosting: Hosting) -> str:
    """The README with the current wheels.

    Raises:
        PublishError: it has lost the marks between which they stand.
    """
    part = "\n".join(["", *_lines(manifest, hosting), "", ""])
    try:
        return between(readme, BEGIN, END, part)
    except ValueError as error:
        raise PublishError(f"the README has {error}", remedy="put the two marks back") from error


def _lines(manifest: Manifest, hosting: Hosting) -> Iterator[str]:
    if not manifest.current:
        yield "None is published yet: build one, as above, and install the file from `dist/`."
        return
    yield "In a Lambda image, in five lines:"
    yield ""
    # The newest that AWS has an image for, as an example.
    released = [wheel for wheel in manifest.current if wheel.runtime.deprecated]
    example = max(
        released or manifest.current,
        key=lambda w: (w.verified, not w.is_pre_release, w.arch, w.order),
    )
    yield from _dockerfile(example, hosting)
    yield ""
    yield "Anywhere else: install NumPy, then the raw URL with `pip install --no-deps`."
    yield ""
    yield "| Lambda runtime | TensorFlow | NumPy | glibc | size | raw URL |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for wheel in manifest.current:
        yield (
            f"| {wheel.runtime.name} | {wheel.tensorflow} {wheel.arch} "
            f"| `{wheel.numpy.requirement}` | {wheel.glibc} | {wheel.size / 1e6:.2f} MB "
            f"| <{hosting.raw_url(wheel.file)}> |"
        )
    yield ""
    yield "Where `wheels/` is served as a site, pip finds the wheel for your Python in its index:"
    yield ""
    yield "```"
    yield f"pip install --no-deps --index-url {hosting.index_url} {PROJECT}"
    yield "```"
    if early := {wheel.tensorflow for wheel in manifest.current if wheel.is_pre_release}:
        yield ""
        yield (
            f"It takes a pre-release ({', '.join(sorted(early, key=Version))}) with `--pre`, "
            f"or when you name it: `{PROJECT}=={max(early, key=Version)}`."
        )


def _dockerfile(wheel: Wheel, hosting: Hosting) -> Iterator[str]:
    yield "```dockerfile"
    yield f"FROM public.ecr.aws/lambda/python:{wheel.python}"
    yield f'RUN pip install "{wheel.numpy.requirement}" pillow'
    yield f"RUN pip install --no-deps {hosting.raw_url(wheel.file)}"
    yield "COPY app.py models/ ./"
    yield 'CMD ["app.handler"]'
    yield "```"
