"""Publishing: from wheels and decisions to changed files, under a lock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from builders.cache import Cache, key_of, write_atomically
from builders.errors import PublishError
from builders.matrix import Matrix
from ci.publish.changes import add, attest, refresh, set_state
from ci.publish.documents import documents
from ci.publish.generated import decode_sums, generate, stored
from ci.publish.hosting import Hosting
from ci.publish.intake import take_in
from ci.publish.manifest import SUMS, Manifest, State, read_manifest
from ci.publish.product import attestation_path
from ci.publish.tree import Tree


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The decision to retire, yank or remove a published wheel."""

    file: str
    state: State
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The changes that publishing would make.

    Attributes:
        manifest: the manifest after publishing.
        news: a line for each new wheel, and for each wheel whose state changes.
        files: the bytes to write, by path below the folder.
        gone: the paths to delete.
        documents: the new text of each document beside the folder that changes.
    """

    manifest: Manifest
    news: tuple[str, ...]
    files: Mapping[str, bytes]
    gone: tuple[str, ...]
    documents: Mapping[Path, str]

    @property
    def empty(self) -> bool:
        """True if there is nothing to do."""
        return not self.files and not self.gone and not self.documents


class Publisher:
    """Publishes into one folder, and updates the README and the documents beside it."""

    def __init__(self, folder: Path, readme: Path, matrix: Matrix, hosting: Hosting) -> None:
        self.tree = Tree(folder)
        self.readme = readme
        self.matrix = matrix
        self.hosting = hosting

    def plan(
        self,
        wheels: Sequence[Path],
        decisions: Sequence[Decision],
        attestations: Mapping[str, bytes] | None = None,
    ) -> Plan:
        """Return the changes that publishing would make; write nothing.

        Args:
            attestations: attestation files of published wheels, by the wheel's name.

        Raises:
            UsageError: a wheel is not there, or a decision has no reason.
            PublishError: a wheel may not be published, or published files are damaged.
        """
        before = read_manifest(self.tree.folder)
        after = before
        fresh: dict[str, bytes] = {}
        for path in wheels:
            candidate = take_in(path, self.matrix, self.hosting)
            published = after.find(candidate.wheel.file)
            after = add(after, candidate.wheel)
            if published is None:
                fresh.update(candidate.files)
        for file, data in (attestations or {}).items():
            after = attest(after, file, hashlib.sha256(data).hexdigest())
            fresh[attestation_path(file)] = data
        for decision in decisions:
            after = set_state(after, decision.file, decision.state, decision.reason)
        after = refresh(after, self.matrix)
        return self._plan(before, after, fresh)

    def publish(self, plan: Plan) -> None:
        """Carry out a plan; the caller took the lock before the plan was made."""
        if plan.files or plan.gone:
            self.tree.change(plan.files, plan.gone)
        for path, text in plan.documents.items():
            write_atomically(path, text.encode())

    def lock(self, cache: Cache) -> AbstractContextManager[None]:
        """Return a context in which no other process publishes into the folder."""
        return cache.lock(f"publish-{key_of(str(self.tree.folder.resolve()))}")

    def _plan(self, before: Manifest, after: Manifest, fresh: Mapping[str, bytes]) -> Plan:
        keep = stored(after)
        self._check_stored({path: keep[path] for path in stored(before) if path in keep})
        wanted = {path: data for path, data in fresh.items() if path in keep}
        for path, data in wanted.items():
            if self.tree.read(path) not in (None, data):
                raise PublishError(
                    f"{path} is there with other bytes, though it was never published",
                    remedy="move it away; only ./scripts/publish writes into this folder",
                )
        generated = generate(after, self.hosting)
        wanted |= generated
        # Files to delete are those of removed wheels, and those that no generator makes any more.
        ours = {*stored(before), *decode_sums(self.tree.read(SUMS) or b"")}
        return Plan(
            manifest=after,
            news=tuple(_news(before, after)),
            files={path: data for path, data in wanted.items() if self.tree.read(path) != data},
            gone=tuple(
                path
                for path in sorted(self.tree.paths())
                if path in ours and path not in keep and path not in generated
            ),
            documents={
                path: text
                for path, text in documents(self.readme, after, self.matrix, self.hosting).items()
                if not path.is_file() or path.read_text() != text
            },
        )

    def _check_stored(self, sums: Mapping[str, str]) -> None:
        """Check that published files have their published bytes; the index vouches for them.

        Raises:
            PublishError: a file is missing or has other bytes.
        """
        for path, sha256 in sums.items():
            data = self.tree.read(path)
            if data is None or hashlib.sha256(data).hexdigest() != sha256:
                raise PublishError(
                    f"{path} is {'missing' if data is None else 'not what was published'}",
                    remedy="bring it back with `git checkout`; ./scripts/verify checks all files",
                )


def _news(before: Manifest, after: Manifest) -> list[str]:
    lines = []
    for wheel in after.wheels:
        old = before.find(wheel.file)
        if old is None:
            lines.append(f"publish {wheel.file}")
        elif old.state is not wheel.state:
            lines.append(f"{wheel.state} {wheel.file}: {wheel.reason}")
    return lines
