"""How two pictures of the same scene at different focus lie against each other.

Neighbours in a focal stack differ in blur, noise and brightness. `register` therefore maximises a
correlation, not a difference, and does so tile by tile:

1. pyramid of both pictures; each level is band-passed and divided by its local contrast, so that
   neither brightness nor bright highlights decide;
2. start: phase correlation at several magnifications on the coarsest level;
3. on each level, warp the second picture and find for each tile the displacement that maximises the
   correlation (one Newton step, see `_tile_sums`); fit a similarity to all tiles, weighted by their
   information and robust against tiles that move otherwise; repeat, then go one level finer;
4. the scatter of the tiles about the fit gives the standard error, from which the caller decides
   whether a motion is real and whether a frame is registered at all.

A symmetric blur leaves the place of the correlation's maximum where it is, and a tile's energy, which
blur changes, does not enter (it does in least squares, where it biases the magnification).

Similarities are pairs of complex numbers (turn, shift): ``z' = turn * z + shift`` with z = x + iy from the
picture's centre, in pixels. ``turn`` = magnification * exp(i * rotation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[Any]
"""(H, W) float32."""
Floats = NDArray[Any]
"""float64."""

COARSEST = 160
"""Pyramids go down until the longer side has at most this many pixels."""
SMALLEST = 16
"""Levels have at least so many pixels on either side."""
TILE = 32
"""Side of a tile in pixels; half of it on levels too small for ten tiles across."""
START_MAGNIFICATIONS = (1.0, 0.98, 1.02, 0.96, 1.04, 0.94, 1.06, 0.92, 1.085, 0.89, 1.12, 0.86, 1.16)
GOOD_START = 0.8
"""Correlation on the coarsest level that needs no further search."""
NOISE_FLOOR = 0.002
"""Local contrast (of white) below which a place counts as flat."""
MOST_ITERATIONS = 12
CRISP = 2
"""Power of a tile's detail in its weight: varying blur mocks magnification, least in crisp tiles."""
REGIONS = 5
"""Regions across and down over which errors are taken as independent."""


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """One frame made ready: for each level, finest first, the equalised band (H, W) and its means.

    ``means`` is a small un-equalised picture for the brightness, ``texture`` the contrast of the finest
    level, of white.
    """

    bands: tuple[Grey, ...]
    means: Grey
    texture: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the finest level."""
        return self.bands[0].shape[0], self.bands[0].shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Motion from a first to a second picture.

    ``turn``, ``shift``: the similarity, in pixels of level 0, from places in the first to places in the
    second; ``information`` (4, 4): inverse covariance of (real turn, imaginary turn, x shift, y shift);
    ``error``: standard error at the corners in pixels; ``correlation``: of the equalised pictures, in
    -1..1; ``gain``: factor on the second that gives the first's brightness; ``gain_spread``: standard
    deviation of its logarithm over the picture; ``shear``: stretch along x against y (real) and along the
    diagonal (imaginary) that the tiles show beside the similarity. No refocusing makes one: it tells
    how far lighting, parallax or blur falsify the turn.
    """

    turn: complex
    shift: complex
    information: Floats
    error: float
    correlation: float
    gain: float = 1.0
    gain_spread: float = 0.0
    shear: complex = 0j


def pyramid(grey: Grey) -> Pyramid:
    """Make a frame ready for `register`.

    ``grey`` is (H, W) in 0..1. Each level is reduced by 2 (Burt-Adelson kernel), smoothed with SD 1
    pixel against noise and aliasing, freed of its local mean and divided by its local contrast.
    """
    levels = [grey]
    while max(levels[-1].shape) > COARSEST and min(levels[-1].shape) >= 2 * SMALLEST:
        levels.append(cv2.pyrDown(levels[-1]))
    bands, contrasts = zip(*(_equalised(level) for level in levels), strict=True)
    return Pyramid(bands, levels[-1], contrasts[0])


def _equalised(level: Grey) -> tuple[Grey, float]:
    """Return the equalised band of one level and its mean contrast before that."""
    smooth = cv2.GaussianBlur(level, (0, 0), 1.0)
    band = smooth - cv2.blur(smooth, (33, 33))
    contrast = cv2.blur(cv2.multiply(band, band), (65, 65))
    np.maximum(contrast, 0, out=contrast)  # the running sums of cv2.blur may end just below 0
    # the flattest tenth of the picture shows how strong the noise is
    floor = max(NOISE_FLOOR**2, float(np.percentile(contrast[::8, ::8], 10)))
    equalised: Grey = cv2.divide(band, cv2.sqrt(contrast + np.float32(floor)))
    return equalised, float(np.sqrt(contrast[::8, ::8].mean()))


def register(first: Pyramid, second: Pyramid, guesses: Sequence[tuple[complex, complex]] = ()) -> Pair | None:
    """Find the similarity that takes places of ``first`` to places of ``second``.

    ``guesses`` are tried beside the program's own starts. Returns None where nothing fits.
    """
    top = len(first.bands) - 1
    unit = 2.0**top
    starts = [(turn, shift / unit) for turn, shift in guesses]
    motion = _best_start(first.bands[top], second.bands[top], starts)
    best: Pair | None = None
    for level in range(top, -1, -1):
        unit = 2.0**level
        found = _refine(first.bands[level], second.bands[level], motion)
        if found is None:
            break  # finer levels hold only noise: what the coarser ones said stands
        motion = found.turn, found.shift * 2
        scale = np.diag([1, 1, 1 / unit, 1 / unit])
        information = scale @ found.information @ scale
        found = replace(found, shift=found.shift * unit, information=information, error=found.error * unit)
        if best is None or found.error < best.error:
            best = found
        elif found.error > 4 * best.error:
            break
    if best is None:
        return None
    gain, gain_spread = _gain(first.means, second.means, best.turn, best.shift / 2.0**top)
    return replace(best, gain=gain, gain_spread=gain_spread)


def matrix_of(turn: complex, shift: complex, shape: tuple[int, int]) -> Floats:
    """Return the (2, 3) matrix, pixel (column, row) to pixel, of a similarity about the centre."""
    centre = complex((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    offset = shift + centre - turn * centre
    return np.array([[turn.real, -turn.imag, offset.real], [turn.imag, turn.real, offset.imag]])


def corners_of(shape: tuple[int, int]) -> NDArray[np.complex128]:
    """Return the four corners of a picture as x + iy from its centre."""
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    return np.array([complex(-x, -y), complex(x, -y), complex(-x, y), complex(x, y)])


def corner_error(covariance: Floats, shape: tuple[int, int]) -> float:
    """Return the standard error of a corner's displacement, root mean square over the corners.

    ``covariance`` (4, 4) is that of (real turn, imaginary turn, x shift, y shift).
    """
    jacobian = displacement_jacobian(corners_of(shape))
    return float(np.sqrt(np.einsum("tki,ij,tkj->", jacobian, covariance, jacobian) / len(jacobian)))


def displacement_jacobian(z: NDArray[np.complex128]) -> Floats:
    """Return (T, 2, 4): how the displacements at places ``z`` (T,) follow (real turn, imaginary turn, x, y)."""
    x, y, one, zero = z.real, z.imag, np.ones(z.size), np.zeros(z.size)
    return np.stack([x, -y, one, zero, y, x, zero, one], axis=-1).reshape(-1, 2, 4)


def _warped(band: Grey, turn: complex, shift: complex, shape: tuple[int, int]) -> Grey:
    # both centres are (size - 1) / 2 of frames of one size
    matrix = matrix_of(turn, shift, shape)
    return cv2.warpAffine(band, matrix, shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _best_start(first: Grey, second: Grey, guesses: Sequence[tuple[complex, complex]]) -> tuple[complex, complex]:
    shape = first.shape[0], first.shape[1]
    window = cv2.createHanningWindow(shape[::-1], cv2.CV_32F)
    best: tuple[complex, complex] = 1 + 0j, 0j
    best_score = -2.0

    def try_from(starts: Sequence[tuple[complex, complex]]) -> None:
        nonlocal best, best_score
        for start in starts:
            refined = _refine(first, second, start)
            if refined is not None and refined.correlation > best_score:
                best, best_score = (refined.turn, refined.shift), refined.correlation

    try_from(guesses)
    if best_score > GOOD_START:
        return best
    starts = []
    for magnification in START_MAGNIFICATIONS:
        turned = _warped(second, complex(magnification), 0j, shape)
        (dx, dy), _ = cv2.phaseCorrelate(first, turned, window)
        starts.append((complex(magnification), magnification * complex(dx, dy)))
    scores = [_overlap_correlation(first, second, *start) for start in starts]
    try_from([starts[k] for k in np.argsort(scores)[::-1][:4]])
    return best


def _overlap_correlation(first: Grey, second: Grey, turn: complex, shift: complex) -> float:
    shape = first.shape[0], first.shape[1]
    warped = _warped(second, turn, shift, shape)
    seen = _inside(turn, shift, shape, *np.mgrid[0 : shape[0], 0 : shape[1]])
    if seen.mean() < 0.4:
        return -2.0
    return _correlation(first[seen], warped[seen])


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-12))


def _inside(turn: complex, shift: complex, shape: tuple[int, int], rows: Floats, columns: Floats) -> NDArray[np.bool_]:
    """Whether places (rows, columns) of the first picture fall inside the second."""
    centre = complex((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    z = turn * (columns + 1j * rows - centre) + shift
    inside: NDArray[np.bool_] = (np.abs(z.real) <= centre.real) & (np.abs(z.imag) <= centre.imag)
    return inside


def _refine(first: Grey, second: Grey, start: tuple[complex, complex]) -> Pair | None:
    """Refine a motion on one level, in pixels of that level, without the gain."""
    shape = first.shape[0], first.shape[1]
    tile = TILE if min(shape) >= 8 * TILE else TILE // 2
    rows, columns = (np.arange(side // tile) * tile + (tile - 1) / 2 for side in shape)
    if rows.size < 2 or columns.size < 2:
        return None
    row, column = np.meshgrid(rows, columns, indexing="ij")
    centre = complex((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    z = column + 1j * row - centre
    corners = corners_of(shape)
    region = (REGIONS * row / shape[0]).astype(int) * REGIONS + (REGIONS * column / shape[1]).astype(int)
    turn, shift = start
    slope = cv2.Sobel(first, -1, 1, 0, ksize=1, scale=0.5), cv2.Sobel(first, -1, 0, 1, ksize=1, scale=0.5)
    before = np.inf
    for _ in range(MOST_ITERATIONS):
        seen = np.ones(z.shape, dtype=bool)
        for corner in (-1 - 1j, -1 + 1j, 1 - 1j, 1 + 1j):
            seen &= _inside(turn, shift, shape, row + corner.imag * tile / 2, column + corner.real * tile / 2)
        warped = _warped(second, turn, shift, shape)
        sums = _tile_sums(first, slope, warped, tile)
        fit = _fit(z, seen, sums, region)
        if fit is None:
            return None
        step, information, shear = fit
        d_turn, d_shift = complex(step[0], step[1]), complex(step[2], step[3])
        # the step is measured on the warped picture: the new motion is the old one after the step
        turn, shift = turn * (1 + d_turn), turn * d_shift + shift
        moved = float(np.sqrt(np.mean(np.abs(d_turn * corners + d_shift) ** 2)))
        if moved < 0.003 or (moved > 0.7 * before and moved < 0.02):
            break
        if not np.isfinite(moved) or moved > max(shape) / 3:
            return None
        before = moved
    error = corner_error(np.linalg.inv(information), shape)
    return Pair(turn, shift, information, error, sums.correlation(seen), shear=shear)


@dataclass(frozen=True, slots=True, eq=False)
class _TileSums:
    """Sums over each tile: (h, w) each.

    ``xx, xy, yy``: curvature of the correlation; ``bx, by``: its slope; ``ab, aa, bb``: products of
    the two pictures.
    """

    xx: Grey
    xy: Grey
    yy: Grey
    bx: Grey
    by: Grey
    ab: Grey
    aa: Grey
    bb: Grey

    def correlation(self, seen: NDArray[np.bool_]) -> float:
        """Return the correlation of the two pictures over the tiles ``seen``."""
        ab, aa, bb = (float(part[seen].sum()) for part in (self.ab, self.aa, self.bb))
        return ab / float(np.sqrt(aa * bb) + 1e-12)


def _tile_sums(first: Grey, slope: tuple[Grey, Grey], second: Grey, tile: int) -> _TileSums:
    """Return what one Newton step on each tile's correlation needs.

    C(d) = sum a(x - d/2) b(x + d/2) has, at d = 0, the slope 1/2 sum (a b' - a' b) and, after partial
    integration, the curvature -sum a' b'. Both are free of the energies of a and b alone, which
    differ where the blur does.
    """
    second_slope = cv2.Sobel(second, -1, 1, 0, ksize=1, scale=0.5), cv2.Sobel(second, -1, 0, 1, ksize=1, scale=0.5)
    height, width = (side // tile for side in first.shape)

    def tiled(plane: Grey) -> Grey:
        return plane[: height * tile, : width * tile].reshape(height, tile, width, tile)

    a, ax, ay, b, bx, by = (tiled(plane) for plane in (first, *slope, second, *second_slope))

    def total(p: Grey, q: Grey) -> Grey:
        sums: Grey = np.einsum("aibj,aibj->ab", p, q)
        return sums

    return _TileSums(
        xx=total(ax, bx),
        xy=(total(ax, by) + total(ay, bx)) / 2,
        yy=total(ay, by),
        bx=(total(a, bx) - total(ax, b)) / 2,
        by=(total(a, by) - total(ay, b)) / 2,
        ab=total(a, b),
        aa=total(a, a),
        bb=total(b, b),
    )


def _fit(
    z: NDArray[np.complex128], seen: NDArray[np.bool_], sums: _TileSums, region: NDArray[np.intp]
) -> tuple[Floats, Floats, complex] | None:
    """Fit a small similarity to the tiles: step (4,), information (4, 4), shear; None without texture.

    A tile's displacement d solves curvature * d = slope; tiles whose correlation has no maximum do
    not count. Weights after Cauchy, their scale from the median of the misfits, and by detail (mean
    squared frequency): where blur grows across a tile its displacement is biased by the inverse of it.
    """
    determinant = sums.xx.astype(np.float64) * sums.yy - sums.xy.astype(np.float64) ** 2
    good = seen & (determinant > 0) & (sums.xx + sums.yy > 0) & (sums.ab > 0.2 * np.sqrt(sums.aa * sums.bb))
    if good.sum() < 6:
        return None
    hessian = np.stack([sums.xx, sums.xy, sums.xy, sums.yy], axis=-1)[good].reshape(-1, 2, 2).astype(np.float64)
    slope = np.stack([sums.bx, sums.by], axis=-1)[good].astype(np.float64)
    jacobian = displacement_jacobian(z[good])
    weighted = hessian @ jacobian  # (T, 2, 4)
    normal = np.einsum("tki,tkj->tij", jacobian, weighted)
    right = np.einsum("tki,tk->ti", jacobian, slope)
    inverse = np.linalg.inv(hessian)
    detail = (hessian[:, 0, 0] + hessian[:, 1, 1]) / np.sqrt(sums.aa * sums.bb)[good].astype(np.float64)
    crisp = (detail / np.percentile(detail, 90)).clip(0, 1) ** CRISP
    weights = crisp
    for _ in range(5):
        total = np.einsum("t,tij->ij", weights, normal)
        if np.linalg.cond(total) > 1e12:
            return None
        step = np.linalg.solve(total, weights @ right)
        residual = slope - weighted @ step
        misfit = np.einsum("ti,tij,tj->t", residual, inverse, residual)
        variance = float(np.median(misfit)) / 1.386 + 1e-12  # the median of chi-squared with 2 degrees
        weights = crisp / (1 + misfit / (6 * variance))
    # errors of neighbouring tiles go together (parallax, moving things): the scatter is counted by region
    score = weights[:, None] * (right - normal @ step)
    by_region = np.zeros((REGIONS**2, 4))
    np.add.at(by_region, region[good], score)
    spread = by_region.T @ by_region + score.T @ score + 1e-9 * total
    information = total @ np.linalg.inv(spread) @ total
    x, y = z[good].real, z[good].imag
    sheared = np.stack([x, y, -y, x], axis=-1).reshape(-1, 2, 2)
    stiffness = np.einsum("t,tki,tkl,tlj->ij", weights, sheared, hessian, sheared)
    shear = np.linalg.solve(stiffness, np.einsum("t,tki,tk->i", weights, sheared, residual))
    return step, information, complex(*shear)


def _gain(first: Grey, second: Grey, turn: complex, shift: complex) -> tuple[float, float]:
    """Return the factor on ``second`` that gives the brightness of ``first``, and its spread.

    Sums over what both see, not medians: blur moves light about but keeps its sum. Saturated places do
    not count. The spread is the robust standard deviation of the factor's logarithm over blocks of the
    picture: an exposure changes all blocks alike, defocus does not.
    """
    shape = first.shape[0], first.shape[1]
    warped = _warped(second, turn, shift, shape)
    seen = _inside(turn, shift, shape, *np.mgrid[0 : shape[0], 0 : shape[1]])
    seen &= (first < 0.97) & (warped < 0.97)
    block = max(4, min(shape) // 10)
    weight = cv2.blur(seen.astype(np.float32), (block, block))[block // 2 :: block, block // 2 :: block]
    light, dark = (
        cv2.blur(np.where(seen, plane, np.float32(0)), (block, block))[block // 2 :: block, block // 2 :: block]
        for plane in (first, warped)
    )
    use = (weight > 0.5) & (light > 0.01) & (dark > 0.01)
    if use.sum() < 4:
        return 1.0, np.inf
    logs = np.log(light[use] / dark[use])
    spread = float(np.subtract(*np.percentile(logs, (75, 25)))) / 1.349
    return float(light[use].sum() / dark[use].sum()), spread
