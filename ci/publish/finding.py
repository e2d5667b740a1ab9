"""Finds out where this repository is hosted: from the CI service, else from its git remote."""

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
# A word in a host's name, and the kind of host that it tells.
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
"""Where CI jobs have an identity to sign with."""
GIT_SCHEMES = ("https", "http", "ssh", "git")

Git = Callable[..., str | None]
"""What git answers to some arguments; None where it has no answer."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A repository on a host.

    Attributes:
        host: its name, with a port if it has one.
        owner: all of the path before the repository's name.
        kind: one of `hosting.KINDS`, where it is known.
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
    """The addresses of this repository.

    A CI service that sets GITHUB_REPOSITORY decides, else the git remote `origin`.
    `ci/hosting.toml` overrides single values.

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
    """The addresses of the repositories whose CI may have signed what is published here.

    This one, where it is on GitHub, and those of `ci/hosting.toml`: of a fork, what it was forked
    from. What `wheels/` says is not asked: who changes that changes it, too.

    Raises:
        UsageError: the file is malformed; the message names the key.
    """
    own = find_hosting(environment, git, file).repository or ""
    row = read_toml(file) if file.is_file() else {}
    others = [str(address) for address in row.get("signers", [])]
    return [*([own] if urlsplit(own).netloc == SIGNING_HOST else []), *others]


def service_place(environment: Mapping[str, str]) -> Place | None:
    """The repository that a CI service works on: GitHub's variables, which Gitea sets too."""
    owner, _, name = environment.get("GITHUB_REPOSITORY", "").rpartition("/")
    server = urlsplit(environment.get("GITHUB_SERVER_URL") or "https://github.com")
    if not owner or not name or not server.hostname:
        return None
    gitea = environment.get("GITEA_ACTIONS") or environment.get("FORGEJO_ACTIONS")
    kind = "gitea" if gitea else _kind_of(server.hostname) or "github"
    return Place(host=_with_port(server.hostname, server.port), owner=owner, name=name, kind=kind)


def remote_place(url: str) -> Place | None:
    """The repository that the address of a git remote names; None for a path of this machine.

    Never holds what an address may have besides: a user, a password or a token.
    """
    if "://" in url:
        parts = urlsplit(url)
        if parts.scheme not in GIT_SCHEMES or not parts.hostname:
            return None
        # The port of ssh is not that of the web.
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
