"""TIFF: one page as a frame, or many pages as a stack: plain, ImageJ, OME or Micro-Manager.

A plane is found again by the place of its page in the file, so that no file stays open between
reads. Series and their axes are tifffile's; the z axis, channels, time points and positions are
chosen here, and never silently.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage, TiffPageSeries

from toposcope.core.calibration import Floats, Objective, Side, Sourced
from toposcope.core.source.container import listed, needed, picked, unique
from toposcope.core.source.image_file import (
    ImageHeader,
    Unreadable,
    access_problem,
    as_unreadable,
    size_problem,
    system_path,
    turn,
)
from toposcope.core.source.options import Choice, ChoiceNeeded, OpenOptions
from toposcope.core.source.tiff_facts import as_number, channel_labels, find_facts
from toposcope.core.stack import MIN_FRAMES, FrameTags, Part, PartName, Plane, Roi, reduce_plane
from toposcope.errors import FrameError, StackError

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters of it is told in our own words

MAX_XML: Final = 64 * 2**20
MAX_PAGES: Final = 65536
_WHITE_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 2, 3, 6
_UNSUPPORTED: Final = {
    4: "a transparency mask",
    5: "CMYK colour",
    8: "Lab colour",
    9: "Lab colour",
    32803: "a raw sensor mosaic",
    32844: "LogLuv colour",
    32845: "LogLuv colour",
    34892: "raw sensor data",
}
_JPEG: Final = (6, 7)
_ICC, _ORIENTATION = 34675, 274


@dataclass(frozen=True, slots=True, eq=False)
class PageLayout:
    """How the pixels of a page are laid out, and what makes a frame of them.

    ``shape`` and ``axes`` (YX, YXS or SYX) are as stored; ``lut`` (3, levels) uint8 colours palette
    images. Frames are uint8, uint16 or, from everything else, float32.
    """

    shape: tuple[int, ...]
    axes: str
    stored: np.dtype[Any]
    inverted: bool = False
    lut: NDArray[np.uint8] | None = None
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns as stored."""
        start = self.axes.index("Y")
        return self.shape[start], self.shape[start + 1]

    @property
    def upright_size(self) -> tuple[int, int]:
        """Rows and columns of the frame."""
        return self.size if self.orientation < 5 else (self.size[1], self.size[0])

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB); alpha and further samples are left out."""
        if self.lut is not None:
            return 3
        return 3 if "S" in self.axes and self.shape[self.axes.index("S")] >= 3 else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the frame."""
        if self.lut is not None or self.stored == np.bool_:
            return np.dtype(np.uint8)
        return self.stored if self.stored in (np.uint8, np.uint16) else np.dtype(np.float32)

    def frame(self, raw: NDArray[Any]) -> Plane:
        """Make the frame of stored pixels: grey or RGB, as it is to be looked at."""
        if self.axes == "SYX":
            raw = np.moveaxis(raw, 0, -1)
        if self.lut is not None:
            return turn(np.moveaxis(self.lut[:, raw], 0, -1), self.orientation)
        if raw.ndim == 3:
            raw = raw[..., :3] if self.channels == 3 else raw[..., 0]
        if raw.dtype == np.bool_:
            raw = raw.astype(np.uint8) * np.uint8(255)
        elif raw.dtype != self.dtype:
            with np.errstate(over="ignore", invalid="ignore"):
                raw = raw.astype(self.dtype)
        if self.inverted:
            raw = np.iinfo(raw.dtype).max - raw if raw.dtype.kind == "u" else -raw
        return turn(raw, self.orientation)


@dataclass(frozen=True, slots=True)
class PlaneRef:
    """Where a plane is: the page at byte ``offset`` of the file, or raw pixels if ``raw``."""

    path: Path
    offset: int
    raw: bool = False
    byteorder: Literal["<", ">"] = "<"


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    with as_unreadable("is no TIFF that can be read, or is damaged"), TiffFile(system_path(path)) as tiff:
        yield tiff


def page_layout(page: TiffPage, ignore_palette: bool = False) -> PageLayout:
    """Return how the pixels of a page are laid out.

    Raises
    ------
    Unreadable
        If it holds no pixels that can be shown as grey or RGB, or too many.
    """
    if page.dtype is None or not page.shape:
        raise Unreadable("holds no pixels, or pixels of an unknown type")
    axes = page.axes
    if axes not in ("YX", "YXS", "SYX"):
        raise Unreadable(f"has pages laid out as {axes}, which cannot be read; save it as one page a slice")
    photometric = int(page.photometric)
    if photometric in _UNSUPPORTED:
        raise Unreadable(f"holds {_UNSUPPORTED[photometric]}; convert it to grey or RGB")
    if photometric == _YCBCR and int(page.compression) not in _JPEG:
        raise Unreadable("holds YCbCr colour; convert it to RGB")
    stored = np.dtype(page.dtype)
    if stored.kind not in "buif":
        raise Unreadable(f"holds pixels of the type {stored}; convert them to 8 or 16 bit")
    orientation = page.tags.valueof(_ORIENTATION, default=1)
    layout = PageLayout(
        tuple(page.shape),
        axes,
        stored,
        inverted=photometric == _WHITE_IS_ZERO,
        lut=None if ignore_palette or photometric != _PALETTE else _lut(page),
        orientation=orientation if orientation in range(1, 9) else 1,
    )
    problem = size_problem(layout.size)
    if problem:
        raise Unreadable(problem)
    if int(np.prod(layout.shape, dtype=np.int64)) > 8 * layout.size[0] * layout.size[1]:
        raise Unreadable("has more than 8 samples a pixel; save it as grey or RGB")
    return layout


def _lut(page: TiffPage) -> NDArray[np.uint8] | None:
    colours = page.colormap
    if colours is None or page.dtype not in (np.uint8, np.uint16) or page.axes != "YX":
        return None
    colours = np.asarray(colours).reshape(3, -1)
    if colours.shape[1] < 2**page.bitspersample:
        raise Unreadable("is damaged: its colour table is too short")
    eight = colours if colours.max(initial=0) < 256 else colours >> 8  # some writers store 8 bit
    return eight.astype(np.uint8)


def _check_whole(page: Any, size: int) -> None:
    """Refuse a page whose pixels lie beyond the end of the file."""
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if offset + count > size:
            raise Unreadable("is cut short: the file ends before its pixels do")
    if not page.dataoffsets:
        raise Unreadable("holds no pixels")


def read_plane(ref: PlaneRef, layout: PageLayout) -> Plane:
    """Decode one plane.

    Raises
    ------
    Unreadable
        If the file is gone, changed, cut short or damaged.
    """
    if ref.raw:
        stored = layout.stored.newbyteorder(ref.byteorder)
        count = int(np.prod(layout.shape, dtype=np.int64))
        try:
            with open(system_path(ref.path), "rb") as file:
                file.seek(ref.offset)
                data = np.fromfile(file, stored, count)
        except OSError as error:
            raise Unreadable(access_problem(error)) from error
        if data.size < count:
            raise Unreadable("is cut short: the file ends before its pixels do")
        return layout.frame(data.astype(layout.stored, copy=False).reshape(layout.shape))
    with _opened(ref.path) as tiff:
        tiff.filehandle.seek(ref.offset)
        page = TiffPage(tiff, 0)
        if tuple(page.shape) != layout.shape or page.dtype != layout.stored:
            raise Unreadable("was changed while the stack was open; open the stack again")
        _check_whole(page, tiff.filehandle.size)
        return layout.frame(page.asarray(squeeze=True, maxworkers=1).reshape(layout.shape))


def read_tiff_header(path: Path) -> ImageHeader:
    """Read the header of a TIFF that is one frame; ``pages`` tells if it is more.

    Raises
    ------
    Unreadable
        If it is missing, no TIFF, cut short or too large.
    """
    with _opened(path) as tiff:
        _is_cut(tiff)
        _refuse_entities(tiff)
        page = tiff.pages.first
        layout = page_layout(page, ignore_palette=tiff.is_ome or tiff.is_imagej)
        _check_whole(page, tiff.filehandle.size)
        alike = _count_alike(tiff, page)
        facts = find_facts(tiff, 0, "", (), np.arange(1))
        height = facts.positions_um
        camera = " ".join(str(page.tags.valueof(code, default="") or "").strip() for code in (271, 272)).strip()
        return ImageHeader(
            path,
            "tiff",
            layout.size,
            layout.channels,
            layout.dtype,
            tiff.filehandle.size,
            orientation=layout.orientation,
            taken=str(page.tags.valueof(306) or "") or None,
            camera=camera[:80] or None,
            z=None if height is None else Sourced(float(height.value[0]), height.origin, height.guessed),
            pixel_um=facts.pixel_um,
            pages=alike,
        )


def _count_alike(tiff: TiffFile, first: TiffPage) -> int:
    """Return how many slices the file holds: pages like the first, thumbnails left out."""
    if tiff.is_imagej:
        return max(len(tiff.pages), int((tiff.imagej_metadata or {}).get("images", 1)))
    pages = [tiff.pages[k] for k in range(len(tiff.pages))]
    return sum(1 for page in pages if tuple(page.shape) == tuple(first.shape))


def read_tiff_frame(path: Path, upright: bool) -> Plane:
    """Decode the first page; ``upright`` applies its orientation.

    Raises
    ------
    Unreadable
        If the file is gone, cut short or damaged.
    """
    with _opened(path) as tiff:
        page = tiff.pages.first
        layout = page_layout(page, ignore_palette=tiff.is_ome or tiff.is_imagej)
        if not upright:
            layout = replace(layout, orientation=1)
        _check_whole(page, tiff.filehandle.size)
        return layout.frame(page.asarray(squeeze=True, maxworkers=1).reshape(layout.shape))


def read_tiff_tags(path: Path, offset: int | None = None) -> FrameTags:
    """Return the ICC profile of a page; TIFF pages carry no EXIF block of their own."""
    with _opened(path) as tiff:
        if offset is not None:
            tiff.filehandle.seek(offset)
        page = tiff.pages.first if offset is None else TiffPage(tiff, 0)
        icc = page.tags.valueof(_ICC)
        return FrameTags(None, bytes(icc) if isinstance(icc, bytes) and icc else None)


@dataclass(frozen=True, slots=True)
class TiffSource:
    """The slices of one TIFF; see `FrameSource`. Holds no file open."""

    path: Path
    layout: PageLayout
    refs: tuple[PlaneRef, ...]
    names: tuple[str, ...]

    @property
    def n(self) -> int:
        return len(self.refs)

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.upright_size

    @property
    def channels(self) -> int:
        return self.layout.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.layout.dtype

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        try:
            plane = read_plane(self.refs[i], self.layout)
        except Unreadable as error:
            raise FrameError(f"{self.names[i]} of {self.path.name} {error}.", i, self.names[i]) from error
        return reduce_plane(plane, scale) if roi is None else np.ascontiguousarray(plane[roi])

    def tags(self, i: int) -> FrameTags:
        try:
            return read_tiff_tags(self.refs[i].path, None if self.refs[i].raw else self.refs[i].offset)
        except Unreadable as error:
            raise FrameError(f"{self.names[i]} of {self.path.name} {error}.", i, self.names[i]) from error

    def file(self, i: int) -> Path | None:
        return self.refs[i].path

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class TiffStack:
    """What a TIFF holds: all slices of the chosen series, channel and time, with what it says of them.

    ``broken`` gives for each slice what is wrong with it, None where nothing is known to be;
    ``is_cut`` tells that more pages should follow but do not.
    """

    source: TiffSource
    broken: tuple[str | None, ...]
    is_cut: bool
    positions_um: Sourced[Floats] | None
    pixel_um: Sourced[float] | None
    origin: str
    notes: tuple[str, ...]
    objective: Sourced[Objective] | None = None
    parts: tuple[Part, ...] = ()
    near: Sourced[Side] | None = None


def open_tiff(path: Path, options: OpenOptions) -> TiffStack:
    """Find the stack in a TIFF file.

    Raises
    ------
    ChoiceNeeded
        If it holds several series, channels or time points and options do not choose.
    StackError
        If it cannot be read or holds no stack.
    """
    try:
        with _opened(path) as tiff:
            is_cut = _is_cut(tiff)
            _refuse_entities(tiff)
            return _open(path, tiff, is_cut, options)
    except Unreadable as error:
        raise StackError(f"{path.name} {error}.") from error


def _open(path: Path, tiff: TiffFile, is_cut: bool, options: OpenOptions) -> TiffStack:
    try:
        series = [one for one in tiff.series if one.shape and one.keyframe is not None]
    except Exception as error:
        if not is_cut:
            raise
        raise Unreadable("is cut short: the file ends before its pages do. Copy it again") from error
    if not series:
        raise Unreadable("holds no images")
    if is_cut and max(_planes(one) for one in series) < MIN_FRAMES:
        raise Unreadable("is cut short: the file ends before its pages do. Copy it again")
    promised = int(as_number((tiff.imagej_metadata or {}).get("images")) or 0) if tiff.is_imagej else 0
    if promised > sum(_planes(one) for one in series) and not is_cut:
        raise Unreadable(f"is cut short: it should hold {promised} slices. Copy it again")
    ignore_palette = bool(tiff.is_ome or tiff.is_imagej)  # there it colours intensities for the eye only
    notes: list[str] = []
    parts: list[Part] = []
    index, axes = 0, "I"
    outer: tuple[int, ...] = (len(series),)
    if len(series) > 1 and len(
        {(_planes(one), tuple(one.keyframe.shape), one.dtype) for one in series}
    ) == 1 == _planes(series[0]):
        layout = page_layout(series[0].keyframe, ignore_palette)
        refs = [_page_ref(path, one[0]) for one in series]
        planes = np.arange(len(series))
        notes.append(f"its {len(series)} single images are taken as one stack")
    else:
        index, parts = _choose_series(path, series, options)
        layout = page_layout(series[index].keyframe, ignore_palette)
        axes, outer = _outer_axes(series[index], layout)
        refs = _series_refs(path, tiff, series[index], layout, int(np.prod(outer, dtype=np.int64)))
        chosen = _choose_planes(path, axes, outer, channel_labels(tiff, index), options)
        planes = chosen.planes
        notes += chosen.notes
        parts += chosen.parts
        if len(series) > 1 and options.series is None:
            notes.append(f"{len(series) - 1} further series of the file hold no stack and are left out")
    facts = find_facts(tiff, index, axes, outer, planes)
    names = tuple(f"slice {k + 1}" for k in range(len(planes)))
    kept = [refs[k] for k in planes]
    return TiffStack(
        TiffSource(path, layout, tuple(ref or PlaneRef(path, -1) for ref in kept), names),
        tuple(_ref_problem(tiff, ref, layout) for ref in kept),
        is_cut,
        facts.positions_um,
        facts.pixel_um,
        facts.origin,
        (*notes, *facts.notes),
        facts.objective,
        tuple(parts),
        facts.near,
    )


def _planes(series: TiffPageSeries) -> int:
    return int(np.prod(series.shape, dtype=np.int64)) // max(1, int(np.prod(series.keyframe.shape, dtype=np.int64)))


def _refuse_entities(tiff: TiffFile) -> None:
    """Refuse OME-XML that defines entities: no writer does, and they can be made to explode."""
    description = tiff.pages.first.description
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise Unreadable("holds OME-XML with a document type of its own, which is not safe to read")
    if len(description) > MAX_XML:
        raise Unreadable(f"holds more than {MAX_XML >> 20} MB of metadata")


def _choose_series(path: Path, series: Sequence[TiffPageSeries], options: OpenOptions) -> tuple[int, list[Part]]:
    stacks = [k for k, one in enumerate(series) if _planes(one) >= MIN_FRAMES]
    if not stacks:
        count = max(_planes(one) for one in series)
        if len(series) == 1 and count == 1:
            raise StackError(
                f"{path.name} is one image; depth from focus needs a series of at least {MIN_FRAMES}. "
                "Open its folder, or all images of the series together."
            )
        what = f"{len(series)} images of different sizes or kinds" if len(series) > 1 else f"{count} images"
        raise StackError(f"{path.name} holds {what}; depth from focus needs at least {MIN_FRAMES} that are alike.")
    names = tuple(_series_label(series[k], number) for number, k in enumerate(stacks))
    chosen = 0 if len(stacks) == 1 else picked(path.name, "series", options.series, names)
    if chosen is None:
        raise ChoiceNeeded(
            f"{path.name} holds {len(stacks)} stacks; choose the series ({listed(names)}).",
            (Choice("series", "Series", names),),
        )
    return stacks[chosen], [Part("series", "Series", names, chosen)] if len(stacks) > 1 else []


def _series_label(series: TiffPageSeries, number: int) -> str:
    sizes = " x ".join(f"{size} {axis}" for axis, size in zip(series.axes, series.shape, strict=False))
    return f"{series.name or f'series {number + 1}'} ({sizes})"


def _outer_axes(series: TiffPageSeries, layout: PageLayout) -> tuple[str, tuple[int, ...]]:
    inner = len(layout.shape)
    if tuple(series.shape[-inner:]) != layout.shape:
        raise Unreadable(f"is laid out as {series.axes}, which cannot be read; save it as one page a slice")
    return series.axes[:-inner], tuple(series.shape[:-inner])


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """Numbers of the chosen planes, and what they were chosen from."""

    planes: NDArray[np.int64]
    notes: list[str]
    parts: list[Part]


def _choose_planes(
    path: Path, axes: str, outer: tuple[int, ...], channels: Sequence[str], options: OpenOptions
) -> _Planes:
    """Choose the axis of the slices and the places on all other axes."""
    sizes = {axis: size for axis, size in zip(axes, outer, strict=True) if size > 1}
    along = next((axis for axis in "ZIQ" if axis in sizes), None)
    notes = []
    if along is None:
        along = "T" if "T" in sizes else next(iter(sizes), None)
        word = {"T": "time points", "C": "channels"}.get(along or "", f"images along {along}")
        if along is None or sizes[along] < (5 if along == "C" else MIN_FRAMES):
            found = f"one slice in {sizes[along]} {word}" if along else "one slice"
            raise StackError(f"{path.name} holds {found}; depth from focus needs at least {MIN_FRAMES} slices.")
        notes.append(f"it has no z axis; its {sizes[along]} {word} are taken as slices")
    questions: list[Choice] = []
    parts: list[Part] = []
    place: list[int | slice] = []
    for axis, size in zip(axes, outer, strict=True):
        if axis == along and slice(None) not in place:
            place.append(slice(None))
        elif size == 1:
            place.append(0)
        else:
            name, label = _AXES.get(axis, ("series", "Position"))
            answer = {"channel": options.channel, "time": options.time, "series": options.series}[name]
            names = tuple(f"{label.lower()} {k + 1}" for k in range(size))
            if axis == "C" and len(channels) == size:
                names = unique(channels)
            chosen = picked(path.name, name, answer, names)
            if chosen is None:
                questions.append(Choice(name, label, names))
            else:
                parts.append(Part(name, label, names, chosen))
            place.append(chosen or 0)
    if questions:
        raise needed(path.name, questions)
    planes = np.arange(int(np.prod(outer, dtype=np.int64))).reshape(outer)[tuple(place)]
    return _Planes(np.atleast_1d(planes), notes, parts)


_AXES: Final[dict[str, tuple[PartName, str]]] = {"C": ("channel", "Channel"), "T": ("time", "Time point")}


def _page_ref(path: Path, page: Any) -> PlaneRef | None:
    if page is None:
        return None
    file = page.parent.filehandle
    return PlaneRef(path if file.path == system_path(path) else Path(file.path), int(page.offset))


def _series_refs(
    path: Path, tiff: TiffFile, series: TiffPageSeries, layout: PageLayout, count: int
) -> list[PlaneRef | None]:
    """Find the planes of a series: raw pixels one behind the other, or one page each."""
    bits = series.keyframe.bitspersample
    plain = layout.stored.itemsize * 8 == bits and layout.stored.kind != "b"
    # a series may lie as a whole in another file of the set, to which its offset then belongs
    elsewhere = series.keyframe.parent is not tiff
    start = None if series.is_multifile or elsewhere or not plain else series.dataoffset
    if start is not None:
        step = int(np.prod(layout.shape, dtype=np.int64)) * layout.stored.itemsize
        return [
            PlaneRef(path, start + k * step, raw=True, byteorder="<" if tiff.byteorder == "<" else ">")
            for k in range(count)
        ]
    if len(series) != count:
        raise Unreadable("has several slices in one page, which cannot be read; save it as one page a slice")
    return [_page_ref(path, series[k]) for k in range(count)]


def _ref_problem(tiff: TiffFile, ref: PlaneRef | None, layout: PageLayout) -> str | None:
    """Return what is known to be wrong with a plane before it is decoded."""
    if ref is None:
        return "is missing: the file says that it has it, but the page or the file it lies in is not there"
    try:
        if ref.raw:
            count = int(np.prod(layout.shape, dtype=np.int64)) * layout.stored.itemsize
            return None if ref.offset + count <= tiff.filehandle.size else "is cut short: the file ends before it does"
        if ref.path == Path(tiff.filehandle.path):
            tiff.filehandle.seek(ref.offset)
            _check_whole(TiffPage(tiff, 0), tiff.filehandle.size)
    except Unreadable as error:
        return str(error)
    except Exception:  # noqa: BLE001  tifffile may raise anything
        return "is damaged"
    return None


def _is_cut(tiff: TiffFile) -> bool:
    """Return whether the chain of pages leads beyond the end of the file.

    To be called before anything else is asked of tifffile, which would follow a chain that runs in a
    circle for minutes.

    Raises
    ------
    Unreadable
        If the chain runs in a circle, or is longer than any stack.
    """
    kind, file = tiff.tiff, tiff.filehandle
    file.seek(8 if kind.offsetsize == 8 else 4)
    seen: set[int] = set()
    while len(seen) < MAX_PAGES:
        link = file.read(kind.offsetsize)
        if len(link) < kind.offsetsize:
            return True
        place = int(struct.unpack(kind.offsetformat, link)[0])
        if place == 0:
            return False
        if place in seen:
            raise Unreadable("is damaged: its pages run in a circle")
        seen.add(place)
        file.seek(place)
        count = file.read(kind.tagnosize)
        if len(count) < kind.tagnosize:
            return True
        file.seek(place + kind.tagnosize + int(struct.unpack(kind.tagnoformat, count)[0]) * kind.tagsize)
    raise Unreadable(f"has more than {MAX_PAGES} pages")
