"""Which stacks lie in the folders and files that were named, dropped or chosen."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.result import PROJECT_SUFFIX, RESULT_NAME
from toposcope.core.source.container import Container, choose
from toposcope.core.source.folder import FRAME_SUFFIXES, read_headers
from toposcope.core.source.image_file import ImageHeader, Unreadable, access_problem, system_path
from toposcope.core.source.micro_manager import image_folders, ndtiff_folder, open_ndtiff
from toposcope.core.source.naming import natural_key
from toposcope.core.source.options import ChoiceNeeded, OpenOptions
from toposcope.core.source.readers import READERS, open_container, reader_of
from toposcope.core.source.sidecar import SIDECAR_NAME
from toposcope.core.source.tiff import open_tiff
from toposcope.core.stack import MIN_FRAMES
from toposcope.errors import ToposcopeError

TIFFS: Final = frozenset({".tif", ".tiff", ".lsm", ".stk"})
FILES: Final = FRAME_SUFFIXES | {suffix for reader in READERS for suffix in reader.suffixes} | {".lsm", ".stk"}
"""Ends of the names of files that are stacks, or slices of one."""


NOTES: Final = frozenset(".csv .doc .docx .htm .html .ini .json .log .md .pdf .rtf .toposcope .txt .xlsx .xml".split())
"""Ends of the names of files that users leave beside folders of stacks."""
PICTURES: Final = FRAME_SUFFIXES - {".tif", ".tiff"}
"""Ends of the names of files with one image each: several of them are the slices of one stack."""
MADE_HERE: Final = ("batch.json", "series.json")
"""Files that lie in a folder of results, one folder each."""
_RESULT_STEMS: Final = frozenset(
    {"depth", "depth16", "confidence", "all_in_focus", "all_in_focus_channels.ome", "surface_3d", "curve"}
)
"""Names of pictures that results consist of, without their ends."""
_NOT_IN_NAMES: Final = r'[\s/\\:*?"<>|]+'
_DEPTH: Final = 5
"""Folders in folders that are looked into, at most."""


@dataclass(frozen=True, slots=True)
class Source:
    """One stack before it is opened: a folder or a file, or several files; and how it is read.

    ``position`` names the one that ``reading`` chooses of a file with several.
    """

    paths: tuple[Path, ...]
    reading: OpenOptions = field(default_factory=OpenOptions)
    position: str = ""

    @property
    def target(self) -> Path | list[Path]:
        """What `open_stack` takes."""
        return self.paths[0] if len(self.paths) == 1 else list(self.paths)

    @property
    def name(self) -> str:
        """What to call it before it was opened."""
        first = self.paths[0]
        if first.name in ("", "..") or len(first.parts) == 1:  # such as . and .., which say nothing
            first = first.resolve()
        if len(self.paths) > 1:
            return first.parent.name
        # folders have names such as run_NA0.75, whose end is no suffix
        name = first.stem.removesuffix(".ome") if first.suffix.lower() in FILES else first.name
        return f"{name}_{re.sub(_NOT_IN_NAMES, '_', self.position)}" if self.position else name


def sources_from(paths: Sequence[Path]) -> list[Source]:
    """Return the stacks among what was dropped or chosen: reads folders, opens no file.

    A folder is a stack, or holds several: then each folder in it is one. Image files that hold one picture
    each (JPEG, PNG, camera RAW ...) are one stack together; any other file is one by itself.
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


@dataclass(frozen=True, slots=True)
class Found:
    """Stacks that were found, and sentences about what was left out."""

    sources: tuple[Source, ...]
    left_out: tuple[str, ...] = ()


def find_stacks(paths: Sequence[Path], report: Report = silent) -> Found:
    """Return the stacks that were named, and those in the folders that were named; reads folders and some headers.

    A folder with images is a stack, and so is each file that holds many pages or planes. Any other folder is looked
    into for stacks. Images that hold one picture each are one stack together if they lie in one folder. Left out, and
    told, are results, notes and tables, folders without images, and single pictures beside stacks.
    """
    search = _Search(report)
    for path in paths:
        if os.path.isdir(system_path(path)):
            search.folder(path, 0)
        elif path.name == SIDECAR_NAME:
            search.folder(path.parent, 0)
        elif path.suffix.lower() in PICTURES and path.exists():
            search.picture(path)
        elif path.suffix.lower() == PROJECT_SUFFIX and path.exists():
            search.left.append(f"{path}: a project, no stack")
        elif path.suffix.lower() in NOTES and path.exists() and path.name.lower() != "metadata.txt":
            search.left.append(f"{path}: no images")
        else:
            search.add(path)
    return Found(tuple(Source(one) for one in search.found), tuple(search.left))


def each_position(found: Found, reading: OpenOptions | None = None, report: Report = silent) -> Found:
    """Return the stacks with each position (series, scene) of a file as one of its own; reads headers.

    Where ``reading`` chooses one, there is nothing to do. What cannot be read stays as it is: opening it tells why.
    """
    reading = reading or OpenOptions()
    if reading.series is not None:
        return found
    sources: list[Source] = []
    for k, source in enumerate(found.sources):
        report(Progress(k / len(found.sources), f"looking into {source.paths[0].name}"))
        names = _positions(source.paths[0], reading) if len(source.paths) == 1 else ()
        sources += [Source(source.paths, replace(source.reading, series=i), name) for i, name in enumerate(names)] or [
            source
        ]
    return Found(tuple(sources), found.left_out)


def _positions(path: Path, reading: OpenOptions) -> tuple[str, ...]:
    """Return the names of the positions of a file; none where it has one, or is a series of images."""
    try:
        reader = reader_of(path)
        if reader is not None:
            _choose(path, open_container(reader, path), reading)
        elif (folder := ndtiff_folder(path)) is not None:
            _choose(path, open_ndtiff(folder), reading)
        elif (file := _file_of_pages(path)) is not None:
            open_tiff(file, reading)
    except ChoiceNeeded as question:
        told = next((choice.options for choice in question.choices if choice.name == "series"), ())
        names = tuple(name.partition(" (")[0] for name in told)  # without the size
        return names if len(set(names)) == len(names) else tuple(f"{name} {k + 1}" for k, name in enumerate(names))
    except (ToposcopeError, Unreadable, OSError):
        return ()
    return ()


def _file_of_pages(path: Path) -> Path | None:
    """Return the TIFF file that ``path`` is, or that is opened for the folder; None for a series of images."""
    if not os.path.isdir(system_path(path)):
        return path if path.suffix.lower() in TIFFS else None
    inner = sorted(one for one in os.listdir(system_path(path)) if Path(one).suffix.lower() in TIFFS)
    is_one = len(inner) == 1 or (inner and all("_mmstack" in name.lower() for name in inner))
    return path / inner[0] if is_one else None


def _choose(path: Path, container: Container, reading: OpenOptions) -> None:
    try:
        choose(path.name, container, reading)
    finally:
        container.close()


class _Search:
    """What a search has found so far."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.found: list[tuple[Path, ...]] = []
        self.left: list[str] = []
        self._been: set[str] = set()  # folders in folders, which links may lead to again
        self._pictures: dict[Path, int] = {}

    def add(self, path: Path) -> None:
        self.found.append((path,))

    def picture(self, path: Path) -> None:
        """Add a single picture to those of the same folder."""
        place = self._pictures.setdefault(path.parent, len(self.found))
        self.found[place : place + 1] = [(*(self.found[place] if place < len(self.found) else ()), path)]

    def folder(self, folder: Path, depth: int) -> None:
        """Add a folder that is a stack, or what is in it."""
        self._report(Progress(math.nan, f"looking into {folder.name}"))
        if depth:
            real = os.path.realpath(folder)
            if real in self._been:
                return
            self._been.add(real)
        try:
            with os.scandir(system_path(folder)) as entries:
                told = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            self.left.append(f"{folder} {access_problem(error)}")
            return
        told.sort(key=lambda one: natural_key(one[0]))
        names, folders = ([name for name, is_folder in told if is_folder is wanted] for wanted in (False, True))
        images = [name for name in names if Path(name).suffix.lower() in FRAME_SUFFIXES]
        frames = [name for name in images if Path(name).stem not in _RESULT_STEMS]
        if any(name in names for name in MADE_HERE) or (RESULT_NAME in names and len(frames) < MIN_FRAMES):
            self.left.append(f"{folder}: results of Toposcope")
            return
        if SIDECAR_NAME in names or ndtiff_folder(folder) is not None or image_folders(folder) == (folder,):
            self.add(folder)
            return
        whole = [name for name in names if Path(name).suffix.lower() in FILES - FRAME_SUFFIXES]
        pages = self._stacks_of_pages(folder, images, bool(whole or folders))
        singles = [name for name in images if name not in set(pages)]
        if whole or pages:
            for name in sorted((*whole, *pages), key=natural_key):
                self.add(folder / name)
        elif len(singles) >= MIN_FRAMES or (singles and not folders):
            self.add(folder)
            return
        if singles:
            self.left.append(f"{folder / singles[0]}{_and_more(singles)}: single pictures beside stacks")
        inner = [name for name in folders if f"{name}".removesuffix(".files") not in names]  # of an OIF file
        if depth < _DEPTH:
            for name in inner:
                self.folder(folder / name, depth + 1)
        if not (whole or pages or singles or inner):
            others = [name for name in names if Path(name).suffix.lower() not in NOTES and name.lower() != "thumbs.db"]
            if others:  # of another program: opening it tells what to do
                self.add(folder)
            else:
                self.left.append(f"{folder}: no images")

    def _stacks_of_pages(self, folder: Path, images: Sequence[str], has_others: bool) -> list[str]:
        """Return the TIFF files that are a stack each: more than one, or one among ``others``."""
        tiffs = [name for name in images if Path(name).suffix.lower() in TIFFS]
        if not tiffs or (len(tiffs) == 1 and not has_others) or any("_mmstack" in name.lower() for name in tiffs):
            return []
        if not any(self._has_pages(folder / name) for name in {tiffs[0], tiffs[-1]}):
            return []  # a series, whose headers are read when it is opened
        return [name for name in tiffs if self._has_pages(folder / name)]

    def _has_pages(self, path: Path) -> bool:
        (header,) = read_headers([path], silent)
        return isinstance(header, ImageHeader) and header.pages >= MIN_FRAMES


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
