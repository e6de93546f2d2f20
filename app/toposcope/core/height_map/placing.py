"""A height map laid over another surface: on its grid, in its place, with its level.

::

    same field? ──yes──> middle on middle
        └──no──> where the shapes agree best: all shifts at once, coarse, by Fourier transforms
                     └──> least squares for shift and tilt together, coarse, then fine
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import MICROMETRES, Floats
from toposcope.core.height_map.grid import resampled
from toposcope.core.height_map.model import METHOD, MIRROR_WORDS, HeightMap, Mirror, from_result, mirrored
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.result import DepthResult
from toposcope.core.sweep import SweepReport
from toposcope.errors import CalibrationError, SettingsError, StackError

Level = Literal["none", "offset", "plane"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
Place = Literal["auto", "same"] | tuple[float, float]
"""Where a map lies: found, middle on middle, or the (row, column) of its upper left corner."""

SAME_FIELD: Final = 0.02
"""Share by which two fields may differ in size and still be taken for the same one."""
ALIKE: Final = 0.6
"""Correlation from which on two surfaces are believed to be the same place."""
WHOLE: Final = 0.95
"""Share of the smaller map from which on it is not told how much of it lies on the other one."""
SURE: Final = 0.9
"""Correlation from which on nobody asks whether a map is mirrored."""
BETTER: Final = 0.1
"""Correlation by which a mirrored map must agree better for a word of warning."""
RIVAL: Final = 0.05
"""Correlation by which another place may agree less and is told."""
OVERLAP: Final = 0.5
"""Share of the smaller map that must lie on the other one."""

_COARSE: Final = 512  # places along the longer side while all shifts are tried
_FEWEST: Final = 24  # and at least so many along the shorter side of the smaller map
_ENOUGH: Final = 200  # places that must be known in both: fewer are alike by chance somewhere
_FINE: Final = 1_000_000  # places that are enough for least squares
_CANDIDATES: Final = 16
_APART: Final = 12  # parts of the smallest side that two candidates lie from each other
_DETAIL: Final = 8  # parts of the smallest side that a detail may be broad
_TURNS: Final = 15
_SETTLED: Final = 0.002  # pixels
_WILD: Final = 4.0  # times the usual deviation


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Heights on another surface's grid: ``z_um`` (H, W), NaN outside and in voids.

    ``corner`` is where the upper left corner of the map lies, (row, column) in pixels of the grid, 0 on 0 at the
    corner of its first pixel; ``found`` whether it was searched for; ``text`` says so to users. ``better`` is how the
    map must be mirrored to agree better, "none" if it need not; the text says that as well.
    """

    z_um: Floats
    corner: tuple[float, float]
    found: bool
    text: str
    better: Mirror = "none"


def parse_place(text: str) -> Place:
    """Read where a map lies: ``auto``, ``same`` or ROW,COL.

    Raises
    ------
    SettingsError
        If it is none of these.
    """
    if text == "auto":
        return "auto"
    if text == "same":
        return "same"
    try:
        row, column = (float(one) for one in text.split(","))
    except ValueError:
        row = math.nan
    if not (math.isfinite(row) and math.isfinite(column)):
        raise SettingsError(f"{text!r} is no place; write auto, same, or ROW,COL of the upper left corner.")
    return row, column


def lay_over(
    height_map: HeightMap,
    reference_um: Floats,
    pixel_um: float | None,
    place: Place = "auto",
    report: Report = silent,
) -> Placed:
    """Return a height map on the grid of another surface.

    Parameters
    ----------
    reference_um : (H, W) heights of the other surface in micrometres, NaN in voids
    pixel_um : the side of its pixels, None where that is not known: then both must have as many
    place : ``auto`` takes fields of the same size for the same field and looks for the place of others by the
        shape of the surface. Maps that are mirrored are not found, but told; those turned by other than 180° are not.

    Raises
    ------
    CalibrationError
        If a pixel size is not known and the maps have different sizes.
    StackError
        If no place is found where the two look like the same surface.
    """
    shape = reference_um.shape[0], reference_um.shape[1]
    pixels, extent = height_map.pixels_um, height_map.extent_um
    better: Mirror = "none"
    if pixels is None or extent is None or pixel_um is None:
        if height_map.shape == shape and not isinstance(place, tuple):
            agreement, better = _agreement(height_map.z_um, reference_um, same=True)
            text = f"laid over pixel by pixel{agreement}; a pixel size is not known"
            return Placed(height_map.z_um, (0.0, 0.0), False, text, better)
        who = height_map.name if pixels is None else "the other surface"
        raise CalibrationError(
            f"{who} tells no pixel size, and {height_map.name} has {height_map.shape[1]} × {height_map.shape[0]} "
            f"pixels where the other has {shape[1]} × {shape[0]}. Give the pixel size of the stack and compute its "
            "depth again, or save the height map with its size.",
            option="--pixel-size of toposcope depth",
        )
    field = shape[0] * pixel_um, shape[1] * pixel_um
    same = all(abs(one - other) <= SAME_FIELD * other for one, other in zip(extent, field, strict=True))
    middle = (field[0] - extent[0]) / 2, (field[1] - extent[1]) / 2
    found = False
    if isinstance(place, tuple):
        corner, text = (place[0] * pixel_um, place[1] * pixel_um), "laid where it was said to lie"
    elif place == "same" or same:
        corner, text = middle, "laid over the same field" if same else "laid with its middle on the middle"
    else:
        corner, likeness, rival = _find(height_map, pixels, reference_um, pixel_um, part(report, 0.0, 0.4))
        turned: tuple[float, Mirror] = (-1.0, "none")
        if likeness < SURE:
            steps = part(report, 0.4, 0.8)
            for k, mirror in enumerate(MIRROR_WORDS):
                turn = part(steps, k / len(MIRROR_WORDS), (k + 1) / len(MIRROR_WORDS))
                turned = max(
                    turned, (_find(mirrored(height_map, mirror), pixels, reference_um, pixel_um, turn)[1], mirror)
                )
        better = turned[1] if turned[0] >= max(ALIKE, likeness + BETTER) else "none"
        if likeness < ALIKE:
            found_none = (
                f"{height_map.name} shows {_field(extent)}, the other surface {_field(field)}, and no place is found "
                "where the two look alike."
            )
            if better != "none":
                raise StackError(
                    f"{found_none} It is found when it is {MIRROR_WORDS[better]}: turn it so.",
                    option=f"--mirror {better}",
                )
            raise StackError(
                f"{found_none} Check both pixel sizes, crop to the same field, or say the place of its upper left "
                "corner; maps that are turned by other than 180° must be turned back first.",
                option="--place ROW,COL",
            )
        found = True
        text = (
            f"found at row {corner[0] / pixel_um:.1f}, column {corner[1] / pixel_um:.1f} (correlation {likeness:.2f})"
        )
        text += _warning(better, turned[0]) if better != "none" else ""
        if rival is not None:
            text += (
                "; beware: the surface repeats itself, "
                f"row {rival[0] / pixel_um:.0f}, column {rival[1] / pixel_um:.0f} agrees nearly as well"
            )
    z = resampled(height_map.z_um, pixels, shape, pixel_um, corner, part(report, 0.8, 1.0))
    if found and (inside := _inside(corner, extent, field)) < WHOLE:
        text += f", {100 * inside:.0f} % of the smaller one lies on the other"
    if not found:
        agreement, better = _agreement(z, reference_um, same)
        text += agreement
    if not np.isfinite(z).any():
        raise StackError(
            f"no height of {height_map.name} lies on the other surface there. Say another place.",
            option="--place ROW,COL",
        )
    return Placed(z, (corner[0] / pixel_um, corner[1] / pixel_um), found, text, better)


def _inside(corner: tuple[float, float], extent: tuple[float, float], field: tuple[float, float]) -> float:
    """Return the share of the smaller field that lies on the larger one, with the corner of the first on the second."""
    sides = [max(0.0, min(at + size, n) - max(at, 0.0)) for at, size, n in zip(corner, extent, field, strict=True)]
    return sides[0] * sides[1] / min(extent[0] * extent[1], field[0] * field[1])


def _agreement(laid: Floats, reference: Floats, same: bool) -> tuple[str, Mirror]:
    """Return how well two surfaces on one grid agree, for users, and where ``same`` how they would when mirrored."""
    every = max(1, math.isqrt(laid.size // _FINE))
    one, other = reference[::every, ::every], laid[::every, ::every]
    likeness = _alike(one, other)
    if math.isnan(likeness):
        return "", "none"
    text = f" (correlation {likeness:.2f})"
    if same and likeness < ALIKE:
        turned: dict[Mirror, Floats] = {"rows": other[::-1], "columns": other[:, ::-1], "both": other[::-1, ::-1]}
        better = {mirror: _alike(one, z) for mirror, z in turned.items()}
        best = max(better, key=lambda mirror: -1.0 if math.isnan(better[mirror]) else better[mirror])
        if better[best] >= max(ALIKE, likeness + BETTER):
            return text + _warning(best, better[best]), best
    return text, "none"


def _warning(mirror: Mirror, likeness: float) -> str:
    return f"; beware: {MIRROR_WORDS[mirror]} it would agree better (correlation {likeness:.2f})"


def _alike(one: Floats, other: Floats) -> float:
    """Return the correlation of two surfaces on one grid where both are known, tilts taken out; NaN if flat."""
    known = np.isfinite(one) & np.isfinite(other)
    if np.count_nonzero(known) < 9:
        return math.nan
    first, second = (_flat(np.where(known, z, np.nan))[known] for z in (one, other))
    spread = float(first @ first) * float(second @ second)
    return float(first @ second) / math.sqrt(spread) if spread > 1e-12 else math.nan


def level_to(reference: Floats, moved: Floats, level: Level) -> tuple[Floats, str]:
    """Return ``moved`` brought to the level of ``reference`` by least squares over what both know, and what was done.

    Both (H, W), NaN in voids. Where fewer than three places are known in both, nothing is done.
    """
    if level == "none":
        return moved, ""
    difference = reference - moved
    known = np.isfinite(difference)
    if np.count_nonzero(known) < 3:
        return moved, ""
    if level == "offset":
        offset = float(difference[known].mean())
        return moved + offset, "an offset removed by least squares"
    rows, columns = _axes(moved.shape[0], moved.shape[1])
    terms = [np.ones(moved.shape), np.broadcast_to(rows, moved.shape), np.broadcast_to(columns, moved.shape)]
    solution = _solve(terms, difference, known)
    fitted = moved + sum(value * term for value, term in zip(solution, terms, strict=True))
    return fitted, "offset and tilt removed by least squares"


def on_result(
    height_map: HeightMap,
    result: DepthResult,
    level: Level = "plane",
    place: Place = "auto",
    report: Report = silent,
    zero_um: float = 0.0,
) -> tuple[DepthResult, str]:
    """Return the height map as a result of the same pixels, unit and picture as ``result``, and how it was laid over.

    So it can be shown beside it, subtracted from it and exported like any result. ``zero_um`` is what the heights of
    ``result`` count from, where that is known.

    Raises
    ------
    CalibrationError, StackError
        As `lay_over` and `from_result` do.
    """
    reference = from_result(result).z_um + zero_um
    pixel = result.pixel_um
    placed = lay_over(height_map, reference, pixel.value if pixel else None, place, report)
    levelled, how = level_to(reference, placed.z_um, level)
    heights = (levelled - zero_um) / MICROMETRES[result.unit]
    positions = result.positions.value
    depth = (heights + positions[0] if result.near.value == "high" else positions[-1] - heights).astype(np.float32)
    valid = np.isfinite(depth)
    name = height_map.name
    made = replace(
        result,
        depth=depth,
        confidence=valid.astype(np.float32),
        valid=valid,
        volume=None,
        sweep=SweepReport((), None),
        provenance=replace(
            result.provenance,
            method=METHOD,
            settings={"level": level, "place": placed.text},
            source=name,
            seconds=0.0,
            inputs={},
        ),
    )
    return made, "; ".join([placed.text, *([how] if how else [])])


def _field(extent: tuple[float, float]) -> str:
    return f"{extent[1]:.4g} × {extent[0]:.4g} µm"


def _axes(height: int, width: int) -> tuple[Floats, Floats]:
    """Return rows (H, 1) and columns (1, W) from about -1 to 1, which keeps least squares well posed."""
    return np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]


def _solve(terms: list[NDArray[np.float64]], values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return the factors of ``terms`` that come nearest to ``values`` where they are known."""
    columns = [term[known] for term in terms]
    target = values[known]
    matrix = np.array([[float(one @ other) for other in columns] for one in columns])
    right = np.array([float(one @ target) for one in columns])
    solution: Floats = np.linalg.lstsq(matrix, right, rcond=None)[0]
    return solution


def _flat(z: Floats) -> Floats:
    """Return heights less their plane of least squares, in units of their deviation."""
    known = np.isfinite(z)
    if np.count_nonzero(known) < 3:
        return z
    flat, _ = level_to(np.zeros(z.shape), z, "plane")
    deviation = float(flat[known].std())
    return flat / deviation if deviation > 0 else flat


def _find(
    height_map: HeightMap, pixels: tuple[float, float], reference: Floats, pixel_um: float, report: Report
) -> tuple[tuple[float, float], float, tuple[float, float] | None]:
    """Return where the corner of the map lies on the reference, (down, right) in micrometres, and the correlation.

    Last, another place at which the two agree nearly as well, None if there is none; a correlation of -1 for no place.
    """
    field = [n * pixel_um for n in reference.shape]
    extent = [n * pixel for n, pixel in zip(height_map.shape, pixels, strict=True)]
    large, small = max(*field, *extent), min(*field, *extent)
    coarse = max(pixel_um, *pixels, min(large / _COARSE, small / _FEWEST), large / (2 * _COARSE))
    report(Progress(0.0, "looking for the place of the height map"))
    fixed = _coarse(reference, (pixel_um, pixel_um), field, coarse)
    moving = _coarse(height_map.z_um, pixels, extent, coarse)
    places = _best_shift(fixed, moving, part(report, 0.0, 0.5))
    if not places:
        return (0.0, 0.0), -1.0, None
    (shift, likeness), *others = places
    corner = shift[0] * coarse, shift[1] * coarse
    if likeness < ALIKE:
        return corner, likeness, None
    rival = next(((k[0] * coarse, k[1] * coarse) for k, one in others if one >= likeness - RIVAL), None)
    fine = max(pixel_um, math.sqrt(field[0] * field[1] / _FINE))
    begin = corner
    for step, (pitch, reach) in enumerate(((coarse, 2 * coarse), (fine, 2 * coarse))):
        on = fixed if pitch == coarse else _coarse(reference, (pixel_um, pixel_um), field, pitch)
        steps = part(report, 0.5 + 0.25 * step, 0.75 + 0.25 * step)
        refined = _refined(height_map, pixels, on, pitch, corner, steps)
        if max(abs(refined[0] - begin[0]), abs(refined[1] - begin[1])) <= reach:  # else it ran away
            corner = refined
    return corner, likeness, rival


def _coarse(z: Floats, pixels: tuple[float, float], extent: list[float], pitch: float) -> Floats:
    shape = max(1, math.ceil(extent[0] / pitch - 1e-6)), max(1, math.ceil(extent[1] / pitch - 1e-6))
    return resampled(z, pixels, shape, pitch, (0.0, 0.0))


def _best_shift(fixed: Floats, moving: Floats, report: Report) -> list[tuple[tuple[int, int], float]]:
    """Return shifts (down, right) of ``moving`` on ``fixed`` and the correlations there, the best first.

    Candidates come from the surfaces less their planes, and from their details: what is a tilt of a small map may be
    the shape of a large one. The best is the one that agrees most once its own tilts are out; one at which more of
    the smaller map lies on the other one is preferred, since a little of a surface is easily alike.
    """
    sides = min(*fixed.shape, *moving.shape)
    apart = max(2, sides // _APART)
    candidates: list[tuple[int, int]] = []
    for k, detail in enumerate((False, True)):
        one, other = (_details(z, sides / _DETAIL) if detail else _flat(z) for z in (fixed, moving))
        candidates += _peaks(_correlations(one, other, part(report, 0.5 * k, 0.5 * k + 0.5)), fixed.shape, apart)
    whole = min(np.count_nonzero(np.isfinite(fixed)), np.count_nonzero(np.isfinite(moving)))
    scored = []
    for shift in dict.fromkeys(candidates):
        one, other = _overlap(fixed, moving, shift)
        alike = _alike(one, other)
        if not math.isnan(alike):
            share = np.count_nonzero(np.isfinite(one) & np.isfinite(other)) / whole
            scored.append((alike * share**0.25, shift, alike))
    scored.sort(reverse=True)
    best = [(shift, alike) for _, shift, alike in scored]
    # neighbours of the best are no other place
    far = [(k, one) for k, one in best[1:] if max(abs(i - j) for i, j in zip(k, best[0][0], strict=True)) > 2 * apart]
    return [*best[:1], *far]


def _details(z: Floats, width: float) -> Floats:
    """Return heights less what is broader than ``width`` places, voids left out of the mean."""
    from scipy import ndimage  # here, since all that opens stacks imports this module

    known = np.isfinite(z)
    weights = ndimage.gaussian_filter(known.astype(np.float64), width, mode="constant")
    broad = ndimage.gaussian_filter(np.where(known, z, 0.0), width, mode="constant") / np.maximum(weights, 1e-9)
    return _flat(np.where(known, z - broad, np.nan))


def _correlations(fixed: Floats, moving: Floats, report: Report) -> Floats:
    """Return the correlation at each shift of ``moving``, of what both know there; -1 where that is too little.

    All shifts at once, by Fourier transforms (Padfield 2012, masked registration); shifts below 0 count from the end.
    """
    from scipy import fft  # here, since all that opens stacks imports this module

    size = [fft.next_fast_len(n + m - 1, real=True) for n, m in zip(fixed.shape, moving.shape, strict=True)]

    def transforms(z: Floats) -> list[NDArray[np.complex128]]:
        known = np.isfinite(z)
        values = np.where(known, z, 0.0)
        return [fft.rfft2(one, size) for one in (known.astype(np.float64), values, values * values)]

    report(Progress(0.1, "looking for the place of the height map"))
    m1, f1, q1 = transforms(fixed)
    m2, f2, q2 = (np.conj(one) for one in transforms(moving))
    report(Progress(0.5, "looking for the place of the height map"))

    def correlation(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> Floats:
        summed: Floats = fft.irfft2(one * other, size)
        return summed

    count = np.rint(correlation(m1, m2))
    fewest = OVERLAP * min(np.isfinite(fixed).sum(), np.isfinite(moving).sum())
    enough = count >= max(fewest, _ENOUGH)
    safe = np.maximum(count, 1)
    s1, s2 = correlation(f1, m2), correlation(m1, f2)
    product = correlation(f1, f2) - s1 * s2 / safe
    spread = np.maximum(correlation(q1, m2) - s1 * s1 / safe, 0) * np.maximum(correlation(m1, q2) - s2 * s2 / safe, 0)
    enough &= spread > (1e-6 * safe) ** 2
    report(Progress(1.0, "looking for the place of the height map"))
    return np.where(enough, product / np.sqrt(np.where(enough, spread, 1.0)), -1.0)


def _peaks(likeness: Floats, shape: tuple[int, ...], apart: int) -> list[tuple[int, int]]:
    """Return the shifts of the highest correlations, ``apart`` from each other; ``shape`` is that of the fixed map."""
    likeness = likeness.copy()
    found = []
    for _ in range(_CANDIDATES):
        at = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
        if likeness[at] <= 0:
            break
        down, right = (int(k) if k < n else int(k) - of for k, n, of in zip(at, shape, likeness.shape, strict=True))
        found.append((down, right))
        near = [np.arange(k - apart, k + apart + 1) % of for k, of in zip(at, likeness.shape, strict=True)]
        likeness[np.ix_(*near)] = -1.0
    return found


def _overlap(fixed: Floats, moving: Floats, shift: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return what lies on each other of the two when ``moving`` is shifted (down, right)."""
    on, of = [], []
    for step, n, m in zip(shift, fixed.shape, moving.shape, strict=True):
        begin, end = max(0, step), min(n, m + step)
        on.append(slice(begin, end))
        of.append(slice(begin - step, end - step))
    return fixed[tuple(on)], moving[tuple(of)]


def _refined(
    height_map: HeightMap,
    pixels: tuple[float, float],
    reference: Floats,
    pitch: float,
    corner: tuple[float, float],
    report: Report,
) -> tuple[float, float]:
    """Return the corner after least squares for shift, offset and tilt together; wild places are left out."""
    shape = reference.shape[0], reference.shape[1]
    rows, columns = _axes(*shape)
    ones = np.ones(shape)
    for turn in range(_TURNS):
        report(Progress(turn / _TURNS, "fitting the height map"))
        laid = resampled(height_map.z_um, pixels, shape, pitch, corner)
        down, right = (np.asarray(slope, np.float64) for slope in np.gradient(laid))
        terms: list[Floats] = [-down, -right, ones, ones * rows, ones * columns]
        difference = reference - laid
        known = np.isfinite(difference) & np.isfinite(down) & np.isfinite(right)
        if np.count_nonzero(known) < 9:
            return corner
        solution = _solve(terms, difference, known)
        left = difference - sum(value * term for value, term in zip(solution, terms, strict=True))
        usual = 1.4826 * float(np.median(np.abs(left[known])))
        calm = known & (np.abs(left) <= _WILD * usual)
        if usual > 0 and np.count_nonzero(calm) >= 9:
            solution = _solve(terms, difference, calm)
        move = np.clip(solution[:2], -2, 2)
        corner = corner[0] + float(move[0]) * pitch, corner[1] + float(move[1]) * pitch
        if np.abs(move).max() < _SETTLED:
            break
    return corner
