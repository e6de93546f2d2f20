"""One image file: what its header says, and its pixels in their own bit depth.

Headers are read without decoding pixels, so that a folder of big frames opens at once; files that
are cut short are found then, by their end markers. Nothing here keeps a file open, so that reading
is thread-safe and a file that is gone is noticed.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, WebPImagePlugin  # noqa: F401  Pillow knows formats only once their plugin is imported

from toposcope.core.calibration import Sourced
from toposcope.core.stack import FrameTags, Plane, reduce_plane
from toposcope.errors import ToposcopeError

MAX_PIXELS: Final = 200_000_000
"""Larger frames are refused: one would take more than a gigabyte as float32 colour."""

SUFFIXES: Final = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"))

_FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP")
_TAIL: Final = 65536
_ORIENTATION, _DATE_TIME, _EXIF_IFD = 274, 306, 34665
_TAKEN, _FRACTION, _DISTANCE = 36867, 37521, 37382
_REDUCED: Final = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_REDUCED_GREY: Final = {
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

Image.MAX_IMAGE_PIXELS = None  # size_problem bounds them, with a sentence of ours
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # we tell of broken files in our own words
warnings.filterwarnings("ignore", module="PIL")  # it warns of odd EXIF, which is no matter here


class Unreadable(Exception):  # noqa: N818  callers make a FrameError of it, with the frame's name
    """A file holds no image that can be read; the text goes on from the file's name."""


@dataclass(frozen=True, slots=True)
class Development:
    """How a camera RAW file is developed: ``gains`` of red, green, blue and second green, None for daylight."""

    gains: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What is known of an image file before its pixels are decoded.

    ``shape`` is as stored, before ``orientation`` (EXIF, 1..8) is applied. ``taken`` sorts by time;
    ``distance_m`` is EXIF's SubjectDistance, ``z`` a microscope's focus position and ``pixel_um``
    its pixel size, both in micrometres. ``pages`` above 1 tells a file that is a stack of its own, ``page`` which
    of its images this is. ``bits`` are those of a channel in the file, fewer than ``dtype`` has where tones are
    spread; ``development`` is for camera RAW only, None for the camera's own.
    """

    path: Path
    format: str
    shape: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    bytes: int
    orientation: int = 1
    taken: str | None = None
    camera: str | None = None
    distance_m: float | None = None
    z: Sourced[float] | None = None
    pixel_um: Sourced[float] | None = None
    pages: int = 1
    page: int = 0
    bits: int = 0
    development: Development | None = None


def system_path(path: Path) -> str:
    """Return the path as the system opens it; Windows needs a prefix for very long ones."""
    text = os.path.abspath(path)
    if sys.platform == "win32" and len(text) >= 240 and not text.startswith("\\\\?\\"):
        return "\\\\?\\UNC\\" + text[2:] if text.startswith("\\\\") else "\\\\?\\" + text
    return text


def is_device(path: Path) -> bool:
    """Return whether it is a pipe or the like, of which reading may wait for ever."""
    text = system_path(path)
    return os.path.exists(text) and not os.path.isfile(text) and not os.path.isdir(text)


@contextmanager
def as_unreadable(damage: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads into `Unreadable`; ``damage`` is what to say if all is unclear."""
    try:
        yield
    except (Unreadable, ToposcopeError):
        raise
    except OSError as error:
        raise Unreadable(access_problem(error)) from error
    except MemoryError as error:
        raise Unreadable("is damaged: it asks for more memory than there is") from error
    except Exception as error:
        raise Unreadable(damage) from error


def access_problem(error: OSError) -> str:
    """Return what an error of the file system means, to go on from a file's name."""
    if isinstance(error, FileNotFoundError):
        return "is gone: it was moved, renamed or deleted"
    if isinstance(error, PermissionError):
        return "cannot be opened: you have no permission to read it"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image"
    return f"cannot be read: {error.strerror or error}"


def size_problem(shape: tuple[int, int]) -> str | None:
    """Return why frames of this shape are not taken, None if they are."""
    height, width = shape
    if height < 1 or width < 1:
        return "has no pixels"
    if height * width > MAX_PIXELS:
        return (
            f"has {height * width / 1e6:.0f} megapixels ({width} x {height}); at most {MAX_PIXELS // 10**6} can be read"
        )
    return None


def read_header(path: Path) -> ImageHeader:
    """Read the header of a JPEG, PNG, BMP or WebP file and look whether the file is whole.

    Raises
    ------
    Unreadable
        If it is missing, no such image, cut short or too large.
    """
    try:
        with open(system_path(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise Unreadable("is empty (0 bytes)")
            header = _header(path, file, size)
            if not _is_whole(file, header.format, size):
                raise Unreadable("is cut short: its end is missing")
    except OSError as error:
        raise Unreadable(access_problem(error)) from error
    return header


def _header(path: Path, file: io.BufferedReader, size: int) -> ImageHeader:
    start = file.read(64)
    file.seek(0)
    if _declared_size(start) > size:
        raise Unreadable("is cut short: its end is missing")
    try:
        with Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            grey = image.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "F")
            # Pillow's getexif would decode a whole PNG to look for it behind the pixels
            facts = exif_facts(exif_of(image.info.get("exif")))
            kind = "jpeg" if image.format == "MPO" else str(image.format).lower()
    except Exception as error:
        raise Unreadable(not_an_image(start)) from error  # a broken header may raise anything in the decoders
    problem = size_problem((height, width))
    if problem:
        raise Unreadable(problem)
    sixteen = kind == "png" and start[24] == 16
    raw = width * height * (1 if grey else 3) * (2 if sixteen else 1)
    # deflate packs at most 1032:1 and a JPEG block of 64 pixels takes at least a bit or so
    if (kind == "png" and raw > 8 * 1100 * size) or (kind == "jpeg" and width * height > 4096 * size):
        raise Unreadable(f"is damaged: {width} x {height} pixels cannot come from {size} bytes")
    return ImageHeader(
        path, kind, (height, width), 1 if grey else 3, np.dtype(np.uint16 if sixteen else np.uint8), size, **facts
    )


def not_an_image(start: bytes) -> str:
    """Return what a file is that begins with ``start`` and holds no image, to go on from its name."""
    if start.isascii() and start.decode("ascii").isprintable():
        return f"is text, not an image; it begins with {start[:24].decode('ascii')!r}"
    try:
        text = start.decode("utf-8", errors="ignore")
        if text and all(character.isprintable() or character.isspace() for character in text):
            return f"is text, not an image; it begins with {text[:24].strip()!r}"
    except UnicodeDecodeError:
        pass
    return "is no image that can be read, or is damaged"


def exif_of(block: object) -> Image.Exif | None:
    """Return the EXIF of a block of bytes, None where there is none or it is broken."""
    if not isinstance(block, bytes) or not block:
        return None
    exif = Image.Exif()
    try:
        exif.load(block)
        exif.get_ifd(_EXIF_IFD)
    except Exception:  # noqa: BLE001  EXIF is a courtesy: an image with broken EXIF is still an image
        return None
    return exif


def exif_facts(exif: Image.Exif | None) -> dict[str, Any]:
    """Return the facts for `ImageHeader` that EXIF holds."""
    if exif is None:
        return {}
    detail = exif.get_ifd(_EXIF_IFD)
    orientation = exif.get(_ORIENTATION, 1)
    taken = detail.get(_TAKEN) or exif.get(_DATE_TIME)
    camera = " ".join(str(exif[code]).strip("\0 ") for code in (271, 272) if exif.get(code))
    return {
        "orientation": orientation if orientation in range(1, 9) else 1,
        "taken": f"{taken}.{detail.get(_FRACTION, '')}" if taken else None,
        "camera": camera[:80] or None,
        "distance_m": _distance(detail.get(_DISTANCE)),
    }


def _distance(value: Any) -> float | None:
    """Return SubjectDistance in metres; EXIF writes 0 for unknown and 0xFFFFFFFF for infinity."""
    try:
        distance = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return distance if 0 < distance < 1e6 else None


def _is_whole(file: io.BufferedReader, kind: str, size: int) -> bool:
    """Return whether the file's own end is there; further data after it do no harm."""
    if kind == "jpeg":
        file.seek(max(0, size - _TAIL))
        tail = file.read()
        # a small file is all tail: the end marker of an embedded thumbnail must not pass for its own
        return b"\xff\xd9" in tail[_scan_start(tail) :] if size <= _TAIL else b"\xff\xd9" in tail or _has_end(file)
    if kind == "png":
        file.seek(max(0, size - _TAIL))
        return b"IEND\xae\x42\x60\x82" in file.read() or _contains(file, b"IEND\xae\x42\x60\x82")
    return True


def _declared_size(start: bytes) -> int:
    """Return how long a WebP or uncompressed BMP file says that it is, 0 for others."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return 8 + int(struct.unpack_from("<I", start, 4)[0])
    if start[:2] == b"BM" and len(start) >= 34:
        offset, _, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", start, 10)
        return int(offset + (width * bits + 31) // 32 * 4 * abs(height)) if compression == 0 else 0
    return 0


def _scan_start(data: bytes) -> int:
    """Return where the pixels of a JPEG begin: after the header segments, thumbnails included."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xDA:
            return place
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            place += 1 if marker == 0xFF else 2
            continue
        place += 2 + int(struct.unpack(">H", data[place + 2 : place + 4])[0])
    return min(place, len(data))


def _has_end(file: io.BufferedReader) -> bool:
    file.seek(0)
    data = file.read()
    return data.rfind(b"\xff\xd9", _scan_start(data)) >= 0


def _contains(file: io.BufferedReader, mark: bytes) -> bool:
    file.seek(0)
    return mark in file.read()


def read_pixels(header: ImageHeader, scale: int = 1) -> Plane:
    """Decode the pixels as stored, grey or RGB as the header says, reduced by ``scale``.

    JPEG is reduced while it is decoded (by scaled DCT), which saves most of the time; others are
    decoded whole and averaged.

    Raises
    ------
    Unreadable
        If the file is gone, changed, cut short or damaged.
    """
    try:
        with open(system_path(header.path), "rb") as file:
            if os.fstat(file.fileno()).st_size > 64 * 2**20 + 16 * header.shape[0] * header.shape[1]:
                raise Unreadable("is far larger than its pixels are; it is not read")
            data = file.read()
    except OSError as error:
        raise Unreadable(access_problem(error)) from error
    jpeg = header.format == "jpeg"
    if len(data) < header.bytes or (jpeg and data.rfind(b"\xff\xd9", _scan_start(data)) < 0):
        raise Unreadable("is cut short: its end is missing")
    if jpeg and scale > 1:
        flags = (_REDUCED_GREY if header.channels == 1 else _REDUCED)[scale]
        plane = _decode(data, flags)
        expected = -(-header.shape[0] // scale), -(-header.shape[1] // scale)
        if header.channels == 3 and plane.ndim == 3:
            plane = cv2.cvtColor(plane, cv2.COLOR_BGR2RGB)
        scale = 1
    else:
        grey = header.channels == 1
        if header.format == "png":
            plane = _decode_png(data, grey)
        else:
            plane = _decode(data, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB)
        expected = header.shape
    if plane.shape[:2] != expected or plane.dtype != header.dtype:
        raise Unreadable("was changed while the stack was open; open the stack again")
    return reduce_plane(plane, scale)


def _decode(data: bytes, flags: int) -> Plane:
    try:
        plane: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise Unreadable("is damaged and cannot be decoded") from error
    if plane is None:
        raise Unreadable("is damaged and cannot be decoded")
    return plane


def _decode_png(data: bytes, grey: bool) -> Plane:
    """Decode by imagecodecs, which is quicker here than OpenCV and refuses damage without noise."""
    try:
        plane: NDArray[Any] = imagecodecs.png_decode(data)
    except Exception as error:
        raise Unreadable("is damaged and cannot be decoded") from error
    if plane.ndim == 3:  # palettes come as colour; alpha is left out
        plane = np.ascontiguousarray(plane[..., 0] if grey else plane[..., :3])
    return plane


def read_tags(header: ImageHeader, upright: bool) -> FrameTags:
    """Return EXIF and ICC of the file; ``upright`` tells that its orientation was applied."""
    try:
        with open(system_path(header.path), "rb") as file, Image.open(file, formats=_FORMATS) as image:
            exif, icc = image.info.get("exif"), image.info.get("icc_profile")
    except OSError as error:
        raise Unreadable(access_problem(error)) from error
    except Exception as error:
        raise Unreadable("is damaged") from error
    if not isinstance(exif, bytes) or not exif:
        exif = None
    elif upright:
        exif = with_orientation_upright(exif)
    return FrameTags(exif, icc if isinstance(icc, bytes) and icc else None)


def with_orientation_upright(exif: bytes) -> bytes:
    """Return an EXIF block whose orientation is 1, all else untouched.

    The value is changed in place: writing the block anew would move the maker's notes, whose own
    offsets then point to nothing.
    """
    head = 6 if exif[:6] == b"Exif\0\0" else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[head : head + 2])
    if order is None or len(exif) < head + 8:
        return exif
    place = head + int(struct.unpack_from(order + "I", exif, head + 4)[0])
    if place + 2 > len(exif):
        return exif
    for k in range(int(struct.unpack_from(order + "H", exif, place)[0])):
        entry = place + 2 + 12 * k
        if entry + 12 > len(exif):
            break
        if struct.unpack_from(order + "HHI", exif, entry) == (_ORIENTATION, 3, 1):
            return exif[: entry + 8] + struct.pack(order + "H", 1) + exif[entry + 10 :]
    return exif


def turn(plane: Plane, orientation: int) -> Plane:
    """Return the plane as it is to be looked at, by EXIF orientation 1..8."""
    if orientation in (5, 6, 7, 8):
        plane = plane.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        plane = plane[::-1]
    if orientation in (2, 3, 6, 7):
        plane = plane[:, ::-1]
    return np.ascontiguousarray(plane)
