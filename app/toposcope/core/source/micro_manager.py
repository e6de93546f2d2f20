"""Data sets of Micro-Manager: NDTiff, and folders of single images with ``metadata.txt``.

Its image stacks (``*_MMStack*.ome.tif``) are OME-TIFF and are read as such. Nothing stays open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from tifffile import TiffFile, read_ndtiff_index

from toposcope.core.calibration import Floats, Sourced
from toposcope.core.source.container import Channel, Place, Scene, distinct, number, positive, stepped, time_names
from toposcope.core.source.image_file import ImageHeader, Unreadable, system_path
from toposcope.core.source.tiff import PageLayout, PlaneRef, read_plane, read_tiff_frame, read_tiff_header
from toposcope.core.stack import Plane, Roi

INDEX_NAME: Final = "NDTiff.index"
METADATA_NAME: Final = "metadata.txt"
MAX_METADATA: Final = 1 << 30
_PIXELS: Final[dict[int, tuple[type, int]]] = {
    0: (np.uint8, 1),
    1: (np.uint16, 1),
    2: (np.uint8, 3),
    3: (np.uint16, 1),
    4: (np.uint16, 1),
    5: (np.uint16, 1),
    6: (np.uint16, 1),
}
_Key = tuple[str, str, int, int]  # position, channel, time, z


@dataclass(frozen=True, slots=True)
class _Shot:
    """One image of a data set: where it is, how to read it, and a function that tells its metadata."""

    file: Path
    read: Callable[[], Plane]
    facts: Callable[[], Mapping[str, Any]]


class ShotsContainer:
    """A data set of single shots, by position, channel, time and z; see `Container`."""

    def __init__(
        self,
        origin: str,
        name: str,
        shots: Mapping[_Key, _Shot],
        shape: tuple[int, int],
        channel: Callable[[str], Channel],
        summary: Mapping[str, Any],
    ) -> None:
        self.origin = origin
        self._shots = shots
        self._summary = summary
        positions = list(dict.fromkeys(key[0] for key in shots))
        self._channels = list(dict.fromkeys(key[1] for key in shots))
        self._times = sorted({key[2] for key in shots})
        self._z = sorted({key[3] for key in shots})
        self._positions = positions
        pixel = self._pixel(next(iter(shots.values())))
        self.scenes = tuple(
            Scene(
                position or name,
                shape,
                len(self._z),
                tuple(channel(one) for one in self._channels),
                time_names(len(self._times)),
                Sourced(pixel, f"{origin} PixelSizeUm") if pixel else None,
            )
            for position in positions
        )

    def _pixel(self, shot: _Shot) -> float | None:
        told = shot.facts()
        return positive(told.get("PixelSizeUm")) or positive(
            self._summary.get("PixelSize_um", self._summary.get("PixelSizeUm"))
        )

    def _shot(self, place: Place) -> _Shot | None:
        key = self._positions[place.scene], self._channels[place.channel], self._times[place.time], self._z[place.z]
        return self._shots.get(key)

    def positions_um(self, scene: int, channel: int, time: int) -> tuple[Sourced[Floats] | None, tuple[str, ...]]:
        shots = [self._shot(Place(scene, channel, time, z)) for z in range(len(self._z))]
        told = [{} if shot is None else shot.facts() for shot in shots]
        for key in ("ZPositionUm", "ZPosition_um_Intended"):
            heights = distinct([number(one.get(key)) for one in told])
            if heights is not None and len(heights) > 1:
                return Sourced(heights, f"{self.origin} {key}"), ()
        step = number(self._summary.get("z-step_um"))
        steps = stepped(len(self._z), step, f"{self.origin} z-step_um")
        return (None if steps is None else Sourced(np.array(self._z) * float(step or 0), steps.origin)), ()

    def read(self, place: Place, roi: Roi | None) -> Plane:
        shot = self._shot(place)
        if shot is None:
            raise Unreadable("is missing: the acquisition was stopped before it was taken")
        plane = shot.read()
        return plane if roi is None else plane[roi]

    def file(self, place: Place) -> Path:
        shot = self._shot(place) or next(iter(self._shots.values()))
        return shot.file

    def close(self) -> None:
        """Nothing is open."""


def ndtiff_folder(path: Path) -> Path | None:
    """Return the folder of the NDTiff data set that ``path`` is, or is a TIFF of; None if it is none."""
    folder = path if os.path.isdir(system_path(path)) else path.parent
    if folder != path and path.suffix.lower() not in (".tif", ".tiff", ".index"):
        return None
    candidates = [folder, folder / "Full resolution"] if folder == path else [folder]
    return next((one for one in candidates if os.path.isfile(system_path(one / INDEX_NAME))), None)


def open_ndtiff(folder: Path) -> ShotsContainer:
    """Open an NDTiff data set by its index.

    Raises
    ------
    Unreadable
        If the index is damaged, or images differ or are compressed.
    """
    shots: dict[_Key, _Shot] = {}
    kinds: dict[str, tuple[type, int]] = {}
    shape: tuple[int, int] | None = None
    orders: dict[str, Any] = {}
    summary: Mapping[str, Any] = {}
    for axes, name, offset, width, height, pixel, packing, start, length, told_packing in read_ndtiff_index(
        system_path(folder / INDEX_NAME)
    ):
        if packing or pixel not in _PIXELS:
            raise Unreadable("holds compressed images, or pixels of an unknown kind; export it as OME-TIFF")
        if shape not in (None, (height, width)):
            raise Unreadable("holds images of different sizes; export it as OME-TIFF")
        shape = height, width
        path = folder / Path(name).name
        if name not in orders:
            orders[name], more = _byteorder_and_summary(path)
            summary = summary or more
        key = _ndtiff_key(axes)
        dtype, samples = _PIXELS[pixel]
        if kinds.setdefault(key[1], (dtype, samples)) != (dtype, samples):
            raise Unreadable("holds images of different kinds in a channel; export it as OME-TIFF")
        layout = PageLayout(
            (height, width) if samples == 1 else (height, width, 3), "YX" if samples == 1 else "YXS", np.dtype(dtype)
        )
        ref = PlaneRef(path, offset, raw=True, byteorder=orders[name])
        shots[key] = _Shot(path, _plane_reader(ref, layout), _json_reader(path, start, 0 if told_packing else length))
    if not shots or shape is None:
        raise Unreadable("has an index that names no images, or is damaged")
    return ShotsContainer(
        "NDTiff",
        folder.name if folder.name != "Full resolution" else folder.parent.name,
        shots,
        shape,
        lambda name: Channel(name or "channel 1", np.dtype(kinds[name][0]), kinds[name][1]),
        summary,
    )


def _ndtiff_key(axes: Mapping[str, Any]) -> _Key:
    """Return position, channel, time and z; axes that we do not know are part of the position."""
    known = ("channel", "time", "z")
    places = [
        str(value) if axis == "position" and isinstance(value, str) else f"{axis} {value}"
        for axis, value in sorted(axes.items())
        if axis not in known
    ]
    channel = axes.get("channel", "")
    name = channel if isinstance(channel, str) else f"channel {channel + 1}"
    return ", ".join(places), name, _whole(axes.get("time", 0)), _whole(axes.get("z", 0))


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise Unreadable("has an index with times or z that are no numbers, which cannot be read")
    return value


def _byteorder_and_summary(path: Path) -> tuple[str, Mapping[str, Any]]:
    try:
        with TiffFile(system_path(path)) as tiff:
            told = tiff.micromanager_metadata or {}
            summary = told.get("Summary")
            return ("<" if tiff.byteorder == "<" else ">"), summary if isinstance(summary, dict) else {}
    except OSError as error:
        raise Unreadable(f"lacks the file {path.name}; copy the whole folder again") from error
    except Exception as error:  # tifffile may raise anything
        raise Unreadable(f"has a damaged file {path.name}; copy the whole folder again") from error


def _plane_reader(ref: PlaneRef, layout: PageLayout) -> Callable[[], Plane]:
    return lambda: read_plane(ref, layout)


def _json_reader(path: Path, start: int, length: int) -> Callable[[], Mapping[str, Any]]:
    def read() -> Mapping[str, Any]:
        try:
            with open(system_path(path), "rb") as file:
                file.seek(start)
                told = json.loads(file.read(min(length, 1 << 24)))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    return read


def image_folders(path: Path) -> tuple[Path, ...]:
    """Return the folders with ``metadata.txt`` that ``path`` is or holds: one a position."""
    if path.name.lower() == METADATA_NAME:
        path = path.parent
    if not os.path.isdir(system_path(path)):
        return ()
    if _has_images(path):
        return (path,)
    try:
        inner = sorted(one for one in path.iterdir() if one.is_dir() and _has_images(one))
    except OSError:
        return ()
    return tuple(inner)


def _has_images(folder: Path) -> bool:
    """Whether metadata lie beside single images, not beside a TIFF that holds all of them."""
    try:
        return os.path.isfile(system_path(folder / METADATA_NAME)) and any(
            one.name.lower().startswith("img_") and one.suffix.lower() in (".tif", ".tiff") for one in folder.iterdir()
        )
    except OSError:
        return False


def open_images(folders: tuple[Path, ...]) -> ShotsContainer:
    """Open a data set of single images, of Micro-Manager 1.4 or 2.

    Raises
    ------
    Unreadable
        If the metadata are damaged or name no images that are there.
    """
    shots: dict[_Key, _Shot] = {}
    headers: dict[str, ImageHeader] = {}
    summary: Mapping[str, Any] = {}
    for folder in folders:
        told = _metadata(folder / METADATA_NAME)
        summary = summary or told.get("Summary") or {}
        for key, facts in told.items():
            if not isinstance(facts, dict) or not key.startswith(("FrameKey-", "Metadata-")):
                continue
            name, file = key.partition("-")[2].replace("\\", "/").split("/")[-1], facts.get("FileName")
            path = folder / Path(str(file or name).replace("\\", "/")).name
            if not os.path.isfile(system_path(path)):
                continue
            axes = told.get(f"Coords-{key.partition('-')[2]}")
            place = _place(key, facts, axes if isinstance(axes, dict) else {}, summary, folder, len(folders) > 1)
            if place[1] not in headers:
                headers[place[1]] = read_tiff_header(path)
            shots[place] = _Shot(path, _file_reader(path), _constant(facts))
    if not shots:
        raise Unreadable(f"has a {METADATA_NAME} that names no image that is there")
    shape = next(iter(headers.values())).shape
    return ShotsContainer(
        "Micro-Manager",
        folders[0].parent.name if len(folders) > 1 else folders[0].name,
        dict(sorted(shots.items(), key=lambda one: (one[0][0], one[0][2], one[0][3]))),
        shape,
        lambda name: Channel(name, headers[name].dtype, headers[name].channels),
        summary,
    )


def _place(
    key: str, facts: Mapping[str, Any], axes: Mapping[str, Any], summary: Mapping[str, Any], folder: Path, many: bool
) -> _Key:
    """Return position, channel, time and z of an image by its key, coordinates or own metadata."""
    numbers = [int(part) for part in key.split("-")[1:] if part.isdecimal()] if key.startswith("FrameKey-") else []
    time, channel, z = numbers if len(numbers) == 3 else (0, 0, 0)
    time = int(number(axes.get("time", axes.get("Frame", facts.get("FrameIndex")))) or time)
    z = int(number(axes.get("z", axes.get("Slice", facts.get("SliceIndex")))) or z)
    channel = int(number(axes.get("channel", axes.get("Channel", facts.get("ChannelIndex")))) or channel)
    names = summary.get("ChNames")
    name = str(facts.get("Channel") or "")
    if not name or name.isdecimal():
        name = str(names[channel]) if isinstance(names, list) and channel < len(names) else f"channel {channel + 1}"
    stage = number(axes.get("position", axes.get("Position", facts.get("PositionIndex"))))
    position = (
        folder.name if many else str(facts.get("PositionName") or (f"position {int(stage) + 1}" if stage else ""))
    )
    return position, name, time, z


def _file_reader(path: Path) -> Callable[[], Plane]:
    return lambda: read_tiff_frame(path, upright=False)


def _constant(facts: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    return lambda: facts


def _metadata(path: Path) -> dict[str, Any]:
    """Read ``metadata.txt``; an acquisition that was stopped leaves it without its last brace."""
    try:
        if os.path.getsize(system_path(path)) > MAX_METADATA:
            raise Unreadable(f"has a {METADATA_NAME} too large to read")
        with open(system_path(path), encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise Unreadable(f"has a {METADATA_NAME} that cannot be read: {error.strerror or error}") from error
    for candidate in (text, text.rstrip().rstrip(",") + "}", text[: text.rfind("},") + 1] + "}"):
        try:
            told = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(told, dict):
            return told
    raise Unreadable(f"has a damaged {METADATA_NAME}")
