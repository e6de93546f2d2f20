"""Frames whose numbers are neither 8 nor 16 bit: brought into 0..1, and said so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from toposcope.core.jobs import Progress, Report
from toposcope.core.stack import DerivedSource, FrameSource, Plane, Roi, reduce_plane


@dataclass(frozen=True)
class UnitRangeSource(DerivedSource):
    """Float frames of another source, mapped from ``low``..``high`` to 0..1; NaN becomes 0."""

    low: float
    high: float

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        plane = self.source.read(i, roi).astype(np.float64)
        unit = np.nan_to_num((plane - self.low) / (self.high - self.low), nan=0.0, posinf=1.0, neginf=0.0)
        return reduce_plane(np.clip(unit, 0, 1).astype(np.float32), scale)


def to_unit_range(source: FrameSource, report: Report) -> tuple[FrameSource, tuple[str, ...]]:
    """Return the source with float frames in 0..1, and a note where they had to be mapped.

    The range of float frames stands in no header: each is read once.
    """
    if source.dtype != np.float32:
        return source, ()
    low, high, odd = np.inf, -np.inf, 0
    for i in range(source.n):
        report(Progress(i / source.n, f"finding the range of {source.names[i]}"))
        plane = source.read(i)
        finite = np.isfinite(plane)
        odd += int(plane.size - np.count_nonzero(finite))
        low = min(low, float(plane.min(where=finite, initial=np.inf)))
        high = max(high, float(plane.max(where=finite, initial=-np.inf)))
    notes: tuple[str, ...] = (f"{odd} pixels that are not finite are taken as black",) if odd else ()
    if low >= 0 and high <= 1 and not odd:
        return source, ()
    if not low < high:
        low, high = (low, low + 1) if np.isfinite(low) else (0.0, 1.0)
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    else:
        notes += (f"values {low:g} to {high:g} are mapped to 0 to 1",)
    return UnitRangeSource(source, low, high), notes
