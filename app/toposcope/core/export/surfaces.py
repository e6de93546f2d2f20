"""Heights as X3P and GWY, the two formats that programs for surfaces exchange. Voids stay voids."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np

from toposcope import __version__
from toposcope.core.calibration import Floats
from toposcope.core.export.writing import whole_file
from toposcope.core.height_map.model import HeightMap
from toposcope.core.jobs import Progress, Report, silent
from toposcope.errors import OutputError

_METRE: Final = 1e-6
_DATA: Final = "bindata/data.bin"
_BAND: Final = 1 << 20


def write_x3p(height_map: HeightMap, path: Path | str, report: Report = silent) -> None:
    """Write X3P (ISO 25178-72, revision ISO5436 - 2000, which all readers know): metres, 64 bit, NaN in voids.

    Raises
    ------
    OutputError
        If no pixel size is known, or the file cannot be written.
    """
    pitch = _pitch(height_map, path, "X3P")
    height, width = height_map.shape
    heights = np.ascontiguousarray(height_map.z_um * _METRE, "<f8")
    digest = hashlib.md5(heights.data, usedforsecurity=False).hexdigest().upper()
    model = height_map.instrument or height_map.format
    xml = f"""<?xml version="1.0" encoding="UTF-8" standalone="no" ?>
<p:ISO5436_2 xmlns:p="http://www.opengps.eu/2008/ISO5436_2" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://www.opengps.eu/2008/ISO5436_2 http://www.opengps.eu/2008/ISO5436_2/ISO5436_2.xsd">
  <Record1>
    <Revision>ISO5436 - 2000</Revision>
    <FeatureType>SUR</FeatureType>
    <Axes>
      <CX><AxisType>I</AxisType><DataType>D</DataType><Increment>{pitch[1]!r}</Increment><Offset>0</Offset></CX>
      <CY><AxisType>I</AxisType><DataType>D</DataType><Increment>{pitch[0]!r}</Increment><Offset>0</Offset></CY>
      <CZ><AxisType>A</AxisType><DataType>D</DataType><Increment>1</Increment><Offset>0</Offset></CZ>
    </Axes>
  </Record1>
  <Record2>
    <Date>{datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")}</Date>
    <Instrument>
      <Manufacturer>not available</Manufacturer>
      <Model>{escape(model)}</Model>
      <Serial>not available</Serial>
      <Version>written by Toposcope {__version__}</Version>
    </Instrument>
    <CalibrationDate>1970-01-01T00:00:00</CalibrationDate>
    <ProbingSystem><Type>NonContacting</Type><Identification>not available</Identification></ProbingSystem>
    <Comment>{escape(height_map.name)}</Comment>
  </Record2>
  <Record3>
    <MatrixDimension><SizeX>{width}</SizeX><SizeY>{height}</SizeY><SizeZ>1</SizeZ></MatrixDimension>
    <DataLink>
      <PointDataLink>{_DATA}</PointDataLink>
      <MD5ChecksumPointData>{digest}</MD5ChecksumPointData>
    </DataLink>
  </Record3>
  <Record4><ChecksumFile>md5checksum.hex</ChecksumFile></Record4>
</p:ISO5436_2>
""".encode()
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        archive.writestr("main.xml", xml)
        archive.writestr("md5checksum.hex", f"{hashlib.md5(xml, usedforsecurity=False).hexdigest()} *main.xml\n")
        with archive.open(_DATA, "w", force_zip64=heights.nbytes > 1 << 30) as part:
            rows = max(1, _BAND // width)
            for top in range(0, height, rows):
                report(Progress(top / height, "heights"))
                part.write(heights[top : top + rows].tobytes())


def write_gwy(height_map: HeightMap, path: Path | str, report: Report = silent) -> None:
    """Write GWY: metres, 64 bit; voids carry the mean height under a mask, as Gwyddion keeps them.

    Raises
    ------
    OutputError
        If no pixel size is known, nothing was measured, or the file cannot be written.
    """
    pitch = _pitch(height_map, path, "GWY")
    known = np.isfinite(height_map.z_um)
    if not known.any():
        raise OutputError("there is no surface to write: no pixel has a known height.")
    z = np.where(known, height_map.z_um, height_map.z_um[known].mean()) * _METRE
    report(Progress(0.2, "heights"))
    title = height_map.title or height_map.instrument or height_map.format
    parts = [
        _item("/filename", "s", _text(Path(path).name)),
        _item("/0/data", "o", _field(z, pitch, "m")),
        _item("/0/data/title", "s", _text(title)),
        _item("/0/data/visible", "b", b"\1"),
    ]
    report(Progress(0.5, "heights"))
    if not known.all():
        parts.append(_item("/0/mask", "o", _field((~known).astype(np.float64), pitch, "")))
    body = b"".join(parts)
    if len(body) >= 1 << 32:
        raise OutputError("GWY holds no more than 4 GB. Write X3P, or a smaller map.")
    with whole_file(path) as file:
        file.write(b"GWYP" + _object("GwyContainer", body))
    report(Progress(1.0, "heights"))


def _pitch(height_map: HeightMap, path: Path | str, what: str) -> tuple[float, float]:
    """Return the distances of rows and columns in metres."""
    pixels = height_map.pixels_um
    if pixels is None:
        raise OutputError(
            f"{Path(path).name} cannot be written: {what} needs a pixel size, and none is known. Give it in the "
            "calibration of the stack when the depth is computed; a height map must be saved with it by the "
            "instrument's program.",
            option="--pixel-size of toposcope depth",
        )
    return float(pixels[0] * _METRE), float(pixels[1] * _METRE)


def _text(text: str) -> bytes:
    return text.replace("\0", "").encode() + b"\0"


def _item(name: str, kind: str, value: bytes) -> bytes:
    return _text(name) + kind.encode() + value


def _object(name: str, body: bytes) -> bytes:
    return _text(name) + struct.pack("<I", len(body)) + body


def _field(values: Floats, pitch: tuple[float, float], unit: str) -> bytes:
    rows, columns = values.shape
    body = [
        _item("xres", "i", struct.pack("<i", columns)),
        _item("yres", "i", struct.pack("<i", rows)),
        _item("xreal", "d", struct.pack("<d", columns * pitch[1])),
        _item("yreal", "d", struct.pack("<d", rows * pitch[0])),
        _item("si_unit_xy", "o", _object("GwySIUnit", _item("unitstr", "s", _text("m")))),
        _item("si_unit_z", "o", _object("GwySIUnit", _item("unitstr", "s", _text(unit)))),
        _item("data", "D", struct.pack("<I", values.size) + np.ascontiguousarray(values, "<f8").tobytes()),
    ]
    return _object("GwyDataField", b"".join(body))
