"""Where the repository is hosted: reads ci/hosting.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from builders.errors import UsageError
from builders.matrix import Row, read_toml

HOSTING_FILE = Path(__file__).parent.parent / "hosting.toml"
INDEX = "simple/"


@dataclass(frozen=True, kw_only=True)
class Hosting:
    """Base addresses; all but the repository's end with a slash.

    Attributes:
        repository: the project's page.
        source: before the path of a file that people read.
        raw: before a path below wheels/, for its bytes.
        pages: the same on a host that serves it as a site.
    """

    repository: str
    source: str
    raw: str
    pages: str

    def raw_url(self, path: str) -> str:
        """The address of a file below wheels/ that pip can install from."""
        return self.raw + quote(path)

    def source_url(self, path: str) -> str:
        """The address of a file of the repository, for people."""
        return self.source + quote(path)

    @property
    def index_url(self) -> str:
        """The address for `pip install --index-url`."""
        return self.pages + INDEX


def load_hosting(path: Path = HOSTING_FILE) -> Hosting:
    """Read and validate the setting.

    Raises:
        UsageError: it is malformed; the message names the key.
    """
    row = Row(path.name, read_toml(path))
    names = {key: row.take(key, str, bool) for key in ("owner", "name", "branch")}
    urls = {}
    for key in ("repository", "source", "raw", "pages"):
        template = row.take(key, str)
        try:
            urls[key] = template.format(**names)
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(f"{path.name}: '{key}' has an unknown placeholder: {error}") from error
        parts = urlsplit(urls[key])
        if parts.scheme != "https" or not parts.netloc or parts.query or parts.fragment:
            raise UsageError(f"{path.name}: '{key}' must be an https address, not {urls[key]!r}")
        if key != "repository" and not urls[key].endswith("/"):
            raise UsageError(f"{path.name}: '{key}' must end with a slash: {urls[key]!r}")
    row.done()
    return Hosting(**urls)
