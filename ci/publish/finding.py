"""Finds the host of this repository: from the CI service, otherwise from the git remote."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from builders.errors import UsageError
from builders.tables import Row, read_toml
from ci.proof.source_state import ask_git
from ci.publish.hosting import KINDS, NOWHERE, Hosting, check_address, spelled

ROOT = Path(__file__).parent.parent.parent
HOSTING_FILE = Path(__file__).parent.parent / "hosting.toml"
BRANCH = "main"
# Words in a host's name, each with the kind of host that it indicates.
WORDS = {
    "github": "github",
    "gitlab": "gitlab",
    "gitea": "gitea",
    "forgejo": "gitea",
    "codeberg": "gitea",
}
# git@host:owner/name
SCP = re.compile(r"(?:[^@/]+@)?(?P<host>[^:/@]+):(?P<path>[^:]+)")
SIGNING_HOST = "github.com"
"""The host whose CI jobs have an identity to sign with."""
GIT_SCHEMES = ("https", "http", "ssh", "git")

Git = Callable[..., str | None]
"""A function that returns git's answer to arguments; None if git has no answer."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A repository on a host.

    Attributes:
        host: the host's name, with a port if it has one.
        owner: all of the path before the repository's name.
        kind: one of `hosting.KINDS`; None if it is not known.
    """

    host: str
    owner: str
    name: str
    kind: str | None


def find_hosting(
    environment: Mapping[str, str] | None = None,
    git: Git | None = None,
    file: Path = HOSTING_FILE,
) -> Hosting:
    """Return the addresses of this repository.

    They come from the CI service if it sets GITHUB_REPOSITORY, otherwise from the git remote
    `origin`. `ci/hosting.toml` overrides single values.

    Raises:
        UsageError: the file is malformed; the message names the key.
    """
    environment = os.environ if environment is None else environment
    asked = git or (lambda *arguments: ask_git(ROOT, *arguments))
    row = Row(file.name, read_toml(file) if file.is_file() else {})
    row.take("signers", list, default=[])  # see find_signers
    kind = row.take("kind", str, lambda value: value in KINDS, default="")
    branch = row.take("branch", str, default="") or _default_branch(asked)
    own = {
        name: row.take(name, str, default="")
        for name in (field.name for field in dataclasses.fields(Hosting))
    }
    row.done()
    place = service_place(environment) or remote_place(asked("remote", "get-url", "origin") or "")
    found = NOWHERE
    if place:
        found = spelled(kind or place.kind, place.host, place.owner, place.name, branch)
    try:
        for name, url in own.items():
            check_address(name, url or None)
    except ValueError as error:
        raise UsageError(f"{file.name}: {error}") from error
    return dataclasses.replace(found, **{name: url for name, url in own.items() if url})


def find_signers(
    environment: Mapping[str, str] | None = None,
    git: Git | None = None,
    file: Path = HOSTING_FILE,
) -> list[str]:
    """Return the addresses of the repositories whose CI may have signed the published wheels.

    These are this repository, if it is on GitHub, and the signers of `ci/hosting.toml`: in that
    file, a fork names the repository that it was forked from. The list does not come from
    `wheels/`, because whoever changes a wheel there can change the signers there, too.

    Raises:
        UsageError: the file is malformed; the message names the key.
    """
    own = find_hosting(environment, git, file).repository or ""
    row = read_toml(file) if file.is_file() else {}
    others = [str(address) for address in row.get("signers", [])]
    return [*([own] if urlsplit(own).netloc == SIGNING_HOST else []), *others]


def service_place(environment: Mapping[str, str]) -> Place | None:
    """Return the repository that a CI service works on; None if there is no such service.

    It reads GitHub's variables, which Gitea sets, too.
    """
    owner, _, name = environment.get("GITHUB_REPOSITORY", "").rpartition("/")
    server = urlsplit(environment.get("GITHUB_SERVER_URL") or "https://github.com")
    if not owner or not name or not server.hostname:
        return None
    gitea = environment.get("GITEA_ACTIONS") or environment.get("FORGEJO_ACTIONS")
    kind = "gitea" if gitea else _kind_of(server.hostname) or "github"
    return Place(host=_with_port(server.hostname, server.port), owner=owner, name=name, kind=kind)


def remote_place(url: str) -> Place | None:
    """Return the repository that a git remote's address names; None for a path of this machine.

    The result never contains a user, a password or a token, which an address may have.
    """
    if "://" in url:
        parts = urlsplit(url)
        if parts.scheme not in GIT_SCHEMES or not parts.hostname:
            return None
        # The port of ssh is not the port of the website.
        port = parts.port if parts.scheme in ("https", "http") else None
        host, path = _with_port(parts.hostname, port), parts.path
    elif match := SCP.fullmatch(url):
        host, path = match["host"].lower(), match["path"]
    else:
        return None
    owner, _, name = path.strip("/").removesuffix(".git").rpartition("/")
    if not owner or not name or "." not in host:
        return None
    return Place(host=host, owner=owner, name=name, kind=_kind_of(host))


def _default_branch(git: Git) -> str:
    head = git("symbolic-ref", "--short", "refs/remotes/origin/HEAD") or ""
    return head.removeprefix("origin/") or BRANCH


def _kind_of(host: str) -> str | None:
    return next((kind for word, kind in WORDS.items() if word in host), None)


def _with_port(host: str, port: int | None) -> str:
    return f"{host}:{port}" if port else host
