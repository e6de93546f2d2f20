"""Files that are there whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from toposcope.errors import OutputError

_waiting: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("_waiting", default=None)


def made_folder(folder: Path | str) -> Path:
    """Return ``folder``, made with its parents where missing.

    Raises
    ------
    OutputError
        If it cannot be made, or a file stands in its place.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} cannot be a folder: a file stands in its place. Choose another folder.") from error
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {_problem(error)}") from error
    return folder


@contextmanager
def together() -> Iterator[None]:
    """Let all files written in the block by `whole_file` take their places when it ends well, or none of them.

    So a result that was there before is never mixed with half of a new one.

    Raises
    ------
    OutputError
        If a file cannot take its place.
    """
    if _waiting.get() is not None:  # part of a larger set
        yield
        return
    written: list[tuple[Path, Path]] = []
    mark = _waiting.set(written)
    try:
        yield
        while written:
            _put(*written[0])
            del written[0]
    finally:
        _waiting.reset(mark)
        for beside, _ in written:
            _remove(beside)


@contextmanager
def whole_file(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` when the block ends well, and vanishes when it does not.

    Raises
    ------
    OutputError
        If the folder is missing, permission or space is lacking.
    """
    path = Path(path)
    if not os.path.isdir(path.parent):  # unlike Path.is_dir no error where a name is too long
        raise OutputError(f"{path.name} cannot be written: the folder {path.parent} does not exist. Make it first.")
    if os.path.isdir(path):
        raise OutputError(f"{path} cannot be written: it is a folder. Choose another file name.")
    # short, since the whole name may be as long as the disk allows
    beside = path.with_name(f".{secrets.token_hex(6)}.part")
    try:
        with open(beside, "x+b") as file:
            yield file
    except OSError as error:
        _remove(beside)
        raise OutputError(f"{path} cannot be written: {_problem(error)}") from error
    except BaseException:
        _remove(beside)
        raise
    waiting = _waiting.get()
    if waiting is None:
        _put(beside, path)
    else:
        waiting.append((beside, path))


def _put(beside: Path, path: Path) -> None:
    try:
        os.replace(beside, path)
    except OSError as error:
        _remove(beside)
        raise OutputError(f"{path} cannot be written: {_problem(error)}") from error


def _remove(beside: Path) -> None:
    with suppress(OSError):
        beside.unlink()


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all; see `whole_file`."""
    with whole_file(path) as file:
        file.write(content)


def _problem(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "no permission to write there. Choose another folder."
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return "the disk is full. Free some space, or choose another disk."
    if error.errno is None:  # numpy says only how many items of how many it has written
        return "only a part of it found room there. Free some space, or choose another disk."
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long for this disk. Choose a shorter one."
    return f"{error.strerror or error}. Choose another folder."
