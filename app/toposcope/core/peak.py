"""Find the peak of every focus curve in one pass, with a constant number of planes.

Measures are kept as *codes*: uint16 logarithms (`encode`), half the size of float32, with the same
relative accuracy (0.05 %) from full contrast down to the quantisation noise of 16-bit frames. Peaks are
interpolated on logarithms anyway.

`PeakTracker` sees the frames once, in order, and remembers of each pixel the largest code, the frame
it came from and the codes of ``reach`` frames to either side. `PeakTracker.fit` then places the
peak between the slices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint16]
Values = NDArray[np.float32]
Place = slice | tuple[slice, slice]

STEPS: Final = 2048.0
"""Code steps per natural logarithm."""

_LOWEST: Final = 28.0
"""Code 0 is exp(-28), less than the noise of any frame; it also stands for "no measure"."""


def encode(measure: Values, codes: Codes | None = None) -> Codes:
    """Return focus measures as codes: ``round((ln m + 28) * 2048)``; 0 where ``m`` is 0.

    Measures above exp(4) are clipped; frames in 0..1 stay far below. Written to ``codes`` where given.
    """
    logarithm = cv2.log(np.maximum(measure, np.float32(np.exp(-_LOWEST))))
    return cv2.addWeighted(  # type: ignore[return-value]
        logarithm, STEPS, logarithm, 0.0, _LOWEST * STEPS, dst=codes, dtype=cv2.CV_16U
    )


def decode(codes: NDArray[np.integer[Any]]) -> Values:
    """Return the focus measures of codes; the inverse of `encode` to 0.05 %, with 0 for code 0."""
    values: Values = np.multiply(codes, np.float32(1 / STEPS), dtype=np.float32)
    values -= np.float32(_LOWEST)
    np.exp(values, out=values)
    values[codes == 0] = 0
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """Peaks of the focus curves, (H, W) each.

    ``coordinate`` float32 peak in the focus coordinate, NaN where there is none; ``index`` the
    slice with the largest measure; ``height`` float32 its measure; ``least`` float32 the least measure over the sweep;
    ``second`` float32 the largest measure farther than the tracker's reach from the peak;
    ``width`` float32 standard deviation of the peak in slices, inf where it has no curvature.
    """

    coordinate: Values
    index: NDArray[np.integer[Any]]
    height: Values
    least: Values
    second: Values
    width: Values


def gaussian_top(x: Iterable[Any], levels: Iterable[Any]) -> tuple[Any, Any]:
    """Return where the Gaussian through three points is highest, and half the second derivative of its logarithm.

    Parameters
    ----------
    x : three places, ascending, perhaps at unequal distances; numbers or arrays alike in shape
    levels : logarithms of the three values

    Where the second is not below 0 there is no top: the first is then no number of use.
    """
    (x0, x1, x2), (level0, level1, level2) = x, levels
    slope0, slope1 = (level1 - level0) / (x1 - x0), (level2 - level1) / (x2 - x1)
    bend = (slope1 - slope0) / (x2 - x0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 0.5 * (x0 + x1) - np.divide(slope0, 2 * bend), bend


class PeakTracker:
    """Peaks of all pixels of a stack whose measures arrive frame by frame.

    >>> tracker = PeakTracker(stack.shape, stack.coordinate)   # doctest: +SKIP
    >>> for i in range(stack.n):                               # doctest: +SKIP
    ...     codes = tracker.add(i, tenengrad(to_grey(stack.read(i))))
    >>> peaks = tracker.fit()                                  # doctest: +SKIP

    Keeps 9 + 6 ``reach`` bytes a pixel whatever the number of frames.

    Parameters
    ----------
    shape : (H, W)
    coordinate : (N,) focus coordinate of each frame, ascending
    reach : number of slices kept to either side of the peak
    """

    def __init__(self, shape: tuple[int, int], coordinate: NDArray[np.float64], reach: int = 3) -> None:
        self.n = len(coordinate)
        self.reach = reach
        self.coordinate = coordinate.astype(np.float32)
        self.index: NDArray[Any] = np.zeros(shape, dtype=np.uint8 if self.n <= 256 else np.uint16)
        # around[reach + k] holds the code of slice index + k, past[i % (reach + 1)] those of frame i
        self._around = [np.zeros(shape, dtype=np.uint16) for _ in range(2 * reach + 1)]
        self._past = [np.zeros(shape, dtype=np.uint16) for _ in range(reach + 1)]
        self._second = np.zeros(shape, dtype=np.uint16)
        self._least = np.full(shape, np.iinfo(np.uint16).max, dtype=np.uint16)

    def add(self, i: int, measure: Values, rows: slice = slice(None)) -> Codes:
        """Take in ``rows`` of frame ``i`` and return their codes, which stay valid until the next frame.

        Frames come in ascending order, each once. Different rows may come from different threads.
        """
        codes = encode(measure, self._past[i % (self.reach + 1)][rows])
        least = self._least[rows]
        cv2.min(codes, least, dst=least)
        around = [plane[rows] for plane in self._around]
        index, second, best, reach = self.index[rows], self._second[rows], around[self.reach], self.reach
        if i == 0:
            best[:] = codes
            return codes
        for k in range(1, min(reach, i) + 1):
            cv2.copyTo(codes, (index == i - k).view(np.uint8), around[reach + k])
        if i > reach:
            lesser = cv2.max(second, cv2.min(codes, best))
            cv2.copyTo(lesser, (index < i - reach).view(np.uint8), second)
        newer = (codes > best).view(np.uint8)
        cv2.copyTo(codes, newer, best)
        for k in range(1, min(reach, i) + 1):
            cv2.copyTo(self._past[(i - k) % (reach + 1)][rows], newer, around[reach - k])
        cv2.copyTo(np.full_like(index, i), newer, index)
        return codes

    def fit(self, blur: float = 0.0, at: Place = slice(None)) -> Peaks:
        """Return the peaks of the pixels ``at``.

        With ``blur`` 0 the peak is that of a Gaussian through the largest value and its two
        neighbours, at their true, perhaps unequal, distances. With ``blur`` > 0 the values are first
        smoothed along the focus axis by a Gaussian of that many slices, so that all values within reach
        have a say: a symmetric peak keeps its place and loses its noise. Where slices are missing
        on one side, or their distances differ, smoothing would pull the peak, and is left out.

        A peak without curvature keeps its slice, with an infinite ``width``.
        """
        index = self.index[at].astype(np.intp)
        codes = [plane[at] for plane in self._around]
        peak = codes[self.reach]
        centre = np.clip(index, 1, self.n - 2)
        # at the ends of the sweep the three points lie to one side of the largest
        levels = [
            np.choose(centre - index + (k + 2), codes[self.reach - 2 : self.reach + 3]) * np.float32(1 / STEPS)
            for k in (-1, 0, 1)
        ]
        smooth = self._regular()[index] if blur > 0 else np.zeros(index.shape, dtype=bool)
        if blur > 0:
            levels = [np.where(smooth, s, level) for s, level in zip(self._smoothed(codes, blur), levels, strict=True)]
        x = self.coordinate
        x0, x1, x2 = x[centre - 1], x[centre], x[centre + 1]
        top, bend = gaussian_top((x0, x1, x2), levels)
        step = 0.5 * (x2 - x0)
        with np.errstate(divide="ignore", invalid="ignore"):
            place = np.where(bend < 0, top, x[index])
            spread = -0.5 / (bend * step * step) - smooth * np.float32(blur * blur)  # without what blur added
        reached = np.where(smooth, np.float32(1.5), np.float32(1.0)) * step
        # a curve that still rises at the end of the sweep has no peak in it
        bend = np.where((place < x[0]) | (place > x[-1]), np.float32(0), bend)
        place = np.clip(np.clip(place, x[index] - reached, x[index] + reached), x[0], x[-1])
        place[peak == 0] = np.nan
        return Peaks(
            coordinate=place.astype(np.float32),
            index=self.index[at],
            height=decode(peak),
            least=decode(self._least[at]),
            second=decode(self._second[at]),
            width=np.where(bend < 0, np.sqrt(np.maximum(spread, np.float32(0.04))), np.inf).astype(np.float32),
        )

    def _regular(self) -> NDArray[np.bool_]:
        """Return (N,) whether all slices within reach of a slice exist, at equal distances to 5 %."""
        regular = np.zeros(self.n, dtype=bool)
        for i in range(self.reach, self.n - self.reach):
            steps = np.diff(self.coordinate[i - self.reach : i + self.reach + 1])
            regular[i] = steps.max() < 1.05 * steps.min()
        return regular

    def _smoothed(self, codes: list[Codes], blur: float) -> list[Values]:
        """Return ln m less its peak, smoothed by ``blur`` slices, at the peak's slice and its neighbours."""
        reach = self.reach
        sums = [np.zeros(codes[0].shape, dtype=np.float32) for _ in range(3)]
        peak = codes[reach].astype(np.float32)
        for k in range(-reach, reach + 1):
            level = np.exp((codes[reach + k] - peak) * np.float32(1 / STEPS))
            for j in (-1, 0, 1):
                # no farther than all three sums have values on both sides; lopsided ones pull the peak
                if abs(j - k) < reach:
                    sums[j + 1] += np.float32(np.exp(-0.5 * ((j - k) / blur) ** 2)) * level
        return [np.log(s) for s in sums]
