"""The errors a user can meet."""

from __future__ import annotations

import errno
import inspect
import os

import pytest

from builders import errors
from builders.cli import guarded
from builders.errors import (
    ArchiveError,
    ChecksumError,
    FetchError,
    PieceError,
    UnreachableError,
    UsageError,
    UserError,
)


def test_an_error_is_one_line_with_its_remedy() -> None:
    assert str(UserError("it rains", remedy="take an umbrella")) == "it rains; take an umbrella"
    assert str(UserError("it rains")) == "it rains"


def test_exit_codes_tell_kinds_apart() -> None:
    kinds = {k for _, k in inspect.getmembers(errors, inspect.isclass) if issubclass(k, UserError)}
    # Both mean bytes that cannot be trusted; the other errors are failed fetches.
    own = [kind.exit_code for kind in kinds - {ArchiveError, PieceError, UnreachableError}]
    assert len(own) == len(set(own))
    assert ArchiveError.exit_code == ChecksumError.exit_code
    assert PieceError.exit_code == UnreachableError.exit_code == FetchError.exit_code
    assert all(0 < code < 126 for code in own)


def test_wrong_bytes_are_no_failed_fetch() -> None:
    # Otherwise, another origin would be tried after them.
    assert not issubclass(ChecksumError, FetchError)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG])
def test_a_path_that_the_system_refuses_is_one_line(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> int:
        raise OSError(number, os.strerror(number), "/a\x1b[31m")

    assert guarded(body) == UsageError.exit_code
    told = capsys.readouterr().err
    assert told.startswith(f"error: /a\\x1b[31m: {os.strerror(number)}; ")
    assert told.count("\n") == 1


def test_another_fault_of_the_system_is_ours() -> None:
    def body() -> int:
        raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file"):
        guarded(body)
