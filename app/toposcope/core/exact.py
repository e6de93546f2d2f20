"""Exact peaks of a focus measure within what a network says.

A network knows how deep a surface lies where texture is faint, but rounds off relief that is finer than what it has
learnt. The peaks of a focus measure are exact where there is texture, and nonsense where there is none. Where both
agree the peak is right as a rule, and the more exact of the two; so it is taken there, and the network believed
elsewhere. On rough surfaces that leaves a third of the network's error, where texture is faint 1 to 2 % more
(``tests/benchmarks/accuracy.py`` and ``networks.py``, method ``hybrid``).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.refine import DepthMap
from toposcope.core.scales import least_around
from toposcope.core.volume import FocusVolume, MeasureVolume, Origin

Floats = NDArray[np.float32]

AGREES, DISAGREES = 0.5, 1.0
"""Slices within which a peak is taken in full, and from which on not at all."""

SURE: Final = 0.3
"""Confidence of a peak from which it counts in full."""

TOLD: Final = 5
"""Percent of a depth from which a part in it is told."""

AROUND: Final = 3
"""Side in pixels of the square in which all must agree: noise agrees by chance, here and there."""


def take_peaks(index: Floats, confidence: Floats, peaks: DepthMap) -> tuple[Floats, Floats, Floats]:
    """Return slice index and confidence of a network with exact peaks where they agree, and how much of each was taken.

    Peaks that are unknown (NaN) are never taken, nor any where the network does not know (``confidence`` 0): what
    a measure finds there is noise more often than not.

    Parameters
    ----------
    index, confidence : (H, W) float32 of the network; slices with fraction, NaN where there is no picture, and 0 to 1
    peaks : of the measure, likewise, NaN where unknown

    Returns
    -------
    index, confidence : (H, W) float32; the confidence is never below the network's
    taken : (H, W) float32, 0 to 1, the part of the peak in each depth
    """
    known = np.isfinite(peaks.index)
    apart = np.where(known, np.abs(peaks.index - index), DISAGREES)
    weight = np.clip((DISAGREES - apart) / (DISAGREES - AGREES), 0, 1) * np.clip(peaks.confidence / SURE, 0, 1)
    weight = least_around(weight.astype(np.float32), AROUND)
    weight[(confidence == 0) | ~known] = 0
    exact = index + weight * (np.where(known, peaks.index, index) - index)
    surer = confidence + weight * (np.maximum(confidence, peaks.confidence) - confidence)
    return exact.astype(np.float32), surer.astype(np.float32), weight


class MeasuredVolume:
    """Focus volume of a network beside that of a measure: probabilities of the one, measures of the other.

    ``taken`` (H, W), 0 to 1, says how much of each pixel's depth is the peak of the measure (see `take_peaks`).
    """

    def __init__(self, network: FocusVolume, measured: MeasureVolume, taken: Floats) -> None:
        self._network, self._measured = network, measured
        self._taken = np.rint(100 * taken).astype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._network.shape

    def probability(self, row: int, column: int) -> Floats:
        return self._network.probability(row, column)

    def measure(self, row: int, column: int) -> Floats | None:
        return self._measured.measure(row, column)

    def plane(self, i: int) -> Floats:
        return self._network.plane(i)

    def origin(self, row: int, column: int) -> Origin:
        percent = int(self._taken[row, column])
        return "mean" if percent < TOLD else "measure" if percent > 100 - TOLD else "both"

    @property
    def memory(self) -> int:
        return self._network.memory + self._measured.memory + self._taken.nbytes

    def close(self) -> None:
        self._network.close()
        self._measured.close()
