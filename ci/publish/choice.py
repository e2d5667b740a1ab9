"""Which published wheel the README, WHEELS.md and the page show first, and commands take."""

from __future__ import annotations

from builders.matrix import Matrix
from ci.publish.manifest import Manifest, Wheel


def example(manifest: Manifest, matrix: Matrix) -> Wheel | None:
    """The newest wheel of the recommended TensorFlow, for a runtime that AWS has.

    Without that version the newest wheel that is verified and no pre-release. Of two
    architectures x86_64; None where nothing is published.
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
    """The current wheel of the recommended TensorFlow for a Python and an architecture."""
    wanted = (matrix.recommended.version, python, arch)
    return next(
        (w for w in manifest.current if (w.tensorflow, w.python, w.arch) == wanted),
        None,
    )
