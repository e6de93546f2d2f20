"""What every data set is read as: one focal stack with the truth of its scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

Kind = Literal["camera", "microscope", "disparity"]
"""``camera``: distances from the lens; ``microscope``: heights; ``disparity``: pixels, larger is nearer."""

Unit = Literal["m", "um", "px", "unknown"]

Bytes: TypeAlias = NDArray[np.uint8]
Depth: TypeAlias = NDArray[np.float32]
Positions: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]


class DataError(ValueError):
    """Data that cannot be read as asked; says what was found, what is needed and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One focal stack of a data set, in the order and the unit in which it was published.

    Checks itself when made.

    Raises
    ------
    DataError
        If shapes do not fit, or positions are not finite and distinct (above 0 for a camera).
    """

    name: str
    """Scene, or split and number where the file names no scene."""
    frames: Bytes
    """(N, H, W, 3) RGB, N at least 2."""
    positions: Positions
    """(N,) focus of each frame, in ``unit``; either way up."""
    depth: Depth
    """(H, W) truth in ``unit``; NaN where ``valid`` is False."""
    valid: Mask
    """(H, W) where the truth is known, whether the sweep reaches it or not."""
    kind: Kind
    unit: Unit
    confidence: Depth | None = None
    """(H, W) 0..1, how far the truth is to be trusted; None where the data set does not say."""

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8 or len(self.frames) < 2:
            raise DataError(
                f"{self.name}: frames are {self.frames.shape} {self.frames.dtype}; "
                "needed are two or more RGB frames, (N, H, W, 3) uint8. Check the download."
            )
        if self.positions.shape != self.frames.shape[:1]:
            raise DataError(
                f"{self.name}: {len(self.frames)} frames have {self.positions.size} focus positions; "
                "each frame needs one. Check that all frames of the stack are there."
            )
        if not np.isfinite(self.positions).all() or len(np.unique(self.positions)) < len(self.positions):
            raise DataError(f"{self.name}: focus positions {self.positions.tolist()} must be finite and distinct.")
        if self.kind == "camera" and not (self.positions > 0).all():
            raise DataError(f"{self.name}: focus distances {self.positions.tolist()} must be above 0.")
        for what, plane in (("depth", self.depth), ("valid", self.valid), ("confidence", self.confidence)):
            if plane is not None and plane.shape != self.frames.shape[1:3]:
                raise DataError(
                    f"{self.name}: {what} is {plane.shape}, but the frames are {self.frames.shape[1:3]}. "
                    "Check that both come from the same release of the data."
                )

    @property
    def has_truth(self) -> bool:
        """Whether any pixel has a known depth."""
        return bool(self.valid.any())

    def in_sweep(self) -> Mask:
        """Return (H, W) where the truth is known and lies between the first and the last focus.

        The mask under which most of the field reports errors, since a network answers within the sweep only.
        """
        inside: Mask = self.valid & (self.depth >= self.positions.min()) & (self.depth <= self.positions.max())
        return inside


def masked(depth: NDArray[Any], valid: Mask) -> Depth:
    """Return ``depth`` (H, W) as float32, NaN where not ``valid``."""
    return np.where(valid, depth, np.nan).astype(np.float32)


class Samples(Sequence[Sample]):
    """Samples read from disk when asked for, one at a time.

    >>> samples = open_data_set("fs_6", "data/fs_6", "train")    # doctest: +SKIP
    >>> len(samples), samples[0].name                            # doctest: +SKIP
    (400, '000000')
    >>> every_fourth = samples[::4]                              # doctest: +SKIP
    """

    def __init__(self, names: Sequence[str], read: Callable[[int], Sample], indices: range | None = None) -> None:
        self._names, self._read = names, read
        self._indices = range(len(names)) if indices is None else indices

    @property
    def names(self) -> list[str]:
        """Names of the samples, without reading any."""
        return [self._names[k] for k in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Samples: ...

    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            return Samples(self._names, self._read, self._indices[index])
        return self._read(self._indices[index])
