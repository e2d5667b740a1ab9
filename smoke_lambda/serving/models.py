"""Serves the highest version in a model's folder, and lets a new version take over.

The layout is TensorFlow Serving's: the folder has a folder per version, and its name is the
version's number. A new version is loaded while the old one is served, and then takes its place. The
old version is unloaded when its last request is answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from smoke_lambda.serving.codec import Array
from smoke_lambda.serving.errors import Code, first_line, invalid, not_found, unavailable
from smoke_lambda.serving.pool import Pool
from smoke_lambda.serving.protos.serving_pb2 import ModelSpec, ModelVersionStatus
from smoke_lambda.serving.settings import Settings
from smoke_lambda.serving.signature import DEFAULT, Signature

State = ModelVersionStatus.State
MODEL = "model.tflite"
Log = Callable[[str], None]


class Runnable(Protocol):
    """A copy of a model in a pool."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures of the model, by key."""

    def run(
        self, key: str, inputs: Mapping[str, Array], wanted: tuple[str, ...]
    ) -> dict[str, Array]:
        """See Copy.run."""


@dataclass
class Status:
    """The state of a version, as GetModelStatus reports it."""

    state: State
    code: Code = Code.OK
    reason: str = ""


@dataclass
class Version:
    """A loaded version.

    Attributes:
        leases: the number of requests that use the version.
    """

    number: int
    pool: Pool[Runnable]
    signatures: Mapping[str, Signature]
    load_seconds: float = 0.0
    leases: int = 0
    _free: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def leased(self) -> Iterator[Version]:
        """Use the version; it stays loaded until the block ends."""
        self.leases += 1
        try:
            yield self
        finally:
            self.leases -= 1
            if not self.leases:
                self._free.set()

    def signature(self, key: str) -> Signature:
        """Return a signature by its name; for an empty name, the default signature.

        If the model has only one signature, the empty name stands for it.

        Raises:
            ServingError: INVALID_ARGUMENT, if the model has no such signature.
        """
        if not key and DEFAULT not in self.signatures and len(self.signatures) == 1:
            return next(iter(self.signatures.values()))
        found = self.signatures.get(key or DEFAULT)
        if found is None:
            raise invalid(f'Serving signature key "{(key or DEFAULT)[:80]}" not found.')
        return found

    async def close(self) -> None:
        """Wait for the last request, and close the pool."""
        while self.leases:
            self._free.clear()
            await self._free.wait()
        await self.pool.close()


Load = Callable[[Path, Settings], Sequence[Runnable]]


class Models:
    """The versions of one model. They belong to one event loop.

    Args:
        load: loads a file into copies; it runs in a thread (model_copy.load).
        log: gets a line for each event of a version.
    """

    def __init__(self, settings: Settings, load: Load, log: Log = print) -> None:
        self.settings = settings
        self.current: Version | None = None
        self.statuses: dict[int, Status] = {}
        self._log, self._load = log, load
        self._failed: dict[int, tuple[int, int]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Look for new versions until the task is cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self.settings.poll_seconds)

    async def refresh(self) -> None:
        """Load and serve the highest version in the folder, unless it is served already.

        If a version cannot be loaded, the next lower one is tried, down to the version that is
        served. The failed one is tried again when its file changes: the file may have been read
        while it was being copied.
        """
        for number, path in self._found():
            if self.current is not None and self.current.number == number:
                return
            if await self._take_over(number, path):
                return

    def _found(self) -> list[tuple[int, Path]]:
        """Return versions and their files, the highest first; none if the folder cannot be read."""
        found = []
        with suppress(OSError):
            for folder in self.settings.folder.iterdir():
                path = folder / MODEL
                if folder.name.isascii() and folder.name.isdigit() and path.is_file():
                    found.append((int(folder.name), path))
        return sorted(found, reverse=True)

    async def _take_over(self, number: int, path: Path) -> bool:
        try:
            stamp = (path.stat().st_mtime_ns, path.stat().st_size)
        except OSError:
            return False
        if self._failed.get(number) == stamp:
            return False
        self.statuses[number] = Status(State.LOADING)
        begun = time.monotonic()
        try:
            copies = await asyncio.to_thread(self._load, path, self.settings)
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            self._failed[number] = stamp
            self.statuses[number] = Status(State.END, Code.INTERNAL, first_line(error))
            self._log(f"version {number} cannot be loaded: {first_line(error)}")
            return False
        old, self.current = (
            self.current,
            Version(
                number=number,
                pool=Pool(copies, self.settings.queue),
                signatures=copies[0].signatures,
                load_seconds=time.monotonic() - begun,
            ),
        )
        self._failed.clear()
        self.statuses[number] = Status(State.AVAILABLE)
        self._log(f"version {number} is served, loaded in {self.current.load_seconds:.2f} s")
        if old is not None:
            self.statuses[old.number] = Status(State.UNLOADING)
            task = asyncio.create_task(self._unload(old))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return True

    async def _unload(self, old: Version) -> None:
        await old.close()
        if self.statuses[old.number].state == State.UNLOADING:
            self.statuses[old.number] = Status(State.END)
        self._log(f"version {old.number} is unloaded")

    def version(self, spec: ModelSpec) -> Version:
        """Return the version that a request names, if it is the version that is served.

        Raises:
            ServingError: NOT_FOUND for another model or version, INVALID_ARGUMENT for a request
                without a model or with a label, UNAVAILABLE before the first is loaded.
        """
        self._check(spec)
        found = self.current
        asked = spec.version.value if spec.HasField("version") else None
        if found is None and asked is None:
            raise unavailable(f"no version of {self.settings.model_name} is loaded yet")
        if found is None or asked not in (None, found.number):
            raise not_found(f"Could not find version {asked} of model {self.settings.model_name}")
        return found

    def status(self, spec: ModelSpec) -> dict[int, Status]:
        """Return the status of all versions, or of the version that the request names.

        Raises:
            ServingError: NOT_FOUND, INVALID_ARGUMENT: as for `version`.
        """
        self._check(spec)
        if not spec.HasField("version"):
            return dict(sorted(self.statuses.items(), reverse=True))
        asked = spec.version.value
        if asked not in self.statuses:
            raise not_found(f"Could not find version {asked} of model {self.settings.model_name}")
        return {asked: self.statuses[asked]}

    def _check(self, spec: ModelSpec) -> None:
        if not spec.name:
            raise invalid("Missing ModelSpec: name the model")
        if spec.name != self.settings.model_name:
            raise not_found(f"Servable not found for request: Latest({spec.name[:80]})")
        if spec.version_label:
            raise invalid(f"Unrecognized servable version label: {spec.version_label[:80]}")
