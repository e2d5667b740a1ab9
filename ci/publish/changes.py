"""The permitted changes of published wheels: pure functions from manifest to manifest."""

from __future__ import annotations

from dataclasses import replace

from builders.errors import PublishError, UsageError
from builders.matrix import Matrix
from ci.publish.intake import lambda_runtime
from ci.publish.manifest import Manifest, State, Wheel

# The states that may follow each state. A wheel never goes back to an earlier state, because users
# may have acted on the state that they saw.
NEXT = {
    State.CURRENT: (State.RETIRED, State.YANKED, State.REMOVED),
    State.RETIRED: (State.YANKED, State.REMOVED),
    State.YANKED: (State.REMOVED,),
    State.REMOVED: (),
}


def add(manifest: Manifest, new: Wheel) -> Manifest:
    """Return the manifest with a new wheel; the wheel that it replaces is retired.

    Raises:
        PublishError: the name is taken, or the same or a later build of the target is published.
    """
    remedy = (
        f"raise `build` of tensorflow {new.tensorflow} in builders/matrix.toml, "
        "and run ./scripts/build"
    )
    old = manifest.find(new.file)
    if old is not None:
        if old.state is State.REMOVED:
            raise PublishError(f"{new.file} was removed: {old.reason}", remedy=remedy)
        if old.sha256 != new.sha256:
            raise PublishError(f"{new.file} is published already, with other bytes", remedy=remedy)
        # The figures of the first smoke test stay, so that nothing changes. A comparison with
        # TensorFlow that was made since then is added.
        if old.conform is None and new.conform is not None:
            return manifest.with_wheels([replace(old, conform=new.conform)])
        return manifest
    others = [wheel for wheel in manifest.wheels if wheel.target == new.target]
    if others and new.build <= (latest := max(wheel.build for wheel in others)):
        raise PublishError(
            f"{new.file} has build {new.build}, and build {latest} of {new.target} is published",
            remedy=remedy,
        )
    reason = f"replaced by build {new.build}"
    retired = [
        replace(wheel, state=State.RETIRED, reason=reason)
        for wheel in others
        if wheel.state is State.CURRENT
    ]
    return manifest.with_wheels([*retired, new])


def attest(manifest: Manifest, file: str, sha256: str) -> Manifest:
    """Return the manifest with the attestation of a wheel.

    Args:
        sha256: the SHA-256 of the attestation.

    Raises:
        UsageError: no such wheel is published.
        PublishError: the wheel has another attestation.
    """
    wheel = manifest.find(file)
    if wheel is None or not wheel.present:
        raise UsageError(f"{file} is not published", remedy="run ./scripts/publish first")
    if wheel.attestation_sha256 not in (None, sha256):
        raise PublishError(f"{file} has another attestation already, and files never change")
    return manifest.with_wheels([replace(wheel, attestation_sha256=sha256)])


def set_state(manifest: Manifest, file: str, state: State, reason: str) -> Manifest:
    """Return the manifest with a wheel retired, yanked or removed.

    Raises:
        UsageError: no such wheel is published, there is no reason, or it is not one line.
        PublishError: the new state may not follow the wheel's present state.
    """
    wheel = manifest.find(file)
    if wheel is None:
        known = ", ".join(wheel.file for wheel in manifest.present) or "none"
        raise UsageError(f"{file} is not published", remedy=f"published are: {known}")
    reason = reason.strip()
    if not reason or not reason.isprintable():
        raise UsageError(
            f"{file} is to be {state} without a reason", remedy="give one line with --reason"
        )
    if (wheel.state, wheel.reason) == (state, reason):
        return manifest
    if state not in NEXT[wheel.state]:
        raise PublishError(f"{file} is {wheel.state} already: {wheel.reason}")
    return manifest.with_wheels([replace(wheel, state=state, reason=reason)])


def refresh(manifest: Manifest, matrix: Matrix) -> Manifest:
    """Return the manifest with today's runtimes and verified targets of the matrix.

    A wheel keeps its values if the matrix no longer has its target.
    """
    targets = {target.identifier: target for target in matrix.targets()}
    return manifest.with_wheels(
        replace(
            wheel,
            runtime=lambda_runtime(target.runtime),
            verified=target.verified,
        )
        for wheel in manifest.wheels
        if (target := targets.get(wheel.target)) is not None
    )
