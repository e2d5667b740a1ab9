"""`./scripts/verify`: check every file of wheels/, and that the wheels can be rebuilt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from builders.cache import CACHE_VARIABLE
from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.engines.engine import Engine
from builders.engines.options import add_options, chosen, processors
from builders.errors import PublishError
from builders.matrix import Matrix, Target, load_matrix
from builders.native import NativeRunner
from ci.publish.attestation import Signer, attested, public_verifier
from ci.publish.finding import find_signers
from ci.publish.hosting import read_hosting
from ci.publish.manifest import Manifest, read_manifest
from ci.publish.places import README, WHEELS
from ci.publish.rebuild import rebuild
from ci.publish.tree import Tree
from ci.publish.verify import document_faults, faults

EXAMPLES = f"""\
examples:
  verify              checksums, index, metadata and provenance of every file
  verify --rebuild    the same; and every current wheel is built and compared
  verify --rebuild --engine bazel
                      the same by Bazel, whose bytes are to be no others
  verify --signed --repository https://github.com/OWNER/NAME
                      the same; and a workflow of that repository signed every current wheel

Signatures are verified where wheels have them, without a network. Which repository should have
signed, the git remote `origin` or ci/hosting.toml says; in a copy that may have been changed
as a whole, say it yourself.

A rebuild takes from the cache what is there already; to compile all of it, set
{CACHE_VARIABLE} to an empty folder.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    hosting = read_hosting(WHEELS)
    found = faults(WHEELS, hosting)
    if not found:
        found = document_faults(README, read_manifest(WHEELS), hosting)
    if found:
        raise PublishError("\n  ".join([f"{WHEELS.name}/ is not what was published:", *found]))
    manifest = read_manifest(WHEELS)
    print(
        f"{len(list(Tree(WHEELS).paths()))} files are what was published: "
        f"{len(manifest.current)} current wheels, {len(manifest.present)} in the index"
    )
    addresses = [options.repository] if options.repository else find_signers()
    verify_signatures(manifest, [Signer.of(each) for each in addresses], every=options.signed)
    if options.rebuild:
        session = Session()
        engine = chosen(options, session.reporter.say)
        rebuild_all(manifest, load_matrix(), session, engine, options.jobs or processors())
    return 0


def verify_signatures(manifest: Manifest, signers: Sequence[Signer], *, every: bool) -> None:
    """Verify who signed wheels, and print what that proves.

    Args:
        every: True if each current wheel must be signed.

    Raises:
        PublishError: a signature is not of these signers, or a required one is missing.
    """
    found, bad = attested(Tree(WHEELS), manifest, signers, public_verifier)
    if every:
        bad += [
            f"{wheel.file}: nobody signed it"
            for wheel in manifest.current
            if wheel.attestation_sha256 is None
        ]
    if bad:
        raise PublishError("\n  ".join(["not signed as it should be:", *bad]))
    for signer in dict.fromkeys(found.values()):
        files = [file for file, each in found.items() if each == signer]
        print(
            f"{len(files)} wheels are signed: {signer.identity} had these very bytes "
            "and published this provenance of them"
        )
    unsigned = [wheel for wheel in manifest.current if wheel.file not in found]
    if unsigned:
        print(
            f"{len(unsigned)} current wheels are not signed: their files agree with one another, "
            "which does not prove who made them"
        )


def rebuild_all(
    manifest: Manifest, matrix: Matrix, session: Session, engine: Engine, jobs: int
) -> None:
    """Build every current wheel and compare it; raise PublishError if one differs."""
    reporter, cache, logs = session.reporter, session.cache, session.own_logs()

    def build(target: Target, origin: str) -> Path:
        runner = NativeRunner(cache, reporter, logs, origin=origin, jobs=jobs, engine=engine)
        return runner.wheel(target)

    if not manifest.current:
        print("there is no current wheel to rebuild")
    differ = []
    with reporter.showing():
        for wheel in manifest.current:
            rebuilt = rebuild(wheel, WHEELS, matrix, build)
            print(f"{rebuilt.file}: {rebuilt.detail}")
            if not rebuilt.ok:
                differ.append(f"{rebuilt.file}: {rebuilt.detail}")
    if differ:
        raise PublishError("\n  ".join(["a rebuild gave other wheels:", *differ]))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="verify",
        description="Check every file of wheels/ against the manifest and SHA256SUMS.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="also build every current wheel from source, and compare the bytes",
    )
    add_options(parser.add_argument_group("how to rebuild"))
    parser.add_argument(
        "--repository",
        metavar="ADDRESS",
        default="",
        help="whose workflow must have signed (default: the git remote's, and ci/hosting.toml's)",
    )
    parser.add_argument(
        "--signed", action="store_true", help="fail if a current wheel has no signature"
    )
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
