"""The Gaussian filter of ISO 16610-61, and spikes, both of heights with voids."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import Floats
from toposcope.core.jobs import Progress, Report, part, silent

FINEST_PX: Final = 2.0
"""Nesting index in pixels below which a filter finds nothing that it could remove."""
SPIKE: Final = 6.0
"""Robust standard deviations from which on a height is a spike."""
SPIKE_PX: Final = 5
"""Side of the square of pixels whose median a height is held against."""

_ALPHA: Final = math.sqrt(math.log(2) / math.pi)
_ROBUST: Final = 1.4826  # of a median of absolute values, to a standard deviation
_BAND: Final = 1 << 20  # values in a transform at a time


def low_passed(z: Floats, index_px: float, report: Report = silent) -> Floats:
    """Return (H, W) heights without what is finer than the nesting index; NaN stays NaN.

    A wave of the length ``index_px`` (in pixels, at least `FINEST_PX`) passes by half. Voids and what lies beyond the
    borders have no weight: the weights of the others are made to sum to 1 again.
    """
    known = np.isfinite(z)
    values = np.where(known, z, 0.0)
    offset = values.sum() / max(1, np.count_nonzero(known))  # instruments count from anywhere: keeps digits
    values -= known * offset
    kernel = gaussian(index_px)
    smooth: Floats = _convolved(values, kernel, part(report, 0.0, 0.5))
    if known.all():  # then weights are a product of those along rows and columns
        down, right = (_along(np.ones((1, n)), kernel, 1, silent)[0] for n in z.shape)
        smooth /= down[:, None]
        smooth /= right
    else:
        weights = _convolved(known.astype(np.float64), kernel, part(report, 0.5, 1.0))
        np.divide(smooth, weights, out=smooth, where=known)
    smooth += offset
    smooth[~known] = np.nan
    return smooth


def gaussian(index_px: float) -> Floats:
    """Return the weights (n,) from the middle outwards; all of them, both sides counted, sum to 1.

    The width is that of the standard (alpha = sqrt(ln 2 / pi)), or, where pixels are too coarse for it, the one by
    which a wave of the length ``index_px`` passes by half in pixels, too.
    """
    reach = np.arange(max(2, math.ceil(index_px)) + 1, dtype=np.float64)
    waves = np.cos(2 * np.pi * reach / index_px)

    def weights(sigma: float) -> Floats:
        one: Floats = np.exp(-0.5 * (reach / sigma) ** 2)
        one /= 2 * one.sum() - 1
        return one

    def passes(sigma: float) -> float:
        one = weights(sigma)
        return float(2 * one @ waves - one[0])

    sigma = _ALPHA * index_px / math.sqrt(2 * math.pi)
    low, high = 0.5 * sigma, 2 * sigma
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if passes(middle) > 0.5 else (low, middle)
    return weights(0.5 * (low + high))


def _convolved(values: Floats, kernel: Floats, report: Report) -> Floats:
    """Return values convolved along both axes, 0 beyond the borders; bands at a time."""
    along_rows = _along(values, kernel, 1, part(report, 0.0, 0.5))
    return _along(along_rows, kernel, 0, part(report, 0.5, 1.0))


def _along(values: Floats, kernel: Floats, axis: int, report: Report) -> Floats:
    from scipy import fft  # here, since the window imports this module before it is shown

    n, other = values.shape[axis], values.shape[1 - axis]
    size = int(fft.next_fast_len(n + len(kernel) - 1, real=True))
    ring = np.zeros(size)
    reach = min(len(kernel), n)  # what lies further out meets no value
    ring[:reach] = kernel[:reach]
    ring[size - reach + 1 :] = kernel[1:reach][::-1]
    transfer = fft.rfft(ring).real
    transfer = transfer if axis == 1 else transfer[:, None]
    out = np.empty_like(values)
    band = max(1, _BAND // size)
    for begin in range(0, other, band):
        report(Progress(begin / other, "filtering"))
        place = (slice(begin, begin + band), slice(None)) if axis == 1 else (slice(None), slice(begin, begin + band))
        line = fft.irfft(fft.rfft(values[place], size, axis=axis) * transfer, size, axis=axis)
        out[place] = line[:, :n] if axis == 1 else line[:n]
    return out


def spikes(z: Floats, report: Report = silent) -> NDArray[np.bool_]:
    """Return (H, W) where heights stick out of their surroundings.

    Held against the median of 5 × 5 pixels; what lies off by more than the usual slope there makes of two pixels, and
    six robust standard deviations (1.4826 times the median of absolute deviations, that of the whole surface or that of
    the surroundings, whichever is larger) is a spike. Slopes and edges are none: a median follows them.
    """
    known = np.isfinite(z)
    if np.count_nonzero(known) < SPIKE_PX:
        return np.zeros(z.shape, bool)
    middle = float(np.median(z[known]))
    report(Progress(0.2, "looking for spikes"))
    plain = np.where(known, z - middle, 0.0).astype(np.float32)
    if not known.all():  # voids stand in as what lies around them
        share = cv2.GaussianBlur(known.astype(np.float32), (0, 0), 2.0)
        around = cv2.GaussianBlur(plain, (0, 0), 2.0) / np.maximum(share, np.float32(1e-6))
        plain = np.where(known, plain, around)
    off = np.abs(plain - cv2.medianBlur(plain, SPIKE_PX))
    report(Progress(0.5, "looking for spikes"))
    usual = float(np.median(off[known])) or float(off[known].std()) / _ROBUST
    limit = SPIKE * _ROBUST * np.maximum(cv2.medianBlur(off, SPIKE_PX), np.float32(usual))
    for down, right in ((1, 0), (0, 1)):
        slope = cv2.Sobel(plain, cv2.CV_32F, right, down, ksize=1, scale=0.5, borderType=cv2.BORDER_REPLICATE)
        report(Progress(0.7 + 0.2 * right, "looking for spikes"))
        limit += (SPIKE_PX // 2) * cv2.medianBlur(np.abs(slope), SPIKE_PX)
    found: NDArray[np.bool_] = known & (off > limit)
    return found
