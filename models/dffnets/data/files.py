"""Files of data sets: pictures, depth maps, HDF5; every refusal is one sentence."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from dffnets.data.sample import Bytes, DataError, Depth
from dffnets.extras import install_line

Hdf5 = Any
"""An open `h5py.File`; h5py is optional and has no types."""


def need_split(title: str, split: str, splits: Sequence[str]) -> None:
    """Refuse a split that the data set does not have."""
    if split not in splits:
        raise DataError(f"{title} has no split {split!r}; choose one of: {', '.join(splits)}.")


def need_folder(folder: Path, title: str, holds: str) -> Path:
    """Return ``folder``, or refuse one that is not there; ``holds`` tells what it should hold."""
    if not folder.is_dir():
        raise DataError(f"{title}: there is no folder {folder}; it should hold {holds}. Check the path, or unpack it.")
    return folder


def need_file(path: Path, title: str, what: str) -> Path:
    """Return ``path``, or refuse a file that is not there; ``what`` tells what it is."""
    if not path.is_file():
        raise DataError(f"{title}: there is no file {path}, {what}. Check the path, or download it.")
    return path


def need_samples(names: Sequence[str], title: str, folder: Path, holds: str) -> None:
    """Refuse an empty list of samples found in ``folder``."""
    if not names:
        raise DataError(f"{title}: {folder} holds no samples; it should hold {holds}. Check the path, or unpack it.")


def optional_module(name: str, needed_for: str) -> Any:
    """Return an optional module, or refuse with the line that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"{needed_for} needs {name}, which is not installed. Type: {install_line('datasets')}"
        ) from error


def file_bytes(path: Path) -> bytes:
    """Return the content of a file, or refuse one that cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check that the download is complete.") from error


def read_picture(path: Path) -> Bytes:
    """Return a picture as (H, W, 3) RGB."""
    # from memory, since OpenCV cannot open paths outside the code page on Windows
    encoded = np.frombuffer(file_bytes(path), np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if picture is None:
        raise DataError(f"{path} is not a picture that can be read. Download it again.")
    return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def read_pictures(paths: Sequence[Path], title: str) -> Bytes:
    """Return pictures of equal size as (N, H, W, 3) RGB."""
    frames = [read_picture(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise DataError(
                f"{title}: {path} is {frame.shape[1]} x {frame.shape[0]} pixels, the first frame "
                f"{frames[0].shape[1]} x {frames[0].shape[0]}; all must be equal. Download the stack again."
            )
    return np.stack(frames)


def read_map(path: Path) -> Depth:
    """Return one channel of a map as (H, W) float32: EXR, PFM, TIFF or PNG, by the name's ending.

    Values are as stored; of several channels the first counts (R of an EXR).
    """
    ending = path.suffix.lower()
    if ending == ".exr":
        return read_exr(path)
    if ending == ".pfm":
        return read_pfm(path)
    values = _read_tiff(path) if ending in (".tif", ".tiff") else _read_unchanged(path)
    if values is None or values.ndim not in (2, 3):
        raise DataError(f"{path} is not a depth map that can be read. Download it again.")
    return np.ascontiguousarray(values if values.ndim == 2 else values[..., 0], np.float32)


def _read_unchanged(path: Path) -> NDArray[Any] | None:
    """Return what OpenCV reads, in its own depth; colour, which it gives as BGR, as RGB."""
    encoded = np.frombuffer(file_bytes(path), np.uint8)
    values = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if values is None or values.ndim == 2:
        return values
    return np.asarray(values[..., 2::-1])


def _read_tiff(path: Path) -> NDArray[Any]:
    file_bytes(path)
    try:
        return np.asarray(tifffile.imread(path))
    except (tifffile.TiffFileError, ValueError) as error:
        raise DataError(f"{path} is not a TIFF file that can be read ({error}). Download it again.") from error


def read_pfm(path: Path) -> Depth:
    """Return a PFM file (portable float map, grey or colour) as (H, W) float32, top row first.

    The format stores rows from the bottom; a negative scale means little-endian. Scale itself is not applied.
    """
    content = file_bytes(path)
    header = re.match(rb"(P[fF])\s+(\d+)\s+(\d+)\s+([-+.eE\d]+)\s", content)
    if header is None:
        raise DataError(f"{path} is not a PFM file; it begins with {content[:8]!r}. Download it again.")
    magic, width, height, scale = header.groups()
    channels = 3 if magic == b"PF" else 1
    needed = 4 * int(width) * int(height) * channels
    pixels = content[header.end() : header.end() + needed]
    if len(pixels) < needed:
        raise DataError(f"{path} is cut short: {len(pixels)} of {needed} bytes. Download it again.")
    values = np.frombuffer(pixels, "<f4" if float(scale) < 0 else ">f4").reshape(int(height), int(width), channels)
    return np.ascontiguousarray(values[::-1, :, 0], np.float32)


def read_exr(path: Path) -> Depth:
    """Return one channel of an OpenEXR file as (H, W) float32: R, or else Y, Z, V, or the only one there is."""
    openexr = optional_module("OpenEXR", "reading .exr files")
    file_bytes(path)
    try:
        with openexr.File(str(path), separate_channels=True) as file:
            channels = {name: np.array(channel.pixels) for name, channel in file.channels().items()}
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path} is not an OpenEXR file that can be read ({error}). Download it again.") from error
    name = next((name for name in ("R", "Y", "Z", "V") if name in channels), min(channels))
    return np.ascontiguousarray(channels[name], np.float32)


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5]:
    """Open an HDF5 file for reading."""
    h5py = optional_module("h5py", f"reading {path.name}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"{path} is not an HDF5 file that can be read ({error}). Check that the download is complete."
        ) from error
    with file:
        yield file


def hdf5_dataset(file: Hdf5, path: Path, key: str) -> Any:
    """Return the dataset ``key`` of an open file, or refuse with the keys there are."""
    if key not in file:
        found = ", ".join(sorted(file)) or "nothing"
        raise DataError(f"{path} holds {found}; needed is {key!r}. Check that this is the right file.")
    return file[key]


def to_bytes(values: NDArray[Any]) -> Bytes:
    """Return grey values 0..255 of any type as uint8, rounded."""
    if values.dtype == np.uint8:
        return values
    rounded: Bytes = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
