"""Which files a result was made from, by their contents."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Final

from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.source.image_file import system_path
from toposcope.core.stack import FrameSource
from toposcope.errors import FrameError, StackError

CHUNK: Final = 1 << 22


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises
    ------
    StackError
        If it cannot be read.
    """
    try:
        with open(system_path(path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StackError(f"{path} cannot be read any more ({error.strerror or error}); open it again.") from error


def input_hashes(source: FrameSource, report: Report = silent) -> dict[str, str]:
    """Return file name and SHA-256 of each file that the frames of ``source`` come from.

    Files of the same name in different folders are told apart by the names of these.
    Empty for frames in memory and for reduced frames, whose results are previews.

    Raises
    ------
    FrameError
        If a file cannot be read any more.
    """
    first: dict[Path, int] = {}
    for i in range(source.n):
        if (path := source.file(i)) is not None:
            first.setdefault(path, i)
    times = Counter(path.name for path in first)
    hashes = {}
    for k, (path, i) in enumerate(first.items()):
        digest = hashlib.sha256()
        try:
            with open(system_path(path), "rb") as file:
                while chunk := file.read(CHUNK):
                    report(Progress(k / len(first), f"noting what {path.name} holds"))
                    digest.update(chunk)
        except OSError as error:
            name = source.names[i]
            reason = error.strerror or "no reason given"
            raise FrameError(f"{name} cannot be read any more ({reason}); open the stack again.", i, name) from error
        hashes[path.name if times[path.name] == 1 else f"{path.parent.name}/{path.name}"] = digest.hexdigest()
    return hashes
