"""A Sigstore of our own, so that tests can sign: a certificate authority, a log of certificates and
a log of signatures. A trust root names their keys, as in the public Sigstore.

Sources: RFC 6962 (both logs' trees and proofs), https://c2sp.org/signed-note (checkpoints),
https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md (the fields of a job's certificate).
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier

from ci.publish.attestation import ISSUER, STATEMENT_TYPE

MOMENT = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)
MINUTES = datetime.timedelta(minutes=10)
YEARS = datetime.timedelta(days=3650)
LOG = "log.example"
SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
OIDC_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
SHA256_ECDSA = b"\x04\x03"  # of TLS: hash and signature algorithm


def encoded(data: bytes) -> str:
    """Return data in base64."""
    return base64.b64encode(data).decode()


def key() -> ec.EllipticCurvePrivateKey:
    """Make a key."""
    return ec.generate_private_key(ec.SECP256R1())


def public(of: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public key, in DER."""
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def digest(data: bytes) -> bytes:
    """Return the SHA-256 digest."""
    return hashlib.sha256(data).digest()


def signature(by: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Sign data with ECDSA and SHA-256."""
    return by.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass
class LocalSigstore:
    """A Sigstore whose trust root has only its own keys."""

    authority: ec.EllipticCurvePrivateKey = field(default_factory=key)
    certificates: ec.EllipticCurvePrivateKey = field(default_factory=key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=key)

    def __post_init__(self) -> None:
        """Make the authority's own certificate."""
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        usage = dict.fromkeys(USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        self.root = (
            self._builder(self.name, self.authority, MOMENT - YEARS, MOMENT + YEARS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(self._of(self.authority), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    def verifier(self, folder: Path) -> Verifier:
        """Return a verifier of this Sigstore's signatures.

        Args:
            folder: the folder for the trust root.
        """
        file = folder / "trusted_root.json"
        file.write_text(json.dumps(self.trust_root()))
        return Verifier(trusted_root=TrustedRoot.from_file(str(file)))

    def trust_root(self) -> dict[str, Any]:
        """Return the keys in the form of Sigstore's trust roots."""
        period = {"start": (MOMENT - YEARS).isoformat()}
        chain = [{"rawBytes": encoded(self.root.public_bytes(Encoding.DER))}]
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log(self.log)],
            "ctlogs": [self._log(self.certificates)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "ours", "commonName": "authority"},
                    "uri": "https://authority.example",
                    "certChain": {"certificates": chain},
                    "validFor": period,
                }
            ],
            "timestampAuthorities": [],
        }

    def sign(self, statement: bytes, identity: str, issuer: str = ISSUER) -> Bundle:
        """Sign a statement as a job with the given identity would."""
        own = key()
        certificate = self._certificate(own, identity, issuer)
        kind = STATEMENT_TYPE
        signed = signature(own, f"DSSEv1 {len(kind)} {kind} {len(statement)} ".encode() + statement)
        material = {
            "certificate": {"rawBytes": encoded(certificate.public_bytes(Encoding.DER))},
            "tlogEntries": [self._entry(statement, signed, certificate)],
        }
        envelope = {
            "payload": encoded(statement),
            "payloadType": kind,
            "signatures": [{"sig": encoded(signed)}],
        }
        return Bundle.from_json(
            json.dumps(
                {
                    "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                    "verificationMaterial": material,
                    "dsseEnvelope": envelope,
                }
            )
        )

    def _certificate(
        self, own: ec.EllipticCurvePrivateKey, identity: str, issuer: str
    ) -> x509.Certificate:
        """Return a certificate that is valid for minutes, with the certificate log's promise."""
        usage = dict.fromkeys(USAGES, False) | {"digital_signature": True}
        builder = (
            self._builder(x509.Name([]), own, MOMENT, MOMENT + MINUTES)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(self._of(own), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]),
                critical=True,
            )
            .add_extension(x509.UnrecognizedExtension(OIDC_ISSUER, issuer.encode()), critical=False)
        )
        without = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        promise = x509.UnrecognizedExtension(SCT_LIST, self._promise(without))
        return builder.add_extension(promise, critical=False).sign(self.authority, hashes.SHA256())

    def _promise(self, certificate: bytes) -> bytes:
        """Return a signed certificate timestamp, in a list, in a string (RFC 6962, 3.2, 3.3)."""
        when = struct.pack("!Q", int(MOMENT.timestamp()) * 1000)
        entry = digest(public(self.authority)) + struct.pack("!I", len(certificate))[1:]
        signed = signature(
            self.certificates, b"\0\0" + when + b"\0\1" + entry + certificate + b"\0\0"
        )
        stamp = b"\0" + digest(public(self.certificates)) + when + b"\0\0" + SHA256_ECDSA
        stamp += struct.pack("!H", len(signed)) + signed
        listed = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        return bytes([4, len(listed)]) + listed

    def _entry(
        self, statement: bytes, signed: bytes, certificate: x509.Certificate
    ) -> dict[str, Any]:
        """Return the log's entry: one of two leaves, and the promises for it."""
        verifier = encoded(certificate.public_bytes(Encoding.PEM))
        body = rfc8785.dumps(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": {"algorithm": "sha256", "value": digest(signed).hex()},
                    "payloadHash": {"algorithm": "sha256", "value": digest(statement).hex()},
                    "signatures": [{"signature": encoded(signed), "verifier": verifier}],
                },
            }
        )
        other = digest(b"\0another entry")
        root = digest(b"\1" + other + digest(b"\0" + body))
        name = digest(public(self.log))
        note = f"{LOG}\n2\n{encoded(root)}\n"
        mark = encoded(name[:4] + signature(self.log, note.encode()))
        when = int(MOMENT.timestamp()) + 5
        stamped: dict[str, Any] = {
            "body": encoded(body),
            "integratedTime": when,
            "logID": name.hex(),
            "logIndex": 1,
        }
        return {
            "logIndex": "1",
            "logId": {"keyId": encoded(name)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(when),
            "inclusionPromise": {
                "signedEntryTimestamp": encoded(signature(self.log, rfc8785.dumps(stamped)))
            },
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": encoded(root),
                "treeSize": "2",
                "hashes": [encoded(other)],
                "checkpoint": {"envelope": f"{note}\n\u2014 {LOG} {mark}\n"},
            },
            "canonicalizedBody": encoded(body),
        }

    def _builder(
        self,
        subject: x509.Name,
        of: ec.EllipticCurvePrivateKey,
        start: datetime.datetime,
        end: datetime.datetime,
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        builder = builder.public_key(of.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(start).not_valid_after(end)

    def _of(self, owner: ec.EllipticCurvePrivateKey) -> x509.SubjectKeyIdentifier:
        return x509.SubjectKeyIdentifier.from_public_key(owner.public_key())

    def _log(self, of: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        return {
            "baseUrl": f"https://{LOG}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": encoded(public(of)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": (MOMENT - YEARS).isoformat()},
            },
            "logId": {"keyId": encoded(digest(public(of)))},
        }


USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
