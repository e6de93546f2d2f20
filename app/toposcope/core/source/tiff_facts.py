"""What a TIFF says of its calibration: OME-XML, Micro-Manager's and ImageJ's notes, resolution."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage, xml2dict

from toposcope.core.calibration import MICROMETRES, Floats, Objective, Side, Sourced
from toposcope.core.source.options import length_unit

CAPTURE_NAMESPACE: Final = "toposcope/capture"
"""Of the notes in OME-XML that captures write."""
NEAR_KEY: Final = "near"
_MICRO_MANAGER = 51123


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """Calibration found in a file."""

    positions_um: Sourced[Floats] | None = None
    pixel_um: Sourced[float] | None = None
    origin: str = "TIFF"
    notes: tuple[str, ...] = ()
    objective: Sourced[Objective] | None = None
    near: Sourced[Side] | None = None


def find_facts(tiff: TiffFile, index: int, axes: str, outer: tuple[int, ...], picked: NDArray[np.int64]) -> TiffFacts:
    """Return the calibration of the picked planes, from OME, Micro-Manager, ImageJ or a maker's own notes."""
    places = dict(zip(axes, np.unravel_index(picked, outer), strict=True)) if axes else {}
    z = places.get("Z")
    pixels = ome_pixels(tiff, index)
    if pixels:
        said = _ome_facts(pixels, places, len(picked))
        return replace(said, objective=_ome_objective(tiff, index), near=_ome_near(tiff, index))
    if tiff.is_micromanager:
        facts = _micro_manager_facts(tiff, picked)
        if facts:
            return facts
    if tiff.is_imagej:
        return _imagej_facts(tiff, np.arange(len(picked)) if z is None else z)
    for is_maker, facts_of in (
        (tiff.is_lsm, _lsm_facts),
        (tiff.is_stk, _stk_facts),
        (tiff.is_fluoview, _fluoview_facts),
        (tiff.is_sis, _sis_facts),
    ):
        if is_maker:
            with suppress(Exception):  # tifffile may raise anything; metadata that cannot be read count as none
                return facts_of(tiff, picked if z is None else z)
    return TiffFacts(pixel_um=_resolution_um(tiff, None))


def ome_pixels(tiff: TiffFile, index: int) -> Mapping[str, Any]:
    """Return the Pixels element of an image of OME-XML as a dictionary, empty where there is none."""
    image, _ = _ome_image(tiff, index)
    pixels = image.get("Pixels")
    return pixels if isinstance(pixels, dict) else {}


def _ome_image(tiff: TiffFile, index: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return an Image element of OME-XML and the root that it is in, empty where there is none."""
    if not tiff.is_ome:
        return {}, {}
    try:
        root = xml2dict(tiff.ome_metadata or "")["OME"]
        images = as_list(root["Image"])
        image = images[index if index < len(images) else 0]
    except Exception:  # noqa: BLE001  xml2dict may raise anything; metadata that cannot be read count as none
        return {}, {}
    return (image, root) if isinstance(image, dict) and isinstance(root, dict) else ({}, {})


def channel_labels(tiff: TiffFile, index: int) -> tuple[str, ...]:
    """Return what users call the channels of an image of OME-XML: names and wavelengths, empty without such."""
    labels = []
    for k, channel in enumerate(as_list(ome_pixels(tiff, index).get("Channel"))):
        if not isinstance(channel, dict):
            return ()
        name = str(channel.get("Name") or f"channel {k + 1}")
        wave = as_number(channel.get("EmissionWavelength"))
        labels.append(f"{name} ({wave:g} nm)" if wave and f"{wave:g}" not in name else name)
    return tuple(labels)


def _ome_near(tiff: TiffFile, index: int) -> Sourced[Side] | None:
    """Return the near side that a capture of ours noted, None where there is no such note."""
    image, root = _ome_image(tiff, index)
    references = {one.get("ID") for one in as_list(image.get("AnnotationRef")) if isinstance(one, dict)}
    annotations = root.get("StructuredAnnotations")
    for note in as_list(annotations.get("MapAnnotation") if isinstance(annotations, dict) else None):
        if not isinstance(note, dict) or note.get("Namespace") != CAPTURE_NAMESPACE or note.get("ID") not in references:
            continue
        value = note.get("Value")
        for entry in as_list(value.get("M") if isinstance(value, dict) else None):
            if isinstance(entry, dict) and entry.get("K") == NEAR_KEY:
                said = str(entry.get("value") or "").strip()
                return next((Sourced(side, "OME note of the capture") for side in get_args(Side) if side == said), None)
    return None


def _ome_objective(tiff: TiffFile, index: int) -> Sourced[Objective] | None:
    """Return the objective that an image of OME-XML refers to, or the only one that there is."""
    image, root = _ome_image(tiff, index)
    lenses = [
        lens
        for instrument in as_list(root.get("Instrument"))
        if isinstance(instrument, dict)
        for lens in as_list(instrument.get("Objective"))
        if isinstance(lens, dict)
    ]
    settings = image.get("ObjectiveSettings")
    settings = settings if isinstance(settings, dict) else {}
    lens = next((one for one in lenses if one.get("ID") == settings.get("ID")), None)
    if lens is None:
        if len(lenses) != 1 or settings:
            return None
        lens = lenses[0]
    found = Objective(
        str(lens.get("Model") or ""),
        _above_zero(lens.get("NominalMagnification")) or _above_zero(lens.get("CalibratedMagnification")),
        _above_zero(lens.get("LensNA")),
        _above_zero(settings.get("RefractiveIndex")),
    )
    return Sourced(found, "OME Objective") if found.text else None


def _above_zero(value: Any) -> float | None:
    number = as_number(value)
    return number if number is not None and number > 0 else None


def _lsm_facts(tiff: TiffFile, z: NDArray[np.int64]) -> TiffFacts:
    """Return what a Zeiss LSM tells: voxel sizes in metres."""
    metadata = tiff.lsm_metadata or {}
    step, pixel = _above_zero(metadata.get("VoxelSizeZ")), _above_zero(metadata.get("VoxelSizeX"))
    scan = metadata.get("ScanInformation")
    scan = scan if isinstance(scan, dict) else {}
    lens = Objective(" ".join(str(scan.get("Objective") or "").split()))
    return TiffFacts(
        Sourced(np.asarray(z * step * 1e6, np.float64), "LSM VoxelSizeZ") if step and len(z) > 1 else None,
        Sourced(pixel * 1e6, "LSM VoxelSizeX") if pixel else None,
        "Zeiss LSM",
        objective=Sourced(lens, "LSM ScanInformation") if lens.text else None,
    )


def _stk_facts(tiff: TiffFile, z: NDArray[np.int64]) -> TiffFacts:
    """Return what a MetaMorph STK tells: a distance from plane to plane, or none that differ."""
    metadata = tiff.stk_metadata or {}
    factor = _um_per(str(metadata.get("CalibrationUnits") or ""))
    pixel = _above_zero(metadata.get("XCalibration"))
    distances = np.asarray(metadata.get("ZDistance", ()), np.float64)
    positions = None
    if len(distances) > int(z.max(initial=0)) and len(z) > 1:
        heights: Floats = np.cumsum(distances)[z]
        if len(np.unique(heights)) == len(z):
            positions = Sourced(heights, "STK ZDistance")
    return TiffFacts(positions, Sourced(pixel * factor, "STK XCalibration") if pixel and factor else None, "STK")


def _fluoview_facts(tiff: TiffFile, z: NDArray[np.int64]) -> TiffFacts:
    """Return what an Olympus FluoView TIFF tells of its axes: name, size, origin, resolution, unit."""
    positions: Sourced[Floats] | None = None
    pixel: Sourced[float] | None = None
    for name, _, origin, resolution, unit, *_ in (tiff.fluoview_metadata or {})["Dimensions"]:
        factor, size = _um_per(str(unit)), as_number(resolution)
        if not factor or not size:
            continue
        if str(name).strip().upper() == "Z" and len(z) > 1:
            positions = Sourced(np.asarray((float(origin or 0) + z * size) * factor, np.float64), "FluoView z axis")
        elif str(name).strip().upper() == "X" and size > 0:
            pixel = Sourced(size * factor, "FluoView x axis")
    return TiffFacts(positions, pixel, "Olympus FluoView")


def _sis_facts(tiff: TiffFile, z: NDArray[np.int64]) -> TiffFacts:
    """Return what an Olympus SIS TIFF tells: pixel size in metres, magnification."""
    metadata = tiff.sis_metadata or {}
    size = _above_zero(metadata.get("pixelsizex"))
    lens = Objective(
        str(metadata.get("objective") or metadata.get("lens") or ""), _above_zero(metadata.get("magnification"))
    )
    return TiffFacts(
        pixel_um=Sourced(size * 1e6, "Olympus SIS pixel size") if size else None,
        origin="Olympus SIS",
        objective=Sourced(lens, "Olympus SIS") if lens.text else None,
    )


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
