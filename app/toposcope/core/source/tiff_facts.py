"""What a TIFF says of its calibration: OME-XML, Micro-Manager's and ImageJ's notes, resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage, xml2dict

from toposcope.core.calibration import MICROMETRES, Floats, Sourced
from toposcope.core.source.options import length_unit

_MICRO_MANAGER = 51123


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """Calibration found in a file."""

    positions_um: Sourced[Floats] | None = None
    pixel_um: Sourced[float] | None = None
    origin: str = "TIFF"
    notes: tuple[str, ...] = ()


def find_facts(tiff: TiffFile, index: int, axes: str, outer: tuple[int, ...], picked: NDArray[np.int64]) -> TiffFacts:
    """Return the calibration of the picked planes, from the first of OME, Micro-Manager and ImageJ."""
    places = dict(zip(axes, np.unravel_index(picked, outer), strict=True)) if axes else {}
    z = places.get("Z")
    pixels = ome_pixels(tiff, index)
    if pixels:
        return _ome_facts(pixels, places, len(picked))
    if tiff.is_micromanager:
        facts = _micro_manager_facts(tiff, picked)
        if facts:
            return facts
    if tiff.is_imagej:
        return _imagej_facts(tiff, np.arange(len(picked)) if z is None else z)
    return TiffFacts(pixel_um=_resolution_um(tiff, None))


def ome_pixels(tiff: TiffFile, index: int) -> Mapping[str, Any]:
    """Return the Pixels element of an image of OME-XML as a dictionary, empty where there is none."""
    if not tiff.is_ome:
        return {}
    try:
        images = as_list(xml2dict(tiff.ome_metadata or "")["OME"]["Image"])
        pixels = images[index if index < len(images) else 0]["Pixels"]
    except Exception:  # noqa: BLE001  xml2dict may raise anything; metadata that cannot be read count as none
        return {}
    return pixels if isinstance(pixels, dict) else {}


def _ome_facts(pixels: Mapping[str, Any], places: Mapping[str, NDArray[np.int64]], count: int) -> TiffFacts:
    notes: list[str] = []
    step = _ome_um(pixels, "PhysicalSizeZ")
    found = {}
    for plane in as_list(pixels.get("Plane")):
        position = _ome_um(plane, "PositionZ") if isinstance(plane, dict) else None
        if position is not None:
            found[tuple(plane.get(key, 0) for key in ("TheZ", "TheC", "TheT"))] = position
    zero = np.zeros(count, np.int64)
    wanted = [tuple(int(v) for v in row) for row in zip(*(places.get(axis, zero) for axis in "ZCT"), strict=True)]
    positions: Sourced[Floats] | None = None
    if found and all(key in found for key in wanted):
        values = np.array([found[key].value for key in wanted])
        if len(np.unique(values)) == count:
            guessed = any(found[key].guessed for key in wanted)
            positions = Sourced(values, "OME PositionZ" + (" (unit not stated)" if guessed else ""), guessed)
            if step and count > 1:
                ratio = float(np.median(np.abs(np.diff(values)))) / step.value
                if not 0.02 < ratio < 50:
                    notes.append(
                        f"PositionZ steps are {ratio:.3g} times PhysicalSizeZ: one of the two is wrong. "
                        "PositionZ is used; give a z step if that is the wrong one"
                    )
        elif count > 1:
            notes.append("PositionZ repeats and is not used")
    if positions is None and step and "Z" in places and count > 1:
        positions = Sourced(places["Z"].astype(np.float64) * step.value, step.origin, step.guessed)
    across, down = _ome_um(pixels, "PhysicalSizeX"), _ome_um(pixels, "PhysicalSizeY")
    if across and down and abs(across.value - down.value) > 0.01 * across.value:
        notes.append(f"pixels are {across.value:g} um wide but {down.value:g} um high; the width is used")
    return TiffFacts(positions, across, "OME-TIFF", tuple(notes))


def _ome_um(element: Mapping[str, Any], key: str) -> Sourced[float] | None:
    """Return a length of OME-XML in micrometres; sizes must be above 0.

    The schema's own unit is micrometres for sizes, but "reference frame" for positions, which says
    nothing: micrometres are then a guess.
    """
    value = as_number(element.get(key))
    if value is None or (key.startswith("PhysicalSize") and value <= 0):
        return None
    name = str(element.get(key + "Unit") or "")
    factor = _um_per(name)
    if factor is None:
        is_default = not name and key.startswith("PhysicalSize")
        return Sourced(value, f"OME {key}" + ("" if is_default else " (unit not stated)"), guessed=not is_default)
    return Sourced(value * factor, f"OME {key}")


def _um_per(unit: str) -> float | None:
    found = length_unit(unit)
    if found:
        return found[0] * MICROMETRES[found[1]]
    return {"å": 1e-4, "pm": 1e-6, "in": 25400.0, "inch": 25400.0}.get(unit.strip().lower())


def _micro_manager_facts(tiff: TiffFile, picked: NDArray[np.int64]) -> TiffFacts | None:
    pages = []
    for k in picked:
        if k >= len(tiff.pages):
            return None
        tiff.filehandle.seek(tiff.pages[int(k)].offset)
        tag = TiffPage(tiff, 0).tags.valueof(_MICRO_MANAGER)
        pages.append(tag if isinstance(tag, dict) else {})
    heights = [as_number(page.get("ZPositionUm")) for page in pages]
    pixel = as_number(pages[0].get("PixelSizeUm")) if pages else None
    known = [height for height in heights if height is not None]
    positions = None
    if len(known) == len(picked) and len(set(known)) == len(known):
        positions = Sourced(np.array(known), "Micro-Manager ZPositionUm")
    size = Sourced(pixel, "Micro-Manager PixelSizeUm") if pixel and pixel > 0 else None
    return TiffFacts(positions, size, "Micro-Manager TIFF") if positions is not None or size else None


def _imagej_facts(tiff: TiffFile, z: NDArray[np.int64]) -> TiffFacts:
    metadata = tiff.imagej_metadata or {}
    unit = str(metadata.get("unit") or "")
    z_factor = _um_per(str(metadata.get("zunit") or unit))
    spacing = as_number(metadata.get("spacing"))
    positions: Sourced[Floats] | None = None
    notes: tuple[str, ...] = ()
    if spacing and len(z) > 1:
        if z_factor:
            positions = Sourced(np.asarray(z * spacing * z_factor, dtype=np.float64), "ImageJ spacing")
        else:
            notes = (f"ImageJ spacing {spacing:g} has no unit of length and is not used; give a z step",)
    return TiffFacts(positions, _resolution_um(tiff, unit), "ImageJ TIFF", notes)


def _resolution_um(tiff: TiffFile, unit: str | None) -> Sourced[float] | None:
    """Return the pixel size from XResolution: in ImageJ's ``unit``, or in the page's own unit.

    A page's own unit is inch or centimetre, mostly for printing; only what is finer than a printer
    or scanner makes (below 5 um) is taken for the size of a pixel on the object, as a guess.
    """
    page = tiff.pages.first
    ratio = page.tags.valueof(282)
    try:
        per_unit = ratio[0] / ratio[1]
        size = 1 / per_unit
    except (TypeError, ValueError, ZeroDivisionError, IndexError, OverflowError):
        return None
    if not np.isfinite(size) or size <= 0:
        return None
    if unit is not None:
        factor = _um_per(unit)
        return Sourced(size * factor, "ImageJ pixel size") if factor else None
    size *= {2: 25400.0, 3: 1e4}.get(int(page.resolutionunit or 0), np.inf)
    return Sourced(size, "TIFF resolution", guessed=True) if size < 5 else None


def as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if np.isfinite(number) else None


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
