"""Takes in a wheel with its record, if the record proves the wheel; its bytes stay as they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.errors import PublishError, UsageError
from builders.matrix import Matrix, Runtime, Target
from builders.wheelname import parse_own_name
from ci.proof.conformer import Subject, corpus_of
from ci.publish.hosting import Hosting
from ci.publish.manifest import PROJECT, Conform, LambdaRuntime, Smoke, Wheel
from ci.publish.product import metadata_path, provenance_path, read_contents
from ci.publish.provenance import make_statement
from smoke_lambda.conform.run import corpus_digest
from smoke_lambda.conform.settings import load_settings

RECORDS = "records"
WORDS = {"audit": "audit", "smoke": "smoke test", "conform": "comparison with TensorFlow"}
"""The reports that a record must have, each with its name for people."""
# The place of a test on the machine of the build. The path of its interpreter is not published.
NATIVE = "native"
REBUILD = "build it again with ./scripts/build, which proves it"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A wheel that may be published.

    Attributes:
        wheel: the wheel's entry in the manifest.
        files: the bytes of the wheel's files, by path below wheels/.
    """

    wheel: Wheel
    files: Mapping[str, bytes]


def take_in(path: Path, matrix: Matrix, hosting: Hosting) -> Candidate:
    """Read a wheel and its record, `records/<wheel>.json` beside it.

    Raises:
        UsageError: there is no such wheel.
        PublishError: the wheel has no record, or its record does not allow to publish it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", remedy="./scripts/build makes wheels in dist/"
        ) from error
    target = _target(path.name, matrix)
    if not target.tensorflow.publish:
        raise PublishError(
            f"{path.name} is of a TensorFlow that is verified and not published",
            remedy="builders/matrix.toml says why, by `publish`",
        )
    record = _read_record(path)
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        audit_checks, smoke, conform = _proven(record, path.name, target, sha256)
    except (LookupError, TypeError, AttributeError) as error:
        raise PublishError(f"the record of {path.name} is damaged: {error!r}") from error
    contents = read_contents(path)
    statement = make_statement(
        {path.name: sha256}, target.identifier, contents, record.get("source") or {}, hosting
    )
    wheel = Wheel(
        file=path.name,
        sha256=sha256,
        size=len(data),
        metadata_sha256=hashlib.sha256(contents.metadata).hexdigest(),
        provenance_sha256=hashlib.sha256(statement).hexdigest(),
        target=target.identifier,
        tensorflow=target.tensorflow.version,
        python=target.runtime.python,
        arch=target.arch,
        build=parse_own_name(path.name, matrix).build[0],  # type: ignore[misc]
        requires_python=contents.requires_python,
        numpy=contents.numpy,
        glibc=record["audit"]["glibc_floor"],
        runtime=lambda_runtime(target.runtime),
        verified=target.verified,
        audit_checks=audit_checks,
        smoke=smoke,
        substituted=contents.substituted,
        conform=conform,
    )
    files = {
        path.name: data,
        metadata_path(path.name): contents.metadata,
        provenance_path(path.name): statement,
    }
    return Candidate(wheel=wheel, files=files)


def lambda_runtime(runtime: Runtime) -> LambdaRuntime:
    """Return a runtime of the matrix in the manifest's form."""
    deprecated = runtime.deprecated.isoformat() if runtime.deprecated else None
    return LambdaRuntime(
        name=runtime.name, os=runtime.os, glibc=runtime.glibc, deprecated=deprecated
    )


def _target(file: str, matrix: Matrix) -> Target:
    name = parse_own_name(file, matrix)
    faults = [*name.faults, *([] if name.build else ["it has no build number"])]
    if faults or name.target is None:
        raise PublishError(f"{file} is no wheel of this repository: {'; '.join(faults)}")
    return name.target


def _read_record(wheel: Path) -> Mapping[str, Any]:
    path = wheel.parent / RECORDS / f"{wheel.name}.json"
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise PublishError(f"{wheel.name} has no record {path}", remedy=REBUILD) from error
    except ValueError as error:
        raise PublishError(f"{path} is not JSON: {error}", remedy=REBUILD) from error
    if not isinstance(record, dict):
        raise PublishError(f"{path} is no record of a wheel", remedy=REBUILD)
    return record


def _proven(
    record: Mapping[str, Any], file: str, target: Target, sha256: str
) -> tuple[int, tuple[Smoke, ...], Conform]:
    """Return the number of audit checks, the smoke test's figures and the comparison's figures.

    Raises:
        PublishError: a report is missing, is about other bytes, or did not pass.
    """
    for what in ("audit", "smoke", "conform"):
        report = record.get(what)
        if not report:
            raise PublishError(f"{file} has no record of its {WORDS[what]}", remedy=_remedy(what))
        if report["sha256"] != sha256:
            raise PublishError(
                f"the {WORDS[what]} of {file} was of other bytes: sha256 {report['sha256']}, "
                f"the file's is {sha256}",
                remedy=REBUILD,
            )
        if not report["ok"]:
            raise PublishError(f"{file} failed its {WORDS[what]}", remedy=REBUILD)
    audit, smoke, conform = (record[what] for what in WORDS)
    names = (audit["file"], smoke["wheel"], conform["wheel"])
    if audit["target"] != target.identifier or set(names) != {file}:
        raise PublishError(f"the record of {file} is of another wheel", remedy=REBUILD)
    # The verdicts are not trusted: each check is looked at.
    audited = _all_passed(file, "audit", audit["checks"])
    runs = smoke["runs"]
    if not runs:
        raise PublishError(f"the smoke test of {file} ran nothing", remedy=REBUILD)
    compared = _compared(file, target, conform)
    return audited, tuple(_figures(file, run, smoke) for run in runs), compared


def _remedy(what: str) -> str:
    if what != "audit":
        return f"{REBUILD}, on a machine that can run it"
    return REBUILD


def _all_passed(file: str, what: str, checks: Sequence[Mapping[str, Any]]) -> int:
    failed = [check["name"] for check in checks if not check["ok"]]
    if failed or not checks:
        found = f"failed {', '.join(failed)}" if failed else "checked nothing"
        raise PublishError(f"the {what} of {file} {found}", remedy=REBUILD)
    return len(checks)


def _figures(file: str, run: Mapping[str, Any], smoke: Mapping[str, Any]) -> Smoke:
    return Smoke(
        numpy=run["numpy"],
        place=_place(smoke),
        checks=_all_passed(file, f"smoke test with NumPy {run['numpy']}", run["checks"]),
        xnnpack={model: round(share, 4) for model, share in run["xnnpack"].items()},
        import_ms=_millis(run["import_ms"]),
        first_inference_ms=_millis(run["first_inference_ms"]),
    )


def _compared(file: str, target: Target, found: Mapping[str, Any]) -> Conform:
    """Return the comparison with TensorFlow.

    Raises:
        PublishError: a model failed, or the comparison was incomplete or with an older corpus.
    """
    if found["failures"]:
        first = found["failures"][0]
        raise PublishError(
            f"{file} fails with {len({f['model'] for f in found['failures']})} models of the "
            f"conformance corpus, first {first['model']}: {first['what']}",
            remedy=REBUILD,
        )
    if found["corpus"] != corpus_digest():
        raise PublishError(f"{file} was compared with an older corpus", remedy=REBUILD)
    if not found["expected_delegation"]:
        raise PublishError(
            f"of TensorFlow {target.tensorflow.version} it is not known which nodes XNNPACK takes",
            remedy="./scripts/conform --write-delegated writes it",
        )
    corpus = corpus_of(
        Subject.of(PROJECT, target.tensorflow.version),
        found["part"],
        target.runtime,
        judge_delegation=False,
    )
    if found["part"] not in load_settings().parts or found["models"] != len(corpus.models):
        raise PublishError(
            f"{file} was compared with {found['models']} models of the part '{found['part']}', "
            f"which has {len(corpus.models)}",
            remedy=REBUILD,
        )
    return Conform(
        place=_place(found),
        part=found["part"],
        corpus=found["corpus"],
        models=found["models"],
        operators=len(found["operators"]),
        delegated=round(found["delegated"] / found["nodes"], 4),
    )


def _place(found: Mapping[str, Any]) -> str:
    place: str = found.get("place", NATIVE)
    return NATIVE if place.startswith(NATIVE) else place


def _millis(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
