"""Pictures and maps as TIFF, PNG and JPEG, with what is known of them."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from toposcope.core.calibration import Unit
from toposcope.core.channels import ChannelPicture
from toposcope.core.export.writing import together, whole_file, write_bytes
from toposcope.core.result import DepthResult
from toposcope.core.stack import FrameTags, Plane, full_scale
from toposcope.errors import OutputError

NO_TAGS: Final = FrameTags()
PICTURE_SUFFIXES: Final = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
MAX_JPEG_EXIF: Final = 65_527
"""Bytes of EXIF that fit into the one segment which a JPEG has for it; larger blocks are left out."""

_EXIF_HEAD: Final = b"Exif\x00\x00"
_TIFF_TAGS: Final = (271, 272, 306, 315, 33432)  # maker, model, time, artist, copyright


def write_image(picture: Plane, path: Path | str, tags: FrameTags = NO_TAGS, pixel_um: float | None = None) -> None:
    """Write a picture in the format that the suffix of ``path`` names, with EXIF, ICC profile and pixel size.

    Parameters
    ----------
    picture : (H, W) or (H, W, 3) RGB; uint8 and uint16 are kept by TIFF and PNG, float32 in 0..1 by
        TIFF. PNG holds float as 16 bit, JPEG everything as 8 bit.

    Raises
    ------
    OutputError
        If the suffix is none of .tif, .png and .jpg, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        _write_tiff(picture, path, tags, pixel_um)
    elif suffix == ".png":
        write_bytes(path, _png(picture if picture.dtype != np.float32 else in_bits(picture, 16), tags, pixel_um))
    elif suffix in (".jpg", ".jpeg"):
        buffer = io.BytesIO()
        extras: dict[str, Any] = {"icc_profile": tags.icc} if tags.icc else {}
        if tags.exif and len(tags.exif) < MAX_JPEG_EXIF:
            extras["exif"] = tags.exif if tags.exif.startswith(_EXIF_HEAD) else _EXIF_HEAD + tags.exif
        image = Image.fromarray(np.ascontiguousarray(in_bits(picture, 8)))
        image.save(buffer, "JPEG", quality=95, subsampling=0, **extras)
        write_bytes(path, buffer.getvalue())
    else:
        raise OutputError(f"{path.name} names no picture format that can be written. End it in .tif, .png or .jpg.")


def write_channels(pictures: Sequence[ChannelPicture], path: Path | str, pixel_um: float | None = None) -> None:
    """Write the all-in-focus pictures of several channels as one OME-TIFF, names and pixel size included.

    All are brought to the bit depth of the deepest, grey pictures to colour if one is in colour.

    Raises
    ------
    OutputError
        If the file cannot be written, or its name does not end with .ome.tif.
    """
    path = Path(path)
    if not path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        raise OutputError(f"{path.name} cannot hold channels; choose a name that ends with .ome.tif.")
    dtype = max((one.picture.dtype for one in pictures), key=lambda dtype: dtype.itemsize)
    colour = any(one.picture.ndim == 3 for one in pictures)
    planes = []
    for one in pictures:
        plane = one.picture
        if plane.dtype != dtype:
            unit = plane.astype(np.float64) * (full_scale(dtype) / full_scale(plane.dtype))
            plane = (unit if dtype.kind == "f" else unit.round()).astype(dtype)
        planes.append(np.repeat(plane[..., None], 3, axis=2) if colour and plane.ndim == 2 else plane)
    metadata: dict[str, Any] = {
        "axes": "CYXS" if colour else "CYX",
        "Channel": {"Name": [one.name for one in pictures]},
    }
    if pixel_um is not None:
        metadata |= {"PhysicalSizeX": pixel_um, "PhysicalSizeY": pixel_um}
        metadata |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    with whole_file(path) as file:
        tifffile.imwrite(
            file,
            np.stack(planes),
            ome=True,
            photometric="rgb" if colour else "minisblack",
            compression="zlib",
            predictor=dtype.kind != "f",
            metadata=metadata,
        )


def in_bits(picture: Plane, bits: int) -> Plane:
    """Return a picture as uint8 or uint16, scaled by full scale."""
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    if picture.dtype == dtype:
        return picture
    share = picture.astype(np.float32) / np.float32(full_scale(picture.dtype))
    values: Plane = np.rint(np.clip(share, 0, 1) * np.float32(full_scale(dtype))).astype(dtype)
    return values


def write_float_tiff(
    values: NDArray[np.float32],
    path: Path | str,
    unit: Unit | None,
    pixel_um: float | None,
    title: str = "depth",
    compressed: bool = False,
) -> None:
    """Write (H, W) float32 values as a TIFF that ImageJ opens with pixel size and unit of the values; NaN stays NaN.

    ``unit`` of the values, None for plain numbers such as a confidence. Uncompressed files can be
    memory-mapped; zlib is what ImageJ reads of compressions.
    """
    known = values[np.isfinite(values)]
    metadata: dict[str, Any] = {"axes": "YX", "title": title}
    if known.size:
        metadata |= {"min": float(known.min()), "max": float(known.max())}
    if unit is not None and unit != "index":
        # ImageJ's own words for "grey value = 0 + 1 * value, in this unit"
        metadata |= {"cf": 0, "c0": 0.0, "c1": 1.0, "vunit": unit}
    resolution = None
    if pixel_um is not None:
        metadata["unit"] = "um"
        resolution = (1 / pixel_um, 1 / pixel_um)
    with whole_file(path) as file:
        tifffile.imwrite(
            file,
            np.ascontiguousarray(values, np.float32),
            imagej=True,
            resolution=resolution,
            metadata=metadata,
            compression="zlib" if compressed else None,
        )


def pixel_size(result: DepthResult) -> float | None:
    """Return the side of a pixel in micrometres, None where unknown."""
    return None if result.pixel_um is None else result.pixel_um.value


def write_depth_tiff(result: DepthResult, path: Path | str) -> None:
    """Write the depth as float32 TIFF: position of best focus in the stack's unit, NaN where not known."""
    write_float_tiff(result.depth, path, result.unit, pixel_size(result))


def write_confidence_tiff(result: DepthResult, path: Path | str) -> None:
    """Write the confidence, 0..1, as float32 TIFF."""
    write_float_tiff(result.confidence, path, None, pixel_size(result), "confidence")


def write_depth_png16(result: DepthResult, path: Path | str) -> Path:
    """Write the depth as 16-bit PNG, and how to read it in text chunks and in a JSON file beside it.

    depth = offset + scale * value, in the stack's unit; value 0 means that the depth is not known.
    Returns the path of the JSON file.
    """
    path = Path(path)
    known = result.depth[result.valid]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    scale = (high - low) / 65534 or 1.0
    offset = low - scale
    values = np.zeros(result.shape, np.uint16)
    values[result.valid] = np.rint((known.astype(np.float64) - offset) / scale).clip(1, 65535)
    facts: dict[str, Any] = {
        "scale": scale,
        "offset": offset,
        "unit": result.unit,
        "void": 0,
        "meaning": "depth = offset + scale * value; value 0: not known",
        "near": result.near.value,
        "pixel_um": pixel_size(result),
    }
    texts = {key.capitalize(): str(value) for key, value in facts.items() if value is not None}
    beside = path.with_suffix(".json")
    with together():
        write_bytes(path, _png(values, NO_TAGS, facts["pixel_um"], texts))
        write_bytes(beside, (json.dumps(facts, indent=1) + "\n").encode())
    return beside


def _write_tiff(picture: Plane, path: Path, tags: FrameTags, pixel_um: float | None) -> None:
    extras: dict[str, Any] = {"iccprofile": tags.icc} if tags.icc else {}
    if pixel_um is not None:
        extras |= {"resolution": (1e4 / pixel_um, 1e4 / pixel_um), "resolutionunit": "CENTIMETER"}
    texts = _exif_texts(tags.exif)
    with whole_file(path) as file:
        tifffile.imwrite(
            file,
            np.ascontiguousarray(picture),
            photometric="rgb" if picture.ndim == 3 else "minisblack",
            compression="zlib",
            predictor=True,
            metadata=None,
            extratags=[(code, 2, None, text, True) for code, text in texts.items()],
            **extras,
        )


def _exif_texts(exif: bytes | None) -> dict[int, str]:
    """Return camera, time and rights from an EXIF block: what a TIFF can carry in tags of its own."""
    if not exif:
        return {}
    block = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            block.load(exif)
        except Exception:  # noqa: BLE001  cameras write odd blocks, and a picture without them is better than none
            return {}
    # TIFF texts are ASCII by their own law
    texts = {
        code: str(block[code]).strip("\x00 ").encode("ascii", "replace").decode()
        for code in _TIFF_TAGS
        if code in block
    }
    return {code: text for code, text in texts.items() if text}


def _png(picture: Plane, tags: FrameTags, pixel_um: float | None, texts: Mapping[str, str] | None = None) -> bytes:
    """Return a PNG file; 16-bit colour stays 16 bit."""
    plain = bytes(imagecodecs.png_encode(np.ascontiguousarray(picture), level=4, filter=16))
    chunks = []
    if tags.icc:
        chunks.append(_chunk(b"iCCP", b"ICC profile\x00\x00" + zlib.compress(tags.icc)))
    if pixel_um is not None:
        per_metre = min(round(1e6 / pixel_um), 2**31 - 1)
        chunks.append(_chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1)))
    chunks += [
        _chunk(b"tEXt", key.encode("latin-1") + b"\x00" + value.encode("latin-1"))
        for key, value in (texts or {}).items()
    ]
    if tags.exif:
        chunks.append(_chunk(b"eXIf", tags.exif.removeprefix(_EXIF_HEAD)))
    head = 8 + 25  # signature and IHDR, which come first
    return plain[:head] + b"".join(chunks) + plain[head:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
