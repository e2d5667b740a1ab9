"""Chooses the wheel that README, WHEELS.md and the page show first, and that commands take."""

from __future__ import annotations

from builders.matrix import Matrix
from ci.publish.manifest import Manifest, Wheel


def example(manifest: Manifest, matrix: Matrix) -> Wheel | None:
    """Return the newest wheel of the recommended TensorFlow, for a runtime that AWS offers.

    If that version is not published, return the newest wheel that is verified and no pre-release.
    x86_64 comes before aarch64. Return None if nothing is published.
    """
    return max(
        manifest.current,
        key=lambda wheel: (
            wheel.runtime.deprecated is not None,
            wheel.tensorflow == matrix.recommended.version,
            wheel.verified,
            not wheel.is_pre_release,
            wheel.arch,
            wheel.order,
        ),
        default=None,
    )


def newest(manifest: Manifest, matrix: Matrix, python: str, arch: str) -> Wheel | None:
    """Return the current wheel of the recommended TensorFlow for a Python and an architecture.

    Return None if there is none.
    """
    wanted = (matrix.recommended.version, python, arch)
    return next(
        (w for w in manifest.current if (w.tensorflow, w.python, w.arch) == wanted),
        None,
    )
