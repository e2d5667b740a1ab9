"""The README's part about published wheels: how to use one, and all of them."""

from __future__ import annotations

from collections.abc import Iterator

from builders.errors import PublishError
from builders.matrix import Matrix
from ci.marked import between
from ci.publish.hosting import Hosting
from ci.publish.manifest import PROJECT, Manifest, Wheel
from ci.publish.versions import OLDER, published, requirement

BEGIN = "<!-- wheels: written by ./scripts/publish -->\n"
END = "<!-- /wheels -->"


def with_wheels(readme: str, manifest: Manifest, matrix: Matrix, hosting: Hosting) -> str:
    """The README with the current wheels.

    Raises:
        PublishError: it has lost the marks between which they stand.
    """
    part = "\n".join(["", *_lines(manifest, matrix, hosting), "", ""])
    try:
        return between(readme, BEGIN, END, part)
    except ValueError as error:
        raise PublishError(f"the README has {error}", remedy="put the two marks back") from error


def _lines(manifest: Manifest, matrix: Matrix, hosting: Hosting) -> Iterator[str]:
    if not manifest.current:
        yield "None is published yet: build one, as above, and install the file from `dist/`."
        return
    yield "In a Lambda image, in five lines:"
    yield ""
    # The recommended one of the newest Python that AWS has an image for, as an example.
    released = [wheel for wheel in manifest.current if wheel.runtime.deprecated]
    example = max(
        released or manifest.current,
        key=lambda w: (
            w.tensorflow == matrix.recommended.version,
            w.verified,
            not w.is_pre_release,
            w.arch,
            w.order,
        ),
    )
    yield from _dockerfile(example, hosting)
    yield ""
    yield "Anywhere else: install NumPy, then the raw URL with `pip install --no-deps`."
    yield ""
    versions = published(manifest, matrix)
    for version in versions:
        name = f"**TensorFlow {version.version}**{' (recommended)' if version.recommended else ''}"
        yield f"- {name}: {version.about} {version.components}".rstrip()
    if versions[0].recommended and len(versions) > 1:
        yield ""
        yield OLDER
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
    wanted = requirement(manifest, matrix)
    yield f"pip install --no-deps --index-url {hosting.index_url} {wanted}"
    yield "```"
    if wanted != PROJECT:
        yield ""
        yield f"By its name alone, `{PROJECT}`, pip takes the newest release, and no pre-release."
    elif any(wheel.is_pre_release for wheel in manifest.current):
        yield ""
        yield "It takes a pre-release with `--pre`, or when you name its version."


def _dockerfile(wheel: Wheel, hosting: Hosting) -> Iterator[str]:
    yield "```dockerfile"
    yield f"FROM public.ecr.aws/lambda/python:{wheel.python}"
    yield f'RUN pip install "{wheel.numpy.requirement}" pillow'
    yield f"RUN pip install --no-deps {hosting.raw_url(wheel.file)}"
    yield "COPY app.py models/ ./"
    yield 'CMD ["app.handler"]'
    yield "```"
