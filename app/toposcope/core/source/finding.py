"""Which stacks lie in the folders and files that were named, dropped or chosen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from toposcope.core.source.image_file import SUFFIXES
from toposcope.core.source.options import OpenOptions
from toposcope.core.source.readers import READERS
from toposcope.core.source.sidecar import SIDECAR_NAME

FILES: Final = SUFFIXES | {suffix for reader in READERS for suffix in reader.suffixes} | {".lsm", ".stk"}
"""Ends of the names of files that are stacks, or slices of one."""


NOTES: Final = frozenset(
    {".csv", ".doc", ".docx", ".htm", ".html", ".ini", ".json", ".log", ".md", ".pdf", ".rtf", ".txt", ".xlsx", ".xml"}
)
"""Ends of the names of files that users leave beside folders of stacks."""
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
"""Ends of the names of files with one image each: several of them are the slices of one stack."""


@dataclass(frozen=True, slots=True)
class Source:
    """One stack before it is opened: a folder or a file, or several files; and how it is read."""

    paths: tuple[Path, ...]
    reading: OpenOptions = field(default_factory=OpenOptions)

    @property
    def target(self) -> Path | list[Path]:
        """What `open_stack` takes."""
        return self.paths[0] if len(self.paths) == 1 else list(self.paths)

    @property
    def name(self) -> str:
        """What to call it before it was opened."""
        first = self.paths[0]
        if len(self.paths) > 1:
            return first.parent.name
        # folders have names such as run_NA0.75, whose end is no suffix
        return first.stem if first.suffix.lower() in FILES else first.name


def sources_from(paths: Sequence[Path]) -> list[Source]:
    """Return the stacks among what was dropped or chosen: reads folders, opens no file.

    A folder is a stack, or holds several: then each folder in it is one. Image files that hold one picture
    each (JPEG, PNG ...) are one stack together; any other file is one by itself.
    """
    found: list[Source] = []
    singles = tuple(path for path in paths if path.suffix.lower() in PICTURES)
    for path in paths:
        if path in singles:
            if path == singles[0]:
                found.append(Source(singles))
        elif path.is_dir() and not _has_images(path):
            inner = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
            found += [Source((one,)) for one in inner] or [Source((path,))]
        else:
            found.append(Source((path,)))
    return found


def _has_images(folder: Path) -> bool:
    """Whether a folder is a stack itself: notes and tables beside folders of stacks make it none."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    return SIDECAR_NAME in names or any(
        Path(name).suffix.lower() not in NOTES for name in names if not name.startswith((".", "Thumbs.db"))
    )
