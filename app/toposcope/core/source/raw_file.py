"""One camera RAW file, by the package rawpy (LibRaw): what its header says, and its pixels developed to 16-bit sRGB.

All frames of a stack are developed alike, or their sharpness and brightness could not be compared: nothing that
LibRaw would choose by the content of a picture is left to it (brightness, white level), and the white balance is
that of one frame, see `developed_alike`. Tones are those of sRGB, not linear: noise is then about as strong in
shadows as in highlights, as it is in the JPEG files that the methods were measured with, and pictures look right
in every program. Nothing that the sensor has kept is clipped but by the white balance.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from PIL import Image, ImageCms

from toposcope.core.packages import Package
from toposcope.core.source.boxes import are_whole, boxes
from toposcope.core.source.image_file import (
    Development,
    ImageHeader,
    Unreadable,
    access_problem,
    exif_facts,
    not_an_image,
    size_problem,
    system_path,
)
from toposcope.core.stack import FrameTags, Plane, reduce_plane

RAW_SUFFIXES: Final = tuple(
    ".3fr .arw .cr2 .cr3 .crw .dng .erf .fff .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 "
    ".srf .srw .x3f".split()
)
RAW_PACKAGE: Final = Package("rawpy", "rawpy", "raw")

_CONVERT: Final = "Convert it to DNG or develop it to 16-bit TIFF"
_ORIENTATIONS: Final = (1, 2, 4, 3, 5, 8, 6, 7)
"""EXIF orientations by LibRaw's flip: 1 mirrors columns, 2 mirrors rows, 4 swaps both before."""
_MAGIC: Final = {b"II": (b"\x2a\0", b"\x55\0", b"RO", b"RS"), b"MM": (b"\0\x2a", b"OR")}
"""What follows the byte order in TIFF, and in Panasonic's and Olympus' own kinds of it."""
_WELL_FORMED: Final = (".arw", ".cr2", ".dng", ".nef", ".pef")
"""Files whose tables of contents are those of TIFF, so that they tell whether the end is there."""
_CANON: Final = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
_KEPT: Final = frozenset((270, 271, 272, 305, 306, 315, 33432))
_KEPT_DETAILS: Final = frozenset(
    (33434, 33437, 34850, 34855, 34864, 34866, 36864, 36867, 36868, 36880, 36881, 36882, *range(37377, 37387))
).union((37520, 37521, 37522, 41486, 41487, 41488), range(41985, 41997), range(42032, 42038))
"""Exposure, times, lens and camera: what still holds when a photograph has been developed."""
_EXIF_IFD, _GPS_IFD = 34665, 34853
# a decoder works on all cores and holds several copies of a frame: two at a time gain nothing
_DECODING: Final = threading.Lock()


def is_raw_start(start: bytes) -> bool:
    """Tell by the first 16 bytes whether it may be a camera RAW file; files that are called so decide the rest."""
    return start[:2] in _MAGIC or start[4:12] == b"ftypcrx " or start.startswith((b"FUJIFILM", b"FOVb", b"\0MRM"))


def read_raw_header(path: Path) -> ImageHeader:
    """Read what LibRaw and EXIF tell of a RAW file, without its pixels.

    Raises
    ------
    Unreadable
        If it is missing, of no camera that LibRaw knows, cut short or too large.
    """
    import rawpy

    try:
        with open(system_path(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise Unreadable("is empty (0 bytes)")
            start = file.read(64)
            is_whole = _is_whole(path, file, start, size)
            exif = _read_exif(file, start)
    except OSError as error:
        raise Unreadable(access_problem(error)) from error
    raw = rawpy.RawPy()
    try:
        _open(raw, path)
        if not is_whole:  # tables of contents may be wrong: LibRaw knows whether it misses what they promise
            raw.unpack()
        sizes, colours = raw.sizes, raw.num_colors  # rawpy would decode the pixels to tell more
    except Exception as error:
        raise Unreadable(_problem(error, start) if is_whole else "is cut short: its end is missing") from error
    finally:
        raw.close()
    shape = _square(sizes.height, sizes.width, sizes.pixel_aspect)
    problem = size_problem(shape)
    if problem:
        raise Unreadable(problem)
    facts = exif_facts(exif)
    facts["orientation"] = _ORIENTATIONS[sizes.flip] if sizes.flip in range(8) else 1
    channels = 1 if colours == 1 else 3
    return ImageHeader(path, "raw", shape, channels, np.dtype(np.uint16), size, **facts)


def _open(raw: Any, path: Path) -> None:
    """Open a file by LibRaw, which takes names in UTF-8 only: files that are called otherwise are read here."""
    name = system_path(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        with open(name, "rb") as file:
            raw.open_buffer(file)
    else:
        raw.open_file(name)


def _square(height: int, width: int, aspect: float) -> tuple[int, int]:
    """Return the shape after LibRaw has made oblong pixels of some old cameras square."""
    if not 0.1 < aspect < 10 or abs(aspect - 1) < 0.005:
        return height, width
    return (int(height / aspect + 0.5), width) if aspect < 1 else (height, int(width * aspect + 0.5))


def _gains(told: Sequence[float], colours: int) -> tuple[float, float, float, float] | None:
    """Return the camera's white balance with a green of 1, None where it tells none."""
    if colours == 1:
        return 1.0, 1.0, 1.0, 1.0
    red, green, blue, second = (float(value) for value in told)
    if not all(np.isfinite(value) and value > 0 for value in (red, green, blue)):
        return None
    return red / green, 1.0, blue / green, second / green if np.isfinite(second) and second > 0 else 1.0


def _problem(error: Exception, start: bytes) -> str:
    """Return what an error of LibRaw means, to go on from the file's name."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        return access_problem(error)
    if not is_raw_start(start):
        return not_an_image(start)
    if "FileUnsupported" in name or "NotImplemented" in name:
        return f"is of a camera, or packed in a way, that LibRaw {_version()} does not read. {_CONVERT}"
    if "Memory" in name or "TooBig" in name:
        return "is damaged: it asks for more memory than there is"
    if "IOError" in name:
        return "is cut short or damaged"
    return f"is damaged, or packed in a way that LibRaw {_version()} does not read"


def _version() -> str:
    import rawpy

    return ".".join(str(number) for number in rawpy.libraw_version)


def developed_alike(
    headers: Sequence[ImageHeader], names: Sequence[str]
) -> tuple[tuple[ImageHeader, ...], tuple[str, ...]]:
    """Return the headers with the white balance of the first RAW file for all of them, and a note what was done.

    Whether it differs is looked for in the middle and at the end, since each look decodes a file.
    """
    raw = [k for k, header in enumerate(headers) if header.format == "raw"]
    if not raw:
        return tuple(headers), ()
    looked = {k: _camera_balance(headers[k]) for k in (raw[0], raw[len(raw) // 2], raw[-1])}
    told = {k: found for k, found in looked.items() if found is not None}
    first = min(told, default=raw[0])
    model = told.get(first, Development(None))
    alike = tuple(replace(header, development=model) if header.format == "raw" else header for header in headers)
    if headers[raw[0]].channels == 1:
        return alike, ("camera RAW, developed to 16 bit without automatic brightness",)
    if model.gains is None:
        balance = "white balance for daylight, since the files tell none"
    else:
        balance = f"white balance of {names[first]} for all"
        if any(_differs(found, model) for found in told.values()):
            balance += ", though it differs between the photographs"
    return alike, (f"camera RAW, developed to 16-bit sRGB without automatic brightness; {balance}",)


def _camera_balance(header: ImageHeader) -> Development | None:
    """Return the camera's own white balance, None where the file cannot be decoded: whoever reads it tells why."""
    import rawpy

    try:
        with _DECODING, rawpy.RawPy() as raw:
            _open(raw, header.path)
            return Development(_gains(raw.camera_whitebalance, raw.num_colors))
    except Exception:  # noqa: BLE001  a library may raise anything
        return None


def _differs(one: Development, other: Development) -> bool:
    if one.gains is None or other.gains is None:
        return one.gains is not other.gains
    return not np.allclose(one.gains, other.gains, rtol=0.005)


def read_raw_pixels(header: ImageHeader, scale: int = 1) -> Plane:
    """Develop the pixels as stored, not turned: (H, W) or (H, W, 3) uint16, reduced by ``scale``.

    Reduced by 2 or more, each 2 x 2 pixels of the mosaic become one: nothing has to be filled in, which takes
    most of the time.

    Raises
    ------
    Unreadable
        If the file is gone, changed, damaged, or packed in a way that LibRaw does not read.
    """
    import rawpy

    start = b""
    with _DECODING:
        try:
            with open(system_path(header.path), "rb") as file:
                start = file.read(64)
            with rawpy.RawPy() as raw:
                _open(raw, header.path)
                raw.unpack()
                own = Development(_gains(raw.camera_whitebalance, raw.num_colors))
                gains = (header.development or own).gains
                x_trans = raw.raw_pattern is not None and raw.raw_pattern.shape == (6, 6)
                developed = raw.postprocess(
                    # depth and picture of rendered stacks are as exact as by LibRaw's own choice, AHD, which takes
                    # half as long again
                    demosaic_algorithm=rawpy.DemosaicAlgorithm.PPG,
                    half_size=scale > 1,
                    user_wb=None if gains is None else list(gains),
                    output_bps=16,
                    gamma=(2.4, 12.92),
                    no_auto_bright=True,
                    adjust_maximum_thr=0.0,  # else the white level follows the brightest pixel
                    user_flip=0,
                )
        except Exception as error:
            raise Unreadable(_problem(error, start)) from error
    plane: Plane = developed[..., 0] if header.channels == 1 else developed[..., :3]
    half = -(-header.shape[0] // 2), -(-header.shape[1] // 2)
    if scale > 1 and plane.shape[:2] == half:
        scale //= 2
        plane = _whole_cells(plane, header.shape, x_trans)
    elif plane.shape[:2] != header.shape:
        raise Unreadable(f"is developed to {plane.shape[1]} x {plane.shape[0]} pixels, not as it says. {_CONVERT}")
    return reduce_plane(np.ascontiguousarray(plane), scale)


def _whole_cells(plane: Plane, shape: tuple[int, int], x_trans: bool) -> Plane:
    """Fill the border of a frame at half the size where its 2 x 2 pixels held not all colours."""
    top, left = int(x_trans), int(x_trans)
    below, right = int(x_trans or shape[0] % 2 == 1), int(x_trans or shape[1] % 2 == 1)
    height, width = plane.shape[:2]
    if not (below or right) or min(height, width) < 3:
        return plane
    rows = np.clip(np.arange(height), top, height - 1 - below)
    columns = np.clip(np.arange(width), left, width - 1 - right)
    return plane[rows[:, None], columns]


def read_raw_tags(header: ImageHeader) -> FrameTags:
    """Return what standard EXIF tells of the photograph, without the maker's notes, and the profile of sRGB."""
    try:
        with open(system_path(header.path), "rb") as file:
            found = _read_exif(file, file.read(64))
    except OSError as error:
        raise Unreadable(access_problem(error)) from error
    return FrameTags(_standard(found) if found is not None else None, _srgb() if header.channels == 3 else None)


def _standard(found: Image.Exif) -> bytes | None:
    """Return an EXIF block of the tags that hold for the developed picture."""
    block = Image.Exif()
    with suppress(Exception):  # EXIF is a courtesy: a picture with broken EXIF is still a picture
        for code, value in found.items():
            if code in _KEPT:
                block[code] = value
        for ifd, kept in ((_EXIF_IFD, _KEPT_DETAILS), (_GPS_IFD, frozenset(range(32)))):
            details = {code: value for code, value in found.get_ifd(ifd).items() if code in kept}
            if details:
                block.get_ifd(ifd).update(details)
        if found.get(274) is not None:
            block[274] = 1
        return block.tobytes() if len(block) or block.get_ifd(_EXIF_IFD) else None
    return None


def _srgb() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]  # the time of making is no fact


class _AsTiff(io.RawIOBase):
    """A file whose first bytes are those of TIFF, whatever its maker has put there."""

    def __init__(self, file: IO[bytes], head: bytes) -> None:
        self._file, self._head = file, head

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        place = self._file.tell()
        data = self._file.read(size)
        return self._head[place : place + len(data)] + data[max(0, len(self._head) - place) :]


def _read_exif(file: IO[bytes], start: bytes) -> Image.Exif | None:
    """Return the EXIF of a RAW file, whole while ``file`` is open; None where there is none that can be read."""
    exif = Image.Exif()
    try:
        if start[2:4] in _MAGIC.get(start[:2], ()):
            file.seek(0)
            exif.load_from_fp(_AsTiff(file, start[:2] + _MAGIC[start[:2]][0]))  # type: ignore[arg-type]
        elif start[4:12] == b"ftypcrx ":
            return _canon_exif(file)
        elif start.startswith(b"FUJIFILM"):
            file.seek(84)
            offset, length = struct.unpack(">II", file.read(8))
            file.seek(offset)
            with Image.open(io.BytesIO(file.read(min(length, 1 << 18))), formats=("JPEG",)) as preview:
                exif.load(preview.info.get("exif", b""))
        else:
            return None
        for ifd in (_EXIF_IFD, _GPS_IFD):  # they are read when asked for, and kept
            exif.get_ifd(ifd)
    except Exception:  # noqa: BLE001  a photograph with broken EXIF is still one
        return None
    return exif


def _canon_exif(file: IO[bytes]) -> Image.Exif | None:
    """Return the EXIF of a CR3, which keeps its directories in boxes of their own."""
    found: dict[bytes, Image.Exif] = {}
    for movie in boxes(file, 0, None):
        if movie.kind != b"moov":
            continue
        for box in boxes(file, movie.start, movie.end):
            file.seek(box.start)
            if box.kind == b"uuid" and file.read(16) == _CANON:
                for inner in boxes(file, box.start + 16, box.end):
                    if inner.kind in (b"CMT1", b"CMT2", b"CMT4"):
                        file.seek(inner.start)
                        found[inner.kind] = Image.Exif()
                        found[inner.kind].load(file.read(inner.end - inner.start))
    if b"CMT1" not in found:
        return None
    exif = found[b"CMT1"]
    for kind, ifd in ((b"CMT2", _EXIF_IFD), (b"CMT4", _GPS_IFD)):
        if kind in found:
            exif.get_ifd(ifd).update(dict(found[kind].items()))
    return exif


def _is_whole(path: Path, file: IO[bytes], start: bytes, size: int) -> bool:
    """Return whether the file's end is there, as far as its kind tells; the pixels tell the rest."""
    if start[4:12] == b"ftypcrx ":
        return are_whole(file, size)
    if start.startswith(b"FUJIFILM"):
        file.seek(84)
        places = file.read(24)
        if len(places) < 24:
            return False
        jpeg, jpeg_length, _, _, mosaic, mosaic_length = struct.unpack(">6I", places)
        return bool(jpeg + jpeg_length <= size and mosaic + mosaic_length <= size)
    if path.suffix.lower() in _WELL_FORMED and start[2:4] in (b"\x2a\0", b"\0\x2a"):
        try:
            return _tiff_end(file, "<" if start[:2] == b"II" else ">") <= size
        except struct.error:
            return False
    return True


def _tiff_end(file: IO[bytes], order: str) -> int:
    """Return where the last of the pixels ends by the directories of a TIFF; 0 where they cannot be followed."""
    file.seek(4)
    waiting, seen, end = [struct.unpack(order + "I", file.read(4))[0]], set[int](), 0
    while waiting and len(seen) < 64:
        place = waiting.pop()
        if place in seen or place == 0:
            continue
        seen.add(place)
        file.seek(place)
        head = file.read(2)
        count = struct.unpack(order + "H", head)[0] if len(head) == 2 else 0
        table = file.read(12 * count + 4)
        if len(table) < 12 * count:
            continue
        entries = {}
        for k in range(count):
            code, kind, number = struct.unpack_from(order + "HHI", table, 12 * k)
            if code in (273, 279, 324, 325, 330, 513, 514) and kind in (3, 4, 13) and number < 1 << 20:
                entries[code] = _whole_numbers(file, order, kind, number, table[12 * k + 8 : 12 * k + 12])
        for offsets, counts in ((273, 279), (324, 325), (513, 514)):
            end = max([end, *(a + b for a, b in zip(entries.get(offsets, ()), entries.get(counts, ()), strict=False))])
        waiting += entries.get(330, ())
        if count and len(table) == 12 * count + 4:
            waiting.append(struct.unpack_from(order + "I", table, 12 * count)[0])
    return end


def _whole_numbers(file: IO[bytes], order: str, kind: int, number: int, cell: bytes) -> tuple[int, ...]:
    width, code = (2, "H") if kind == 3 else (4, "I")
    if number * width > 4:
        file.seek(struct.unpack(order + "I", cell)[0])
        cell = file.read(number * width)
    number = min(number, len(cell) // width)
    return struct.unpack(f"{order}{number}{code}", cell[: number * width])
