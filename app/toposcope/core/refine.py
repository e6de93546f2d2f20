"""From peaks to a depth map: wider windows where texture is faint, smoothing that keeps edges.

All depths here are slice indices with fractions, so that one slice is the yardstick of every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from toposcope.core.noise import NoiseLevel
from toposcope.core.peak import STEPS, Peaks
from toposcope.core.scan import BAND_ROWS, CELL, COARSE_SIGMA, Scan

Values = NDArray[np.float32]

SURE: Final = 6.5
"""Evidence, in standard deviations of noise, from which a peak is believed without help."""

SEEN: Final = 2.5
"""Evidence below which a peak is noise."""

_PLENTY: Final = 20.0  # evidence that leaves nothing to be wished
_COARSE_BIAS: Final = 0.1  # slices, where nothing tells it
_LEAST_BIAS: Final = 0.02
_AROUND: Final = 3.0
_BORROWED: Final = 0.1  # a pixel's own share of what its coarse window shows, up to which that is none of its own
_SHARED: Final = 0.4  # and from which it is
_SHADOW: Final = 3.0  # see `without_shadows`
_SMOOTH: Final = 0.35  # see `spill`
_SPILL: Final = 200.0
_MOST_SPILT: Final = 0.5
_BESIDE: Final = 3  # cells
_HEARD: Final = 5.0  # cells
_SPILL_AGREED: Final = 0.4
_SPILL_SLICES: Final = 2.0
_REACHES: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # in cells
_AGREED: Final = 0.6  # share of the weight around that makes the neighbours agree with each other
_SCATTERED: Final = 0.35  # share of known pixels around, below which a weak one is a speck in a void
_ALONE: Final = 0.12  # share of the weight around that agrees with a pixel, below which it stands alone
_COMPANY: Final = 0.5  # and from which it has enough company
_WEAK: Final = 0.4  # confidence below which a pixel that stands alone is not believed
_FAINT: Final = 0.15  # confidence below which a pixel needs neighbours that agree with it
_SOFT_ERROR: Final = 0.35  # slices of expected error that halve the confidence


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Depth from one size of window, (H, W) float32 each.

    ``index`` slice index with fraction; ``height`` of the peak above the noise; ``evidence`` height of the
    peak above the least measure, in standard deviations of noise, less what the largest and the least
    of as many slices of noise differ by; ``error`` standard deviation in
    slices that noise gives to ``index``; ``rival`` second peak relative to the first, 0..1.
    """

    index: Values
    height: Values
    evidence: Values
    error: Values
    rival: Values


def judge(
    peaks: Peaks,
    coordinate: NDArray[np.floating[Any]],
    floor: Values,
    noise: NoiseLevel,
    blur: float,
    window: int = 0,
) -> Estimate:
    """Return what peaks are worth beside the noise.

    Parameters
    ----------
    peaks : of one size of window
    coordinate : (N,) focus coordinate of the slices
    floor : mean measure of noise at each pixel
    blur : of `PeakTracker.fit`
    window : number of the window, 0 the finest
    """
    # where even the least of all slices lies below the expected floor, that was too high
    floor = np.minimum(floor, 1.2 * peaks.least)
    deviation: Values = np.maximum(noise.deviation(peaks.height, floor, window), np.float32(1e-12))
    height = np.maximum(peaks.height, np.float32(1e-12))
    rise = peaks.height - peaks.least - np.float32(noise.drift) * floor
    # range of that many normal values (Blom 1958), and a little more for wide windows, which hold
    # fewer independent pixels at the border of the picture
    n = len(coordinate)
    expected = 2 * float(ndtri((n - 0.375) / (n + 0.25))) + 0.5 * window
    # the error of the difference of ln m at the two neighbours, over the curvature of ln m; smoothing
    # over `blur` slices lowers the first and, by the wider and lower peak, part of the second
    width = np.minimum(peaks.width, np.float32(1e3))
    wide: Values = np.square(width) + np.float32(blur * blur)
    scale: Values = wide * (np.sqrt(wide) / (4 * width) if blur else np.float32(np.sqrt(0.5)))
    return Estimate(
        index=np.interp(peaks.coordinate, coordinate, np.arange(len(coordinate))).astype(np.float32),
        height=np.maximum(peaks.height - floor, 0),
        evidence=np.divide(rise, deviation, dtype=np.float32) - np.float32(expected),
        error=np.divide(scale * deviation, height, dtype=np.float32),
        rival=(peaks.second - peaks.least) / np.maximum(peaks.height - peaks.least, np.float32(1e-12)),
    )


def merge(fine: Estimate, coarse: Estimate, squared_bias: Values) -> Estimate:
    """Return the best of two sizes of window, of the same shape.

    Where they agree to a slice, the mean weighted by the inverse of their expected squared errors, to
    which the coarse one adds ``squared_bias``, see `coarse_bias`. Where they do not agree, the fine one if
    its evidence stands in the upper half from `SEEN` to `SURE`, else the coarse one if that has any.

    What a coarse window shows counts only as far as the pixel itself shows it too: beside a strong edge a
    wide window is full of that edge, and says nothing of the plain surface around its centre.
    """
    shown = fine.height / np.maximum(coarse.height, np.float32(1e-12))
    seen = coarse.evidence * np.clip((shown - _BORROWED) / (_SHARED - _BORROWED), 0, 1)
    fine_share = np.square(coarse.error) + squared_bias
    fine_share /= fine_share + np.square(fine.error)
    apart = np.abs(fine.index - coarse.index) > 1
    trusted = (fine.evidence > 0.5 * (SEEN + SURE)) | (seen < SEEN)
    fine_share = np.where(apart, trusted.astype(np.float32), fine_share)

    def blend(a: Values, b: Values) -> Values:
        mixed: Values = b + fine_share * (a - b)
        return mixed

    return Estimate(
        index=blend(fine.index, coarse.index),
        height=fine.height,
        evidence=np.maximum(fine.evidence, seen),
        error=np.where(apart, blend(fine.error, coarse.error), fine.error * np.sqrt(fine_share)),
        rival=blend(fine.rival, coarse.rival),
    )


def coarse_bias(fine: Estimate, coarse: Estimate) -> Values:
    """Return the squared error of coarse windows that is not noise, in slices², (H, W) float32.

    Coarse windows round off edges and tops, and lean inwards at the border of the picture. How much shows
    in the differences of the two that noise does not explain, averaged over `_AROUND` cells.
    """
    gap = np.square(fine.index - coarse.index)
    known = (fine.evidence > SEEN) & (coarse.evidence > SEEN) & (gap < 1)
    noise = np.square(fine.error) + np.square(coarse.error)
    excess = np.where(known, gap - np.minimum(noise, 1), 0).astype(np.float32)
    told = cv2.GaussianBlur(known.astype(np.float32), (0, 0), _AROUND)
    excess = cv2.GaussianBlur(excess, (0, 0), _AROUND) / np.maximum(told, np.float32(1e-6))
    bias: Values = np.where(told > 0.05, np.maximum(excess, _LEAST_BIAS**2), _COARSE_BIAS**2).astype(np.float32)
    return bias


def without_shadows(estimate: Estimate, wider: Sequence[tuple[Values, Values, float]]) -> Estimate:
    """Return ``estimate`` without evidence where its peak may be the blur of a strong edge nearby.

    A step of A grey levels has gradient energy A² / w in a line some w pixels wide, which a window of
    radius r averages to 0.64 A² / (w r). Out of focus, with a blur disc of radius r, the same step
    spreads a gradient of 2 A / (π r) over its surroundings: 0.4 A² / r², or 0.63 w / r of what the
    window holds. So a peak lower than some 3 / r of the peak in a window of radius r, at
    another depth, tells of the edge and not of the pixel.

    Parameters
    ----------
    wider : for each wider window its index and height, of the same shape, and its radius in pixels
    """
    evidence = estimate.evidence
    for index, height, radius in wider:
        weak = estimate.height < np.float32(_SHADOW / radius) * height
        evidence = np.where(weak & (np.abs(estimate.index - index) > 1), 0, evidence)
    return replace(estimate, evidence=evidence)


@dataclass(frozen=True, slots=True, eq=False)
class Spill:
    """Where peaks are the blur of strong edges nearby, (H, W) float32 each, in slices.

    ``own`` peak of the cell, NaN where that is false. ``high`` and ``low``: there, the false peak; elsewhere the
    highest and lowest of the false peaks nearby, infinite where there are none. ``edge`` depth of the edge
    that outshines the cell most.
    """

    own: Values
    high: Values
    low: Values
    edge: Values


def spill(window: Estimate, smoothness: Values) -> Spill:
    """Return where the peaks of a window are the blur of a strong edge nearby.

    A blurred edge, far from itself, shows four things together:

    * its gradient is smooth, so that means of cells show it as well as pixels do;
    * within reach r of the blur there is a far higher peak at another depth. A step of A grey levels
      puts A / (π d) at most, at any focus, on a place at distance d: the gradient 2 A / (π R) √(1 - d²/R²) of
      a blur disc of radius R is steepest for R = √2 d. In focus the same step has the energy
      0.28 A² / s in a line s pixels wide, which a window of 4.6 pixels averages to 0.025 A² / s. For d
      of r / 2 and more the ratio is 16 s / r² at most; soft edges and edges that add up ask for some more;
    * that neighbour is out of focus where the pixel peaks;
    * neither such a neighbour nor texture that is not smooth lies at the depth of the peak nearby.

    Parameters
    ----------
    window : the first coarse window, by cells
    smoothness : of `Scan`
    """
    share, _, _ = _outshone(window, np.ones(smoothness.shape, dtype=bool))
    # once more, without those that were found: a false peak neither spills nor vouches for another
    share, edge, agreed = _outshone(window, (share >= 1) | (smoothness <= _SMOOTH))
    false = (share < 1) & (smoothness > _SMOOTH) & ~agreed
    perhaps = (share < 3) & (smoothness > 0.5 * _SMOOTH)
    around = np.ones((2 * _BESIDE + 1,) * 2, np.uint8)
    near = cv2.dilate(np.where(false, window.index, np.float32(-np.inf)), around)
    false |= perhaps & (np.abs(near - window.index) < _SPILL_SLICES)
    # a smooth place at the depth of the texture around it is just that
    heard = (window.evidence > SURE) & (smoothness < _SMOOTH) & ~false & (share > 1)
    weight = heard.astype(np.float32)
    agreed |= smooth_by_layers(np.nan_to_num(window.index), weight, _HEARD).share > _SPILL_AGREED
    false &= ~agreed
    high = cv2.dilate(np.where(false, window.index, np.float32(-np.inf)), around)
    low = cv2.erode(np.where(false, window.index, np.float32(np.inf)), around)
    return Spill(
        own=np.where(false, np.float32(np.nan), window.index),
        high=np.where(false, window.index, high),
        low=np.where(false, window.index, low),
        edge=edge,
    )


def _outshone(window: Estimate, sources: NDArray[np.bool_]) -> tuple[Values, Values, NDArray[np.bool_]]:
    """Return each peak relative to what a far higher one nearby at another depth may spill, and the depth of that.

    Third, where such a high peak lies at the same depth. ``sources`` are the cells that may spill.
    """
    level = np.round(np.log(np.maximum(window.height, 1e-12, dtype=np.float64)) * STEPS) + 2.0**16
    # height in front of depth: a dilation carries the depth of the highest neighbour along
    best = np.where(sources, level * 2.0**24 + np.round(np.nan_to_num(window.index) * 256), 0)
    share, edge = (np.full(level.shape, np.inf, dtype=np.float32) for _ in range(2))
    agreed, before = np.zeros(level.shape, dtype=bool), 0
    for reach in _REACHES:
        best = cv2.dilate(best, np.ones((2 * (reach - before) + 1,) * 2, np.uint8))
        before = reach
        highest, depth = np.divmod(best, 2.0**24)
        spilt = np.float32(min(_SPILL / (CELL * reach) ** 2, _MOST_SPILT))
        ratio = np.exp(np.minimum((level - highest) * (1 / STEPS), 50)).astype(np.float32) / spilt
        apart = np.abs(depth / 256 - window.index) > 1
        worse = apart & (ratio < share)
        np.copyto(share, ratio, where=worse)
        np.copyto(edge, depth / 256, where=worse, casting="same_kind")
        agreed |= ~apart & (ratio < 1)
    return share, edge, agreed


def without_spill(estimate: Estimate, spilt: Spill) -> Estimate:
    """Return ``estimate`` without evidence where its peak is a false one that `spill` found nearby."""
    index = estimate.index
    false = np.minimum(np.abs(index - spilt.high), np.abs(index - spilt.low)) < _SPILL_SLICES
    false &= ~((np.abs(index - spilt.own) < 1) | (np.abs(index - spilt.edge) < 1))
    return replace(estimate, evidence=np.where(false, 0, estimate.evidence))


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Depth of each pixel as slice index with fraction, and its confidence in 0..1.

    Where the confidence is 0, the index is a guess at best.
    """

    index: Values
    confidence: Values


def settle(seen: Scan, blur: float, pool: Executor) -> DepthMap:
    """Return the depth that the peaks of one pass give, merged over the sizes of window.

    Pixels whose peak is no more than noise, or the blur of an edge, have confidence 0.
    """
    shape = seen.fine.index.shape
    out = DepthMap(np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32))
    floor = seen.noise.at(seen.brightness)
    windows = [judge(t.fit(blur), t.coordinate, floor, seen.noise, blur, k) for k, t in enumerate(seen.coarse, 1)]
    wider = [(w.index, w.height, radius) for w, radius in zip(windows, COARSE_SIGMA, strict=False)]
    false = None if seen.smoothness is None else spill(windows[0], seen.smoothness)
    windows = [without_shadows(w, wider[k + 1 :]) for k, w in enumerate(windows)]
    if false is not None:
        windows = [without_spill(w, false) for w in windows]
    coarse, bias = _merged(windows), np.zeros_like(floor)
    if coarse is not None:
        centres = (slice(CELL // 2, None, CELL), slice(CELL // 2, None, CELL))
        rows, columns = seen.fine.index[centres].shape
        inner = (slice(rows), slice(columns))
        fine = judge(seen.fine.fit(blur, centres), seen.fine.coordinate, floor[inner], seen.noise, blur)
        bias[inner] = coarse_bias(fine, _each(coarse, lambda plane: plane[inner]))
        bias[rows:], bias[:, columns:] = bias[rows - 1], bias[:, columns - 1 : columns]

    def work(top: int) -> None:
        rows = slice(top, min(top + BAND_ROWS, shape[0]))

        def spread(cells: Values) -> Values:
            return _spread(cells, rows, shape[1])

        best = judge(seen.fine.fit(blur, rows), seen.fine.coordinate, spread(floor), seen.noise, blur)
        if coarse is not None:
            best = without_shadows(best, [(spread(i), spread(h), radius) for i, h, radius in wider])
            best = merge(best, _each(coarse, spread), spread(bias))
            if false is not None:
                best = without_spill(
                    best, Spill(*(_nearest(p, rows, shape[1]) for p in (false.own, false.high, false.low, false.edge)))
                )
        out.index[rows] = best.index
        known = np.isfinite(best.index) & (best.evidence > SEEN)
        out.confidence[rows] = np.where(known, _confidence(best), 0)

    list(pool.map(work, range(0, shape[0], BAND_ROWS)))
    return out


def smooth(depth: DepthMap, sigma: float, pool: Executor) -> DepthMap:
    """Return ``depth`` smoothed where neighbours agree, and trusted less where they do not.

    * A weak pixel that stands alone among neighbours who agree with each other takes their depth.
    * A pixel without evidence of its own (confidence 0) is believed where neighbours who have some
      surround it, agree with each other, and its own weak peak agrees with them.
    * A weak pixel among neighbours of all sorts, or among voids, is noise and loses its confidence.
    """
    height = depth.index.shape[0]
    halo = int(np.ceil(3 * sigma))
    size = (2 * halo + 1,) * 2
    out = DepthMap(np.empty_like(depth.index), np.empty_like(depth.confidence))

    def work(top: int) -> None:
        bottom = min(top + BAND_ROWS, height)
        around = slice(max(top - halo, 0), min(bottom + halo, height))
        rows = slice(top - around.start, bottom - around.start)
        trust = depth.confidence[around]
        known = trust > 0
        index = np.nan_to_num(depth.index[around])
        found = smooth_by_layers(index, trust, sigma)
        surrounded = cv2.GaussianBlur(known.astype(np.float32), size, sigma)
        agreed = found.mode_share > _AGREED
        alone = known & (found.share < _ALONE) & (trust < _WEAK)
        joins = ~known & agreed & (surrounded > 0.5) & (np.abs(index - found.mode) < 1)
        stays = known & (~alone | agreed) & ((trust > _WEAK) | (surrounded > _SCATTERED))
        stays &= (trust > _FAINT) | (found.share > _AGREED)
        confidence = trust * np.clip(found.share / _COMPANY, 0, 1)
        confidence = np.where(joins, np.float32(0.5 * _WEAK) * found.mode_share, np.where(stays, confidence, 0))
        out.index[top:bottom] = np.where(joins | (alone & agreed), found.mode, found.index)[rows]
        out.confidence[top:bottom] = confidence[rows]

    list(pool.map(work, range(0, height, BAND_ROWS)))
    return out


def _confidence(estimate: Estimate) -> Values:
    """Return 0..1 from evidence, expected error and second peaks, each of which can veto."""
    evidence = np.clip((estimate.evidence - SEEN) / (_PLENTY - SEEN), 0, 1)
    exactness = 1 / (1 + np.square(np.minimum(estimate.error, np.float32(1e3)) / np.float32(_SOFT_ERROR)))
    single = 1 - np.square(np.clip(estimate.rival, 0, 1))
    confidence: Values = (0.05 + 0.95 * evidence) * exactness * (0.05 + 0.95 * single)
    return confidence.astype(np.float32)


def _merged(windows: Sequence[Estimate]) -> Estimate | None:
    """Return the windows, finest first, merged into one estimate; None where there are none."""
    if not windows:
        return None
    coarse = _merged(windows[1:])
    return windows[0] if coarse is None else merge(windows[0], coarse, coarse_bias(windows[0], coarse))


def _each(estimate: Estimate, change: Callable[[Values], Values]) -> Estimate:
    return Estimate(*(change(getattr(estimate, f.name)) for f in fields(Estimate)))


def _spread(cells: Values, rows: slice, width: int) -> Values:
    """Return ``rows`` (starting at a cell) of a plane given by cells, interpolated between their centres."""
    first, last = max(rows.start // CELL - 1, 0), min(-(-rows.stop // CELL) + 1, cells.shape[0])
    part = cells[first:last]
    size = (part.shape[1] * CELL, part.shape[0] * CELL)
    whole: Values = cv2.resize(np.nan_to_num(part), size, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    nearest = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)
    # across a step of depth (or a void) nothing lies between
    whole = np.where(np.abs(whole - nearest) < 0.5 * np.maximum(np.abs(nearest), 1), whole, nearest)
    band: Values = whole[rows.start - first * CELL : rows.stop - first * CELL, :width]
    return band


def _nearest(cells: Values, rows: slice, width: int) -> Values:
    """Return ``rows`` (starting at a cell) of a plane given by cells, each pixel that of its own cell."""
    part = cells[rows.start // CELL : -(-rows.stop // CELL)]
    whole = np.repeat(np.repeat(part, CELL, axis=0), CELL, axis=1)
    band: Values = whole[: rows.stop - rows.start, :width]
    return band


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """Result of `smooth_by_layers`, (H, W) float32 each.

    ``index`` smoothed; ``share`` of the weight around a pixel that agrees with its own depth;
    ``mode`` the depth that most of the weight around agrees on, ``mode_share`` its share.
    """

    index: Values
    share: Values
    mode: Values
    mode_share: Values


def smooth_by_layers(index: Values, weight: Values, sigma: float) -> Smoothed:
    """Smooth depth among neighbours that agree with it: a bilateral filter whose layers are the slices.

    Each pixel is shared between the two slices next to its depth. Weight, and weight times depth, are
    blurred slice by slice; a pixel then reads the mean of the depths at its own two slices. Pixels more
    than two slices apart never mix, so that steps stay steps. The effort grows with the range of
    depths, not with ``sigma``.

    Parameters
    ----------
    index : (H, W) slice index with fraction, finite
    weight : (H, W) at least 0; 0 for pixels that have no say
    sigma : standard deviation of the neighbourhood in pixels

    Source: Durand & Dorsey, "Fast bilateral filtering for the display of high-dynamic-range images",
    SIGGRAPH 2002 (piecewise-linear layers); weighted, and with depth as its own guide.
    """
    own, own_sum, total, mode_weight, mode_sum = (np.zeros(index.shape, dtype=np.float32) for _ in range(5))
    size = (2 * int(np.ceil(3 * sigma)) + 1,) * 2
    heard = index[weight > 0]
    layers = range(int(heard.min()), int(heard.max()) + 2) if heard.size else range(0)
    for k in layers:
        near = np.maximum(1 - np.abs(index - np.float32(k)), 0)
        mine = near * weight
        mass = cv2.GaussianBlur(mine, size, sigma)
        moment = cv2.GaussianBlur(mine * index, size, sigma)
        own += near * mass
        own_sum += near * moment
        total += mass
        better = (mass > mode_weight).view(np.uint8)
        cv2.copyTo(mass, better, mode_weight)
        cv2.copyTo(moment, better, mode_sum)
    tiny = np.float32(1e-9)
    total = np.maximum(total, tiny)
    return Smoothed(
        index=np.where(own > tiny, own_sum / np.maximum(own, tiny), index),
        share=own / total,
        mode=np.where(mode_weight > tiny, mode_sum / np.maximum(mode_weight, tiny), index),
        mode_share=mode_weight / total,
    )


def fill_voids(index: Values, confidence: Values) -> Values:
    """Return ``index`` (H, W) with its NaN filled from around, smoothly, the nearer the more.

    Means, weighted by ``confidence``, are taken at ever coarser size until no gap is left, and handed
    down again: the "push-pull" of Gortler et al., "The Lumigraph", SIGGRAPH 1996.
    """
    known = np.isfinite(index)
    if known.all() or not known.any():
        return index
    weight = np.where(known, confidence + np.float32(1e-3), 0).astype(np.float32)
    filled = _push_pull(np.where(known, index, 0).astype(np.float32) * weight, weight)
    return np.where(known, index, filled)


def _push_pull(moment: Values, weight: Values) -> Values:
    """Return moment / weight, completed from coarser sizes where weight is 0."""
    height, width = weight.shape
    here: Values = np.divide(moment, np.maximum(weight, np.float32(1e-12)), dtype=np.float32)
    if weight.all() or min(height, width) <= 1:
        return here
    size = (-(-width // 2), -(-height // 2))
    coarse = _push_pull(
        cv2.resize(moment, size, interpolation=cv2.INTER_AREA),  # type: ignore[arg-type]
        cv2.resize(weight, size, interpolation=cv2.INTER_AREA),  # type: ignore[arg-type]
    )
    cv2.copyTo(cv2.resize(coarse, (width, height)), (weight == 0).view(np.uint8), here)
    return here
