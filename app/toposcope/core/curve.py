"""The focus curve of one pixel: how sharp it is in each slice, and what that says.

A peak counts when it stands out: its prominence (height above the higher of the two valleys that
part it from higher peaks) must reach `PROMINENCE` of the highest value, and `NOISE` times the curve's
roughness. The roughness is the up and down that one peak does not explain: the total variation less
that of a curve which rises once and falls once, per step. It is 0 for one clean peak however few
the slices, and about the standard deviation of the noise where there is nothing but noise.
`analyse` reads one curve, `peak_counts` all of them, by this same rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import UNIT_SYMBOLS, Floats, Kind, Unit, focus_coordinate, to_positions, typical_step
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.words import minus

if TYPE_CHECKING:
    from toposcope.core.align import Alignment
    from toposcope.core.result import DepthResult
    from toposcope.core.volume import FocusVolume, Origin

PROMINENCE: Final = 0.2
"""A peak stands out by at least this share of the highest value."""

CONTRAST: Final = 0.5
"""Without this share between highest and lowest value a curve is flat."""

NOISE: Final = 6.0
"""A peak stands out by at least so many times the roughness: noise alone spans about 4."""

FAINT: Final = 0.85
"""With less contrast than this a curve may be noise above its floor (`volume.probabilities`): it must be
twice as smooth."""

FIT_SAMPLES: Final = 65

ORIGIN_WORDS: Final[dict[Origin, str]] = {
    "neighbours": "from its neighbours",
    "mean": "the mean of all slices",
    "measure": "the peak of the focus measure",
    "both": "between the mean of all slices and the peak of the focus measure",
}
"""How a depth comes from its curve, in the verdict's words."""

Shape = Literal["clear", "two_peaks", "many_peaks", "flat", "at_first", "at_last", "void"]
"""What a focus curve looks like; `Verdict.text` says it in words."""


@dataclass(frozen=True, slots=True)
class Peak:
    """One peak of a curve: its place in the stack's unit, its share of the total probability."""

    position: float
    probability: float
    slice_index: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a curve says about its pixel: one of a few shapes, and a sentence for the user."""

    shape: Shape
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class FocusCurve:
    """Everything known about the focus of one pixel.

    ``positions`` (N,) in the stack's unit, ascending; ``probability`` (N,) float32, sums to 1;
    ``measure`` (N,) float32, the raw focus measure, or None where the method has none (networks);
    ``peaks`` the peaks, strongest first; ``position`` the sub-slice peak of this curve in the
    stack's unit, NaN when there is none; ``width`` its full width at half maximum, NaN likewise;
    ``depth`` the value of the depth map at the pixel after regularisation, NaN in a void;
    ``fit`` (M, 2) float64 samples (position, probability) of the fitted peak, for drawing;
    ``origin`` how ``depth`` comes from the curve.
    """

    row: int
    column: int
    positions: NDArray[np.float64]
    probability: NDArray[np.float32]
    measure: NDArray[np.float32] | None
    peaks: tuple[Peak, ...]
    position: float
    width: float
    depth: float
    fit: NDArray[np.float64]
    verdict: Verdict
    unit_symbol: str
    origin: Origin = "neighbours"


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What a focus curve says; the fields mean the same as in `FocusCurve`."""

    peaks: tuple[Peak, ...]
    position: float
    width: float
    fit: NDArray[np.float64]
    verdict: Verdict


def curve_at(result: DepthResult, row: int, column: int) -> FocusCurve:
    """Return the focus curve of pixel (``row``, ``column``) of a result.

    Raises
    ------
    ValueError
        If the result was made without its volume, or the pixel lies outside the picture.
    """
    volume = result.volume
    if volume is None:
        raise ValueError("this result was made without its focus volume: estimate with keep_volume=True")
    if not (0 <= row < result.shape[0] and 0 <= column < result.shape[1]):
        raise ValueError(f"pixel ({row}, {column}) lies outside the picture of {result.shape[0]} x {result.shape[1]}")
    probability = volume.probability(row, column)
    positions, depth = result.positions.value, float(result.depth[row, column])
    origin = volume.origin(row, column)
    if _seen_by_all(result.alignment, row, column, result.shape):
        found = analyse(positions, result.unit, result.kind.value, probability, depth, origin)
    else:
        text = "outside the field of view that all slices share"
        found = Analysis((), math.nan, math.nan, np.empty((0, 2)), Verdict("void", text))
    return FocusCurve(
        row=row,
        column=column,
        positions=positions,
        probability=probability,
        measure=volume.measure(row, column),
        peaks=found.peaks,
        position=found.position,
        width=found.width,
        depth=depth,
        fit=found.fit,
        verdict=found.verdict,
        unit_symbol=result.unit_symbol,
        origin=origin,
    )


def analyse(
    positions: Floats,
    unit: Unit,
    kind: Kind,
    probability: NDArray[np.floating],
    depth: float | None = None,
    origin: Origin = "neighbours",
) -> Analysis:
    """Find the peaks of one focus curve, place the strongest between the slices, and say what it means.

    Parameters
    ----------
    positions : (N,) ascending, in ``unit``
    probability : (N,) not negative, of any sum above 0
    depth : value of the depth map at the pixel, in ``unit``, NaN where it leaves the pixel out; None without map.
        A faint curve that the map left out counts as flat: the map knows the noise
    origin : how ``depth`` comes from the curve
    """
    curve = np.asarray(probability, dtype=np.float64)
    coordinate = focus_coordinate(positions, unit, kind)
    # in single precision, as `peak_counts` works, so that both agree on curves that just meet the rule
    indices = _peak_indices(np.asarray(probability, dtype=np.float32))
    left_out = depth is not None and math.isnan(depth)
    if not indices or (left_out and np.ptp(curve) < FAINT * curve.max()):
        return Analysis((), math.nan, math.nan, np.empty((0, 2)), _flat(positions, unit, depth, origin))
    valleys = [0, *(a + int(curve[a : b + 1].argmin()) for a, b in pairwise(indices)), len(curve)]
    shares = [curve[a:b].sum() / curve.sum() for a, b in pairwise(valleys)]
    strongest = max(indices, key=lambda i: curve[i])
    at_end = strongest in (0, len(curve) - 1)

    def place(at: NDArray[np.floating] | float) -> Any:
        return to_positions(np.asarray(at, dtype=np.float64), positions, unit, kind)

    centres = {i: _gaussian(coordinate, curve, i) for i in indices}
    peaks = tuple(
        Peak(float(place(centres[i][0])), float(share), i)
        for share, i in sorted(zip(shares, indices, strict=True), key=lambda pair: -curve[pair[1]])
    )
    centre, sigma, height = centres[strongest]
    fit = np.empty((0, 2))
    if not at_end and math.isfinite(sigma):
        samples = np.linspace(max(0.0, centre - 3 * sigma), min(1.0, centre + 3 * sigma), FIT_SAMPLES)
        fit = np.column_stack([place(samples), height * np.exp(-0.5 * ((samples - centre) / sigma) ** 2)])
    low, high = _half_maximum(coordinate, curve, strongest, height)
    width = float(abs(place(high) - place(low)))
    verdict = _verdict(positions, unit, peaks, at_end, width, depth, origin)
    return Analysis(peaks, peaks[0].position, width, fit, verdict)


def peak_counts(volume: FocusVolume, report: Report = silent) -> NDArray[np.uint8]:
    """Return the number of peaks of every pixel's curve: 0 flat, 1 unimodal, 2 or more ambiguous.

    Goes through the slices twice and keeps a constant number of planes: first for highest and lowest
    values and variation, then up and down with the hysteresis that the rule gives, which counts the
    peaks whose prominence reaches it. Returns (H, W) uint8.
    """
    n, height, width = volume.shape
    first = volume.plane(0)
    top, bottom, past = first.copy(), first.copy(), first
    variation = np.zeros((height, width), np.float32)
    for i in range(1, n):
        plane = volume.plane(i)
        variation += np.abs(plane - past)
        np.maximum(top, plane, out=top)
        np.minimum(bottom, plane, out=bottom)
        past = plane
        report(Progress(0.5 * (i + 1) / n, "counting peaks"))
    needed = needed_prominence(top, bottom, variation, first, past, n)
    counts = np.zeros((height, width), np.uint8)
    rising, falling = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    top[:], bottom[:] = first, first
    for i in range(1, n):
        plane = volume.plane(i)
        np.maximum(top, plane, out=top)
        np.minimum(bottom, plane, out=bottom)
        turned = (top - plane >= needed) & ~falling
        counts += turned
        np.copyto(bottom, plane, where=turned)
        falling |= turned
        rising &= ~turned
        turned = (plane - bottom >= needed) & ~rising
        np.copyto(top, plane, where=turned)
        rising |= turned
        falling &= ~turned
        report(Progress(0.5 + 0.5 * (i + 1) / n, "counting peaks"))
    return counts + rising


def flat_curves(curves: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which of the (N, ...) curves have no peak that stands out."""
    variation = np.abs(np.diff(curves, axis=0)).sum(axis=0)
    top, bottom = curves.max(axis=0), curves.min(axis=0)
    flat: NDArray[np.bool_] = np.isinf(needed_prominence(top, bottom, variation, curves[0], curves[-1], len(curves)))
    return flat


def format_position(value: float, unit_symbol: str, resolution: float) -> str:
    """Write a position for the user, to a tenth of ``resolution``: ``41.2 µm``, ``slice 7.3``."""
    number = _number(value, resolution)
    return f"slice {number}" if unit_symbol == UNIT_SYMBOLS["index"] else f"{number} {unit_symbol}"


def format_length(value: float, unit_symbol: str, resolution: float) -> str:
    """Write a length for the user, to a tenth of ``resolution``: ``6.3 µm``, ``1.5 slices``."""
    return f"{_number(value, resolution)} {unit_symbol}"


def _number(value: float, resolution: float) -> str:
    decimals = max(0, 1 - math.floor(math.log10(resolution)))
    text = f"{value:.{decimals}f}"
    return minus(text) if float(text) else text.lstrip("-")


def needed_prominence(top: Any, bottom: Any, variation: Any, first: Any, last: Any, n: int) -> Any:
    """Return the prominence that a peak needs, for one curve or for planes; inf where the curve is flat.

    ``top`` and ``bottom`` are the extremes, ``variation`` the sum of all absolute steps.
    """
    roughness = np.maximum(variation - (2 * top - first - last), 0) / (n - 1)
    rise = top - bottom
    # few slices cannot tell two peaks from noise: there the roughness of two clean peaks must pass
    noise = np.where(rise < FAINT * top, min(2 * NOISE, 0.8 * (n - 1)), min(NOISE, 0.4 * (n - 1))) * roughness
    flat = (rise < CONTRAST * top) | (rise <= noise)
    return np.where(flat, np.float32(np.inf), np.maximum(PROMINENCE * top, noise))


def _peak_indices(curve: Floats) -> list[int]:
    """Return the slices of the peaks that stand out, ascending: the steps of `peak_counts` for one curve."""
    variation = np.abs(np.diff(curve)).sum()
    # numpy's double: a Python float would be rounded to the precision of the curve when compared with it
    needed = np.float64(needed_prominence(curve.max(), curve.min(), variation, curve[0], curve[-1], len(curve)))
    if np.isinf(needed):
        return []
    found = []
    top = bottom = 0
    rising = falling = False
    for i in range(1, len(curve)):
        top = i if curve[i] > curve[top] else top
        bottom = i if curve[i] < curve[bottom] else bottom
        if not falling and curve[top] - curve[i] >= needed:
            found.append(top)
            bottom, rising, falling = i, False, True
        elif not rising and curve[i] - curve[bottom] >= needed:
            top, rising, falling = i, True, False
    return [*found, top] if rising else found


def _gaussian(x: Floats, curve: Floats, peak: int) -> tuple[float, float, float]:
    """Return centre, standard deviation and height of the Gaussian of a peak.

    Parabola through the logarithms by least squares over the values above half of the peak, at
    least its two neighbours, weighted by the squared values (Guo, "A simple algorithm for fitting a
    Gaussian function", IEEE Signal Processing Magazine 28(5), 2011, eq. 9). A peak at an end, or
    without curvature, stays at its slice with an infinite deviation.
    """
    whole = (float(x[peak]), math.inf, float(curve[peak]))
    if peak in (0, len(curve) - 1):
        return whole
    low, high = peak - 1, peak + 1
    while low > 0 and 0.5 * curve[peak] < curve[low - 1] < curve[low]:
        low -= 1
    while high < len(curve) - 1 and 0.5 * curve[peak] < curve[high + 1] < curve[high]:
        high += 1
    part = curve[low : high + 1] / curve[peak]
    scale = (x[peak + 1] - x[peak - 1]) / 2
    t = (x[low : high + 1] - x[peak]) / scale
    a, b, c = np.polyfit(t, np.log(np.maximum(part, 1e-6)), 2, w=np.maximum(part, 1e-3))
    if a >= 0 or not t[0] <= (top := -b / (2 * a)) <= t[-1]:
        return whole
    return float(x[peak] + top * scale), math.sqrt(-0.5 / a) * scale, float(curve[peak] * math.exp(c - b * b / (4 * a)))


def _half_maximum(x: Floats, curve: Floats, peak: int, height: float) -> tuple[float, float]:
    """Return the coordinates to either side of a peak where the curve falls to half of it, NaN if it does not.

    ``height`` is that of the fitted peak; half is counted from the lowest value of the curve. Where only
    one side falls that far, the other is its mirror image.
    """
    half = (height + curve.min()) / 2

    def crossing(step: int) -> float:
        i = peak
        while 0 <= i + step < len(curve):
            if curve[i + step] <= half:
                part = (max(curve[i], half) - half) / (max(curve[i], half) - curve[i + step])
                return float(x[i] + (x[i + step] - x[i]) * part)
            i += step
        return math.nan

    low, high = crossing(-1), crossing(1)
    if math.isnan(low):
        low = 2 * x[peak] - high
    if math.isnan(high):
        high = 2 * x[peak] - low
    return max(low, 0.0), min(high, 1.0)


def _verdict(
    positions: Floats,
    unit: Unit,
    peaks: tuple[Peak, ...],
    at_end: bool,
    width: float,
    depth: float | None,
    origin: Origin,
) -> Verdict:
    symbol, step = UNIT_SYMBOLS[unit], typical_step(positions)
    strongest = peaks[0]
    if at_end:
        end: Shape = "at_first" if strongest.slice_index == 0 else "at_last"
        text = f"peak at the {end.removeprefix('at_')} slice: the surface may lie beyond the sweep"
        return Verdict(end, text)
    remark = ""
    if depth is not None and math.isnan(depth):
        remark = "; left out of the depth map as uncertain"
    elif depth is not None and abs(depth - strongest.position) > max(step, width / 2):
        remark = f"; the depth map says {format_position(depth, symbol, step)}, {ORIGIN_WORDS[origin]}"
    if len(peaks) == 1:
        return Verdict("clear", f"one clear peak at {format_position(strongest.position, symbol, step)}{remark}")
    if len(peaks) == 2:
        low, high = sorted(peak.position for peak in peaks)
        places = f"{_number(low, step)} and {_number(high, step)}"
        places = f"slices {places}" if unit == "index" else f"{places} {symbol}"
        return Verdict("two_peaks", f"two peaks: {places}, an edge or a transparent layer?{remark}")
    place = format_position(strongest.position, symbol, step)
    return Verdict("many_peaks", f"{len(peaks)} peaks, the strongest at {place}: noise or a repeating pattern?{remark}")


def _flat(positions: Floats, unit: Unit, depth: float | None, origin: Origin) -> Verdict:
    text = "flat: no texture here"
    if depth is not None and math.isfinite(depth):
        place = format_position(depth, UNIT_SYMBOLS[unit], typical_step(positions))
        verb = "comes" if origin == "neighbours" else "is"
        text += f"; the depth of {place} {verb} {ORIGIN_WORDS[origin]}"
    return Verdict("flat", text)


def _seen_by_all(alignment: Alignment | None, row: int, column: int, shape: tuple[int, int]) -> bool:
    """Whether every frame saw the pixel."""
    if alignment is None or not alignment.needed:
        return True
    limits = np.array([shape[1], shape[0]]) - 0.5
    places = np.array([motion.matrix @ (column, row, 1.0) for motion in alignment.motions])
    return bool((places >= -0.5).all() and (places <= limits).all())
