"""Zeiss CZI, by pylibCZIrw: scenes, channels, times and z, tiles put together."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np

from toposcope.core.calibration import Floats, Objective, Sourced
from toposcope.core.source.container import (
    Channel,
    Place,
    Scene,
    checked_sizes,
    number,
    positive,
    safe_xml,
    stepped,
    time_names,
)
from toposcope.core.source.image_file import Unreadable, system_path
from toposcope.core.stack import Plane, Roi

_KINDS: Final[dict[str, tuple[type, int]]] = {
    "Gray8": (np.uint8, 1),
    "Gray16": (np.uint16, 1),
    "Gray32Float": (np.float32, 1),
    "Bgr24": (np.uint8, 3),
    "Bgr48": (np.uint16, 3),
    "Bgr96Float": (np.float32, 3),
}
# segments begin with their name, the bytes set aside for them and the bytes used
_SEGMENT: Final = struct.Struct("<16sqq")
_HEADER: Final = struct.Struct("<16sqqiiii16s16siqqiq")
_BEFORE_ENTRIES: Final = 128
_ENTRY: Final = struct.Struct("<2siqiiB5xi")
_AXIS: Final = struct.Struct("<4siifi")
_MOST_AXES: Final = 40
_OTHER_AXES: Final = {"V": "views", "H": "phases", "I": "illuminations", "R": "rotations"}


class CziContainer:
    """An open CZI file; see `Container`."""

    origin = "CZI"

    def __init__(self, path: Path) -> None:
        from pylibCZIrw import czi

        _check_structure(path)
        self._path = path
        self._reader: Any = czi.CziReader(system_path(path))
        box = self._reader.total_bounding_box
        rectangles = self._reader.scenes_bounding_rectangle
        self._rectangles = {int(k): rectangles[k] for k in sorted(rectangles)}
        self._whole = self._reader.total_bounding_rectangle
        self._facts = _Facts(self._reader.raw_metadata)
        sizes = checked_sizes({axis: stop - start for axis, (start, stop) in box.items() if axis not in "XY"})
        notes = tuple(
            f"of its {sizes[axis]} {word} the first is taken"
            for axis, word in _OTHER_AXES.items()
            if sizes.get(axis, 1) > 1
        )
        self._planes = sizes.get("Z", 1)
        pixel, other = self._facts.distance_um("X"), self._facts.distance_um("Y")
        if pixel and other and abs(pixel - other) > 0.01 * pixel:
            notes += (f"pixels are {pixel:g} um wide but {other:g} um high; the width is used",)
        names = self._facts.scene_names
        channels = tuple(self._channel(k) for k in range(sizes.get("C", 1)))
        times = self._facts.times(sizes.get("T", 1))
        self.scenes = tuple(
            Scene(
                names.get(k, f"scene {k + 1}") if self._rectangles else path.stem,
                (int(box.h), int(box.w)),
                self._planes,
                channels,
                times,
                Sourced(pixel, "CZI Scaling") if pixel else None,
                self._facts.objective,
                notes,
            )
            for k, box in (self._rectangles or {0: self._whole}).items()
        )
        self._keys = tuple(self._rectangles) or (None,)

    def _channel(self, k: int) -> Channel:
        kind = self._reader.get_channel_pixel_type(k)
        if kind not in _KINDS:
            raise Unreadable(f"holds pixels of the kind {kind}, which cannot be read; export the stack as OME-TIFF")
        dtype, samples = _KINDS[kind]
        name, emission = self._facts.channels.get(k, ("", None))
        return Channel(name or f"channel {k + 1}", np.dtype(dtype), samples, emission)

    def positions_um(self, scene: int, channel: int, time: int) -> tuple[Sourced[Floats] | None, tuple[str, ...]]:
        step = self._facts.distance_um("Z")
        listed = self._facts.z_positions(self._planes)
        if listed is None:
            return stepped(self._planes, step, "CZI Scaling"), ()
        if step and self._planes > 1:
            ratio = float(np.median(np.abs(np.diff(listed)))) / step
            if not 0.02 < ratio < 50:
                note = f"Z positions step {ratio:.3g} times as far as Scaling says: one of the two is wrong"
                return Sourced(listed, "CZI Z positions"), (note,)
        return Sourced(listed, "CZI Z positions"), ()

    def read(self, place: Place, roi: Roi | None) -> Plane:
        key = self._keys[place.scene]
        box = self._whole if key is None else self._rectangles[key]
        rows, columns = roi or (slice(0, box.h), slice(0, box.w))
        plane: Plane = self._reader.read(
            roi=(box.x + columns.start, box.y + rows.start, columns.stop - columns.start, rows.stop - rows.start),
            plane={"C": place.channel, "T": place.time, "Z": place.z},
            scene=key,
        )
        return plane[..., 0] if plane.shape[2] == 1 else plane[..., ::-1]

    def file(self, place: Place) -> Path:
        return self._path

    def close(self) -> None:
        self._reader.close()


def _check_structure(path: Path) -> None:
    """Refuse a file whose directory of tiles contradicts itself, before the library follows it.

    The library is native code, which a damaged directory can make crash with the whole program.

    Raises
    ------
    Unreadable
        If it is no CZI file, cut short or damaged.
    """
    with open(system_path(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(b"ZISRAWFILE\0"):
            raise Unreadable("is no CZI file, or is damaged")
        _, allocated, used, _, _, _, _, _, _, part, directory, metadata, *_ = _HEADER.unpack(header)
        if part != 0:
            raise Unreadable("is one part of several files; open the first")
        if not 0 <= used <= allocated <= size:
            raise Unreadable("is damaged: its header contradicts itself")
        for place, name in ((directory, b"ZISRAWDIRECTORY\0"), (metadata, b"ZISRAWMETADATA\0\0")):
            if not 0 < place <= size - _SEGMENT.size:
                raise Unreadable("is cut short or damaged: its directory is missing. Copy it again")
            file.seek(place)
            found, allocated, used = _SEGMENT.unpack(file.read(_SEGMENT.size))
            if found != name or not 0 <= used <= allocated or place + allocated > size:
                raise Unreadable("is cut short or damaged: its directory is missing. Copy it again")
        file.seek(directory + _SEGMENT.size)
        count = int(struct.unpack("<i", file.read(4))[0])
        file.seek(directory + _SEGMENT.size + _BEFORE_ENTRIES)
        if not 0 <= count * _ENTRY.size <= size:
            raise Unreadable("is damaged: its directory names more tiles than it can hold")
        entries = file.read(count * (_ENTRY.size + _MOST_AXES * _AXIS.size))
    place = 0
    for _ in range(count):
        if place + _ENTRY.size > len(entries):
            raise Unreadable("is damaged: its directory is too short")
        schema, _, tile, _, _, _, axes = _ENTRY.unpack_from(entries, place)
        if schema != b"DV" or not 0 < tile < size or not 0 < axes <= _MOST_AXES:
            raise Unreadable("is damaged: its directory names tiles that are not there")
        place += _ENTRY.size + axes * _AXIS.size


class _Facts:
    """What the metadata of a CZI tell; lengths of Scaling are in metres, Z positions in micrometres."""

    def __init__(self, text: str) -> None:
        root = safe_xml(text)
        metadata = root.find("Metadata")
        self._root = root if metadata is None else metadata
        self._image = self._find("Information/Image")
        self._axes = self._find("Information/Image/Dimensions")

    def _find(self, path: str) -> ElementTree.Element:
        found = self._root.find(path)
        return ElementTree.Element("none") if found is None else found

    def distance_um(self, axis: str) -> float | None:
        for item in self._root.iterfind("Scaling/Items/Distance"):
            if item.get("Id") == axis:
                metres = positive(item.findtext("Value"))
                return None if metres is None else metres * 1e6
        return None

    @property
    def scene_names(self) -> dict[int, str]:
        scenes = self._axes.iterfind("S/Scenes/Scene")
        return {int(number(one.get("Index")) or 0): str(one.get("Name")) for one in scenes if one.get("Name")}

    @property
    def channels(self) -> dict[int, tuple[str, float | None]]:
        """Name and emission wavelength in nanometres, by number."""
        found = enumerate(self._axes.iterfind("Channels/Channel"))
        return {k: (one.get("Name") or "", positive(one.findtext("EmissionWavelength"))) for k, one in found}

    def times(self, count: int) -> tuple[str, ...]:
        return time_names(count, [number(word) for word in self._axes.findtext("T/Positions/List/Offsets", "").split()])

    def z_positions(self, count: int) -> Floats | None:
        """Return (count,) heights in micrometres if they are told one by one or as an interval."""
        start = number(self._axes.findtext("Z/StartPosition")) or 0.0
        offsets = [number(word) for word in (self._axes.findtext("Z/Positions/List/Offsets") or "").split()]
        known = [offset for offset in offsets if offset is not None]
        if count > 1 and len(known) == count == len(set(known)):
            return np.array(known, np.float64) + start
        step = number(self._axes.findtext("Z/Positions/Interval/Increment"))
        if step and count > 1:
            return (number(self._axes.findtext("Z/Positions/Interval/Start")) or 0.0) + np.arange(
                count, dtype=np.float64
            ) * step
        return None

    @property
    def objective(self) -> Sourced[Objective] | None:
        reference = self._image.find("ObjectiveSettings/ObjectiveRef")
        wanted = None if reference is None else reference.get("Id")
        lenses = self._root.findall("Information/Instrument/Objectives/Objective")
        lens = next((one for one in lenses if one.get("Id") == wanted), lenses[0] if len(lenses) == 1 else None)
        if lens is None:
            return None
        found = Objective(
            lens.get("Name") or lens.findtext("Manufacturer/Model") or "",
            positive(lens.findtext("NominalMagnification")),
            positive(lens.findtext("LensNA")),
            positive(self._image.findtext("ObjectiveSettings/RefractiveIndex"))
            or positive(lens.findtext("ImmersionRefractiveIndex")),
        )
        return Sourced(found, "CZI ObjectiveSettings") if found.text else None
