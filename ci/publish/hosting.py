"""The addresses of this repository on its host, and how each kind of host spells them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from builders.errors import PublishError

INDEX = "simple/"
HOSTING = "hosting.json"
"""The file of wheels/ with the addresses that are in the generated files."""

WHEELS = "wheels/"
# The address at which `python3 -m http.server` serves by default.
LOCAL = "http://localhost:8000/"


@dataclass(frozen=True, kw_only=True)
class Hosting:
    """Base addresses; None if an address is not known. All but the first end with a slash.

    Attributes:
        repository: the project's page.
        source: the prefix for the path of a file that people read.
        raw: the prefix for the path of a file as bytes.
        pages: the prefix for a path below wheels/, on a host that serves this folder as a site.
    """

    repository: str | None = None
    source: str | None = None
    raw: str | None = None
    pages: str | None = None

    def raw_url(self, path: str) -> str:
        """Return the address, or the path in a clone, from which pip takes a file of wheels/."""
        return self.raw_base + quote(path)

    def source_url(self, path: str) -> str | None:
        """Return the address at which people read a file of the repository; None if unknown."""
        return None if self.source is None else self.source + quote(path)

    @property
    def raw_base(self) -> str:
        """The part of `raw_url` before the path of a file of wheels/."""
        return (self.raw or "") + WHEELS

    @property
    def site(self) -> str:
        """The address that serves wheels/ as a site; an address of this machine if unknown."""
        return self.pages or LOCAL

    @property
    def index_url(self) -> str:
        """The address for `pip install --index-url`."""
        return self.site + INDEX

    def encode(self) -> bytes:
        """Return the bytes of the file `HOSTING`."""
        return (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode()


NOWHERE = Hosting()
"""A repository without a host: links are relative, and wheels are installed from a clone."""


def read_hosting(folder: Path) -> Hosting:
    """Return the addresses that are in the generated files of a folder.

    Raises:
        PublishError: the file `HOSTING` is damaged.
    """
    path = folder / HOSTING
    if not path.is_file():
        return NOWHERE
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
        found = Hosting(**data)
        for name, url in data.items():
            check_address(name, url)
    except (ValueError, TypeError, AttributeError) as error:
        raise PublishError(
            f"{HOSTING} is damaged: {error}", remedy="`./scripts/publish --refresh` writes it anew"
        ) from error
    return found


def check_address(name: str, url: str | None) -> None:
    """Check one value of `Hosting`.

    Raises:
        ValueError: the value is not what the class says; the message begins with its name.
    """
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"'{name}' must be an https address, not {url!r}")
    if name != "repository" and not url.endswith("/"):
        raise ValueError(f"'{name}' must end with a slash: {url!r}")


def _github_pages(host: str, owner: str, name: str) -> str | None:
    site = f"{owner.lower()}.github.io"
    if host != "github.com":
        return None
    return f"https://{site}/" if name.lower() == site else f"https://{site}/{name}/"


def _gitlab_pages(host: str, owner: str, name: str) -> str | None:
    group, *subgroups = owner.split("/")
    path = "/".join([*subgroups, name])
    return f"https://{group.lower()}.gitlab.io/{path}/" if host == "gitlab.com" else None


def _gitea_pages(host: str, owner: str, name: str) -> str | None:
    return f"https://{owner.lower()}.codeberg.page/{name}/" if host == "codeberg.org" else None


# By kind of host: the address of a file for people, of a file as bytes, and of a repository's site.
# Sources: docs.github.com, docs.gitlab.com, docs.gitea.com, docs.codeberg.org.
KINDS: dict[str, tuple[str, str, Callable[[str, str, str], str | None]]] = {
    "github": ("{repository}/blob/{branch}/", "{repository}/raw/{branch}/", _github_pages),
    "gitlab": ("{repository}/-/blob/{branch}/", "{repository}/-/raw/{branch}/", _gitlab_pages),
    "gitea": (
        "{repository}/src/branch/{branch}/",
        "{repository}/raw/branch/{branch}/",
        _gitea_pages,
    ),
}


def spelled(kind: str | None, host: str, owner: str, name: str, branch: str) -> Hosting:
    """Return the addresses of a repository on a host.

    Args:
        kind: one of `KINDS`; None if unknown: then only the project's page is known.
        host: the host's name, with a port if it has one.
        owner: a user or an organisation; on GitLab also `group/subgroup`.
    """
    repository = f"https://{host}/{quote(owner)}/{quote(name)}"
    if kind is None:
        return Hosting(repository=repository)
    source, raw, pages = KINDS[kind]
    values = {"repository": repository, "branch": quote(branch)}
    return Hosting(
        repository=repository,
        source=source.format(**values),
        raw=raw.format(**values),
        pages=pages(host, owner, name),
    )
