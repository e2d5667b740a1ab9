"""What every command shares: how it starts, fails and is interrupted."""

from __future__ import annotations

import argparse
import errno
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from builders.errors import DiskFullError, UsageError, UserError, printable

INTERRUPTED = 130
# What the system says of a path that a user names: no fault of ours.
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)

EXIT_CODES = """\
exit codes: 0 done, 2 unknown target or wrong usage, 3 a source cannot be had,
  4 a wrong checksum or damaged archive, 5 disk full, 6 no compiler environment,
  7 no headers of that Python, 8 a compiler failed, 9 audit failed,
  10 smoke test failed, 11 no Docker engine or it failed,
  12 may not be published, or is not what was published,
  13 computes something else than TensorFlow,
  130 interrupted (the same command goes on where it was)
"""


def guarded(body: Callable[[], int]) -> int:
    """Run a command's body; an error becomes one line and an exit code.

    Args:
        body: does the work and gives the exit code.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return body()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED
    except UserError as error:
        return fail(error)
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        if error.errno in REFUSED and error.filename:
            what = f"{printable(str(error.filename))}: {error.strerror}"
            return fail(UsageError(what, remedy="name a path that you may use"))
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return fail(
            DiskFullError(f"no space left{where}", remedy="free some and run the same command")
        )


def positive(text: str) -> int:
    """A number of at least one, as the type of an argument; raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def command_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser whose help keeps the lines of description and examples."""
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def wheels_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """The parser of a command about wheels: `PROG WHEEL... [--json]`."""
    parser = command_parser(prog, description, epilog)
    parser.add_argument("wheels", metavar="WHEEL", nargs="+", type=Path, help="a wheel file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def fail(error: UserError) -> int:
    """Print an error; gives its exit code."""
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
