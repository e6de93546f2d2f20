"""Files that are there whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from toposcope.errors import OutputError


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
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {_problem(error)}") from error
    finally:
        with suppress(OSError):  # gone already when all went well
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
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long for this disk. Choose a shorter one."
    return f"{error.strerror or error}. Choose another folder."
