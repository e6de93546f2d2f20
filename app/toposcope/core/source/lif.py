"""Leica LIF (and LOF, XLEF), by liffile: images with their positions, channels, times and z."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    distinct,
    frame_dtype,
    positive,
    time_names,
    unique,
)
from toposcope.core.source.image_file import Unreadable, system_path
from toposcope.core.stack import Plane, Roi

_SPECTRAL: Final = ("C", "λ", "Λ")
"""Axes that are offered as channels; an image has one of them."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a scene is in the file: its image, the mosaic tile in it, and the axis of its channels."""

    image: Any
    tile: int | None
    spectral: str | None


class LifContainer:
    """An open LIF file; see `Container`."""

    origin = "LIF"

    def __init__(self, path: Path) -> None:
        import liffile

        self._path = path
        self._file: Any = liffile.LifFile(system_path(path))
        try:
            found = [one for image in self._file.images for one in _scenes(image)]
        except BaseException:
            self._file.close()
            raise
        names = unique([scene.name for scene, _ in found])
        self.scenes = tuple(replace(scene, name=name) for (scene, _), name in zip(found, names, strict=True))
        self._origins = [origin for _, origin in found]

    def positions_um(self, scene: int, channel: int, time: int) -> tuple[Sourced[Floats] | None, tuple[str, ...]]:
        heights = self._origins[scene].image.coords.get("Z")  # in metres
        if heights is None or len(heights) != self.scenes[scene].planes:
            return None, ()
        values = distinct([float(height) * 1e6 for height in heights])
        return (None if values is None else Sourced(values, "LIF z axis")), ()

    def read(self, place: Place, roi: Roi | None) -> Plane:
        origin, scene = self._origins[place.scene], self.scenes[place.scene]
        wanted = {"Z": place.z, "T": place.time}
        if origin.tile is not None:
            wanted["M"] = origin.tile
        if origin.spectral:
            wanted[origin.spectral] = place.channel
        frame = origin.image.frame(**{axis: k for axis, k in wanted.items() if axis in origin.image.sizes})
        channel = scene.channels[place.channel]
        if frame.shape[:2] != scene.shape or frame.ndim != (3 if channel.samples == 3 else 2):
            raise Unreadable("is stored in pieces, which cannot be read; export the stack as OME-TIFF")
        plane = frame[..., :3] if channel.samples == 3 else frame
        return np.asarray(plane if roi is None else plane[roi]).astype(channel.dtype)

    def file(self, place: Place) -> Path:
        return self._path

    def close(self) -> None:
        self._file.close()


def _scenes(image: Any) -> list[tuple[Scene, _Origin]]:
    """Return the scenes of an image: one, or one a tile of a mosaic; none for lines and lifetimes."""
    sizes = checked_sizes(image.sizes)
    if image.is_flim or "Y" not in sizes or "X" not in sizes or sizes.get("S", 1) not in (1, 3, 4):
        return []
    spectral = next((axis for axis in _SPECTRAL if sizes.get(axis, 1) > 1), None)
    other = [axis for axis, size in sizes.items() if axis not in ("Y", "X", "Z", "T", "M", "S", spectral) and size > 1]
    notes = tuple(f"of its {sizes[axis]} images along {axis} the first is taken" for axis in other)
    samples = 3 if sizes.get("S", 1) > 1 else 1
    dtype = frame_dtype(image.dtype)
    names = _channel_names(image.xml_element)
    count = sizes[spectral] if spectral else 1
    if len(names) != count:
        names = tuple(f"channel {k + 1}" for k in range(count))
    scene = Scene(
        str(image.path or image.name),
        (int(sizes["Y"]), int(sizes["X"])),
        int(sizes.get("Z", 1)),
        tuple(Channel(name, dtype, samples) for name in names),
        _times(image, int(sizes.get("T", 1))),
        _pixel(image),
        _objective(image.xml_element),
        notes,
    )
    if sizes.get("M", 1) == 1:
        return [(scene, _Origin(image, None, spectral))]
    return [
        (replace(scene, name=f"{scene.name}, position {m + 1}"), _Origin(image, m, spectral)) for m in range(sizes["M"])
    ]


def _channel_names(element: ElementTree.Element) -> tuple[str, ...]:
    """Return the names of colours that Leica gives channels by their lookup tables."""
    described = element.findall("./Data/Image/ImageDescription/Channels/ChannelDescription")
    return unique([one.get("LUTName") or f"channel {k + 1}" for k, one in enumerate(described)])


def _times(image: Any, count: int) -> tuple[str, ...]:
    seconds = image.coords.get("T")
    return time_names(count, None if seconds is None else [float(s - seconds[0]) for s in seconds])


def _pixel(image: Any) -> Sourced[float] | None:
    places = image.coords.get("X")  # in metres
    if places is None or len(places) < 2:
        return None
    size = positive(abs(float(places[1] - places[0])) * 1e6)
    return Sourced(size, "LIF x axis") if size else None


def _objective(element: ElementTree.Element) -> Sourced[Objective] | None:
    """Return the lens of the first hardware setting that names one."""
    for one in element.iter():
        if one.get("NumericalAperture"):
            found = Objective(
                " ".join((one.get("ObjectiveName") or "").split()),
                positive(one.get("Magnification")),
                positive(one.get("NumericalAperture")),
                positive(one.get("RefractionIndex")),
            )
            if found.text:
                return Sourced(found, "LIF hardware settings")
    return None
