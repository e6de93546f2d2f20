"""Olympus OIF and OIB, by oiffile: a TIFF a plane, and text that says what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from tifffile import TiffFile

from toposcope.core.calibration import Floats, Objective, Sourced
from toposcope.core.source.container import Channel, Place, Scene, distinct, number, positive, stepped, time_names
from toposcope.core.source.image_file import Unreadable, system_path
from toposcope.core.source.options import length_unit
from toposcope.core.source.tiff import page_layout
from toposcope.core.stack import Plane, Roi

_NAME: Final = re.compile(r"(?:^|[\\/])s_((?:[CZTL]\d+)+)\.tif$", re.IGNORECASE)
_AXIS: Final = re.compile(r"([CZTL])(\d+)", re.IGNORECASE)
_UNSET: Final = 9999.0
"""What the microscope writes where no aperture is known."""


class OifContainer:
    """An open OIF or OIB; see `Container`."""

    origin = "OIF"

    def __init__(self, path: Path) -> None:
        import oiffile

        self._path = path
        self._file: Any = oiffile.OifFile(system_path(path))
        try:
            self._read_facts()
        except BaseException:
            self._file.close()
            raise

    def _read_facts(self) -> None:
        self._planes: dict[tuple[int, int, int], str] = {}
        for name in self._file.glob("*"):
            match = _NAME.search(name)
            if match:
                axes = {axis.upper(): int(digits) - 1 for axis, digits in _AXIS.findall(match[1])}
                # lambda scans have no z of their own: each wavelength is offered as a channel
                self._planes[axes.get("C", axes.get("L", 0)), axes.get("T", 0), axes.get("Z", 0)] = name
        if not self._planes:
            raise Unreadable("holds no images")
        count = [1 + max(key[k] for key in self._planes) for k in range(3)]
        with self._opened(self._planes[min(self._planes)]) as tiff:
            self._layout = page_layout(tiff.pages.first, ignore_palette=True)
        settings = self._file.mainfile
        channels = tuple(
            Channel(
                str(
                    settings.get(f"Channel {k + 1} Parameters", {}).get("DyeName")
                    or settings.get(f"Channel {k + 1} Parameters", {}).get("CH Name")
                    or f"channel {k + 1}"
                ),
                self._layout.dtype,
                self._layout.channels,
                positive(settings.get(f"Channel {k + 1} Parameters", {}).get("EmissionWavelength")),
            )
            for k in range(count[0])
        )
        self.scenes = (
            Scene(
                self._path.stem,
                self._layout.upright_size,
                count[2],
                channels,
                time_names(count[1]),
                self._pixel(settings.get("Reference Image Parameter", {})),
                self._objective(self._of_plane(self._planes[min(self._planes)])),
            ),
        )

    def _pixel(self, reference: Any) -> Sourced[float] | None:
        size = positive(reference.get("WidthConvertValue"))
        unit = length_unit(str(reference.get("WidthUnit", "")))
        return Sourced(size * unit[0], "OIF WidthConvertValue") if size and unit and unit[1] == "um" else None

    def _objective(self, settings: Any) -> Sourced[Objective] | None:
        told = {**self._file.mainfile.get("Acquisition Parameters Common", {})}
        told |= settings.get("Acquisition Parameters Common", {})
        na = positive(told.get("ObjectiveLens NAValue"))
        found = Objective(
            " ".join(str(told.get("ObjectiveLens Name", "")).split()),
            positive(told.get("Magnification")),
            na if na != _UNSET else None,
        )
        return Sourced(found, "OIF acquisition parameters") if found.text else None

    def _of_plane(self, name: str) -> Any:
        """Return the settings of one plane, empty where its file is missing."""
        import oiffile

        try:
            text = self._file.open_file(re.sub(r"\.tif$", ".pty", name, flags=re.IGNORECASE))
            return oiffile.SettingsFile(text, name)
        except Exception:  # noqa: BLE001  a library may raise anything; the settings are a courtesy
            return {}

    def positions_um(self, scene: int, channel: int, time: int) -> tuple[Sourced[Floats] | None, tuple[str, ...]]:
        n = self.scenes[scene].planes
        axis: Any = {}
        for k in range(8):
            settings = self._file.mainfile.get(f"Axis {k} Parameters Common", {})
            if str(settings.get("AxisCode", "")).upper() == "Z":
                axis = {**settings, "number": k}
        if n < 2 or not axis:
            return None, ()
        unit = length_unit(str(axis.get("PixUnit") or axis.get("UnitName") or ""))
        factor = unit[0] if unit and unit[1] == "um" else 1e-3  # the microscope counts in nanometres
        names = [self._planes.get((channel, time, z)) for z in range(n)]
        of_planes = [{} if name is None else self._of_plane(name) for name in names]
        section = f"Axis {axis['number']} Parameters"
        heights = distinct([number(settings.get(section, {}).get("AbsPositionValue")) for settings in of_planes])
        if heights is not None:
            return Sourced(heights * factor, "OIF AbsPositionValue"), ()
        step = number(axis.get("Interval"))
        if not step:
            first, last = number(axis.get("StartPosition")), number(axis.get("EndPosition"))
            step = None if first is None or last is None else (last - first) / (n - 1)
        return stepped(n, step and step * factor, "OIF z axis"), ()

    @contextmanager
    def _opened(self, name: str) -> Iterator[TiffFile]:
        with self._file.open_file(name) as file, TiffFile(file, name=name) as tiff:
            yield tiff

    def read(self, place: Place, roi: Roi | None) -> Plane:
        name = self._planes.get((place.channel, place.time, place.z))
        if name is None:
            raise Unreadable("is missing: no image of it is there")
        with self._opened(name) as tiff:
            raw = np.asarray(tiff.pages.first.asarray(maxworkers=1))
            if raw.size != np.prod(self._layout.shape, dtype=np.int64):
                raise Unreadable("has another size than the others")
            plane = self._layout.frame(raw.reshape(self._layout.shape).astype(self._layout.stored))
        return plane if roi is None else plane[roi]

    def file(self, place: Place) -> Path:
        return self._path

    def close(self) -> None:
        self._file.close()
