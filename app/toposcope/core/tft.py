"""A 3-D time-frequency method: many views of the stack, each with its own depth, and what they agree on.

"3D-TFT-like": in the spirit of Yan et al., "3D time-frequency transformation for multi-depth image
fusion" (Scientia Sinica Informationis 53(2), 2023), the method that FAD's authors label stacks with. Of
that work only the abstract was to be had.

What is the paper's: the stack is one 3-D image; a transform in space and focus gives many depth maps, of
several scales and directions; those that are homogeneous and agree are chosen and fused. What is ours: the
transform (undecimated wavelet of the cubic B-spline, Starck, Murtagh & Bijaoui 1998, in three
directions, with a low pass along focus), absolute values, the weights, and fusion by a vote of the views
in place of the paper's clustering and balance tree.

::

    read ── grey ── wavelet, 3 directions x scales ──┬── mean over a window, cell by cell ── low pass in focus ── peaks
                                                     └── sum of all, at full size ── low pass in focus ── peaks, volume

Frames are read once. What is kept is a number of planes that does not depend on how many frames there are:
the peaks so far and the last two planes of each view, at half the size of the frames or less, and those
of the sum at full size. Some 150 bytes a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from toposcope.core.focus import SPLINE, holes
from toposcope.core.jobs import Progress, Report
from toposcope.core.noise import NoiseLevel, NoiseMeter
from toposcope.core.peak import PeakTracker
from toposcope.core.refine import DepthMap
from toposcope.core.scan import Consumer
from toposcope.core.stack import FocalStack, Plane, to_grey
from toposcope.core.volume import MeasureVolume

Grey = NDArray[np.float32]

DIRECTIONS: Final = 3
"""Detail along rows, along columns, and along both."""

SUM_SCALES: Final = 2
"""The finest scales, which the sum holds: with coarser ones it would round off edges."""

_WINDOW: Final = 2.0  # standard deviation of the window in units of the scale's step, 2 ** scale
_SUM_WINDOW: Final = 2.0  # pixels
_BAND_ROWS: Final = 256  # a multiple of all cells
_ONE: Final = np.ones(1, dtype=np.float32)
_BORDER: Final = cv2.BORDER_REFLECT_101
_AGREED: Final = 1.5  # slices by which agreement falls to 1/e
_SILENCE: Final = 0.1  # weight that nothing is said with: one curve with a contrast of 0.3 is worth as much
_NOISY: Final = 1.7  # times the contrast of white noise is what a curve of noise may have
_SEEN: Final = 0.12  # confidence below which views agree no better than those of noise do


def details(grey: Grey, scales: int) -> Iterator[tuple[Grey, Grey, Grey]]:
    """Yield detail along columns, along rows and along both, of each scale, finest first.

    Undecimated: (H, W) float32 each. With h the cubic B-spline [1 4 6 4 1] / 16 at a step of 2 ** scale
    and g = 1 - h, they are h g, g h and g g along rows and columns; what remains is the next scale's input.
    """
    for scale in range(scales):
        spline = _spline(scale)
        across = cv2.sepFilter2D(grey, cv2.CV_32F, spline, _ONE, borderType=_BORDER)
        down = cv2.sepFilter2D(grey, cv2.CV_32F, _ONE, spline, borderType=_BORDER)
        smooth = cv2.sepFilter2D(across, cv2.CV_32F, _ONE, spline, borderType=_BORDER)
        both = cv2.subtract(cv2.add(grey, smooth), cv2.add(across, down))
        yield cv2.subtract(across, smooth), cv2.subtract(down, smooth), both  # type: ignore[misc]
        grey = smooth  # type: ignore[assignment]


@cache
def _spline(scale: int) -> Grey:
    return holes(SPLINE, 2**scale)


@cache
def _white(scales: int) -> tuple[float, ...]:
    """Return the mean absolute detail that white noise of deviation 1 gives each view."""
    noise = np.random.default_rng(0).standard_normal((320, 320)).astype(np.float32)
    return tuple(float(np.abs(view).mean()) for level in details(noise, scales) for view in level)


@cache
def noise_contrast(scale: int, n: int) -> tuple[float, ...]:
    """Return the contrast, (largest - mean) / mean, that a curve of ``n`` slices of white noise has, by direction.

    Independent of how strong the noise is: the scatter of its windowed absolute detail relative to the mean,
    lessened by the low pass in focus, times what the largest of so many values exceeds their mean by.
    """
    noise = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32)
    *_, level = details(noise, scale + 1)
    windowed = [_view_window(_cell_means(np.abs(detail), cell(scale), 0, 0), scale) for detail in level]
    largest = float(ndtri((n - 0.375) / (n + 0.25))) * np.sqrt(0.375)  # Blom 1958; 1/16 + 1/4 + 1/16
    return tuple(float(largest * w.std() / w.mean()) for w in windowed)


def _view_window(plane: Grey, scale: int) -> Grey:
    sigma = _WINDOW * 2**scale / cell(scale)
    return cv2.GaussianBlur(plane, (0, 0), sigma, borderType=_BORDER)  # type: ignore[return-value]


def halo(scales: int) -> int:
    """Return how many rows above and below have a say in the detail of a row."""
    return 2 * ((1 << scales) - 1)


def cell(scale: int) -> int:
    """Return the side in pixels of the cells in which a view of that scale is kept."""
    return max(2, 1 << scale)


class FocusSmoother:
    """Low pass along focus, plane by plane: a quarter, a half, a quarter.

    Where steps differ, the outer two share their half so that a straight line stays one; beyond the ends
    the last plane is repeated. Each plane comes out one step after it went in; `last` gives the final one.
    """

    def __init__(self, coordinate: NDArray[np.floating]) -> None:
        step = np.diff(np.asarray(coordinate, dtype=np.float64))
        step = np.concatenate([step[:1], step, step[-1:]])
        # the nearer neighbour has more to say
        self._before = (0.5 * step[1:] / (step[:-1] + step[1:])).tolist()
        self._planes: list[Grey] = []
        self._i = 0

    def push(self, plane: Grey) -> tuple[int, Grey] | None:
        """Take the next plane, which is kept; return number and values of the one before, smoothed."""
        self._planes.append(plane)
        if len(self._planes) == 1:
            return None
        return self._pop(plane)

    def last(self) -> tuple[int, Grey]:
        """Return the last plane, smoothed."""
        return self._pop(self._planes[-1])

    def _pop(self, after: Grey) -> tuple[int, Grey]:
        i = self._i
        now = self._planes[min(i, 1)]
        before = self._planes[0]
        mixed = cv2.addWeighted(before, self._before[i], after, 0.5 - self._before[i], 0.0)
        if i:
            del self._planes[0]
        self._i += 1
        return i, cv2.scaleAdd(now, 0.5, mixed)  # type: ignore[return-value]


class View:
    """Focus curves of one scale and direction: their peaks and means, cell by cell."""

    def __init__(self, scale: int, direction: int, shape: tuple[int, int], coordinate: NDArray[np.float64]) -> None:
        self.scale = scale
        self._noise = _NOISY * noise_contrast(scale, len(coordinate))[direction]
        side = cell(scale)
        self.plane = np.zeros((shape[0] // side, shape[1] // side), dtype=np.float32)
        self.mean = np.zeros_like(self.plane)
        self._n = len(coordinate)
        self._tracker = PeakTracker(self.plane.shape, coordinate, reach=2)
        self._smoother = FocusSmoother(coordinate)

    def end_frame(self) -> None:
        """Take in ``plane``, now that all of it is there."""
        self._add(self._smoother.push(_view_window(self.plane, self.scale)))

    def _add(self, done: tuple[int, Grey] | None) -> None:
        if done is not None:
            i, plane = done
            cv2.accumulate(plane, self.mean)
            self._tracker.add(i, plane)

    def depth(self, shape: tuple[int, int], blur: float) -> tuple[Grey, Grey]:
        """Return slice index with fraction, and weight, both of ``shape``, cells of 2 pixels.

        The weight is the square of the contrast of the curve, (largest - mean) / largest, times the
        homogeneity of the depth, exp(-|depth - its median over 5 x 5 cells|). To be asked once, at the end.
        """
        self._add(self._smoother.last())
        peaks = self._tracker.fit(blur)
        index = np.interp(peaks.coordinate, self._tracker.coordinate, np.arange(self._n)).astype(np.float32)
        index = np.nan_to_num(index)
        mean = self.mean * np.float32((1 + self._noise) / self._n)
        contrast = np.clip(1 - mean / np.maximum(peaks.height, np.float32(1e-12)), 0, 1)
        weight = np.where(peaks.height > 0, contrast**2, 0) * np.exp(-np.abs(index - cv2.medianBlur(index, 5)))
        del self._tracker, self._smoother, self.mean, self.plane  # most of the memory, which fusion can use
        return _raised(index, shape), cv2.resize(weight.astype(np.float32), shape[::-1])


def _raised(index: Grey, shape: tuple[int, int]) -> Grey:
    """Return depth given by larger cells at the smaller ones of ``shape``: steps stay steps."""
    if index.shape == shape:
        return index
    nearest = cv2.resize(index, shape[::-1], interpolation=cv2.INTER_NEAREST)
    linear = cv2.resize(index, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(np.abs(linear - nearest) < 0.5, linear, nearest)


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """What the views say together, by cells of 2 pixels, float32: ``index`` of the depth they agree on, and
    how far they do, 0..1."""  # noqa: D205, D209

    index: Grey
    confidence: Grey


def vote(indices: Sequence[Grey], weights: Sequence[Grey], n: int) -> Agreement:
    """Return what the depths of several views agree on.

    1. Each view gives its weight to the two slices next to its depth; the slice with the most votes wins.
    2. The depth is the mean of the views within a slice of that one, then of those within a slice of
       the mean.
    3. Confidence: sum of w exp(-|own depth - that depth| / 1.5) over the views, divided by the sum of w and 0.1,
       so that views that say little do not make up for it by being alone.

    Views of noise point anywhere, so that they neither win a vote nor agree with who does.

    Parameters
    ----------
    indices, weights : of each view, (H, W) float32
    n : number of slices
    """
    shape = indices[0].shape
    votes = np.zeros((n + 1, indices[0].size), dtype=np.float32)
    pixels = np.arange(indices[0].size)
    for index, weight in zip(indices, weights, strict=True):
        lower = np.clip(index.ravel(), 0, n - 1)
        slot = lower.astype(np.intp)
        upper = (lower - slot) * weight.ravel()
        votes[slot, pixels] += weight.ravel() - upper
        votes[slot + 1, pixels] += upper
    centre = votes.argmax(axis=0).astype(np.float32).reshape(shape)
    tiny = np.float32(1e-12)
    for _ in range(2):
        total, moment = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for index, weight in zip(indices, weights, strict=True):
            share = np.maximum(1 - np.abs(index - centre), 0) * weight
            total += share
            moment += share * index
        centre = np.where(total > tiny, moment / np.maximum(total, tiny), centre)
    agreed, heard = np.zeros(shape, np.float32), np.full(shape, _SILENCE, np.float32)
    for index, weight in zip(indices, weights, strict=True):
        near = np.exp(np.abs(index - centre) * np.float32(-1 / _AGREED))
        agreed += near * weight
        heard += weight
    return Agreement(centre, agreed / heard)


def survey(
    scales: int,
    blur: float,
    stack: FocalStack,
    consumers: Sequence[Consumer],
    volume: MeasureVolume | None,
    pool: ThreadPoolExecutor,
    report: Report,
    gains: Sequence[float] = (),
) -> tuple[DepthMap, NoiseLevel]:
    """Return the depth that all views agree on, and the noise of their sum, after one pass over the frames.

    The sum of all views, each in units of what white noise gives it, is what ``consumers`` and ``volume``
    see, at full size; where its peak lies within a slice of what the views agree on, it places the depth.

    Parameters
    ----------
    scales : octaves of detail, 1 to 5
    blur : of `PeakTracker.fit`
    gains : factors by which the frames were brightened to match each other; none means 1

    Raises
    ------
    FrameError
        If a frame cannot be read.
    """
    height, width = stack.shape
    padded = (height + -height % 2**scales, width + -width % 2**scales)
    views = [[View(scale, k, padded, stack.coordinate) for k in range(DIRECTIONS)] for scale in range(scales)]
    measure, total = np.empty(stack.shape, np.float32), PeakTracker(stack.shape, stack.coordinate)
    smoother = FocusSmoother(stack.coordinate)
    meter = NoiseMeter(partial(sum_of_views, scales=scales), 1, stack.shape, stack.source.dtype, gains=gains)
    reach = halo(scales) + int(np.ceil(3 * _SUM_WINDOW))

    def take(plane: Plane, rows: slice) -> None:
        top, bottom = max(rows.start - reach, 0), min(rows.stop + reach, height)
        inner = slice(rows.start - top, rows.stop - top)
        below = padded[0] - height if rows.stop == height else 0
        levels = details(to_grey(plane[top:bottom]), scales)
        together = np.zeros((bottom - top, width), np.float32)
        white = iter(_white(scales))
        for of_scale, level in zip(views, levels, strict=True):
            side = cell(of_scale[0].scale)
            for view, detail in zip(of_scale, level, strict=True):
                amplitude = np.abs(detail)
                if view.scale < SUM_SCALES:
                    cv2.scaleAdd(amplitude, 1 / next(white), together, dst=together)
                cells = _cell_means(amplitude[inner], side, below, padded[1] - width)
                view.plane[rows.start // side : rows.start // side + len(cells)] = cells
        measure[rows] = _windowed(together, scales)[inner]

    def settle(done: tuple[int, Grey] | None) -> None:
        if done is not None:
            codes = total.add(*done)
            if volume is not None:
                volume.add(done[0], [codes], done[1])

    bands = [slice(top, min(top + _BAND_ROWS, height)) for top in range(0, height, _BAND_ROWS)]
    every = [view for of_scale in views for view in of_scale]
    with ThreadPoolExecutor(1, "frame-reader") as reader:
        coming = reader.submit(stack.read, 0)
        for i in range(stack.n):
            report(Progress(0.9 * i / stack.n, f"transforming slice {i + 1} of {stack.n}"))
            plane = coming.result()
            if i + 1 < stack.n:
                coming = reader.submit(stack.read, i + 1)
            list(pool.map(partial(take, plane), bands))
            list(pool.map(View.end_frame, every))
            meter.add(plane)
            settle(smoother.push(measure.copy()))
            for consumer in consumers:
                consumer(i, plane, measure)
    settle(smoother.last())
    report(Progress(0.9, "asking the views"))
    depth = _fused(every, total, padded, blur, pool)
    return depth, meter.level()


def sum_of_views(grey: Grey, scales: int) -> Grey:
    """Measure sharpness by the views of the finest scales together: mean absolute detail, in units of white noise.

    White noise of deviation s gives s on average. Scales with contrast.
    """
    together = np.zeros_like(grey)
    summed = min(scales, SUM_SCALES)
    for detail, white in zip((view for level in details(grey, summed) for view in level), _white(summed), strict=True):
        cv2.scaleAdd(np.abs(detail), 1 / white, together, dst=together)
    return _windowed(together, scales)


def _windowed(together: Grey, scales: int) -> Grey:
    size = (2 * int(np.ceil(3 * _SUM_WINDOW)) + 1,) * 2
    together *= np.float32(1 / (DIRECTIONS * min(scales, SUM_SCALES)))
    return cv2.GaussianBlur(together, size, _SUM_WINDOW, borderType=_BORDER)  # type: ignore[return-value]


def _cell_means(plane: Grey, side: int, below: int, right: int) -> Grey:
    """Return the means of the cells of ``plane``, which is first padded by repetition."""
    plane = cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    size = (plane.shape[1] // side, plane.shape[0] // side)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _fused(views: Sequence[View], total: PeakTracker, padded: tuple[int, int], blur: float, pool: Executor) -> DepthMap:
    """Return the depth of all views, placed by the sum of them where that agrees."""
    height, width = total.index.shape
    cells = (padded[0] // 2, padded[1] // 2)
    found = list(pool.map(lambda view: view.depth(cells, blur), views))
    out = DepthMap(np.empty((height, width), np.float32), np.empty((height, width), np.float32))

    def work(top: int) -> None:
        rows = slice(top, min(top + _BAND_ROWS // 4, height))
        inner = slice(top // 2, -(-rows.stop // 2))
        agreed = vote([index[inner] for index, _ in found], [weight[inner] for _, weight in found], total.n)
        whole = (2 * (inner.stop - inner.start), padded[1])
        index, confidence = (
            p[: rows.stop - top, :width]
            for p in (_raised(agreed.index, whole), cv2.resize(agreed.confidence, whole[::-1]))
        )
        peaks = total.fit(blur, rows)
        fine = np.interp(peaks.coordinate, total.coordinate, np.arange(total.n)).astype(np.float32)
        out.index[rows] = np.where(np.abs(fine - index) < 1, fine, index)
        out.confidence[rows] = np.where((confidence > _SEEN) & np.isfinite(fine), confidence, 0)

    list(pool.map(work, range(0, height, _BAND_ROWS // 4)))
    return out
