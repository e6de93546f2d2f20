"""HEIC and AVIF photographs: HEIC by the package pi-heif, AVIF by what is there anyway.

10 and 12 bit are spread over 16. A HEIC file with several images is a stack of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any, Final

import imagecodecs
import numpy as np
from PIL import Image, features

from toposcope.core.packages import Package
from toposcope.core.source.boxes import are_whole, boxes
from toposcope.core.source.image_file import (
    ImageHeader,
    Unreadable,
    access_problem,
    as_unreadable,
    exif_facts,
    exif_of,
    not_an_image,
    size_problem,
    system_path,
    with_orientation_upright,
)
from toposcope.core.stack import FrameTags, Plane, reduce_plane

HEIC_SUFFIXES: Final = (".heic", ".heif", ".hif")
AVIF_SUFFIXES: Final = (".avif",)
HEIC_PACKAGE: Final = Package("pi-heif", "pi_heif", "heic")

_AVIF_BRANDS: Final = (b"avif", b"avis")
_HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_DAMAGED: Final = "is damaged and cannot be decoded"


def heif_kind(start: bytes) -> str | None:
    """Return "avif" or "heic" by the first 64 bytes of a file, None for others."""
    if start[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(start[:4], "big"), len(start))
    brands = [start[8:12], *(start[k : k + 4] for k in range(16, length - 3, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "avif"
    return "heic" if any(brand in _HEIC_BRANDS for brand in brands) else None


def read_heif_header(path: Path, kind: str) -> ImageHeader:
    """Read the header of a HEIC or AVIF file, as `heif_kind` told, and look whether the file is whole.

    Raises
    ------
    Unreadable
        If it is missing, no photograph, cut short or too large.
    """
    try:
        with open(system_path(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not are_whole(file, size):
                raise Unreadable("is cut short: its end is missing")
            file.seek(0)
            start = file.read(64)
            with as_unreadable(_DAMAGED):
                if kind == "heic" and not _has_names(file):
                    raise Unreadable(_DAMAGED)
        with as_unreadable(not_an_image(start)):
            header = _heic_header(path, size) if kind == "heic" else _avif_header(path, size)
    except OSError as error:
        raise Unreadable(access_problem(error)) from error
    problem = size_problem(header.shape)
    if problem:
        raise Unreadable(problem)
    return header


def _has_names(file: IO[bytes]) -> bool:
    """Return whether kinds and names of the file's items are text: where they are not, pi-heif ends the process."""
    for meta in boxes(file, 0, None):
        if meta.kind != b"meta":
            continue
        for items in boxes(file, meta.start + 4, meta.end):
            if items.kind != b"iinf":
                continue
            file.seek(items.start)
            first = items.start + (6 if file.read(1) == b"\0" else 8)
            for item in boxes(file, first, items.end):
                file.seek(item.start + 8)
                try:
                    file.read(max(0, min(item.end, items.end) - item.start - 8)).decode("utf-8")
                except UnicodeDecodeError:
                    return False
    return True


def _heic_header(path: Path, size: int) -> ImageHeader:
    images = _heic_images(path)
    place = next((k for k, image in enumerate(images) if image.info.get("primary")), 0)
    image = images[place]
    alike = sum(one.size == image.size and one.mode == image.mode for one in images) == len(images)
    facts = exif_facts(exif_of(image.info.get("exif")))
    facts["orientation"] = 1  # it is turned while it is decoded: the file says twice how
    bits = int(image.info.get("bit_depth") or 8)
    return ImageHeader(
        path,
        "heic",
        (image.size[1], image.size[0]),
        1 if image.mode[0] in "LI" else 3,
        np.dtype(np.uint16 if bits > 8 else np.uint8),
        size,
        **facts,
        pages=len(images) if alike else 1,
        page=place,
        bits=bits,
    )


def _heic_images(path: Path) -> Any:
    import pi_heif

    with open(system_path(path), "rb") as file:
        images = pi_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    if len(images) == 0:
        raise Unreadable("holds no photograph")
    return images


def _avif_header(path: Path, size: int) -> ImageHeader:
    if not features.check("avif"):
        raise Unreadable("is AVIF, which this build of Pillow does not read; save it as PNG")
    with open(system_path(path), "rb") as file:
        data = file.read()
    with Image.open(system_path(path), formats=("AVIF",)) as image:
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1:
            raise Unreadable(f"is a film of {frames} pictures, no photograph; save them as PNG")
        width, height = image.size
        facts = exif_facts(exif_of(image.info.get("exif")))
        grey = image.mode in ("L", "LA")
    bits = _av1_bits(data)
    dtype = np.dtype(np.uint16 if bits > 8 else np.uint8)
    return ImageHeader(path, "avif", (height, width), 1 if grey else 3, dtype, size, **facts, bits=bits)


def _av1_bits(data: bytes) -> int:
    """Return the bits of a channel, by the first description of AV1 in the file."""
    place = data.find(b"av1C")
    if not 0 <= place < len(data) - 6:
        return 8
    flags = data[place + 6]
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def read_heif_pixels(header: ImageHeader, scale: int = 1) -> Plane:
    """Decode the pixels, grey or RGB as the header says, reduced by ``scale``.

    Raises
    ------
    Unreadable
        If the file is gone, changed, cut short or damaged.
    """
    with as_unreadable(_DAMAGED):
        if header.format == "heic":
            images = _heic_images(header.path)
            # a copy: the pixels belong to the library and go with the file
            plane: Plane = np.array(images[min(header.page, len(images) - 1)])
        else:
            with open(system_path(header.path), "rb") as file:
                plane = imagecodecs.avif_decode(file.read())
    if plane.ndim == 3:
        plane = plane[..., 0] if header.channels == 1 else plane[..., :3]
    elif header.channels == 3:
        plane = np.repeat(plane[..., None], 3, axis=2)
    if plane.shape[:2] != header.shape or plane.dtype != header.dtype:
        raise Unreadable("was changed while the stack was open; open the stack again")
    return reduce_plane(_spread(plane, header.bits), scale)


def _spread(plane: Plane, bits: int) -> Plane:
    """Return 10 or 12 bit spread over 16, black and white kept."""
    if plane.dtype != np.uint16 or bits >= 16:
        return np.ascontiguousarray(plane)
    return (plane << (16 - bits)) | (plane >> (2 * bits - 16))


def read_heif_tags(header: ImageHeader, upright: bool) -> FrameTags:
    """Return EXIF and ICC of the file; ``upright`` tells that its orientation was applied."""
    with as_unreadable("is damaged"):
        if header.format == "heic":
            images = _heic_images(header.path)
            info, upright = images[min(header.page, len(images) - 1)].info, True
        else:
            with Image.open(system_path(header.path), formats=("AVIF",)) as image:
                info = dict(image.info)
    exif, icc = info.get("exif"), info.get("icc_profile")
    if isinstance(exif, bytes) and exif and upright:
        exif = with_orientation_upright(exif)
    return FrameTags(
        exif if isinstance(exif, bytes) and exif else None, icc if isinstance(icc, bytes) and icc else None
    )
