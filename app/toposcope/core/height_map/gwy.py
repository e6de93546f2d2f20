"""GWY, the format of Gwyddion: a tree of named components, with data fields of heights and masks over them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import Sourced
from toposcope.core.height_map.limits import checked_shape
from toposcope.core.height_map.model import HeightMap
from toposcope.core.height_map.units import micrometres
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.source.container import positive
from toposcope.core.source.image_file import Unreadable, system_path

MAGIC: Final = b"GWYP"
MOST_COMPONENTS: Final = 100_000
ORIGIN: Final = "GWY field"

_SCALARS: Final = {"b": "<B", "c": "<B", "i": "<i", "q": "<q", "d": "<d"}
_ARRAYS: Final = {"C": "u1", "I": "<i4", "Q": "<i8", "D": "<f8"}


@dataclass(frozen=True, slots=True)
class _Object:
    """An object whose components lie in the file at ``begin`` to ``end``."""

    name: str
    begin: int
    end: int


def read_gwy(path: Path, report: Report = silent) -> HeightMap:
    """Read the first field of heights of a GWY file; a mask over it is taken as not measured.

    Raises
    ------
    Unreadable
        If it is damaged, or holds no field whose values are lengths.
    """
    report(Progress(0.0, "reading heights"))
    with open(system_path(path), "rb") as file:
        tree = _Tree(file.read())
    report(Progress(0.5, "reading heights"))
    return tree.height_map(path)


class _Tree:
    """The components of a file; nothing is believed before its bounds are checked."""

    def __init__(self, content: bytes) -> None:
        if not content.startswith(MAGIC):
            old = content.startswith((b"GWYO", b"GWYQ"))
            raise Unreadable(
                "is of another version of Gwyddion's format; save it anew as GWY with Gwyddion 2"
                if old
                else "is damaged: it does not begin as a GWY file"
            )
        self._content, self._left = content, MOST_COMPONENTS
        self._root, _ = self._object(len(MAGIC), len(content))

    def height_map(self, path: Path) -> HeightMap:
        parts = self._components(self._root)
        fields = {
            key: value
            for key, value in parts.items()
            if key.endswith("/data") and key[1:-5].isdecimal() and isinstance(value, _Object)
        }
        others = []
        for key in sorted(fields, key=lambda key: int(key[1:-5])):
            field = self._components(fields[key])
            z_unit = micrometres(self._unit(field, "si_unit_z"))
            title = str(parts.get(f"{key}/title") or "")
            if z_unit is None:
                others.append(title or key)
                continue
            notes = []
            if len(fields) > 1:
                what = (title or key)[:60]
                notes.append(f"the file holds {len(fields)} channels; the first with heights is read, {what}")
            mask = parts.get(f"{key.removesuffix('/data')}/mask")
            return self._field(path, field, z_unit, mask, title[:200], notes)
        if others:
            raise Unreadable(f"holds no heights: the values of {', '.join(others)[:80]} are no lengths")
        raise Unreadable("holds no data field; a height map is needed")

    def _field(
        self, path: Path, field: dict[str, Any], z_unit: float, mask: Any, title: str, notes: list[str]
    ) -> HeightMap:
        shape, data = self._grid(field)
        z = data.astype(np.float64) * z_unit
        z[~np.isfinite(z)] = np.nan
        if isinstance(mask, _Object):
            mask_shape, masked = self._grid(self._components(mask))
            if mask_shape != shape:
                raise Unreadable("is damaged: its mask has another size than its heights")
            if (masked >= 0.5).any():
                z[masked >= 0.5] = np.nan
                notes.append("what the file masks is taken as not measured")
        xy = micrometres(self._unit(field, "si_unit_xy"))
        sides = [positive(field.get(name)) for name in ("yreal", "xreal")]
        y, x = (
            None if xy is None or side is None else Sourced(side * xy / n, ORIGIN)
            for side, n in zip(sides, shape, strict=True)
        )
        return HeightMap(z, x, y, "Gwyddion GWY", "", path, tuple(notes), title)

    def _grid(self, field: dict[str, Any]) -> tuple[tuple[int, int], NDArray[Any]]:
        shape = field.get("yres"), field.get("xres")
        data = field.get("data")
        if not isinstance(shape[0], int) or not isinstance(shape[1], int) or not isinstance(data, np.ndarray):
            raise Unreadable("is damaged: a field lacks its size or its values")
        rows, columns = checked_shape((shape[0], shape[1]))
        if data.size != rows * columns:
            raise Unreadable(f"is damaged: a field of {columns} × {rows} holds {data.size} values")
        return (rows, columns), data.reshape(rows, columns)

    def _unit(self, field: dict[str, Any], name: str) -> str:
        unit = field.get(name)
        return str(self._components(unit).get("unitstr", "")) if isinstance(unit, _Object) else ""

    def _components(self, of: _Object) -> dict[str, Any]:
        found: dict[str, Any] = {}
        at = of.begin
        while at < of.end:
            self._left -= 1
            if self._left < 0:
                raise Unreadable("is damaged: it holds more parts than any GWY file has")
            name, at = self._string(at, of.end)
            kind = chr(self._slice(at, 1, of.end)[0])
            found[name], at = self._value(kind, at + 1, of.end)
        return found

    def _value(self, kind: str, at: int, end: int) -> tuple[Any, int]:
        if kind in _SCALARS:
            form = _SCALARS[kind]
            size = struct.calcsize(form)
            return struct.unpack(form, self._slice(at, size, end))[0], at + size
        if kind == "s":
            return self._string(at, end)
        if kind == "o":
            return self._object(at, end)
        if kind not in _ARRAYS and kind not in "SO":
            raise Unreadable("is damaged: it holds a value of an unknown type")
        count = int(struct.unpack("<I", self._slice(at, 4, end))[0])
        at += 4
        if kind in _ARRAYS:
            dtype = np.dtype(_ARRAYS[kind])
            self._check(at, count * dtype.itemsize, end)
            return np.frombuffer(self._content, dtype, count, at), at + count * dtype.itemsize
        self._check(at, count, end)  # each takes a byte at least
        for _ in range(count):
            _, at = self._string(at, end) if kind == "S" else self._object(at, end)
        return None, at

    def _object(self, at: int, end: int) -> tuple[_Object, int]:
        name, at = self._string(at, end)
        size = int(struct.unpack("<I", self._slice(at, 4, end))[0])
        self._check(at + 4, size, end)
        return _Object(name, at + 4, at + 4 + size), at + 4 + size

    def _string(self, at: int, end: int) -> tuple[str, int]:
        stop = self._content.find(b"\0", at, end)
        if stop < 0:
            raise Unreadable("is cut off or damaged: a text in it has no end")
        return self._content[at:stop].decode("utf-8", "replace"), stop + 1

    def _slice(self, at: int, size: int, end: int) -> bytes:
        self._check(at, size, end)
        return self._content[at : at + size]

    def _check(self, at: int, size: int, end: int) -> None:
        if at + size > end:
            raise Unreadable(f"is cut off or damaged: a part of {size} bytes is longer than what is left")
