"""Surfaces as PLY and STL: voids are holes, steep steps can be cut open."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import typical_step
from toposcope.core.export.images import in_bits
from toposcope.core.export.writing import whole_file
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.result import DepthResult
from toposcope.errors import OutputError

BAND_ROWS: Final = 64
RELIEF: Final = 0.25
"""Without a scale, heights are drawn so that they span this share of the width."""

_FACE: Final = np.dtype([("count", "u1"), ("vertices", "<i4", 3)])
_TRIANGLE: Final = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
_POINT: Final = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Heights on a grid, ready to be joined: ``z`` (H, W) NaN in voids; ``pitch`` between columns, both in ``unit``."""

    z: NDArray[np.float32]
    colour: NDArray[np.uint8]
    pitch: float
    unit: str
    jump: float

    def places(self, rows: slice) -> NDArray[np.float32]:
        """Return (rows, W, 3) x right, y up, z towards the lens."""
        height, width = self.z.shape
        y, x = np.meshgrid(np.arange(height)[rows], np.arange(width), indexing="ij")
        places = np.stack([x * self.pitch, (height - 1 - y) * self.pitch, self.z[rows]], axis=2)
        return places.astype(np.float32)

    def triangles(self) -> Iterator[NDArray[np.intp]]:
        """Yield (T, 3) flat pixel numbers, counter-clockwise seen from the lens, a band of rows at a time."""
        height, width = self.z.shape
        z = self.z.ravel()
        for top in range(0, height - 1, BAND_ROWS):
            rows = np.arange(top, min(top + BAND_ROWS, height - 1))[:, None]
            a = rows * width + np.arange(width - 1)
            b, d, e = a + 1, a + width, a + width + 1
            # cut each square so that a single void corner leaves the triangle of the other three
            other = np.isnan(z[b]) | np.isnan(z[d])
            first = np.stack([a, d, np.where(other, e, b)], axis=2)
            second = np.stack([np.where(other, a, b), np.where(other, e, d), np.where(other, b, e)], axis=2)
            corners = np.stack([first, second], axis=2).reshape(-1, 3)
            heights = z[corners]
            spread = heights.max(axis=1) - heights.min(axis=1)  # NaN where a corner is void
            yield corners[spread <= self.jump]


def write_ply(
    result: DepthResult,
    path: Path | str,
    max_points: int = 2_000_000,
    cut_steps: float = 0.0,
    triangles: bool = True,
    report: Report = silent,
) -> None:
    """Write the surface as binary PLY with colours.

    Parameters
    ----------
    max_points : larger maps are thinned to every second, third ... row and column
    cut_steps : triangles that climb more than so many slices are left out; 0 keeps all
    triangles : False writes points only

    Raises
    ------
    OutputError
        If no depth is known at all, or the file cannot be written.
    """
    grid = _grid(result, max_points, cut_steps)
    valid = ~np.isnan(grid.z)
    numbers = np.where(valid, np.cumsum(valid).reshape(valid.shape) - 1, -1).astype(np.int32).ravel()
    count = sum(len(faces) for faces in grid.triangles()) if triangles else 0
    head = [
        "ply",
        "format binary_little_endian 1.0",
        "comment Toposcope",
        f"comment unit {grid.unit}",
        f"element vertex {int(valid.sum())}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
    ]
    if triangles:
        head += [f"element face {count}", "property list uchar int vertex_indices"]
    with whole_file(path) as file:
        file.write(("\n".join([*head, "end_header"]) + "\n").encode("ascii"))
        _write_points(grid, valid, file, part(report, 0.0, 0.4 if triangles else 1.0))
        if not triangles:
            return
        done = 0
        for corners in grid.triangles():
            faces = np.empty(len(corners), _FACE)
            faces["count"], faces["vertices"] = 3, numbers[corners]
            file.write(faces.tobytes())
            done += len(corners)
            report(Progress(0.4 + 0.6 * done / max(count, 1), "triangles"))


def write_stl(
    result: DepthResult,
    path: Path | str,
    max_points: int = 1_000_000,
    cut_steps: float = 0.0,
    report: Report = silent,
) -> None:
    """Write the surface as binary STL; parameters and errors as in `write_ply`."""
    grid = _grid(result, max_points, cut_steps)
    places = grid.places(slice(None)).reshape(-1, 3)
    with whole_file(path) as file:
        file.write(f"Toposcope surface, unit {grid.unit}".encode("ascii", "replace").ljust(80)[:80] + bytes(4))
        count, bands = 0, -(-(grid.z.shape[0] - 1) // BAND_ROWS)
        for band, corners in enumerate(grid.triangles()):
            report(Progress(band / bands, "triangles"))
            facets = np.zeros(len(corners), _TRIANGLE)
            facets["corners"] = at = places[corners]
            normal = np.cross(at[:, 1] - at[:, 0], at[:, 2] - at[:, 0])
            facets["normal"] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
            file.write(facets.tobytes())
            count += len(corners)
        file.seek(80)
        file.write(struct.pack("<I", count))


def _write_points(grid: _Grid, valid: NDArray[np.bool_], file: IO[bytes], report: Report) -> None:
    height = grid.z.shape[0]
    for top in range(0, height, BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        seen = valid[rows]
        points = np.empty(int(seen.sum()), _POINT)
        points["place"], points["colour"] = grid.places(rows)[seen], grid.colour[rows][seen]
        file.write(points.tobytes())
        report(Progress(top / height, "points"))


def _grid(result: DepthResult, max_points: int, cut_steps: float) -> _Grid:
    """Return heights and colours thinned to ``max_points``, in one unit for all axes where that is known."""
    if not result.valid.any():
        raise OutputError("there is no surface to write: no pixel has a known depth. Try another method or stack.")
    height, width = result.shape
    every = int(np.ceil(np.sqrt(height * width / max(max_points, 4))))
    heights = result.heights()
    z = np.ascontiguousarray(heights[::every, ::every])
    colour = result.all_in_focus
    if every > 1:  # colours are averaged; heights are picked, so that each is one that was measured
        colour = cv2.resize(colour, (z.shape[1], z.shape[0]), interpolation=cv2.INTER_AREA)
    colour = in_bits(colour, 8)
    if colour.ndim == 2:
        colour = np.repeat(colour[..., None], 3, axis=2)
    if result.pixel_pitch is not None:
        pitch, unit, factor = every * result.pixel_pitch, str(result.unit), 1.0
    else:
        span = float(np.nanmax(z) - np.nanmin(z))
        factor = RELIEF * width / span if span > 0 else 1.0
        pitch, unit = float(every), f"pixel (no pixel size known: heights are {result.unit} times {factor:.6g})"
    jump = cut_steps * typical_step(result.positions.value) * factor if cut_steps > 0 else np.inf
    return _Grid(z * np.float32(factor), np.asarray(colour, np.uint8), pitch, unit, jump)
