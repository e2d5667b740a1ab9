"""Which published wheel the README, WHEELS.md and the page show first."""

from __future__ import annotations

from ci.publish.manifest import Manifest, Wheel


def example(manifest: Manifest) -> Wheel | None:
    """The newest wheel that is verified and no pre-release, for a runtime that AWS has.

    Of two architectures x86_64; None where nothing is published.
    """
    return max(
        manifest.current,
        key=lambda wheel: (
            wheel.runtime.deprecated is not None,
            wheel.verified,
            not wheel.is_pre_release,
            wheel.arch,
            wheel.order,
        ),
        default=None,
    )
