"""The manifest: the published wheels as data, from which index, page and README are made."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from packaging.utils import canonicalize_name
from packaging.version import Version

from builders.audit import PACKAGE
from builders.errors import PublishError

MANIFEST = "manifest.json"
SCHEMA = "manifest.schema.json"
SUMS = "SHA256SUMS"
SCHEMA_FILE = Path(__file__).with_name(SCHEMA)
FORMAT = 1
PROJECT = canonicalize_name(PACKAGE)


class State(StrEnum):
    """The state of a published wheel."""

    CURRENT = "current"
    RETIRED = "retired"
    """Replaced: in the index, but no longer recommended."""
    YANKED = "yanked"
    """In the index, but only for users who pin it (PEP 592)."""
    REMOVED = "removed"
    """Deleted; its name is never used again."""


@dataclass(frozen=True, kw_only=True)
class LambdaRuntime:
    """The Lambda runtime that a wheel is for.

    Attributes:
        name: AWS's identifier.
        deprecated: the day on which AWS deprecates the runtime, in ISO 8601; None as long
            as AWS has not released it.
    """

    name: str
    os: str
    glibc: str
    deprecated: str | None


@dataclass(frozen=True, kw_only=True)
class NumPy:
    """The NumPy versions that a wheel admits: floor <= version < below."""

    floor: str
    below: str

    @property
    def requirement(self) -> str:
        """The requirement for pip."""
        return f"numpy>={self.floor},<{self.below}"


@dataclass(frozen=True, kw_only=True)
class Smoke:
    """The result of the smoke test with one NumPy.

    Attributes:
        place: where the test ran: `native` is Lambda's emulator on the builder's own Linux,
            `docker` with an image's name is a container of that image.
        checks: the number of checks; all passed.
        xnnpack: the share of the operators that XNNPACK took, 0 to 1, by model.
        import_ms: the time to import the runtime, and NumPy with it, in a fresh process.
        first_inference_ms: the time from the import to the first answer of the float32 model.
    """

    numpy: str
    place: str
    checks: int
    xnnpack: Mapping[str, float]
    import_ms: float | None
    first_inference_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Conform:
    """The result of the comparison with TensorFlow.

    Attributes:
        place: where the comparison ran; see Smoke.
        part: the part of the corpus that was run; see smoke_lambda/conform/settings.toml.
        corpus: the digest of the corpus' models, answers and tolerances.
        models: the number of models that were run; all passed.
        operators: the number of builtin operators in the models.
        delegated: the share of the models' nodes that XNNPACK took, 0 to 1.
    """

    place: str
    part: str
    corpus: str
    models: int
    operators: int
    delegated: float


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One published wheel.

    Attributes:
        file: the wheel's name in wheels/.
        sha256: the SHA-256 of the wheel; neither it nor the bytes of `file` ever change.
        size: the wheel's size in bytes.
        metadata_sha256: the SHA-256 of `<file>.metadata` (PEP 658).
        provenance_sha256: the SHA-256 of `provenance/<file>.json`.
        target: the target's identifier, such as tf2.14.1-cp312-x86_64.
        python: the version of Python, such as 3.12.
        build: PEP 427's build number.
        glibc: the oldest glibc that the wheel loads with.
        verified: True if the matrix says that this repository builds, audits and smoke-tests
            the target.
        audit_checks: the number of the audit's checks; all passed.
        smoke: one result per NumPy, the oldest first.
        substituted: the components that TensorFlow neither pins nor ships with this version,
            each with what it stands in for; None if the wheel does not say it.
        conform: the result of the comparison with TensorFlow; None for wheels that were
            published before there was a corpus.
        attestation_sha256: the SHA-256 of `<file>.provenance` (PEP 740); None if nobody signed.
        reason: why the wheel is not current; empty if it is.
    """

    file: str
    sha256: str
    size: int
    metadata_sha256: str
    provenance_sha256: str
    target: str
    tensorflow: str
    python: str
    arch: str
    build: int
    requires_python: str
    numpy: NumPy
    glibc: str
    runtime: LambdaRuntime
    verified: bool
    audit_checks: int
    smoke: tuple[Smoke, ...]
    substituted: Mapping[str, str] | None = None
    conform: Conform | None = None
    attestation_sha256: str | None = None
    state: State = State.CURRENT
    reason: str = ""

    @property
    def order(self) -> tuple[Version, str, Version, int]:
        """The sort key of wheels: TensorFlow, architecture, Python, build."""
        return Version(self.tensorflow), self.arch, Version(self.python), self.build

    @property
    def is_pre_release(self) -> bool:
        """True if its TensorFlow version is a pre-release (PEP 440)."""
        return Version(self.tensorflow).is_prerelease

    @property
    def present(self) -> bool:
        """True if its file is in wheels/."""
        return self.state is not State.REMOVED


@dataclass(frozen=True)
class Manifest:
    """All wheels that were ever published, sorted by `Wheel.order`."""

    wheels: tuple[Wheel, ...] = ()

    @property
    def present(self) -> tuple[Wheel, ...]:
        """The wheels whose files are in wheels/."""
        return tuple(wheel for wheel in self.wheels if wheel.present)

    @property
    def current(self) -> tuple[Wheel, ...]:
        """The wheels that users should take: at most one per target."""
        return tuple(wheel for wheel in self.wheels if wheel.state is State.CURRENT)

    def find(self, file: str) -> Wheel | None:
        """Return the wheel with a file name; None if there is none."""
        return next((wheel for wheel in self.wheels if wheel.file == file), None)

    def with_wheels(self, wheels: Iterable[Wheel]) -> Manifest:
        """Return this manifest with wheels added; they replace wheels of the same name."""
        found = {wheel.file: wheel for wheel in self.wheels}
        found |= {wheel.file: wheel for wheel in wheels}
        return Manifest(tuple(sorted(found.values(), key=lambda wheel: wheel.order)))

    def encode(self) -> bytes:
        """Return the file's bytes.

        Raises:
            PublishError: the file would not be valid.
        """
        data = {
            "$schema": SCHEMA,
            "format": FORMAT,
            "project": PROJECT,
            "wheels": [_data(wheel) for wheel in self.wheels],
        }
        text = json.dumps(data, indent=1) + "\n"
        _validate(json.loads(text))
        _check(self)
        return text.encode()


def decode(data: bytes) -> Manifest:
    """Return the manifest of a file's bytes.

    Raises:
        PublishError: the file is not JSON, does not fit the schema, or contradicts itself.
    """
    try:
        found = json.loads(data)
    except ValueError as error:
        raise PublishError(f"{MANIFEST} is not JSON: {error}") from error
    _validate(found)
    manifest = Manifest(tuple(_wheel(wheel) for wheel in found["wheels"]))
    _check(manifest)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder of published wheels; an empty one if there is no file."""
    path = folder / MANIFEST
    return decode(path.read_bytes()) if path.exists() else Manifest()


@functools.cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA_FILE.read_bytes()))


def _validate(data: object) -> None:
    error = best_match(_validator().iter_errors(data))
    if error is not None:
        raise PublishError(
            f"{MANIFEST} does not fit its schema: {error.json_path}: {error.message}"
        )


def _data(wheel: Wheel) -> dict[str, Any]:
    """Return a wheel in the form of the file: optional values that are None are left out."""
    data = dataclasses.asdict(wheel)
    for optional in ("substituted", "conform", "attestation_sha256"):
        if data[optional] is None:
            del data[optional]
    return data


def _wheel(data: Mapping[str, Any]) -> Wheel:
    nested = {
        "numpy": NumPy(**data["numpy"]),
        "runtime": LambdaRuntime(**data["runtime"]),
        "smoke": tuple(Smoke(**run) for run in data["smoke"]),
        "conform": Conform(**data["conform"]) if "conform" in data else None,
        "state": State(data["state"]),
    }
    return Wheel(**{**data, **nested})


def _check(manifest: Manifest) -> None:
    """Check the rules that a schema cannot express."""
    files = [wheel.file for wheel in manifest.wheels]
    if len(set(files)) != len(files):
        raise PublishError(f"{MANIFEST} names a file twice")
    if list(manifest.wheels) != sorted(manifest.wheels, key=lambda wheel: wheel.order):
        raise PublishError(f"{MANIFEST} is not in its order")
    targets = [wheel.target for wheel in manifest.current]
    if len(set(targets)) != len(targets):
        raise PublishError(f"{MANIFEST} has two current wheels of one target")
