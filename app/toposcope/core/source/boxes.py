"""The boxes of files that are built like MP4 (CR3, HEIC, AVIF): where they lie, and whether the last is whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Box:
    """A box: its four letters, and where its content starts and ends, in bytes of the file."""

    kind: bytes
    start: int
    end: int


def boxes(file: IO[bytes], start: int, end: int | None) -> Iterator[Box]:
    """Return the boxes between two places of a file, None for its end, without those inside them.

    A box may say that it ends behind the place where it should; what follows damage is not found.
    """
    if end is None:
        end = file.seek(0, 2)
    for _ in range(_MOST):
        file.seek(start)
        head = file.read(16)
        if start + 8 > end or len(head) < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        skip = 8
        if size == 1 and len(head) == 16:
            size, skip = struct.unpack_from(">Q", head, 8)[0], 16
        elif size == 0:
            size = end - start
        if size < skip:
            return
        yield Box(kind, start + skip, start + size)
        start += size


def are_whole(file: IO[bytes], size: int) -> bool:
    """Return whether the outermost boxes end before a file of this size does."""
    last = 0
    for box in boxes(file, 0, size):
        last = box.end
    return 0 < last <= size
