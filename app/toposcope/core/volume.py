"""The focus volume: for every pixel, the probability of each slice to be in focus."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.peak import Codes, Values, decode, encode
from toposcope.errors import OutputError

IN_MEMORY: Final = 384 << 20
"""Volumes up to this many bytes stay in memory, larger ones go to a scratch file."""

ON_DISK: Final = 12 << 30
"""Volumes larger than this many bytes are kept at reduced resolution."""

_SPARE: Final = 1 << 30  # bytes that a scratch file leaves free on its disk

Origin = Literal["neighbours", "mean", "measure", "both"]
"""How the depth of a pixel comes from its curve: the peak, smoothed with the neighbours' (classical methods); the mean
of all slices (networks); the peak of a measure beside a network's curve; or a place between these two."""


class FocusVolume(Protocol):
    """What every method, classical or deep, leaves behind for inspection.

    ``shape`` is (N, H, W) in pixels of the depth map. Values may live on disk; reading one pixel
    takes less than a frame time. Pixels are `(row, column)`.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def probability(self, row: int, column: int) -> NDArray[np.float32]:
        """Return (N,) probabilities of one pixel; they sum to 1."""
        ...

    def measure(self, row: int, column: int) -> NDArray[np.float32] | None:
        """Return (N,) raw focus measures of one pixel, None where the method has none."""
        ...

    def plane(self, i: int) -> NDArray[np.float32]:
        """Return (H, W) probabilities of slice ``i``."""
        ...

    def origin(self, row: int, column: int) -> Origin:
        """Say how the depth of one pixel comes from its curve."""
        ...

    @property
    def memory(self) -> int:
        """Bytes of memory that are held; what lies on the disk does not count."""
        ...

    def close(self) -> None:
        """Give memory and scratch files back."""
        ...


def probabilities(measures: Values, floor: float, spread: float) -> Values:
    """Return what focus measures say of each slice, (N, ...) along the first axis, summing to 1.

    p ∝ max(m - floor, 0) + spread: the share of the measure above that of mere noise. ``spread``,
    how far the measure of noise scatters, makes curves of noise flat instead of spiky: where no slice
    rises above the noise all are equally probable. Both are in units of the measure.
    """
    shares = measures - np.float32(floor)
    np.maximum(shares, 0, out=shares)
    shares += np.float32(max(spread, 1e-12))
    shares /= shares.sum(axis=0)
    return shares


class MeasureVolume:
    """Focus volume of a classical method: its measures, and the probabilities made of them.

    Fill it with `add`, tell it the noise with `settle`. Kept as codes (see `toposcope.core.peak`), two bytes
    each: in memory when small, else in a scratch file that vanishes when the volume is closed,
    when the program ends, and when it crashes.

    Parameters
    ----------
    shape : (N, H, W)
    scratch : folder for the scratch file, None for the system's own

    Raises
    ------
    OutputError
        If the scratch file cannot be made, or the disk has too little space even for a volume at an
        eighth of the size.
    """

    def __init__(self, shape: tuple[int, int, int], scratch: Path | None = None) -> None:
        self.shape = shape
        self.scale = _scale_for(shape, scratch)
        n, height, width = shape
        self._stored = (n, -(-height // self.scale), -(-width // self.scale))
        self._file: IO[bytes] | None = None
        self._codes: Codes | None = None
        self._total: Values | None = None
        self._floor, self._spread = 0.0, 0.0
        if 2 * int(np.prod(self._stored)) <= IN_MEMORY:
            self._codes = np.zeros(self._stored, dtype=np.uint16)
        else:
            try:
                self._file = tempfile.TemporaryFile(prefix="toposcope-volume-", dir=scratch)
            except OSError as error:
                raise OutputError(
                    f"the scratch file for the focus curves cannot be made in {scratch or tempfile.gettempdir()}: "
                    f"{error.strerror}. Choose another scratch folder, or go on without focus curves."
                ) from error

    def add(self, i: int, bands: Sequence[Codes], measure: Values) -> None:
        """Store the measures of slice ``i``; slices come in ascending order.

        ``bands`` are the codes of ``measure``, cut by rows, top first.
        """
        if self.scale > 1:
            _, height, width = self._stored
            bands = [encode(cv2.resize(measure, (width, height), interpolation=cv2.INTER_AREA))]  # type: ignore[arg-type]
        if self._codes is not None:
            np.concatenate(bands, out=self._codes[i])
        elif self._file is not None:
            for band in bands:
                self._append(band, self._file)

    @staticmethod
    def _append(codes: Codes, file: IO[bytes]) -> None:
        try:
            file.write(np.ascontiguousarray(codes).data)
        except OSError as error:
            raise OutputError(
                f"the scratch file for the focus curves cannot be written: {error.strerror}. "
                "Free some disk space, choose another scratch folder, or go on without focus curves."
            ) from error

    def settle(self, floor: float, spread: float) -> None:
        """State the measure of mere noise and its scatter, once all slices are there."""
        self._floor, self._spread = floor, spread
        if self._file is not None:
            self._file.flush()
            self._codes = np.memmap(self._file, dtype=np.uint16, mode="r", shape=self._stored)

    def measure(self, row: int, column: int) -> NDArray[np.float32]:
        _, height, width = self._stored
        return decode(self._kept()[:, row * height // self.shape[1], column * width // self.shape[2]])

    def probability(self, row: int, column: int) -> NDArray[np.float32]:
        return probabilities(self.measure(row, column), self._floor, self._spread)

    def plane(self, i: int) -> NDArray[np.float32]:
        if self._total is None:
            self._total = np.zeros(self._stored[1:], dtype=np.float32)
            for k in range(self._stored[0]):
                self._total += self._shares(k)
        plane: Values = self._shares(i) / self._total
        if self.scale == 1:
            return plane
        return cv2.resize(plane, self.shape[:0:-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]

    def origin(self, row: int, column: int) -> Origin:
        return "neighbours"

    @property
    def memory(self) -> int:
        return self._codes.nbytes if self._file is None and self._codes is not None else 0

    def close(self) -> None:
        self._codes = self._total = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _shares(self, i: int) -> Values:
        """Return the probabilities of slice ``i`` before they are made to sum to 1."""
        shares = decode(self._kept()[i])
        shares -= np.float32(self._floor)
        np.maximum(shares, 0, out=shares)
        shares += np.float32(max(self._spread, 1e-12))
        return shares

    def _kept(self) -> Codes:
        if self._codes is None:
            raise io.UnsupportedOperation("this focus volume was closed")
        return self._codes


def _scale_for(shape: tuple[int, int, int], scratch: Path | None) -> int:
    """Return the reduction (1, 2, 4 or 8) at which a volume of ``shape`` can be kept."""
    n, height, width = shape
    try:
        free = shutil.disk_usage(scratch or tempfile.gettempdir()).free - _SPARE
    except OSError as error:
        raise OutputError(
            f"the scratch folder {scratch} cannot be used: {error.strerror}. "
            "Choose another one, or go on without focus curves."
        ) from error
    for scale in (1, 2, 4, 8):
        size = 2 * n * -(-height // scale) * -(-width // scale)
        if size <= IN_MEMORY or size <= min(free, ON_DISK):
            return scale
    raise OutputError(
        f"the focus curves of {n} frames of {width} x {height} pixels need {size / 1e9:.1f} GB of disk, "
        f"{max(free, 0) / 1e9:.1f} GB are free. "
        "Free some, choose another scratch folder, or go on without focus curves."
    )
