"""The README's table of published wheels."""

from __future__ import annotations

from ci.marked import replace_marked
from ci.publish.hosting import Hosting
from ci.publish.manifest import PROJECT, Manifest

BEGIN = "<!-- wheels: written by ./scripts/publish -->"
END = "<!-- /wheels -->"


def with_wheels(readme: str, manifest: Manifest, hosting: Hosting) -> str:
    """The README with the table of current wheels and the address of the index."""
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
    return replace_marked(readme, BEGIN, END, lines)
