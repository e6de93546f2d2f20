"""Find the peak of every focus curve in one pass, with a constant number of planes.

Measures are kept as *codes*: uint16 logarithms (`encode`), half the size of float32, with the same
relative accuracy (0.05 %) from full contrast down to the quantisation noise of 16-bit frames. Peaks are
interpolated on logarithms anyway.

`PeakTracker` sees the frames once, in order, and remembers of each pixel the largest code, the frame
it came from and the codes of ``reach`` frames to either side. `PeakTracker.fit` then places the
peak between the slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint16]
Values = NDArray[np.float32]

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
    slice with the largest measure; ``height`` float32 its measure; ``mean`` float32 the mean measure over
    the sweep; ``second`` float32 the largest measure farther than the tracker's reach from the peak;
    ``width`` float32 standard deviation of the peak in slices, inf where it has no curvature.
    """

    coordinate: Values
    index: NDArray[np.integer[Any]]
    height: Values
    mean: Values
    second: Values
    width: Values


class PeakTracker:
    """Peaks of all pixels of a stack whose measures arrive frame by frame.

    >>> tracker = PeakTracker(stack.shape, stack.coordinate)   # doctest: +SKIP
    >>> for i in range(stack.n):                               # doctest: +SKIP
    ...     codes = tracker.add(i, tenengrad(to_grey(stack.read(i))))
    >>> peaks = tracker.fit()                                  # doctest: +SKIP

    Keeps 11 + 6 ``reach`` bytes a pixel whatever the number of frames.

    Parameters
    ----------
    shape : (H, W)
    coordinate : (N,) focus coordinate of each frame, ascending
    reach : number of slices kept to either side of the peak
    """

    def __init__(self, shape: tuple[int, int], coordinate: NDArray[np.float64], reach: int = 3) -> None:
        self.n = len(coordinate)
        self.reach = reach
        self._x = coordinate.astype(np.float32)
        self.index: NDArray[Any] = np.zeros(shape, dtype=np.uint8 if self.n <= 256 else np.uint16)
        # around[reach + k] holds the code of slice index + k, past[i % (reach + 1)] those of frame i
        self._around = [np.zeros(shape, dtype=np.uint16) for _ in range(2 * reach + 1)]
        self._past = [np.zeros(shape, dtype=np.uint16) for _ in range(reach + 1)]
        self._second = np.zeros(shape, dtype=np.uint16)
        self._sum = np.zeros(shape, dtype=np.float32)

    def add(self, i: int, measure: Values, rows: slice = slice(None)) -> Codes:
        """Take in ``rows`` of frame ``i`` and return their codes, which stay valid until the next frame.

        Frames come in ascending order, each once. Different rows may come from different threads.
        """
        cv2.accumulate(measure, self._sum[rows])
        codes = encode(measure, self._past[i % (self.reach + 1)][rows])
        around = [plane[rows] for plane in self._around]
        index, second, best, reach = self.index[rows], self._second[rows], around[self.reach], self.reach
        if i == 0:
            best[:] = codes
            return codes
        for k in range(1, min(reach, i) + 1):
            cv2.copyTo(codes, _compare(index, i - k, cv2.CMP_EQ), around[reach + k])
        if i > reach:
            lesser = cv2.max(second, cv2.min(codes, best))
            cv2.copyTo(lesser, _compare(index, i - reach, cv2.CMP_LT), second)
        newer = cv2.compare(codes, best, cv2.CMP_GT)
        cv2.copyTo(codes, newer, best)
        for k in range(1, min(reach, i) + 1):
            cv2.copyTo(self._past[(i - k) % (reach + 1)][rows], newer, around[reach - k])
        cv2.copyTo(np.full_like(index, i), newer, index)
        return codes

    def fit(self, blur: float = 0.0, rows: slice = slice(None)) -> Peaks:
        """Return the peaks of ``rows``.

        With ``blur`` 0 the peak is that of a Gaussian through the largest value and its two
        neighbours, at their true, perhaps unequal, distances. With ``blur`` > 0 the values within reach
        are first smoothed along the focus axis by a Gaussian of that many slices, so that all of them
        have a say: less noise at the same place, because a smoothed peak keeps its maximum.

        A peak without curvature keeps its slice, with an infinite ``width``.
        """
        index = self.index[rows].astype(np.intp)
        codes = [plane[rows] for plane in self._around]
        peak = codes[self.reach]
        centre = np.clip(index, 1, self.n - 2)
        offset = centre - index  # -1, 0 or 1: at the ends the three points lie to one side
        if blur > 0:
            levels = self._smoothed(codes, index, offset, blur)
        else:
            levels = [self._at(codes, offset + k).astype(np.float32) / np.float32(STEPS) for k in (-1, 0, 1)]
        x = self._x
        x0, x1, x2 = x[centre - 1], x[centre], x[centre + 1]
        slope0 = (levels[1] - levels[0]) / (x1 - x0)
        slope1 = (levels[2] - levels[1]) / (x2 - x1)
        bend = (slope1 - slope0) / (x2 - x0)  # half the second derivative of ln m
        with np.errstate(divide="ignore", invalid="ignore"):
            place = np.where(bend < 0, 0.5 * (x0 + x1) - slope0 / (2 * bend), x[index])
            width = np.where(bend < 0, np.sqrt(-0.5 / bend) * (2 / (x2 - x0)), np.inf)
        if blur > 0:  # what the smoothing added to the width
            width = np.sqrt(np.maximum(width * width - np.float32(blur * blur), np.float32(0.04)))
        reached = 1.5 if blur > 0 else 1.0
        step = 0.5 * (x2 - x0)
        place = np.clip(place, x[index] - reached * step, x[index] + reached * step)
        place = np.clip(place, x[0], x[-1]).astype(np.float32)
        place[peak == 0] = np.nan
        return Peaks(
            coordinate=place,
            index=self.index[rows],
            height=decode(peak),
            mean=self._sum[rows] / np.float32(self.n),
            second=decode(self._second[rows]),
            width=width.astype(np.float32),
        )

    def _at(self, codes: list[Codes], k: NDArray[np.intp]) -> Codes:
        """Return the codes of slice index + ``k``; |k| of at most 2."""
        return np.choose(k + 2, codes[self.reach - 2 : self.reach + 3])

    def _smoothed(
        self, codes: list[Codes], index: NDArray[np.intp], offset: NDArray[np.intp], blur: float
    ) -> list[Values]:
        """Return ln m at the slice around ``index + offset`` and its neighbours, smoothed by ``blur`` slices."""
        reach = self.reach
        peak = codes[reach].astype(np.float32)
        sums = [np.zeros(peak.shape, dtype=np.float32) for _ in range(3)]
        norms = [np.zeros(peak.shape, dtype=np.float32) for _ in range(3)]
        for k in range(-reach, reach + 1):
            inside = (index + k >= 0) & (index + k < self.n)
            level = np.exp((codes[reach + k].astype(np.float32) - peak) * np.float32(1 / STEPS))
            for j in (-1, 0, 1):
                distance = (offset + (j - k)).astype(np.float32)
                weight = np.exp(distance * distance * np.float32(-0.5 / blur**2))
                weight *= inside
                sums[j + 1] += weight * level
                norms[j + 1] += weight
        return [np.log(s / n) for s, n in zip(sums, norms, strict=True)]


def _compare(plane: NDArray[Any], value: int, how: int) -> NDArray[np.uint8]:
    """Return 255 where ``plane`` compares to a number, else 0."""
    return cv2.compare(plane, float(value), how)  # type: ignore[call-overload, no-any-return]
