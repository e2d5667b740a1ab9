"""The README's table of published wheels."""

from __future__ import annotations

from builders.errors import PublishError
from ci.marked import between
from ci.publish.hosting import Hosting
from ci.publish.manifest import PROJECT, Manifest

BEGIN = "<!-- wheels: written by ./scripts/publish -->\n"
END = "<!-- /wheels -->"


def with_wheels(readme: str, manifest: Manifest, hosting: Hosting) -> str:
    """The README with the table of current wheels and the address of the index.

    Raises:
        PublishError: it has lost the marks between which that stands.
    """
    lines = ["None is published yet: build them, as above."]
    if manifest.current:
        lines = ["| Lambda runtime | TensorFlow | NumPy | glibc | size | raw URL |"]
        lines.append("| --- | --- | --- | --- | --- | --- |")
        lines += [
            f"| {wheel.runtime.name} | {wheel.tensorflow} {wheel.arch} "
            f"| `{wheel.numpy.requirement}` | {wheel.glibc} | {wheel.size / 1e6:.2f} MB "
            f"| <{hosting.raw_url(wheel.file)}> |"
            for wheel in manifest.current
        ]
        lines += [
            "",
            "As an index, from which pip picks the wheel for your Python, once `wheels/` is served "
            "by a site:",
            "",
            "```",
            f"pip install --no-deps --index-url {hosting.index_url} {PROJECT}",
            "```",
        ]
    try:
        return between(readme, BEGIN, END, "\n".join(["", *lines, "", ""]))
    except ValueError as error:
        raise PublishError(f"the README has {error}", remedy="put the two marks back") from error
