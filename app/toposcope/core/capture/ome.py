"""OME-TIFF with the position, exposure and time of each plane, in the schema of June 2016."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
import tifffile

from toposcope import __version__
from toposcope.core.calibration import Side
from toposcope.core.capture.microscope import Optics
from toposcope.core.export.writing import whole_file
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.source.tiff_facts import CAPTURE_NAMESPACE, NEAR_KEY
from toposcope.core.stack import Plane

SCHEMA: Final = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
BIG: Final = 2**31
"""Bytes from which on files are BigTIFF; classic TIFF ends at 4 GB."""


@dataclass(frozen=True, slots=True)
class PlaneFacts:
    """What is known of one slice.

    ``z_um`` where the stage said that it was; ``seconds`` since the first slice of the sweep, by a clock that does not
    jump; ``crc`` the CRC-32 of the pixels.
    """

    z_um: float
    exposure_ms: float
    seconds: float
    crc: int


@dataclass(frozen=True, slots=True)
class SweepFacts:
    """What is known of a whole sweep.

    ``begun`` is ISO 8601 with time zone; ``white`` the camera's greatest value; ``near`` the end of z that is nearer
    to the lens, None where nobody knows.
    """

    microscope: str
    optics: Optics
    begun: str
    white: int
    near: Side | None = None


def ome_xml(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], sweep: SweepFacts, planes: Sequence[PlaneFacts]
) -> bytes:
    """Return OME-XML, UTF-8, of planes of ``shape`` (H, W) or (H, W, 3), one after the other along z."""
    optics = sweep.optics
    root = Element("OME", {"xmlns": SCHEMA, "Creator": f"Toposcope {__version__}"})
    instrument = SubElement(root, "Instrument", {"ID": "Instrument:0"})
    SubElement(instrument, "Microscope", {"Model": sweep.microscope})
    lens = {"ID": "Objective:0"}
    if optics.objective:
        lens["Model"] = optics.objective
    if optics.na is not None:
        lens["LensNA"] = f"{optics.na:.6g}"
    if optics.magnification is not None:
        lens["NominalMagnification"] = f"{optics.magnification:.6g}"
    SubElement(instrument, "Objective", lens)
    image = SubElement(root, "Image", {"ID": "Image:0", "Name": name})
    # by the clock on the wall: not all readers take a time zone
    SubElement(image, "AcquisitionDate").text = datetime.fromisoformat(sweep.begun).replace(tzinfo=None).isoformat()
    SubElement(image, "InstrumentRef", {"ID": "Instrument:0"})
    SubElement(image, "ObjectiveSettings", {"ID": "Objective:0", "RefractiveIndex": f"{optics.refractive_index:.6g}"})
    samples = 1 if len(shape) == 2 else shape[2]
    attributes = {
        "ID": "Pixels:0",
        "DimensionOrder": "XYZCT" if samples == 1 else "XYCZT",
        "Type": str(dtype),
        "SizeX": str(shape[1]),
        "SizeY": str(shape[0]),
        "SizeZ": str(len(planes)),
        "SizeC": str(samples),
        "SizeT": "1",
        "SignificantBits": str(max(1, int(sweep.white).bit_length())),
    }
    if optics.pixel_um is not None:
        for axis in "XY":
            attributes |= {f"PhysicalSize{axis}": f"{optics.pixel_um:.9g}", f"PhysicalSize{axis}Unit": "µm"}
    if len(planes) > 1:
        steps = np.diff([plane.z_um for plane in planes])
        attributes |= {"PhysicalSizeZ": f"{float(np.median(np.abs(steps))):.9g}", "PhysicalSizeZUnit": "µm"}
    pixels = SubElement(image, "Pixels", attributes)
    SubElement(pixels, "Channel", {"ID": "Channel:0:0", "SamplesPerPixel": str(samples)})
    for i in range(len(planes)):
        SubElement(pixels, "TiffData", {"IFD": str(i), "FirstZ": str(i), "PlaneCount": "1"})
    for i, plane in enumerate(planes):
        facts = {"TheZ": str(i), "TheC": "0", "TheT": "0", "DeltaT": f"{plane.seconds:.6f}", "DeltaTUnit": "s"}
        facts |= {"ExposureTime": f"{plane.exposure_ms:.6g}", "ExposureTimeUnit": "ms"}
        facts |= {"PositionZ": f"{plane.z_um:.9g}", "PositionZUnit": "µm"}
        SubElement(pixels, "Plane", facts)
    if sweep.near is not None:  # OME has no word for it
        SubElement(image, "AnnotationRef", {"ID": "Annotation:0"})
        notes = SubElement(root, "StructuredAnnotations")
        note = SubElement(notes, "MapAnnotation", {"ID": "Annotation:0", "Namespace": CAPTURE_NAMESPACE})
        SubElement(SubElement(note, "Value"), "M", {"K": NEAR_KEY}).text = sweep.near
    xml: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return xml


def write_ome_tiff(
    path: Path,
    name: str,
    read: Callable[[int], Plane],
    sweep: SweepFacts,
    planes: Sequence[PlaneFacts],
    report: Report = silent,
) -> None:
    """Write planes, read one at a time by ``read(i)``, as OME-TIFF, whole or not at all.

    Raises
    ------
    OutputError
        If permission or space is lacking.
    """
    first = read(0)
    xml = ome_xml(name, first.shape, first.dtype, sweep, planes)
    bigtiff = first.nbytes * len(planes) > BIG
    resolution = None if sweep.optics.pixel_um is None else (1e4 / sweep.optics.pixel_um,) * 2
    with whole_file(path) as file:
        with tifffile.TiffWriter(file, bigtiff=bigtiff) as tiff:
            for i in range(len(planes)):
                report(Progress(i / len(planes), f"writing slice {i + 1} of {len(planes)} into {path.name}"))
                tiff.write(
                    np.ascontiguousarray(first if i == 0 else read(i)),
                    photometric="rgb" if first.ndim == 3 else "minisblack",
                    description=xml if i == 0 else None,
                    metadata=None,
                    contiguous=False,
                    resolution=resolution,
                    resolutionunit=None if resolution is None else "CENTIMETER",
                    software=f"Toposcope {__version__}",
                )
        file.flush()
        os.fsync(file.fileno())  # the slices are taken away when it is there: it must be on the disk by then
