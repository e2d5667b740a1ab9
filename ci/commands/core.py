"""`./scripts/core`: compile a core, and move it from one machine's cache to another's."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.core import load_core
from builders.engines.bazel import Bazel
from builders.engines.options import add_options, chosen, processors
from builders.errors import UsageError
from builders.handover import CoreName, digest_of, known_cores, pack_core, unpack_core
from builders.matrix import TensorFlow, load_matrix
from builders.native import NativeRunner
from builders.plan import architecture
from builders.sources import ORIGINS, load_lock
from builders.toolchain import Toolchain
from ci.engines.compare import DOCUMENT, compare_engines, page, write_document

RECOMMENDED = load_matrix().recommended.version

EXAMPLES = f"""\
examples:
  core build {RECOMMENDED} x86_64
                                              compile it, if the cache does not have it
  core build {RECOMMENDED} x86_64 --engine bazel --remote-cache http://cache:8080
                                              the same, from what any machine compiled before
  core pack {RECOMMENDED} x86_64 --out core.tar
                                              on the machine that has it
  core unpack core.tar --digest 5f1c…         on the machine that is to build wheels with it
  core key 2.14.1 arm64 --origin upstream     what it is called in a cache
  core compare                                by CMake and by Bazel: the same bytes, in what time

A file is refused if it is damaged, or of other sources, patches, flags or tools than this
checkout's. That shows what it says that it was made of; --digest shows that it is the one packed.
After `core unpack`, ./scripts/build fetches no source and compiles no core.

An interrupted `core compare` begins again: half a build has no time.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    session = Session()
    reporter, cache = session.reporter, session.cache
    matrix = session.matrix
    known = dict(known_cores(matrix, Toolchain(cache)))
    if options.verb == "unpack":
        with reporter.showing(), reporter.step(f"unpack {options.file.name}"):
            core = unpack_core(options.file, known, cache, options.digest)
        print(f"{core.path.name}  {known[core.path.name]}  digest {digest_of(core)}")
        return 0
    tensorflow = matrix.tensorflow(options.tensorflow)
    arch = architecture(matrix, options.arch)
    if options.verb in ("build", "compare"):
        return _compile(options, session, tensorflow, arch)
    keys = _keys(known, tensorflow.version, arch, options.origin)
    if options.verb == "key":
        print(keys[0])
        return 0
    cached = [key for key in keys if cache.has("core", key)]
    if not cached:
        raise UsageError(
            f"the cache has no core of tf{tensorflow.version}-{arch}",
            remedy=f"./scripts/core build {tensorflow.version} {arch} makes it",
        )
    with reporter.showing(), reporter.step(f"pack {known[cached[0]]}"):
        core = load_core(cache.path("core", cached[0]))
        pack_core(core, options.out)
    print(f"{options.out}  digest {digest_of(core)}")
    return 0


def _compile(
    options: argparse.Namespace, session: Session, tensorflow: TensorFlow, arch: str
) -> int:
    """Carry out `build` or `compare`; return the exit code."""
    reporter = session.reporter
    engine = chosen(options, reporter.say)
    runner = NativeRunner(
        session.cache,
        reporter,
        session.own_logs(),
        origin=options.origin,
        jobs=options.jobs or processors(),
        engine=engine,
    )
    with reporter.showing():
        if options.verb == "build":
            print(runner.core(tensorflow, arch).path.name)
            return 0
        if not isinstance(engine, Bazel):
            raise UsageError("CMake is compared with Bazel", remedy="leave out --engine cmake")
        found = compare_engines(tensorflow, arch, runner, engine)
    if options.document:
        write_document(found)
    print(page(found), end="")
    return 0


def _keys(known: dict[str, CoreName], tensorflow: str, arch: str, origin: str) -> list[str]:
    """Return the keys that a core may have: one for each origin of its sources.

    Raises:
        UsageError: the sources are not locked, or not with the wanted origin.
    """
    lock = load_lock(tensorflow)
    if origin != "auto":
        lock.sources(origin)
    return [
        key
        for key, name in known.items()
        if (name.tensorflow, name.arch) == (tensorflow, arch) and origin in ("auto", name.origin)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="core",
        description="Compile a core of TensorFlow Lite, or hand it to another machine.",
        epilog=EXAMPLES,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, what in (
        ("build", "compile a core into the cache, and print its key"),
        ("pack", "write a core of the cache to a file"),
        ("key", "print the key that a core has, or will have"),
        ("compare", "make a core with CMake and with Bazel, and compare bytes and times"),
    ):
        description = f"{what[0].upper()}{what[1:]}."
        sub = verbs.add_parser(verb, help=what, description=description)
        # `compare` may take the default core, since any core shows the engines; the other verbs
        # need to know which core is meant.
        optional: dict[str, Any] = {"nargs": "?"} if verb == "compare" else {}
        sub.add_argument(
            "tensorflow",
            metavar="TF",
            default=RECOMMENDED,
            help=f"such as {RECOMMENDED}",
            **optional,
        )
        sub.add_argument(
            "arch",
            metavar="ARCH",
            default=platform.machine(),
            help="x86_64 or aarch64 (arm64)",
            **optional,
        )
        sub.add_argument(
            "--origin", choices=("auto", *ORIGINS), default="auto", help="of its sources"
        )
        if verb == "pack":
            sub.add_argument("--out", metavar="FILE", type=Path, required=True, help="a tar file")
        if verb in ("build", "compare"):
            add_options(sub)
        if verb == "compare":
            sub.set_defaults(engine="bazel")
            sub.add_argument(
                "--document", action="store_true", help=f"write what was found into {DOCUMENT.name}"
            )
    what = "verify a packed core, and put it into the cache"
    sub = verbs.add_parser("unpack", help=what, description=f"{what.capitalize()}.")
    sub.add_argument("file", metavar="FILE", type=Path, help="what pack wrote")
    sub.add_argument("--digest", help="what pack printed: refuse any other core")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
