"""Surfaces as PLY and STL: voids are holes, steep steps can be cut open."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.export.grid import BAND_ROWS, Grid, grid_of
from toposcope.core.export.writing import whole_file
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.result import DepthResult

_FACE: Final = np.dtype([("count", "u1"), ("vertices", "<i4", 3)])
_TRIANGLE: Final = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
_POINT: Final = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])


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
    grid = grid_of(result, max_points, cut_steps)
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
    grid = grid_of(result, max_points, cut_steps)
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


def _write_points(grid: Grid, valid: NDArray[np.bool_], file: IO[bytes], report: Report) -> None:
    height = grid.z.shape[0]
    for top in range(0, height, BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        seen = valid[rows]
        points = np.empty(int(seen.sum()), _POINT)
        points["place"], points["colour"] = grid.places(rows)[seen], grid.colour[rows][seen]
        file.write(points.tobytes())
        report(Progress(top / height, "points"))
