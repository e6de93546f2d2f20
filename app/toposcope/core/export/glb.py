"""Surfaces as GLB (glTF 2.0), with the picture laid over them at its full size: for browsers, Blender and slides."""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toposcope import __version__
from toposcope.core.calibration import MICROMETRES
from toposcope.core.export.grid import Grid, grid_of
from toposcope.core.export.images import in_bits
from toposcope.core.export.writing import whole_file
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.result import DepthResult
from toposcope.errors import OutputError

LARGEST_PICTURE: Final = 4096
"""Pixels along the longer side of the picture: what graphics of phones take."""
LARGEST_FILE: Final = 2**32 - 1
"""Bytes that the format can count."""

_VERTEX: Final = np.dtype([("place", "<f4", 3), ("normal", "<f4", 3), ("texture", "<f4", 2)])
_FLOAT, _UINT32 = 5126, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_CLAMP_TO_EDGE: Final = 33071


def write_glb(
    result: DepthResult,
    path: Path | str,
    max_points: int = 2_000_000,
    cut_steps: float = 0.0,
    true_size: bool = False,
    report: Report = silent,
) -> None:
    """Write the surface as binary glTF 2.0: a mesh with normals, under the all-in-focus picture as its texture.

    The surface lies flat, its heights along y, which glTF has upward, its middle at the origin. glTF counts in metres;
    viewers and Blender clip what is millimetres wide. So the model is enlarged by the power of ten that makes its
    longer side 0.1 to 1 m, and by which is written into ``extras`` of its node.

    Parameters
    ----------
    max_points, cut_steps : as in `toposcope.core.export.mesh.write_ply`; the picture is not thinned
    true_size : enlarge nothing

    Raises
    ------
    OutputError
        If no three neighbouring pixels have a known depth, or the file cannot be written.
    """
    grid = grid_of(result, max_points, cut_steps)
    report(Progress(0.0, "picture"))
    picture = _picture(result)
    metres = MICROMETRES[result.unit] * 1e-6 if result.pixel_pitch is not None else 1.0
    side = max(grid.z.shape) * grid.pitch * metres
    enlarged = 1.0 if true_size and result.pixel_pitch is not None else 10.0 ** math.floor(-math.log10(side))
    vertices = _vertices(grid, result.shape, metres * enlarged)
    valid = ~np.isnan(grid.z)
    numbers = np.where(valid, np.cumsum(valid).reshape(valid.shape) - 1, 0).astype("<u4").ravel()
    count = 3 * sum(len(corners) for corners in grid.triangles())
    if not count:
        raise OutputError("there is no mesh to write: no three neighbouring pixels join. Export points instead.")
    blocks = [(vertices.nbytes, _ARRAY_BUFFER), (4 * count, _ELEMENT_ARRAY_BUFFER), (len(picture), None)]
    told = _description(vertices, count, blocks)
    told["nodes"][0]["extras"] = _extras(result, grid, enlarged)
    text = json.dumps(told, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    body = sum(size for size, _ in blocks)
    padding = -body % 4
    whole = 12 + 8 + len(text) + 8 + body + padding
    if whole > LARGEST_FILE:
        raise OutputError(f"the model would have {whole / 1e9:.1f} GB, and GLB ends at 4.3. Allow fewer points.")
    with whole_file(path) as file:
        file.write(struct.pack("<4sII", b"glTF", 2, whole))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", body + padding, b"BIN\0"))
        file.write(vertices.tobytes())
        done = 0
        for corners in grid.triangles():
            file.write(numbers[corners].tobytes())
            done += corners.size
            report(Progress(0.2 + 0.8 * done / max(count, 1), "triangles"))
        file.write(picture + bytes(padding))


def _picture(result: DepthResult) -> bytes:
    """Return the all-in-focus picture as JPEG, reduced where graphics could not hold it."""
    picture = result.all_in_focus
    shrink = LARGEST_PICTURE / max(result.shape)
    if shrink < 1:
        height, width = (max(1, round(side * shrink)) for side in result.shape)
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(in_bits(picture, 8))).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _vertices(grid: Grid, shape: tuple[int, int], metres: float) -> NDArray[Any]:
    """Return the known points as _VERTEX records: x right, y height, z towards the lower edge of the picture."""
    known = ~np.isnan(grid.z)
    height, width = grid.z.shape
    row, column = np.nonzero(known)
    every = grid.every
    vertices = np.empty(len(row), _VERTEX)
    lowest = float(np.nanmin(grid.z))
    vertices["place"][:, 0] = (column - (width - 1) / 2) * grid.pitch * metres
    vertices["place"][:, 1] = (grid.z[known] - lowest) * metres
    vertices["place"][:, 2] = (row - (height - 1) / 2) * grid.pitch * metres
    normal = np.stack([-_slope(grid.z, 1)[known], np.full(len(row), grid.pitch), -_slope(grid.z, 0)[known]], axis=1)
    vertices["normal"] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    vertices["texture"][:, 0] = (column * every + 0.5) / shape[1]
    vertices["texture"][:, 1] = (row * every + 0.5) / shape[0]
    return vertices


def _slope(z: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Return the mean of the steps to both neighbours along ``axis``, of those that are known; 0 without any."""
    steps = np.diff(z, axis=axis)
    total, known = np.zeros_like(z), np.zeros(z.shape, np.float32)
    for part in (slice(None, -1), slice(1, None)):
        where = (slice(None),) * axis + (part,)
        total[where] += np.nan_to_num(steps)
        known[where] += ~np.isnan(steps)
    total /= np.maximum(known, 1)
    return total


def _description(vertices: NDArray[Any], count: int, blocks: list[tuple[int, int | None]]) -> dict[str, Any]:
    """Return the JSON part: one mesh over one block of vertices, one of corners and one of the picture."""
    stride = _VERTEX.itemsize
    fields = (("VEC3", 0), ("VEC3", 12), ("VEC2", 24))  # place, normal and texture of a _VERTEX
    accessors: list[dict[str, Any]] = [
        {
            "bufferView": 0,
            "byteOffset": offset,
            "componentType": _FLOAT,
            "count": len(vertices),
            "type": kind,
        }
        for kind, offset in fields
    ]
    accessors[0] |= {name: list(map(float, getattr(vertices["place"], name)(axis=0))) for name in ("min", "max")}
    accessors.append({"bufferView": 1, "componentType": _UINT32, "count": count, "type": "SCALAR"})
    primitive = {"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "indices": 3, "material": 0}
    return {
        "asset": {"version": "2.0", "generator": f"Toposcope {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "surface", "mesh": 0}],
        "meshes": [{"name": "surface", "primitives": [primitive]}],
        "materials": [
            {
                "name": "all-in-focus picture",
                "doubleSided": True,
                "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0, "roughnessFactor": 1},
            }
        ],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"wrapS": _CLAMP_TO_EDGE, "wrapT": _CLAMP_TO_EDGE}],
        "images": [{"bufferView": 2, "mimeType": "image/jpeg"}],
        "accessors": accessors,
        "bufferViews": list(_views(blocks, stride)),
        "buffers": [{"byteLength": sum(size for size, _ in blocks)}],
    }


def _views(blocks: list[tuple[int, int | None]], stride: int) -> Iterator[dict[str, Any]]:
    offset = 0
    for size, target in blocks:
        view: dict[str, Any] = {"buffer": 0, "byteOffset": offset, "byteLength": size}
        if target is not None:
            view["target"] = target
        if target == _ARRAY_BUFFER:
            view["byteStride"] = stride
        yield view
        offset += size


def _extras(result: DepthResult, grid: Grid, enlarged: float) -> dict[str, Any]:
    """Return what a reader needs to measure in the model."""
    told: dict[str, Any] = {"method": result.provenance.method, "depth_unit": result.unit}
    if result.pixel_pitch is None:
        return told | {"scale": f"one unit is {1 / enlarged:g} {grid.unit}"}
    return told | {
        "scale": "metres",
        "enlarged": enlarged,
        "pixel_um": result.pixel_um.value if result.pixel_um else None,
    }
