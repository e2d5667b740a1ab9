"""`./scripts/bench`: measure the speed of wheels, side by side in one run."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from builders.cache import Cache, write_atomically
from builders.cli import EXIT_CODES, Session, main_of, positive, wheels_parser
from builders.errors import BenchError, UsageError
from builders.matrix import Matrix
from builders.progress import describe, table_console
from builders.wheelname import parse_own_name
from ci.bench.candidates import installed, workers
from ci.bench.judge import gated_pairs, is_too_slow, pairs_of
from ci.bench.measure import Network, measure, unpacked
from ci.bench.numpys import DOCUMENT as STARTS_DOCUMENT
from ci.bench.numpys import numpys_document, show_numpys, time_numpys
from ci.bench.page import DOCUMENT, document, page
from ci.bench.report import Machine, Report, show
from ci.bench.settings import Settings, load_settings
from ci.bench.starts import Start, time_starts
from ci.layers.layer_plan import find_wheels, make, plan
from ci.proof.networks import networks_corpus
from ci.proof.smoker import wheel_runtime
from ci.publish.manifest import read_manifest
from ci.publish.places import ROOT, WHEELS
from smoke_lambda.conform.networks import Networks, is_made, load_networks

QUICK = "quick"
START_NETWORKS = ("mobilenetv2.float32",)
SMALL_NETWORK = "mlp.float32"
"""A network so small that NumPy's import is most of its start."""

DESCRIPTION = """\
Time networks in each wheel and in those that it is compared with: in turns, in processes that
stay, on the same processor; the least CPU time of many samples counts. The networks' answers are
compared, too. Ratios of one run tell which wheel is faster; times alone tell of the machine."""

EXAMPLES = f"""\
examples:
  bench dist/*-cp311-*.whl                  two builds of one version, say: each against the last
  bench new.whl --against old.whl
  bench dist/*-cp311-*.whl --against ai-edge-litert tflite-runtime
                                            those of PyPI, which are fetched
  bench new.whl --against old.whl --only mobilenetv2 --threads 1 2
  bench new.whl --against old.whl --starts  new processes, too: start, import, load, first inference
  bench new.whl --against ai-edge-litert --gate
                                            exit 14 where a ratio is above its bar
  bench dist/*-cp311-*.whl --check          as CI does, in two minutes: did the build lose speed?
  bench dist/*x86_64.whl --numpys           which NumPy starts fastest, on each runtime; and a layer
  bench new.whl --against ai-edge-litert --networks all --starts --html bench.html --document
                                            a page with plots, and docs/performance.md

The wheels are for one Python and this machine. ci/bench/bench.toml has the bars, and how long it
takes; networks come from ./scripts/conform --networks.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    session = Session()
    if options.numpys:
        return _numpys(options, session, command_of(arguments))
    with session.reporter.showing():
        report = _report(options, session)
    if options.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report, table_console())
    if options.html:
        write_atomically(options.html, page(report, command_of(arguments)).encode())
    if options.document is not None:
        path = options.document or DOCUMENT
        write_atomically(path, document(report, command_of(arguments)).encode())
    if (options.gate or options.check) and not report.ok:
        raise BenchError("a ratio is above its bar", remedy="see the table")
    return 0


def _numpys(options: argparse.Namespace, session: Session, command: str) -> int:
    """Time starts of the wheels with each NumPy of their runtimes; return the exit code."""
    if options.against or options.check or options.html:
        raise UsageError("--numpys compares NumPys, and nothing else")
    settings, reporter, cache = load_settings(), session.reporter, session.cache
    log = session.logs / "bench.log"
    # One by one: two builds of one target are two wheels.
    wheels = [find_wheels([str(wheel)], [], session.matrix) for wheel in options.wheels]
    with reporter.showing(), TemporaryDirectory(prefix="tflite-bench-") as work:
        layers = {}
        for number, own in enumerate(wheels):
            (item,) = plan(own, multi=False, pillow=False)
            ((target, wheel),) = own.items()
            layers[wheel] = target.runtime, make(item, Path(work) / str(number), cache, reporter)
        corpus = networks_corpus(load_networks().named(SMALL_NETWORK), session, log)
        (network,) = unpacked(corpus, Path(work), SMALL_NETWORK.__eq__)
        with reporter.step("time starts") as step:
            found = time_numpys(
                layers,
                network,
                settings.starts,
                cache,
                log,
                lambda name: reporter.show(step, name),
            )
    if options.json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        show_numpys(found, table_console())
    if options.document is not None:
        path = options.document or STARTS_DOCUMENT
        write_atomically(path, numpys_document(found, command).encode())
    return 0


def command_of(arguments: Sequence[str]) -> str:
    """Return a report's command line; files appear by their path in the repository, or by name."""
    words = []
    for word in arguments:
        path = Path(word).absolute()
        if path.is_file():
            word = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name)
        words.append(word)
    return "./scripts/bench " + shlex.join(words)


def _report(options: argparse.Namespace, session: Session) -> Report:
    settings, reporter, cache = load_settings(), session.reporter, session.cache
    log = session.logs / "bench.log"
    wheels, against = _contest(options, session)
    runtimes = {wheel_runtime(wheel).python for wheel in wheels}
    if len(runtimes) > 1:
        raise UsageError(
            f"the wheels are for several Pythons: {', '.join(sorted(runtimes))}",
            remedy="give wheels of one; peers of PyPI are for " + settings.python,
        )
    networks, is_wanted = _networks(options, settings, cache)
    corpus = networks_corpus(networks, session, log)
    machine = Machine.here()
    with (
        TemporaryDirectory(prefix="tflite-bench-") as work,
        installed(wheels, session.matrix.runtime(runtimes.pop()), cache, log) as candidates,
    ):
        folder = Path(work)
        found = list(unpacked(corpus, folder, is_wanted))
        if not found:
            raise UsageError(f"no network has {options.only!r} in its name")
        if options.check:
            pairs = gated_pairs(candidates, settings)
        else:
            pairs = pairs_of(candidates, against, settings)
        measured = []
        with reporter.step("time networks") as step, workers(candidates, log) as processes:
            todo = [(network, threads) for threads in options.threads for network in found]
            for number, (network, threads) in enumerate(todo):
                what = describe(number, len(todo), "networks", step.seconds)
                reporter.show(step, f"{what}: {network.name}")
                measured.append(
                    measure(
                        network,
                        threads,
                        processes,
                        settings,
                        folder,
                        lambda each: is_too_slow(each, pairs),
                    )
                )
        starts: dict[str, list[Start]] = {}
        for network in _started_with(found, options):
            with reporter.step(f"time starts with {network.name}"):
                starts[network.name] = time_starts(network, candidates, settings.starts, log)
        return Report(
            machine=machine,
            candidates=tuple(candidates),
            pairs=tuple(pairs),
            networks=tuple(measured),
            starts=starts,
        )


def _networks(
    options: argparse.Namespace, settings: Settings, cache: Cache
) -> tuple[Networks, Callable[[str], bool]]:
    """Return the networks to make, and a test for the names of the models to time."""
    networks = load_networks()
    if options.check:
        gate = settings.gate.networks
        return networks.named(*gate), gate.__contains__
    chosen = networks.quick() if options.networks == QUICK else networks
    few = chosen.named(options.only)
    # To make all networks takes minutes: do it only if all are wanted, or were made before.
    return chosen if is_made(chosen, cache) else few, lambda name: options.only in name


def _contest(options: argparse.Namespace, session: Session) -> tuple[list[Path], int]:
    """Return all wheels, and the number of the first that the others are compared with."""
    settings = load_settings()
    wheels: list[Path] = list(options.wheels)
    if options.check:
        if options.against or options.only:
            raise UsageError("--check has its own networks, and compares with published wheels")
        return [*wheels, *(published(wheel, session.matrix) for wheel in wheels)], len(wheels)
    if not options.against:
        if len(wheels) < 2:
            raise UsageError(
                "one wheel has nothing to be compared with", remedy="add --against WHEEL or PEER"
            )
        return wheels, len(wheels) - 1
    for name in options.against:
        if name.endswith(".whl"):
            wheels.append(Path(name))
        else:
            peer = settings.peer(name)
            wheels.append(session.fetcher.pypi(peer.project, peer.version, peer.file, peer.sha256))
    return wheels, len(options.wheels)


def published(wheel: Path, matrix: Matrix, folder: Path = WHEELS) -> Path:
    """Return the published wheel of the same target.

    Raises:
        UsageError: there is no such wheel.
    """
    target = parse_own_name(wheel.name, matrix).target
    for found in read_manifest(folder).current:
        if target is not None and found.target == target.identifier:
            return folder / found.file
    raise UsageError(
        f"no wheel of the target of {wheel.name} is published",
        remedy="compare with another: --against WHEEL",
    )


def _started_with(networks: Sequence[Network], options: argparse.Namespace) -> Iterator[Network]:
    if options.starts:
        yield from (network for network in networks if network.name in START_NETWORKS)


def _parser() -> argparse.ArgumentParser:
    parser = wheels_parser("bench", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--against",
        nargs="+",
        metavar="PEER",
        default=[],
        help="a wheel, or one of "
        + " and ".join(peer.project for peer in load_settings().peers)
        + " (default: the last wheel)",
    )
    parser.add_argument(
        "--networks", choices=(QUICK, "all"), default=QUICK, help="default: %(default)s"
    )
    parser.add_argument("--only", metavar="PATTERN", default="", help="a part of networks' names")
    parser.add_argument(
        "--threads", nargs="+", type=positive, default=[1], metavar="N", help="default: 1"
    )
    parser.add_argument("--starts", action="store_true", help="time new processes, too")
    parser.add_argument("--gate", action="store_true", help="fail where a ratio is above its bar")
    parser.add_argument(
        "--check",
        action="store_true",
        help="what CI asks: a few networks, against the published wheel of the same target",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")
    parser.add_argument(
        "--document",
        type=Path,
        nargs="?",
        const=False,
        metavar="FILE",
        help="write the tables as Markdown (default: docs/performance.md, or docs/starts.md of "
        "--numpys)",
    )
    parser.add_argument(
        "--numpys",
        action="store_true",
        help="time new processes with each NumPy of the wheels' runtimes, and in a layer; of "
        "several Pythons, too",
    )
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
