"""Attestations: the statement of how a wheel was built, signed by the CI job that published it.

`<wheel>.provenance` is PEP 740's provenance object. Sigstore signs with the identity of the job,
without a key that could be stolen later, and keeps the signature in a public log. Verifying needs
no network: the package `sigstore`, which is pinned by its hash, contains the keys of that log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from urllib.parse import quote, urlsplit

from cryptography.x509 import Certificate, SubjectAlternativeName
from pypi_attestations import Attestation, AttestationBundle, GitHubPublisher, Provenance
from sigstore.dsse import Statement
from sigstore.errors import Error as SigstoreError
from sigstore.errors import VerificationError
from sigstore.models import Bundle, ClientTrustConfig, TrustedRoot
from sigstore.oidc import IdentityError, IdentityToken, detect_credential
from sigstore.sign import SigningContext
from sigstore.verify import Verifier, policy

from builders.errors import PublishError, UsageError, printable
from ci.publish.finding import SIGNING_HOST
from ci.publish.manifest import Manifest, Wheel
from ci.publish.product import attestation_path, provenance_path
from ci.publish.tree import Tree

ISSUER = "https://token.actions.githubusercontent.com"
"""The OIDC issuer that vouches for the identity of a GitHub Actions job."""
WORKFLOW = "ci.yml"
BRANCH = "main"
PUBLISHES = f".github/workflows/{WORKFLOW}@refs/heads/{BRANCH}"
"""The workflow and branch that publish, as the identity of a job names them."""
STATEMENT_TYPE = "application/vnd.in-toto+json"
INSTANCE = "https://tuf-repo-cdn.sigstore.dev"
"""The public instance of Sigstore."""
# The largest attestation file that is read. A usual one has some 20 KB, mostly the statement.
MOST_BYTES = 1_000_000

Sign = Callable[[bytes], Bundle]
"""A function that signs a statement."""


@dataclass(frozen=True)
class Signer:
    """The publishing workflow of a repository on GitHub.

    Attributes:
        repository: the repository's owner and name, with a slash between.
    """

    repository: str

    @classmethod
    def of(cls, address: str) -> Signer:
        """Return the signer of a repository's address.

        Raises:
            UsageError: the repository is not on GitHub.
        """
        parts = urlsplit(address)
        repository = parts.path.strip("/")
        if parts.scheme != "https" or parts.netloc != SIGNING_HOST or repository.count("/") != 1:
            raise UsageError(
                f"{printable(address)} is no repository whose CI signs",
                remedy=f"only GitHub's does: https://{SIGNING_HOST}/OWNER/NAME",
            )
        return cls(repository)

    @property
    def identity(self) -> str:
        """The identity that the certificate of this signer's signatures names."""
        return f"https://{SIGNING_HOST}/{self.repository}/{PUBLISHES}"


@cache
def public_verifier() -> Verifier:
    """Return a verifier with the keys that the package has of Sigstore's public instance.

    It uses no network.
    """
    store = resources.files("sigstore._store") / quote(INSTANCE, safe="")
    with resources.as_file(store / "trusted_root.json") as path:
        return Verifier(trusted_root=TrustedRoot.from_file(str(path)))


@contextmanager
def public_signing() -> Iterator[Sign]:
    """Give a function that signs with the identity of this CI job, until the block ends.

    Raises:
        UsageError: this process is not a CI job, or the job may not ask for its identity.
        PublishError: Sigstore cannot be asked, or refuses.
    """
    try:
        credential = detect_credential()
    except IdentityError as error:
        raise UsageError(
            f"this job has no identity: {_line(error)}", remedy="permit it `id-token: write`"
        ) from error
    if credential is None:
        raise UsageError(
            "only a job of CI has an identity to sign with",
            remedy=f"let .github/workflows/{WORKFLOW} publish",
        )
    try:
        config = ClientTrustConfig.production()
        # PEP 740's format has no place for entries of the log's version 2.
        config.force_tlog_version = 1
        context = SigningContext.from_trust_config(config)
        with context.signer(IdentityToken(credential), cache=True) as signer:
            yield lambda statement: signer.sign_dsse(Statement(statement))
    except (SigstoreError, IdentityError) as error:
        raise PublishError(
            f"Sigstore does not sign: {_line(error)}", remedy="run the job again"
        ) from error


def encode(bundle: Bundle, signer: Signer) -> bytes:
    """Return the bytes of a wheel's attestation file, made from a signature."""
    publisher = GitHubPublisher(repository=signer.repository, workflow=WORKFLOW)
    attestation = Attestation.from_bundle(bundle)
    found = AttestationBundle(publisher=publisher, attestations=[attestation])
    return Provenance(attestation_bundles=[found]).model_dump_json(indent=1).encode() + b"\n"


def signer_of(
    data: bytes, statement: bytes, signers: Sequence[Signer], verifier: Verifier
) -> Signer:
    """Return the signer of a statement.

    Args:
        data: the bytes of an attestation file.
        statement: the statement that must have been signed, byte by byte.
        signers: the signers that are accepted.

    Raises:
        PublishError: none of the signers signed it, or the signature cannot be verified; the
            message says why.
    """
    if len(data) > MOST_BYTES:
        raise PublishError(f"has {len(data):,} bytes, more than {MOST_BYTES:,}")
    wanted = _Wanted(signers)
    # The readers of certificates, keys and proofs raise nearly any exception for damaged ones.
    try:
        kind, payload = verifier.verify_dsse(_bundle(data), wanted)
    except PublishError:
        raise
    except Exception as error:
        raise PublishError(f"is no signature that Sigstore vouches for: {_line(error)}") from error
    if (kind, payload) != (STATEMENT_TYPE, statement):
        raise PublishError("signs another statement than the wheel's provenance")
    return wanted.found[0]


class _Wanted:
    """The policy that one of several signers must have signed; `found` keeps that signer."""

    def __init__(self, signers: Sequence[Signer]) -> None:
        self.signers = signers
        self.found: list[Signer] = []

    def verify(self, cert: Certificate) -> None:
        """See sigstore.verify.policy.VerificationPolicy."""
        for signer in self.signers:
            try:
                policy.Identity(identity=signer.identity, issuer=ISSUER).verify(cert)
            except VerificationError:
                continue
            self.found.append(signer)
            return
        names = cert.extensions.get_extension_for_class(SubjectAlternativeName).value
        named = printable(" ".join(str(name.value) for name in names))
        expected = " or ".join(signer.identity for signer in self.signers)
        raise PublishError(f"is of {named}, expected {expected}")


def attested(
    tree: Tree, manifest: Manifest, signers: Sequence[Signer], verifier: Callable[[], Verifier]
) -> tuple[dict[str, Signer], list[str]]:
    """Return the signer of each present wheel, and a line for each faulty attestation.

    The signed statement is the file of a wheel's provenance. ci.publish.verify checks that this
    file is about the wheel.
    """
    found, faults = {}, []
    for wheel in manifest.present:
        if wheel.attestation_sha256 is None:
            continue
        path = attestation_path(wheel.file)
        try:
            found[wheel.file] = _attested(tree, wheel, signers, verifier)
        except PublishError as error:
            faults.append(f"{path}: {error}")
    return found, faults


def _attested(
    tree: Tree, wheel: Wheel, signers: Sequence[Signer], verifier: Callable[[], Verifier]
) -> Signer:
    if not signers:
        raise PublishError(
            "nothing here says who should have signed it",
            remedy="name the repository with --repository",
        )
    data = tree.read(attestation_path(wheel.file)) or b""
    statement = tree.read(provenance_path(wheel.file)) or b""
    return signer_of(data, statement, signers, verifier())


def _bundle(data: bytes) -> Bundle:
    found = Provenance.model_validate_json(data)
    attestations = [each for bundle in found.attestation_bundles for each in bundle.attestations]
    if len(attestations) != 1:
        raise PublishError(f"has {len(attestations)} attestations, expected one")
    return attestations[0].to_bundle()


def _line(error: Exception) -> str:
    """Return the message of an error in one line."""
    return printable(" ".join(str(error).split())[:300]) or type(error).__name__
