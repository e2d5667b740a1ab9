"""The statement of how a wheel was built: in-toto's Statement with SLSA's provenance predicate.

Sources: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
https://slsa.dev/spec/v1.0/provenance. The statement has no times, so that the same record gives
the same bytes. It has no signature: signing is the task of the service that runs a build.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from builders.sbom import Part
from ci.publish.hosting import Hosting
from ci.publish.product import Contents

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
# SLSA wants an address for build type and builder. Without a host, they only get a name.
HOSTLESS = "urn:tflite-lambda-wheels:"
BUILD_TYPE = "docs/architecture.md"
BUILDER = "scripts/build"


def make_statement(
    subject: Mapping[str, str],
    target: str,
    contents: Contents,
    source: Mapping[str, Any],
    hosting: Hosting,
) -> bytes:
    """Return the statement about one wheel.

    Args:
        subject: the wheel's SHA-256, by its file name.
        source: `ci.proof.source_state.source_state()` of the build; empty if the build's record
            has none.
    """
    predicate = {
        "buildDefinition": {
            "buildType": _address(BUILD_TYPE, hosting),
            "externalParameters": {
                "target": target,
                "origin": contents.origin,
                "command": build_command(target, contents.origin),
            },
            "resolvedDependencies": [
                *_repository(source, hosting),
                *(_dependency(part) for part in contents.parts),
            ],
        },
        "runDetails": {"builder": {"id": _address(BUILDER, hosting)}},
    }
    statement = {
        "_type": STATEMENT,
        "subject": _subject(subject),
        "predicateType": PREDICATE,
        "predicate": predicate,
    }
    return (json.dumps(statement, indent=1) + "\n").encode()


def build_command(target: str, origin: str) -> str:
    """Return the command that builds a target from an origin."""
    return f"./scripts/build --only {target} --origin {origin}"


def statement_faults(data: bytes, subject: Mapping[str, str], contents: Contents) -> Iterator[str]:
    """Give a line for each fault: the statement is about another wheel, or lacks a part of it."""
    try:
        statement = json.loads(data)
        if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
            yield f"is not a {STATEMENT} with a {PREDICATE}"
        if statement["subject"] != _subject(subject):
            yield f"is about {statement['subject']}"
        named = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        for part in contents.parts:
            if _dependency(part) not in named:
                yield f"does not name {part.name} {part.version} as the wheel's SBOM does"
    except (ValueError, LookupError, TypeError) as error:
        yield f"is no statement of provenance: {error!r}"


def _address(path: str, hosting: Hosting) -> str:
    return hosting.source_url(path) or HOSTLESS + path


def _subject(subject: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": file, "digest": {"sha256": sha256}} for file, sha256 in subject.items()]


def _repository(source: Mapping[str, Any], hosting: Hosting) -> Iterator[dict[str, Any]]:
    if source.get("commit"):
        named = {"uri": f"git+{hosting.repository}"} if hosting.repository else {"name": "git"}
        yield {
            **named,
            "digest": {"gitCommit": source["commit"]},
            # With changes that were not committed, the commit alone is not the source.
            "annotations": {"modified": source["modified"]},
        }
    for path, sha256 in source.get("files", {}).items():
        yield {"name": path, "digest": {"sha256": sha256}}


def _dependency(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "uri": part.location,
        "digest": {"sha256": part.sha256},
        "annotations": {"version": part.version, **part.belonging},
    }
