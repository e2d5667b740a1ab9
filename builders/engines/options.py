"""The command-line options for compiling a core: the engine, its cache and its executor."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from urllib.parse import urlsplit

from builders.cli import positive
from builders.engines.bazel import REMOTE_JOBS, Bazel
from builders.engines.engine import Engine
from builders.engines.ninja import NINJA
from builders.errors import UsageError

ENGINES = ("cmake", "bazel")

CACHE_VARIABLE = "TFLITE_REMOTE_CACHE"
"""The variable with a cache's URL, for CI to set from a secret.

It is the default of --remote-cache. It also selects Bazel if the command line gives none of
--engine, --remote-cache and --remote-executor.
"""

# https://bazel.build/reference/command-line-reference#build-flag--remote_cache
CACHE_SCHEMES = ("http", "https", "grpc", "grpcs")
EXECUTOR_SCHEMES = ("grpc", "grpcs")


def processors() -> int:
    """Return the number of this machine's processors that we may use."""
    return len(os.sched_getaffinity(0))


def add_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add --jobs and the engine's options to a parser or to one of its groups."""
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=positive,
        help=f"compilers at once (default: the cores, {processors()}; with --remote-executor "
        f"{REMOTE_JOBS})",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="what compiles the core: CMake's own (default), or Bazel; the same bytes",
    )
    parser.add_argument(
        "--remote-cache",
        metavar="URL",
        help="with --engine bazel: take from there what was compiled before, on any machine; "
        f"http or grpc (default: ${CACHE_VARIABLE})",
    )
    parser.add_argument(
        "--remote-executor",
        metavar="URL",
        help="with --engine bazel: have the workers of this server compile; grpc",
    )


def chosen(options: argparse.Namespace, say: Callable[[str], None]) -> Engine:
    """Return the engine that the options ask for.

    Raises:
        UsageError: an option for Bazel is given without `--engine bazel`, or a URL is not that of
            a server.
    """
    name, cache, executor = options.engine, options.remote_cache, options.remote_executor
    given = {"--remote-cache": cache, "--remote-executor": executor}
    if name is None and not any(given.values()) and os.environ.get(CACHE_VARIABLE):
        name = "bazel"
    if name != "bazel":
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} is for Bazel", remedy="add --engine bazel")
        return NINJA
    cache = os.environ.get(CACHE_VARIABLE) if cache is None else cache
    return Bazel(
        cache=_url("--remote-cache", cache, CACHE_SCHEMES),
        executor=_url("--remote-executor", executor, EXECUTOR_SCHEMES),
        jobs=options.jobs,
        say=say,
    )


def _url(option: str, url: str | None, schemes: tuple[str, ...]) -> str:
    """Return the URL unchanged, or an empty string if there is none.

    Raises:
        UsageError: the URL does not name a server.
    """
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise UsageError(
            f"{option} {url} is not the URL of a server",
            remedy=f"begin it with {', '.join(f'{scheme}://' for scheme in schemes)} and a host",
        )
    return url
