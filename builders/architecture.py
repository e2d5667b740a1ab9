"""The processor architectures: their names elsewhere, and the glibc and CPU that wheels need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture.

    Attributes:
        name: our name, also used by Linux (`uname -m`), zig, and wheels' platform tags.
        debian: dpkg's name (https://wiki.debian.org/SupportedArchitectures), also used by Go
            and therefore by Docker.
        aws: Lambda's name
            (https://docs.aws.amazon.com/lambda/latest/dg/foundation-arch.html).
        elf: the machine in the header of an ELF file, as pyelftools spells it.
        glibc: the oldest glibc that our wheels run on: manylinux2014's, which is older than
            that of every Lambda runtime.
        oldest_cpu: the oldest processor of the architecture, by zig's name.
        cpu: the oldest processor that our wheels run on, by zig's name. Every server since 2009
            and every machine of Lambda has x86-64-v2 (SSE4.2), and TensorFlow Lite's kernels
            for int8 need it.
    """

    name: str
    debian: str
    aws: str
    elf: str
    glibc: str
    oldest_cpu: str
    cpu: str


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture(
            name="x86_64",
            debian="amd64",
            aws="x86_64",
            elf="EM_X86_64",
            glibc="2.17",
            oldest_cpu="x86_64",
            cpu="x86_64_v2",
        ),
        Architecture(
            name="aarch64",
            debian="arm64",
            aws="arm64",
            elf="EM_AARCH64",
            glibc="2.17",
            oldest_cpu="generic",
            cpu="generic",
        ),
    )
}
"""The architectures, by our names for them."""


def own_name(name: str) -> str:
    """Return our name of an architecture, given any of its names.

    An unknown name is returned as it is.
    """
    for each in ARCHITECTURES.values():
        if name in (each.name, each.debian, each.aws):
            return each.name
    return name


def debian_name(arch: str) -> str:
    """Return Debian's and Docker's name of an architecture; an unknown one is returned as it is."""
    return ARCHITECTURES[arch].debian if arch in ARCHITECTURES else arch


def aws_name(arch: str) -> str:
    """Return Lambda's name of an architecture; an unknown one is returned as it is."""
    return ARCHITECTURES[arch].aws if arch in ARCHITECTURES else arch


def docker_platform(arch: str) -> str:
    """Return Docker's name of an image's platform, such as `linux/amd64`."""
    return f"linux/{debian_name(arch)}"
