"""X3P (ISO 25178-72): a zip with an XML that describes, and a block of heights in metres, row by row."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np

from toposcope.core.calibration import Sourced
from toposcope.core.height_map.limits import checked_shape
from toposcope.core.height_map.model import HeightMap
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.source.container import number, positive, safe_xml
from toposcope.core.source.image_file import Unreadable, system_path

TYPES: Final = {"I": "<i2", "L": "<i4", "F": "<f4", "D": "<f8"}
MOST_XML: Final = 16 << 20
FEATURES: Final = {"PRF": "a profile, one line of heights", "PCL": "a cloud of points without a grid"}

ENCRYPTED: Final = 0x1
"""The bit of a zip's flags that tells of a password."""

_METRE_UM: Final = 1e6
_CHUNK: Final = 1 << 22
_NOBODY: Final = {"", "n/a", "none", "unknown", "not available"}


def read_x3p(path: Path, report: Report = silent) -> HeightMap:
    """Read an X3P file.

    Its folder in the zip may have any name: some programs pack the folder instead of what is in it.

    Raises
    ------
    Unreadable
        If it is damaged, or describes something else than one height for each place of a grid.
    """
    try:
        with zipfile.ZipFile(system_path(path)) as archive:
            return _read(archive, path, report)
    except zipfile.BadZipFile as error:
        raise Unreadable("is damaged: it is no whole zip, as X3P files are") from error
    except NotImplementedError as error:  # a newer zip, a packing that zipfile does not know, strong encryption
        raise Unreadable("is packed in a way that cannot be read; save it anew as X3P") from error
    except (EOFError, zlib.error) as error:
        raise Unreadable("is damaged: a part of it cannot be unpacked") from error


def _read(archive: zipfile.ZipFile, path: Path, report: Report) -> HeightMap:
    names = [name for name in archive.namelist() if name.rpartition("/")[2] == "main.xml" and "__MACOSX" not in name]
    if not names:
        raise Unreadable("is damaged: it lacks the main.xml that every X3P file has")
    main = min(names, key=lambda name: (name.count("/"), name))
    root = safe_xml(_bytes(archive, main, MOST_XML).decode("utf-8", "replace").lstrip("\ufeff"))
    folder = main.rpartition("/")[0]
    feature = _text(root, "Record1", "FeatureType").upper()
    if feature in FEATURES:
        raise Unreadable(f"holds {FEATURES[feature]}; a height map is needed")
    axes = {
        axis: tuple(_text(root, "Record1", "Axes", axis, of) for of in ("AxisType", "Increment"))
        for axis in ("CX", "CY")
    }
    for axis, (kind, _) in axes.items():
        if kind.upper() != "I":
            raise Unreadable(f"has places at uneven distances ({axis}); a height map on an even grid is needed")
    sizes = [_count(_text(root, "Record3", "MatrixDimension", f"Size{axis}") or "1") for axis in "XYZ"]
    kind = _text(root, "Record1", "Axes", "CZ", "DataType").upper()
    if kind not in TYPES:
        raise Unreadable(f"is damaged: its heights are of the unknown type {kind[:20]!r}")
    dtype = np.dtype(TYPES[kind])
    shape = checked_shape((sizes[1], sizes[0]))
    link = _text(root, "Record3", "DataLink", "PointDataLink")
    if not link:
        raise Unreadable("keeps its heights as text in main.xml, which is not read; save it anew with binary data")
    count = shape[0] * shape[1]
    raw = _bytes(archive, _member(archive, folder, link), count * dtype.itemsize * sizes[2], report, exact=True)
    notes: list[str] = []
    told = _text(root, "Record3", "DataLink", "MD5ChecksumPointData").lower()
    if told and hashlib.md5(raw, usedforsecurity=False).hexdigest() != told:
        notes.append("the checksum of the heights does not fit: the file may be damaged")
    if sizes[2] > 1:
        notes.append(f"the file holds {sizes[2]} layers; the first is read")
    z = np.frombuffer(raw, dtype, count).reshape(shape).astype(np.float64)
    z[~np.isfinite(z)] = np.nan
    if dtype.kind == "i":  # by the standard, numbers in floating point are metres as they stand
        z *= number(_text(root, "Record1", "Axes", "CZ", "Increment")) or 1.0
        z += number(_text(root, "Record1", "Axes", "CZ", "Offset")) or 0.0
    z *= _METRE_UM
    valid = _text(root, "Record3", "DataLink", "ValidPointsLink")
    if valid:
        bits = _bytes(archive, _member(archive, folder, valid), -(-count // 8), exact=True)
        is_valid = np.unpackbits(np.frombuffer(bits, np.uint8), count=count, bitorder="little").astype(bool)
        z[~is_valid.reshape(shape)] = np.nan
    steps = [positive(step) for _, step in axes.values()]
    x, y = (None if step is None else Sourced(step * _METRE_UM, "X3P increment") for step in steps)
    instrument = [_text(root, "Record2", "Instrument", of) for of in ("Manufacturer", "Model")]
    named = " ".join(word for word in instrument if word.lower() not in _NOBODY)
    return HeightMap(z, x, y, "ISO 25178-72 X3P", named[:200], path, tuple(notes))


def _text(root: ElementTree.Element, *names: str) -> str:
    """Return the text of the element at a path of names, whatever its namespaces; empty if it is not there."""
    element = root
    for name in names:
        found = next((child for child in element if child.tag.rpartition("}")[2] == name), None)
        if found is None:
            return ""
        element = found
    return (element.text or "").strip()


def _count(text: str) -> int:
    value = number(text)
    if value is None or value != int(value) or value < 1:
        raise Unreadable(f"is damaged: it says that it has {text[:20]!r} places along an axis")
    return int(value)


def _member(archive: zipfile.ZipFile, folder: str, link: str) -> str:
    """Return the name in the zip of a part that main.xml, which lies in ``folder``, refers to."""
    link = link.replace("\\", "/").lstrip("./")
    name = f"{folder}/{link}" if folder else link
    if name not in archive.namelist():
        raise Unreadable(f"is damaged: it lacks the part {link[:60]}")
    return name


def _bytes(archive: zipfile.ZipFile, name: str, size: int, report: Report = silent, exact: bool = False) -> bytes:
    """Return a part of the zip: all of it, which must be no longer than ``size``, or just that if ``exact``."""
    info = archive.getinfo(name)
    told = info.file_size
    if info.flag_bits & ENCRYPTED:
        raise Unreadable("is locked with a password; save it anew as X3P without one")
    if exact and told < size:
        raise Unreadable(f"is cut off or damaged: {name[-60:]} holds {told} bytes, and its heights need {size}")
    if not exact and told > size:
        raise Unreadable(f"is damaged: {name[-60:]} is {told / 1e6:.0f} MB long")
    content = bytearray()
    with archive.open(name) as file:
        while chunk := file.read(min(_CHUNK, size - len(content))):
            content += chunk
            report(Progress(len(content) / max(size, 1), "reading heights"))
    if exact and len(content) < size:
        raise Unreadable(f"is cut off or damaged: {name[-60:]} ends after {len(content)} of {size} bytes")
    return bytes(content)
