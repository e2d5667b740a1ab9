"""The architectures: the names that others give them, and the glibc that wheels need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture.

    Attributes:
        name: ours, which is Linux's (`uname -m`), zig's, and that of wheels' platform tags.
        debian: dpkg's (https://wiki.debian.org/SupportedArchitectures) and Go's, so Docker's.
        aws: Lambda's (https://docs.aws.amazon.com/lambda/latest/dg/foundation-arch.html).
        elf: the machine in the header of an ELF file, as pyelftools spells it.
        glibc: the oldest that a wheel of ours runs on: manylinux2014's, below every Lambda
            runtime's.
        oldest_cpu: the oldest processor that there is, by zig's name.
        cpu: the oldest that a wheel of ours runs on: x86-64-v2 (SSE4.2) is every server's since
            2009 and every one of Lambda's, and TensorFlow Lite's kernels for int8 need it.
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
"""By our names."""


def own_name(name: str) -> str:
    """Our name of an architecture that has any of its names; one that is not known stays."""
    for each in ARCHITECTURES.values():
        if name in (each.name, each.debian, each.aws):
            return each.name
    return name


def debian_name(arch: str) -> str:
    """Debian's and Docker's name of an architecture; one that is not known stays."""
    return ARCHITECTURES[arch].debian if arch in ARCHITECTURES else arch


def aws_name(arch: str) -> str:
    """Lambda's name of an architecture; one that is not known stays."""
    return ARCHITECTURES[arch].aws if arch in ARCHITECTURES else arch


def docker_platform(arch: str) -> str:
    """The platform of an image, such as `linux/amd64`."""
    return f"linux/{debian_name(arch)}"
