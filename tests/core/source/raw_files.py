"""Small DNG files made by hand for the tests: a mosaic of a colour picture, as a camera stores it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Tag = tuple[int, int, Any]
"""Number, type and values of a TIFF tag."""

BLACK: Final = 64
WHITE: Final = 4095
BAYER: Final = ((0, 1), (1, 2))
X_TRANS: Final = ((1, 2, 1, 1, 0, 1), (0, 1, 0, 2, 1, 2), (1, 2, 1, 1, 0, 1), (1, 0, 1, 1, 2, 1), (2, 1, 2, 0, 1, 0),
                  (1, 0, 1, 1, 2, 1))  # fmt: skip
NEUTRAL: Final = (0.5, 1.0, 0.7)
"""What the camera sees of a grey card, red, green and blue."""
_FROM_XYZ: Final = (
    3.2404542,
    -1.5371385,
    -0.4985314,
    -0.9692660,
    1.8760108,
    0.0415560,
    0.0556434,
    -0.2040259,
    1.0572252,
)
"""A camera whose colours are those of sRGB."""


def to_linear(picture: NDArray[Any]) -> NDArray[np.float64]:
    """Return light 0..1 for sRGB values 0..1."""
    return np.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)


def write_dng(
    path: Path,
    picture: NDArray[Any],
    pattern: Sequence[Sequence[int]] = BAYER,
    neutral: Sequence[float] | None = NEUTRAL,
    orientation: int = 1,
    exif: Sequence[Tag] = (),
    tags: Sequence[Tag] = (),
) -> None:
    """Write a picture of sRGB values 0..1, (H, W, 3) or (H, W) for a camera without colours."""
    light = to_linear(picture)
    colours: list[Tag] = [(50721, 10, (1.0, 1.0, 1.0)), (262, 3, (34892,))]
    if light.ndim == 3:
        light = light * np.array(NEUTRAL if neutral is None else neutral)
        cells = np.array(pattern)
        rows, columns = np.indices(light.shape[:2])
        which = cells[rows % cells.shape[0], columns % cells.shape[1]]
        light = np.take_along_axis(light, which[..., None], axis=2)[..., 0]
        colours = [
            (262, 3, (32803,)),
            (33421, 3, cells.shape),
            (33422, 1, tuple(cells.ravel())),
            (50721, 10, _FROM_XYZ),
            *([(50728, 5, tuple(neutral))] if neutral is not None else []),
        ]
    mosaic = np.rint(BLACK + np.clip(light, 0, 1) * (WHITE - BLACK)).astype("<u2")
    height, width = mosaic.shape
    main: list[Tag] = [
        (254, 4, (0,)),
        (256, 4, (width,)),
        (257, 4, (height,)),
        (258, 3, (16,)),
        (259, 3, (1,)),
        (271, 2, "Maker"),
        (272, 2, "Camera X"),
        (274, 3, (orientation,)),
        (277, 3, (1,)),
        (278, 4, (height,)),
        (279, 4, (mosaic.nbytes,)),
        (50706, 1, (1, 4, 0, 0)),
        (50707, 1, (1, 1, 0, 0)),
        (50708, 2, "Camera X"),
        (50714, 3, (BLACK,)),
        (50717, 3, (WHITE,)),
        (50778, 3, (21,)),
        *colours,
        *tags,
    ]
    places: list[Tag] = [(273, 4, (0,)), *([(34665, 4, (0,))] if exif else [])]
    length = len(_directory([*main, *places], 8))
    details = _directory(exif, 8 + length) if exif else b""
    places = [(273, 4, (8 + length + len(details),)), *([(34665, 4, (8 + length,))] if exif else [])]
    path.write_bytes(b"II*\0\x08\0\0\0" + _directory([*main, *places], 8) + details + mosaic.tobytes())


def _directory(entries: Sequence[Tag], place: int) -> bytes:
    """Return a directory of TIFF that lies at ``place``, with what does not fit into its cells behind it."""
    table, data = struct.pack("<H", len(entries)), b""
    behind = place + 2 + 12 * len(entries) + 4
    for code, kind, values in sorted(entries, key=lambda entry: entry[0]):
        packed = _packed(kind, values)
        count = len(packed) if kind == 2 else len(values)
        cell = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", behind + len(data))
        table += struct.pack("<HHI", code, kind, count) + cell
        if len(packed) > 4:
            data += packed + b"\0" * (len(packed) % 2)
    return table + b"\0\0\0\0" + data


def _packed(kind: int, values: Any) -> bytes:
    if kind == 2:
        return values.encode() + b"\0"
    if kind in (5, 10):
        pair = "<II" if kind == 5 else "<ii"
        return b"".join(struct.pack(pair, round(value * 10000), 10000) for value in values)
    return struct.pack(f"<{len(values)}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }", *values)
