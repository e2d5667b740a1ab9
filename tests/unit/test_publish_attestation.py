"""Signatures: only a wheel that the expected workflow signed passes, whatever else agrees."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from local_sigstore import LocalSigstore, key
from publish_samples import CP39, CP312, HOSTING, Place, wheel_of, write_wheel
from pypi_attestations import Provenance
from sigstore.errors import Error as SigstoreError
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityError
from sigstore.verify import Verifier

from builders.audit import PACKAGE
from builders.errors import PublishError, UsageError
from ci.commands import attest as command
from ci.commands import verify as verify_command
from ci.publish import attestation
from ci.publish.attestation import (
    BRANCH,
    WORKFLOW,
    Sign,
    Signer,
    encode,
    public_signing,
    public_verifier,
    signer_of,
)
from ci.publish.changes import attest
from ci.publish.finding import find_signers
from ci.publish.manifest import Manifest, Wheel, read_manifest
from ci.publish.places import ROOT
from ci.publish.site import index_files
from ci.publish.verify import faults

NAME, DATA = wheel_of(CP312)
NAME39, _ = wheel_of(CP39)
REPOSITORY = "https://github.com/ada/wheels"
SIGNER = Signer.of(REPOSITORY)
HOSTED = replace(HOSTING, repository=REPOSITORY)
STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": NAME, "digest": {"sha256": hashlib.sha256(DATA).hexdigest()}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    }
).encode()


@pytest.fixture(scope="module")
def sigstore() -> LocalSigstore:
    return LocalSigstore()


@pytest.fixture(scope="module")
def verifier(sigstore: LocalSigstore, tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    return sigstore.verifier(tmp_path_factory.mktemp("trust"))


@pytest.fixture(scope="module")
def data(sigstore: LocalSigstore) -> bytes:
    return encode(sigstore.sign(STATEMENT, SIGNER.identity), SIGNER)


def test_the_identity_is_that_of_the_workflow_that_publishes() -> None:
    assert SIGNER.identity == (
        "https://github.com/ada/wheels/.github/workflows/ci.yml@refs/heads/main"
    )


@pytest.mark.parametrize(
    "address",
    [
        "",
        "https://git.example/ada/wheels",
        "http://github.com/ada/wheels",
        "https://github.com/ada",
    ],
)
def test_elsewhere_nobody_signs(address: str) -> None:
    with pytest.raises(UsageError, match="no repository whose CI signs"):
        Signer.of(address)


def test_who_signed_is_told(data: bytes, verifier: Verifier) -> None:
    signers = [Signer("eve/wheels"), SIGNER]
    assert signer_of(data, STATEMENT, signers, verifier) == SIGNER


def test_the_file_has_the_form_of_pep_740(data: bytes) -> None:
    found = json.loads(data)
    assert found["version"] == 1
    (bundle,) = found["attestation_bundles"]
    assert bundle["publisher"]["kind"] == "GitHub"
    assert bundle["publisher"]["repository"] == "ada/wheels"
    (signed,) = bundle["attestations"]
    assert base64.b64decode(signed["envelope"]["statement"]) == STATEMENT


@pytest.mark.parametrize(
    ("signed", "message"),
    [
        ({"identity": Signer("eve/wheels").identity}, "is of https://github.com/eve/wheels/"),
        ({"identity": SIGNER.identity.replace("main", "eve")}, r"heads/eve, expected .*heads/main"),
        ({"identity": SIGNER.identity.replace("ci.yml", "own.yml")}, "own.yml@"),
        ({"issuer": "https://accounts.example"}, "is of .*, expected"),
        ({"statement": STATEMENT + b"\n"}, "signs another statement"),
    ],
)
def test_what_another_signed_is_refused(
    sigstore: LocalSigstore, verifier: Verifier, signed: dict[str, Any], message: str
) -> None:
    bundle = sigstore.sign(**{"statement": STATEMENT, "identity": SIGNER.identity} | signed)
    with pytest.raises(PublishError, match=message):
        signer_of(encode(bundle, SIGNER), STATEMENT, [SIGNER], verifier)


def test_another_sigstore_is_not_trusted(data: bytes, tmp_path: Path) -> None:
    for verifier in (LocalSigstore().verifier(tmp_path), public_verifier()):
        with pytest.raises(PublishError, match="no signature that Sigstore vouches for"):
            signer_of(data, STATEMENT, [SIGNER], verifier)


@pytest.mark.parametrize("part", ["authority", "certificates", "log"])
def test_each_key_of_sigstore_matters(
    sigstore: LocalSigstore, data: bytes, tmp_path: Path, part: str
) -> None:
    assert signer_of(data, STATEMENT, [SIGNER], replace(sigstore).verifier(tmp_path)) == SIGNER
    other = replace(sigstore, **{part: key()}).verifier(tmp_path)
    with pytest.raises(PublishError, match="no signature that Sigstore vouches for"):
        signer_of(data, STATEMENT, [SIGNER], other)


def test_the_trust_root_of_the_package_is_there_and_asks_no_network() -> None:
    assert public_verifier()._trusted_root.get_fulcio_certs()


def pieces(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
    """Yield the path of each value that is neither a dict nor a list."""
    if isinstance(value, (dict, list)):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from pieces(each, (*path, name))
    else:
        yield path


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_changed_attestation_is_a_fault_and_never_an_error(
    data: bytes, verifier: Verifier, draw: st.DataObject
) -> None:
    found = json.loads(data)
    *parents, last = draw.draw(st.sampled_from(sorted(pieces(found), key=str)))
    place = found
    for name in parents:
        place = place[name]
    odd: SearchStrategy[Any] = st.one_of(
        st.none(), st.integers(), st.text(max_size=9), st.just([]), st.just({})
    )
    place[last] = draw.draw(odd | st.just("AAAA") | st.just(str(place[last])[::-1]))
    fault = fault_of(json.dumps(found).encode(), verifier)
    assert fault.isprintable()
    signed = {*parents, last} & {"envelope", "certificate", "inclusionPromise", "rootHash"}
    assert fault or not signed or found == json.loads(data)


def fault_of(changed: bytes, verifier: Verifier) -> str:
    """Return the fault of an attestation, or ""; other errors than ours fail the test."""
    try:
        signer_of(changed, STATEMENT, [SIGNER], verifier)
    except PublishError as error:
        return str(error)
    return ""


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_damaged_bytes_are_a_fault(
    data: bytes, verifier: Verifier, content: bytes, where: int
) -> None:
    for changed in (content, data[: where % len(data)] + content):
        with pytest.raises(PublishError):
            signer_of(changed, STATEMENT, [SIGNER], verifier)


def test_what_is_too_large_is_not_read(verifier: Verifier) -> None:
    with pytest.raises(PublishError, match="1,000,001 bytes, more than 1,000,000"):
        signer_of(bytes(1_000_001), STATEMENT, [SIGNER], verifier)


def test_one_attestation_is_expected(data: bytes, verifier: Verifier) -> None:
    found = json.loads(data)
    found["attestation_bundles"] *= 2
    with pytest.raises(PublishError, match="has 2 attestations, expected one"):
        signer_of(json.dumps(found).encode(), STATEMENT, [SIGNER], verifier)


# ./scripts/attest and ./scripts/verify.


@pytest.fixture
def place(
    tmp_path: Path, sigstore: LocalSigstore, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """Publish two wheels, as a job of the repository's workflow."""
    place = Place(tmp_path, HOSTED)
    place.publish(CP312, CP39)

    @contextmanager
    def signing() -> Iterator[Sign]:
        yield lambda statement: sigstore.sign(statement, SIGNER.identity)

    for module in (command, verify_command):
        monkeypatch.setattr(module, "WHEELS", place.wheels)
        monkeypatch.setattr(module, "README", place.readme)
        monkeypatch.setattr(module, "public_verifier", lambda: verifier)
    monkeypatch.setattr(command, "find_hosting", lambda: HOSTED)
    monkeypatch.setattr(command, "public_signing", signing)
    monkeypatch.setattr(verify_command, "find_signers", lambda: [REPOSITORY])
    return place


def sign(place: Place, name: str = NAME) -> int:
    return command.main([str(place.dist / name)])


def verify(*arguments: str) -> int:
    return verify_command.main([*arguments])


def test_a_wheel_is_signed_beside_it_and_in_the_index(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sign(place) == 0
    assert f"1 wheels are signed by {SIGNER.identity}" in capsys.readouterr().out
    file = place.wheels / f"{NAME}.provenance"
    assert Provenance.model_validate_json(file.read_bytes())
    address = f"{HOSTED.pages}{NAME}.provenance"
    index = json.loads((place.wheels / "simple/tflite-runtime/index.json").read_bytes())
    assert index["meta"]["api-version"] == "1.3"
    named = {each["filename"]: each["provenance"] for each in index["files"]}
    assert named == {NAME: address, NAME39: None}
    html = (place.wheels / "simple/tflite-runtime/index.html").read_text()
    assert html.count(f'data-provenance="{address}"') == html.count("data-provenance") == 1
    assert f"{NAME}.provenance" in (place.wheels / "index.html").read_text()
    sums = (place.wheels / "SHA256SUMS").read_text()
    assert f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {NAME}.provenance\n" in sums
    assert faults(place.wheels, HOSTED) == []


def test_verify_says_what_is_proven(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify() == 0
    assert "2 current wheels are not signed: their files agree" in capsys.readouterr().out
    assert verify("--signed") == PublishError.exit_code
    assert f"{NAME}: nobody signed it" in capsys.readouterr().err
    sign(place)
    assert verify() == 0
    told = capsys.readouterr().out
    assert f"1 wheels are signed: {SIGNER.identity} had these very bytes" in told
    assert "1 current wheels are not signed" in told
    sign(place, NAME39)
    assert verify("--signed") == 0
    assert verify("--signed", "--repository", "https://github.com/eve/wheels") != 0
    assert f"{NAME}.provenance: is of {SIGNER.identity}" in capsys.readouterr().err


def test_without_a_repository_a_signature_proves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify_command, "find_signers", list)
    sign(place)
    assert verify() == PublishError.exit_code
    assert "nothing here says who should have signed it" in capsys.readouterr().err
    assert verify("--repository", REPOSITORY) == 0


def test_to_sign_again_changes_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    sign(place)
    before = place.snapshot()
    assert sign(place) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert place.snapshot() == before


def test_a_signature_that_does_not_verify_is_not_kept(
    place: Place, sigstore: LocalSigstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job on another branch has another identity."""

    @contextmanager
    def elsewhere() -> Iterator[Sign]:
        yield lambda statement: sigstore.sign(statement, SIGNER.identity.replace("main", "try"))

    monkeypatch.setattr(command, "public_signing", elsewhere)
    before = place.snapshot()
    assert sign(place) == PublishError.exit_code
    assert place.snapshot() == before


def test_only_what_is_published_is_signed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    other = place.dist / "tflite_runtime-9-1-cp312-cp312-manylinux_2_17_x86_64.whl"
    assert command.main([str(other)]) == UsageError.exit_code
    other.write_bytes(DATA)
    assert command.main([str(other)]) == UsageError.exit_code
    assert "is not published; run ./scripts/publish first" in capsys.readouterr().err
    (place.dist / NAME).write_bytes(DATA + b"x")
    assert sign(place) == PublishError.exit_code


def test_a_published_attestation_never_changes() -> None:
    manifest = Manifest((wheel_entry(),))
    signed = attest(manifest, NAME, "1" * 64)
    assert attest(signed, NAME, "1" * 64) == signed
    with pytest.raises(PublishError, match="files never change"):
        attest(signed, NAME, "2" * 64)
    with pytest.raises(UsageError, match="is not published"):
        attest(signed, "other.whl", "1" * 64)


def wheel_entry() -> Wheel:
    return replace(read_manifest(ROOT / "wheels").current[0], file=NAME)


def test_without_an_address_the_index_names_no_attestation() -> None:
    signed = attest(Manifest((wheel_entry(),)), NAME, "1" * 64)
    assert b"data-provenance" in index_files(signed, HOSTED)["simple/tflite-runtime/index.html"]
    for data in index_files(signed, replace(HOSTED, pages=None)).values():
        assert b"data-provenance" not in data
        assert b".whl.provenance" not in data


# An attacker who can write to all of wheels/ can do this with our own commands.


def other_bytes() -> bytes:
    """Return the wheel with one more line in a Python file, and a RECORD that agrees."""
    with zipfile.ZipFile(io.BytesIO(DATA)) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    module, record = f"{PACKAGE}/interpreter.py", f"{NAME.rsplit('-', 4)[0]}.dist-info/RECORD"
    changed = members[module] + b"import os\n"
    lines = [line.split(",") for line in members[record].decode().splitlines()]
    sha256 = base64.urlsafe_b64encode(hashlib.sha256(changed).digest()).rstrip(b"=").decode()
    kept = [
        [module, f"sha256={sha256}", str(len(changed))] if line[0] == module else line
        for line in lines
    ]
    members |= {module: changed, record: "".join(f"{','.join(x)}\n" for x in kept).encode()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    return file.getvalue()


Forge = Callable[[bytes | None], None]


@pytest.fixture
def forged(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Forge:
    """Return a function that publishes other bytes under a signed wheel's name."""
    sign(place)

    def forge(attestation: bytes | None) -> None:
        other = Place(tmp_path / "forged", HOSTED)
        other.publish(write_wheel(other.dist, CP312, content=other_bytes()), CP39)
        if attestation is not None:
            publisher = other.publisher
            publisher.publish(publisher.plan((), (), {NAME: attestation}))
        monkeypatch.setattr(verify_command, "WHEELS", other.wheels)
        monkeypatch.setattr(verify_command, "README", other.readme)
        assert faults(other.wheels, HOSTED) == [], "everything agrees with everything"

    return forge


def test_a_wheel_replaced_with_all_that_names_it_fails(
    place: Place, forged: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    forged((place.wheels / f"{NAME}.provenance").read_bytes())
    assert verify() == PublishError.exit_code
    assert "signs another statement than the wheel's provenance" in capsys.readouterr().err


def test_a_wheel_that_another_signed_anew_fails(
    sigstore: LocalSigstore,
    tmp_path: Path,
    forged: Forge,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draft = Place(tmp_path / "draft", HOSTED)
    draft.publish(write_wheel(draft.dist, CP312, content=other_bytes()))
    statement = (draft.wheels / f"provenance/{NAME}.json").read_bytes()
    eve = Signer("eve/wheels")
    forged(encode(sigstore.sign(statement, eve.identity), SIGNER))
    assert verify() == PublishError.exit_code
    assert f"is of {eve.identity}, expected {SIGNER.identity}" in capsys.readouterr().err


def test_a_signature_that_is_taken_away_is_missed_by_who_asks(
    forged: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    forged(None)
    assert verify() == 0
    assert "does not prove who made them" in capsys.readouterr().out
    assert verify("--signed") == PublishError.exit_code


# Who may sign.


def test_the_signer_is_not_taken_from_what_is_published(tmp_path: Path) -> None:
    file = tmp_path / "hosting.toml"

    def git(*arguments: str) -> str | None:
        return "git@github.com:ada/wheels.git" if arguments[0] == "remote" else None

    assert find_signers({}, git, file) == [REPOSITORY]
    assert find_signers({}, lambda *_: None, file) == []
    file.write_text('signers = ["https://github.com/up/stream"]\n')
    assert find_signers({}, git, file) == [REPOSITORY, "https://github.com/up/stream"]
    elsewhere = {"GITHUB_REPOSITORY": "ada/wheels", "GITHUB_SERVER_URL": "https://git.example"}
    assert find_signers(elsewhere, git, file) == ["https://github.com/up/stream"]


def test_without_a_job_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestation, "detect_credential", lambda: None)
    with pytest.raises(UsageError, match="only a job of CI has an identity"), public_signing():
        pass

    def refuse() -> str:
        raise IdentityError("no token\nfor this job")

    monkeypatch.setattr(attestation, "detect_credential", refuse)
    with pytest.raises(UsageError, match="no token for this job; permit it"), public_signing():
        pass


def test_a_sigstore_that_cannot_be_asked_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: object) -> object:
        raise SigstoreError("down\nfor now")

    monkeypatch.setattr(attestation, "detect_credential", lambda: "token")
    monkeypatch.setattr(ClientTrustConfig, "production", unreachable)
    with pytest.raises(PublishError, match="does not sign: down for now"), public_signing():
        pass


def test_the_workflow_signs_what_it_publishes_on_the_branch_of_the_identity() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows" / WORKFLOW).read_text())
    assert workflow[True]["push"]["branches"] == [BRANCH]
    steps = [step.get("run", step.get("uses")) for step in workflow["jobs"]["publish"]["steps"]]
    published = steps.index("./scripts/publish dist/*.whl")
    assert steps[published + 1 :][:2] == ["./scripts/attest dist/*.whl", "./scripts/verify"]
