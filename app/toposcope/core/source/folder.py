"""A folder, or a list, of image files: which of them are frames, in which order, and reading them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from toposcope.core.jobs import Progress, Report
from toposcope.core.result import RESULT_NAME
from toposcope.core.source.image_file import (
    SUFFIXES,
    ImageHeader,
    Unreadable,
    access_problem,
    is_device,
    read_header,
    read_pixels,
    read_tags,
    system_path,
    turn,
)
from toposcope.core.source.naming import natural_key
from toposcope.core.source.options import OpenOptions
from toposcope.core.source.readers import reader_of
from toposcope.core.source.sidecar import SIDECAR_NAME, read_positions_file
from toposcope.core.source.tiff import read_tiff_frame, read_tiff_header, read_tiff_tags
from toposcope.core.stack import MIN_FRAMES, FrameTags, Plane, Roi, reduce_plane
from toposcope.errors import CalibrationError, FrameError, StackError

_PREFERRED: Final = ("tiff", "png", "bmp", "webp", "jpeg")
_FORMATS: Final = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".jfif": "jpeg",
    ".png": "png",
    ".bmp": "bmp",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
_RAW: Final = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dng .erf .iiq .kdc .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 .srw .x3f".split()
)
_VENDOR: Final = frozenset(".oir .vsi .ims .dv .zvi .lei .mvd2 .scn".split())
_CLUTTER: Final = frozenset(("thumbs.db", "desktop.ini", SIDECAR_NAME))
_ASIDE: Final = re.compile(
    r"(?:^|[\W_])(?:mask|depth|depth[\W_]?map|height[\W_]?map|ground[\W_]?truth|gt|confidence|"
    r"all[\W_]?in[\W_]?focus|surface[\W_]?3d|curve|preview|thumb|thumbnail|labels?)(?:$|[\W_])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a folder that may be frames, in natural order, and what was passed over."""

    files: tuple[Path, ...]
    sidecar: Path | None
    notes: tuple[str, ...]


def list_folder(folder: Path) -> Listing:
    """Find the frames of a folder.

    Left out, with a note: files that are no images, images whose name says that they are none of
    the series (``mask.png``, ``depth.tif``) while no other file is named like them, and the smaller
    format where each frame lies there in two (``a.tif`` and ``a.jpg``).

    Raises
    ------
    StackError
        If the folder cannot be read or holds no images.
    """
    try:
        with os.scandir(system_path(folder)) as entries:
            found = sorted(
                ((entry.name, entry.is_dir()) for entry in entries if not is_device(folder / entry.name)),
                key=lambda one: natural_key(one[0]),
            )
    except FileNotFoundError as error:
        raise StackError(f"{folder} does not exist.") from error
    except PermissionError as error:
        raise StackError(f"the folder {folder.name} cannot be opened: you have no permission to read it.") from error
    except OSError as error:
        raise StackError(f"the folder {folder.name} {access_problem(error)}.") from error
    names = [name for name, is_dir in found if not is_dir and not name.startswith(".")]
    images = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
    others = [name for name in names if name not in set(images) and name.lower() not in _CLUTTER]
    if not images:
        folders = [name for name, is_dir in found if is_dir and not name.startswith(".")]
        raise StackError(_no_images(folder, others, folders))
    notes = []
    if others:
        notes.append(f"{_count(others)} passed over: no image format that is read here")
    aside = _aside(images)
    if aside:
        notes.append(f"{_count(aside)} left out: the name says that it is no frame of the series")
        images = [name for name in images if name not in set(aside)]
    images, twins = _without_twins(images)
    if twins:
        notes.append(f"{_count(twins)} left out: the same frames are there as {Path(images[0]).suffix}")
    notes += _lists_of_positions(folder, others, len(images))
    sidecar = folder / SIDECAR_NAME
    return Listing(tuple(folder / name for name in images), sidecar if SIDECAR_NAME in names else None, tuple(notes))


def _lists_of_positions(folder: Path, others: Sequence[str], n: int) -> list[str]:
    """Point to text files that hold as many numbers as there are frames; they are not used unasked."""
    found: list[str] = []
    for name in others:
        if Path(name).suffix.lower() in (".txt", ".csv") and len(found) < 3:
            with suppress(CalibrationError):
                if len(read_positions_file(folder / name).values) == n:
                    found.append(f"{name} holds {n} numbers: give it as positions file if they are focus positions")
    return found


def _count(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def unread_format(suffix: str) -> str | None:
    """Return what to do with a known format that is not read here, None for other suffixes."""
    if suffix.lower() in _RAW:
        return "RAW is not read yet. Develop the photographs to 16-bit TIFF and open those."
    if suffix.lower() in _VENDOR:
        return f"{suffix} is not read yet. Export the stack as OME-TIFF and open that."
    return None


def _no_images(folder: Path, others: Sequence[str], folders: Sequence[str]) -> str:
    stacks = [name for name in others if reader_of(Path(name))]
    if stacks:
        what = "the file" if len(stacks) == 1 else "one of the files"
        return f"the folder {folder.name} holds no images, but {_count(stacks)}. Open {what} itself."
    advice = [advice for name in others if (advice := unread_format(Path(name).suffix))]
    if advice:
        return f"the folder {folder.name} holds no images that can be read ({_count(others)}): {advice[0]}"
    if folders:
        if results := [name for name in folders if os.path.isfile(system_path(folder / name / RESULT_NAME))]:
            return (
                f"the folder {folder.name} holds results ({_count(results)}) and no images. Open one of these folders."
            )
        return (
            f"the folder {folder.name} holds no images itself, only the folder{'s' if len(folders) > 1 else ''} "
            f"{_count(folders)}. Open the one that holds the series."
        )
    what = "is empty" if not others else f"holds no images ({_count(others)})"
    return f"the folder {folder.name} {what}. Choose the folder with the JPEG, PNG, TIFF, BMP or WebP files."


def _aside(images: Sequence[str]) -> list[str]:
    """Return the images that are named as something else than a frame, and unlike all others."""
    skeletons = Counter(re.sub(r"\d+", "#", name.casefold()) for name in images)
    aside = [
        name
        for name in images
        if _ASIDE.search(Path(name).stem) and skeletons[re.sub(r"\d+", "#", name.casefold())] == 1
    ]
    return aside if len(images) - len(aside) >= 1 else []


def _without_twins(images: list[str]) -> tuple[list[str], list[str]]:
    """Leave out the lesser format where most frames are there in two."""
    for better, best in enumerate(_PREFERRED):
        for lesser in _PREFERRED[better + 1 :]:
            kept = {Path(name).stem.casefold() for name in images if _format(name) == best}
            twins = [name for name in images if _format(name) == lesser and Path(name).stem.casefold() in kept]
            if len(twins) >= MIN_FRAMES:
                return [name for name in images if name not in set(twins)], twins
    return images, []


def _format(name: str) -> str:
    return _FORMATS[Path(name).suffix.lower()]


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Image files as frames; see `FrameSource`. ``upright``: EXIF orientation is applied."""

    headers: tuple[ImageHeader, ...]
    names: tuple[str, ...]
    upright: bool

    @property
    def n(self) -> int:
        return len(self.headers)

    @property
    def shape(self) -> tuple[int, int]:
        return frame_shape(self.headers[0], self.upright)

    @property
    def channels(self) -> int:
        return self.headers[0].channels

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.headers[0].dtype

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        header = self.headers[i]
        try:
            plane = _read_file(header, self.upright, scale)
            if plane.shape[:2] != tuple(-(-side // scale) for side in self.shape) or plane.dtype != self.dtype:
                raise Unreadable("was changed while the stack was open; open the stack again")
        except Unreadable as error:
            raise FrameError(f"{self.names[i]} {error}.", i, self.names[i]) from error
        return plane if roi is None else np.ascontiguousarray(plane[roi])

    def tags(self, i: int) -> FrameTags:
        header = self.headers[i]
        try:
            return read_tiff_tags(header.path) if header.format == "tiff" else read_tags(header, self.upright)
        except Unreadable as error:
            raise FrameError(f"{self.names[i]} {error}.", i, self.names[i]) from error

    def file(self, i: int) -> Path | None:
        return self.headers[i].path

    def close(self) -> None:
        """Nothing is open."""


def _read_file(header: ImageHeader, upright: bool, scale: int) -> Plane:
    if header.format == "tiff":
        return reduce_plane(read_tiff_frame(header.path, upright), scale)
    if not upright or header.orientation == 1:
        return read_pixels(header, scale)
    if header.shape[0] % scale or header.shape[1] % scale:  # what fills an uneven side must not be turned to the front
        return reduce_plane(turn(read_pixels(header), header.orientation), scale)
    return turn(read_pixels(header, scale), header.orientation)


def frame_shape(header: ImageHeader, upright: bool) -> tuple[int, int]:
    """Return rows and columns of the frame, turned by EXIF orientation if ``upright``."""
    height, width = header.shape
    return (width, height) if upright and header.orientation >= 5 else (height, width)


def read_headers(files: Sequence[Path], report: Report) -> list[ImageHeader | Unreadable]:
    """Read the headers of all files; what is wrong with one stands in its place."""
    headers: list[ImageHeader | Unreadable] = []
    for k, path in enumerate(files):
        report(Progress(k / len(files), f"looking at {path.name}"))
        try:
            headers.append(read_tiff_header(path) if _is_tiff(path) else read_header(path))
        except Unreadable as error:
            headers.append(error)
    return headers


def _is_tiff(path: Path) -> bool:
    """Tell by content, not by name: many a PNG is called .jpg."""
    try:
        with open(system_path(path), "rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    except OSError as error:
        raise Unreadable(access_problem(error)) from error


def order_by_time(headers: Sequence[ImageHeader | Unreadable], names: Sequence[str]) -> list[int]:
    """Return the frames' places in the order of their EXIF times; bursts fall back to natural order.

    Raises
    ------
    StackError
        If a readable frame has no time.
    """
    for header, name in zip(headers, names, strict=True):
        if isinstance(header, ImageHeader) and not header.taken:
            raise StackError(f"{name} has no EXIF time; choose the order by name instead.")
    times = [header.taken or "" if isinstance(header, ImageHeader) else "" for header in headers]
    return sorted(range(len(names)), key=lambda k: (times[k], natural_key(names[k])))


def make_source(
    headers: Sequence[ImageHeader | Unreadable], names: Sequence[str], options: OpenOptions
) -> tuple[FolderSource, list[int], list[str]]:
    """Choose the frames that go together and return their source, their places and notes.

    Raises
    ------
    FrameError
        If a frame cannot be read or differs from the others, and broken ones are not skipped.
    StackError
        If there are two kinds of images of equal number.
    """
    notes: list[str] = []
    broken = [k for k, header in enumerate(headers) if isinstance(header, Unreadable)]
    if broken and not options.skip_broken:
        more = f" {len(broken) - 1} more of the files cannot be read either." if len(broken) > 1 else ""
        k = broken[0]
        raise FrameError(f"{names[k]} {headers[k]}.{more} Skip it to go on with the others.", k, names[k])
    notes += [f"{names[k]} {headers[k]}: left out" for k in broken]
    good = {k: header for k, header in enumerate(headers) if isinstance(header, ImageHeader)}
    if not good:
        raise StackError("none of the images can be read.")
    orientations = {header.orientation for header in good.values()}
    upright = len(orientations) == 1 or len({header.shape for header in good.values()}) > 1
    if not upright:
        notes.append("EXIF orientation differs between frames and is not applied")
    kinds = {k: (frame_shape(header, upright), header.channels, header.dtype) for k, header in good.items()}
    (usual, most), *rest = Counter(kinds.values()).most_common()
    odd = [k for k in good if kinds[k] != usual]
    if rest and (rest[0][1] == most or most < MIN_FRAMES):
        raise StackError(
            f"the images do not go together: {most} of {_described(*usual)}, "
            f"{rest[0][1]} of {_described(*rest[0][0])}. Put each series into a folder of its own."
        )
    if odd and not options.skip_broken:
        k = odd[0]
        raise FrameError(
            f"{names[k]} is {_described(*kinds[k])}, the others are {_described(*usual)}. "
            "Skip it, or take it out of the folder.",
            k,
            names[k],
        )
    notes += [f"{names[k]} is {_described(*kinds[k])} and does not go with the others: left out" for k in odd]
    places = [k for k in good if kinds[k] == usual]
    source = FolderSource(tuple(good[k] for k in places), tuple(names[k] for k in places), upright)
    return source, places, notes


def _described(shape: tuple[int, int], channels: int, dtype: np.dtype[Any]) -> str:
    depth = "float" if dtype.kind == "f" else f"{8 * dtype.itemsize}-bit"
    return f"{shape[1]} x {shape[0]} {depth} {'grey' if channels == 1 else 'colour'}"
