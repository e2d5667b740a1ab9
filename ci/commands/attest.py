"""`./scripts/attest`: sign the provenance of published wheels with the identity of a CI job."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from builders.cache import sha256_of
from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.errors import PublishError, UsageError
from ci.publish.attestation import Signer, encode, public_signing, public_verifier, signer_of
from ci.publish.finding import find_hosting
from ci.publish.manifest import Manifest, read_manifest
from ci.publish.places import README, WHEELS
from ci.publish.product import provenance_path
from ci.publish.publisher import Publisher
from ci.publish.tree import Tree

DESCRIPTION = """\
Sign the provenance of published wheels: that this CI job had these very bytes, and says how they
were built. Only a job of GitHub Actions that may ask for its identity (`id-token: write`) can sign;
Sigstore keeps the signature in a public log. Each becomes a file beside its wheel, which the
index names and ./scripts/verify verifies (PEP 740)."""

EXAMPLES = f"""\
examples:
  attest dist/*.whl    after ./scripts/publish dist/*.whl, in the job that publishes

Name wheels that were built by this run: to sign others would say what nobody knows.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    session = Session()
    hosting = find_hosting()
    publisher = Publisher(WHEELS, README, session.matrix, hosting)
    with publisher.lock(session.cache):
        publisher.tree.finish()
        statements = unsigned(publisher.tree, read_manifest(WHEELS), options.wheels)
        if not statements:
            print("nothing to do: all of these are signed already")
            return 0
        signer = Signer.of(hosting.repository or "")
        attestations = signed(statements, signer)
        publisher.publish(publisher.plan((), (), attestations))
    print(f"{len(attestations)} wheels are signed by {signer.identity}")
    return 0


def unsigned(tree: Tree, manifest: Manifest, wheels: Sequence[Path]) -> dict[str, bytes]:
    """Return the provenance of each wheel that nobody signed yet, by the wheel's name.

    Raises:
        UsageError: a wheel is not there, or not published.
        PublishError: a wheel has other bytes than the published one.
    """
    statements = {}
    for path in wheels:
        if not path.is_file():
            raise UsageError(f"there is no {path}")
        wheel = manifest.find(path.name)
        statement = tree.read(provenance_path(path.name))
        if wheel is None or not wheel.present or statement is None:
            raise UsageError(f"{path.name} is not published", remedy="run ./scripts/publish first")
        if sha256_of(path) != wheel.sha256:
            raise PublishError(f"{path} is not the wheel of that name that is published")
        if wheel.attestation_sha256 is None:
            statements[wheel.file] = statement
    return statements


def signed(statements: dict[str, bytes], signer: Signer) -> dict[str, bytes]:
    """Return attestations by the wheel's name; each was verified as ./scripts/verify does it.

    Raises:
        UsageError: this job has no identity.
        PublishError: Sigstore refuses, or its answer cannot be verified.
    """
    attestations = {}
    with public_signing() as sign:
        for file, statement in statements.items():
            data = encode(sign(statement), signer)
            signer_of(data, statement, [signer], public_verifier())
            attestations[file] = data
            print(f"signed {file}", file=sys.stderr)
    return attestations


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("attest", DESCRIPTION, EXAMPLES)
    parser.add_argument("wheels", metavar="WHEEL", nargs="+", type=Path, help="a published wheel")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
