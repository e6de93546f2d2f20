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
from toposcope.core.source.heif_file import (
    AVIF_SUFFIXES,
    HEIC_SUFFIXES,
    heif_kind,
    read_heif_header,
    read_heif_pixels,
    read_heif_tags,
)
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
from toposcope.core.source.raw_file import (
    RAW_SUFFIXES,
    developed_alike,
    is_raw_start,
    read_raw_header,
    read_raw_pixels,
    read_raw_tags,
)
from toposcope.core.source.readers import PHOTOGRAPHS, Photographs, reader_of
from toposcope.core.source.sidecar import SIDECAR_NAME, read_positions_file
from toposcope.core.source.tiff import read_tiff_frame, read_tiff_header, read_tiff_tags
from toposcope.core.stack import MIN_FRAMES, FrameTags, Plane, Roi, reduce_plane
from toposcope.errors import CalibrationError, FrameError, MissingPartError, StackError

FRAME_SUFFIXES: Final = SUFFIXES | frozenset((*RAW_SUFFIXES, *HEIC_SUFFIXES, *AVIF_SUFFIXES))
"""Ends of the names of files with one image each."""

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
    **dict.fromkeys(HEIC_SUFFIXES, "heic"),
    **dict.fromkeys(AVIF_SUFFIXES, "avif"),
    **dict.fromkeys(RAW_SUFFIXES, "raw"),
    ".dng": "dng",
}
_PHOTOGRAPHS: Final = ("tiff", "png", "bmp", "dng", "raw", "webp", "heic", "avif", "jpeg")
"""Of kinds that hold as many photographs, the first one is taken: what was developed on purpose, then what has
more tones."""
_BESIDE: Final = frozenset(".xmp .pp3 .dop .on1 .cos .arp .thm .aae .nksc".split())
"""Settings and thumbnails that cameras and developing programs lay beside photographs."""
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


def list_folder(folder: Path, like: str | None = None) -> Listing:
    """Find the frames of a folder.

    Left out, with a note: files that are no images, images whose name says that they are none of
    the series (``mask.png``, ``depth.tif``) while no other file is named like them, the smaller
    format where each frame lies there in two (``a.tif`` and ``a.jpg``), and all kinds but one beside camera RAW
    or HEIC. ``like`` is the name of a file of the kind that is to be taken then.

    Raises
    ------
    StackError
        If the folder cannot be read or holds no images.
    MissingPartError
        If what reads them is not installed; the text names the line that installs it.
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
    images = [name for name in names if Path(name).suffix.lower() in FRAME_SUFFIXES]
    others = [name for name in names if name not in set(images) and not _is_clutter(name)]
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
    images, unread = _with_packages(images)
    notes += unread
    images, mixed = _of_one_kind(images, like)
    notes += mixed
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


def of_one_kind(files: Sequence[Path]) -> tuple[list[Path], tuple[str, ...]]:
    """Return those of the files that were chosen that can be one stack, and notes on the others, as `list_folder`.

    Raises
    ------
    MissingPartError
        If what reads them is not installed.
    """
    names = [path.name for path in files if path.suffix.lower() in FRAME_SUFFIXES]
    images, unread = _with_packages(names)
    images, mixed = _of_one_kind(images, None)
    left = set(names) - set(images)
    kept = [path for path in files if path.name not in left and not (images and _is_clutter(path.name))]
    return kept, (*unread, *mixed)


def _is_clutter(name: str) -> bool:
    return name.lower() in _CLUTTER or Path(name).suffix.lower() in _BESIDE


def _with_packages(images: list[str]) -> tuple[list[str], list[str]]:
    """Leave out photographs whose package is not installed, if enough others are there; return notes on them."""
    notes = []
    for photographs in PHOTOGRAPHS:
        theirs = [name for name in images if Path(name).suffix.lower() in photographs.suffixes]
        if not theirs or photographs.package.is_installed:
            continue
        images = [name for name in images if name not in set(theirs)]
        if len(images) < MIN_FRAMES:
            raise _missing_package(theirs, photographs)
        notes.append(f"left out: {_missing_package(theirs, photographs)}")
    return images, notes


def _missing_package(names: Sequence[str], photographs: Photographs) -> MissingPartError:
    """Return the error that says what is missing to read these files, and what to type."""
    are, which = ("is", "which is") if len(names) == 1 else ("are", "which are")
    package = photographs.package
    return MissingPartError(
        f"{_count(names)} {are} {photographs.title}, {which} read by the package {package.name}; it is not installed. "
        f"Type: {package.install_line}"
    )


def _of_one_kind(images: list[str], like: str | None) -> tuple[list[str], list[str]]:
    """Choose one kind of files where there is camera RAW or HEIC among them: the one with most, see _PHOTOGRAPHS."""
    kinds = Counter(_format(name) for name in images)
    if len(kinds) < 2 or not kinds.keys() & {"raw", "dng", "heic", "avif"}:
        return images, []
    best = min(kinds, key=lambda kind: (-kinds[kind], _PHOTOGRAPHS.index(kind)))
    if like is not None and _format(like) in kinds:
        best = _format(like)
    kept = [name for name in images if _format(name) == best]
    left = [name for name in images if _format(name) != best]
    stems = {Path(name).stem.casefold() for name in kept}
    twins = all(Path(name).stem.casefold() in stems for name in left)
    suffix = Path(kept[0]).suffix
    why = f"the same frames are there as {suffix}" if twins else f"a stack is of one kind of files, here {suffix}"
    return kept, [f"{_count(left)} left out: {why}. To use them instead, open just them"]


def unread_format(suffix: str) -> str | None:
    """Return what to do with a known format that is not read here, None for other suffixes."""
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
    return (
        f"the folder {folder.name} {what}. Choose the folder with the JPEG, PNG, TIFF, BMP, WebP, HEIC, AVIF or "
        "camera RAW files."
    )


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
            if header.format == "raw":
                return read_raw_tags(header)
            if header.format in ("heic", "avif"):
                return read_heif_tags(header, self.upright)
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
    read = {"raw": read_raw_pixels, "heic": read_heif_pixels, "avif": read_heif_pixels}.get(header.format, read_pixels)
    if not upright or header.orientation == 1:
        return read(header, scale)
    if header.shape[0] % scale or header.shape[1] % scale:  # what fills an uneven side must not be turned to the front
        return reduce_plane(turn(read(header), header.orientation), scale)
    return turn(read(header, scale), header.orientation)


def frame_shape(header: ImageHeader, upright: bool) -> tuple[int, int]:
    """Return rows and columns of the frame, turned by EXIF orientation if ``upright``."""
    height, width = header.shape
    return (width, height) if upright and header.orientation >= 5 else (height, width)


def read_headers(files: Sequence[Path], report: Report) -> list[ImageHeader | Unreadable]:
    """Read the headers of all files; what is wrong with one stands in its place.

    Raises
    ------
    MissingPartError
        If what reads one of them is not installed.
    """
    headers: list[ImageHeader | Unreadable] = []
    for k, path in enumerate(files):
        report(Progress(k / len(files), f"looking at {path.name}"))
        try:
            headers.append(_read_header(path))
        except Unreadable as error:
            headers.append(error)
    return headers


def _read_header(path: Path) -> ImageHeader:
    kind = file_kind(path)
    if kind == "tiff":
        return read_tiff_header(path)
    if kind == "other":
        return read_header(path)
    missing = next((one for one in PHOTOGRAPHS if one.kind == kind and not one.package.is_installed), None)
    if missing is not None:
        raise _missing_package([path.name], missing)
    return read_raw_header(path) if kind == "raw" else read_heif_header(path, kind)


def file_kind(path: Path) -> str:
    """Return "tiff", "raw", "heic", "avif" or "other", by content: many a PNG is called .jpg.

    Most RAW files begin like TIFF: for them the name decides.

    Raises
    ------
    Unreadable
        If the file cannot be read.
    """
    try:
        with open(system_path(path), "rb") as file:
            start = file.read(64)
    except OSError as error:
        raise Unreadable(access_problem(error)) from error
    if (heif := heif_kind(start)) is not None:
        return heif
    is_raw = path.suffix.lower() in RAW_SUFFIXES
    if start[4:12] == b"ftypcrx " or (is_raw and (is_raw_start(start) or not _is_plain_image(start))):
        return "raw"
    return "tiff" if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else "other"


def _is_plain_image(start: bytes) -> bool:
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG", b"BM", b"RIFF"))


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
    kept = tuple(names[k] for k in places)
    alike, developed = developed_alike([good[k] for k in places], kept)
    return FolderSource(alike, kept, upright), places, [*notes, *developed]


def _described(shape: tuple[int, int], channels: int, dtype: np.dtype[Any]) -> str:
    depth = "float" if dtype.kind == "f" else f"{8 * dtype.itemsize}-bit"
    return f"{shape[1]} x {shape[0]} {depth} {'grey' if channels == 1 else 'colour'}"
