"""Focus measures: how sharp each pixel of one frame is.

Every measure is a pure function of one grey frame, ``(H, W)`` float32 in 0..1, and returns
``(H, W)`` float32, at least 0: 0 on a flat frame, independent of a constant added to the frame.
All average over a square ``window`` (odd side in pixels; 1 for none) where papers sum, so that
values do not depend on its size. Frames are mirrored at their borders.

The *response* functions without window (``gradient_energy`` ...) are there for methods that
average in their own way.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]

_BORDER: Final = cv2.BORDER_REFLECT_101
_SECOND: Final = np.array([[1, -2, 1]], dtype=np.float32)

SPLINE: Final = np.array([0.0625, 0.25, 0.375, 0.25, 0.0625], dtype=np.float32)
"""À-trous low pass of the cubic B-spline (Starck et al. 1998)."""


def mean_over(response: Grey, window: int) -> Grey:
    """Average over a square of odd side ``window``; mirrored borders."""
    return response if window <= 1 else cv2.blur(response, (window, window), borderType=_BORDER)  # type: ignore[return-value]


def gradient_energy(grey: Grey) -> Grey:
    """Return the squared gradient by 3 x 3 Sobel, in (grey value / pixel)²."""
    gx = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.125, borderType=_BORDER)
    gy = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=0.125, borderType=_BORDER)
    cv2.multiply(gx, gx, dst=gx)
    cv2.accumulateSquare(gy, gx)
    return gx  # type: ignore[return-value]


def tenengrad(grey: Grey, window: int = 9) -> Grey:
    """Measure sharpness by the mean squared Sobel gradient.

    Scales with the square of contrast. Little harmed by noise: the Sobel mask averages across the
    derivative, and white noise of variance s² adds 0.375 s².

    Source: Tenenbaum 1970, Krotkov, "Focusing", IJCV 1, 1987. Without their threshold; the Sobel
    masks are divided by 8, so that a ramp of slope a gives a².
    """
    return mean_over(gradient_energy(grey), window)


def modified_laplacian(grey: Grey, window: int = 9, step: int = 1) -> Grey:
    """Measure sharpness by the sum-modified Laplacian (SML), here a mean.

    Scales with contrast. Strong on fine texture; white noise adds to it in full (each of the two
    second differences has 6 times the noise variance), so faint texture drowns early.

    ``step`` is the distance in pixels of the points of the second difference.

    Source: Nayar & Nakagawa, "Shape from Focus", IEEE TPAMI 16(8), 1994. No threshold where the
    paper has one, because the measure would then jump between slices.
    """
    kernel = _dilated(_SECOND, step)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel, borderType=_BORDER))
    response += np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel.T, borderType=_BORDER))
    return mean_over(response, window)


def grey_variance(grey: Grey, window: int = 9) -> Grey:
    """Measure sharpness by the variance of grey values in the window (GLV).

    Scales with the square of contrast; white noise adds its variance once, the least of all
    measures, but slow shading counts as sharpness too, so its focus curve has a high base.

    Source: Krotkov, "Focusing", IJCV 1, 1987; Pertuz et al., Pattern Recognition 46(5), 2013.
    """
    # centred first: mean(I²) - mean(I)² of values near 1 would lose four digits in float32
    centred = grey - np.float32(cv2.mean(grey)[0])
    mean = mean_over(centred, window)
    variance = mean_over(cv2.multiply(centred, centred), window)  # type: ignore[arg-type]
    variance -= cv2.multiply(mean, mean)
    return np.maximum(variance, 0, out=variance)


def ring_difference(grey: Grey, window: int = 9, inner: int = 2, outer: int = 4) -> Grey:
    """Measure sharpness by the ring difference filter (RDF): a disk's mean less a ring's mean.

    Scales with contrast. The wide filter averages noise (variance factor about 0.23) and sees
    texture some pixels wide, at the price of a blunter curve on the finest texture.

    ``inner`` and ``outer`` are the radii of the ring in pixels; pixels from ``inner`` (without) to
    ``outer`` (with) belong to it, and the disk is the pixel with its four neighbours.

    Source: Jeon, Surh et al., "Ring Difference Filter for Fast and Noise Robust Depth From
    Focus", IEEE TIP 29, 2020: centre pixel against the ring, on each colour; here the centre is a
    disk of five pixels (less noise) and grey is used.
    """
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, _ring(inner, outer), borderType=_BORDER))
    return mean_over(response, window)


def directional_laplacian(grey: Grey, window: int = 9, dilations: int = 4) -> Grey:
    """Measure sharpness by dilated directional Laplacians (DDL).

    Second differences along 0, 45, 90 and 135 degrees at distances 1..``dilations`` pixels;
    absolute values are averaged. Scales with contrast. Sees fine and coarse texture in any
    direction; noise counts in each difference as in the modified Laplacian, but coarse texture
    gives the longer differences more to set against it.

    Source: Ashfaq & Mahmood, DDL-GRU shape from focus, IJCV 2026, where a network takes the place
    of the window.
    """
    total = np.zeros_like(grey)
    for distance in range(1, dilations + 1):
        for kernel in _directional(distance):
            total += np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel, borderType=_BORDER))
    total *= np.float32(1 / (4 * dilations))
    return mean_over(total, window)


def wavelet_energy(grey: Grey, window: int = 9, levels: int = 3) -> Grey:
    """Measure sharpness by the energy of an undecimated wavelet transform over ``levels`` octaves.

    Scales with the square of contrast. Texture of several sizes counts, so the measure holds on
    in soft areas; white noise of variance s² adds 0.79 s² in the first level, 0.04 and 0.007 s² in
    the next two.

    Source: the measure of Yang & Nelson, "Wavelet-based autofocusing", ICPR 2003 (energy of
    detail bands), on the à trous transform with the cubic B-spline of Starck, Murtagh & Bijaoui,
    "Image Processing and Data Analysis", 1998, which does not depend on where the grid lies.
    """
    smooth, energy = grey, np.zeros_like(grey)
    for level in range(levels):
        kernel = holes(SPLINE, 2**level)
        smoother = cv2.sepFilter2D(smooth, cv2.CV_32F, kernel, kernel, borderType=_BORDER)
        cv2.accumulateSquare(cv2.subtract(smooth, smoother), energy)
        smooth = smoother  # type: ignore[assignment]
    return mean_over(energy, window)


@cache
def _ring(inner: int, outer: int) -> Grey:
    """Return the ring difference kernel, which sums to 0."""
    rows, columns = np.mgrid[-outer : outer + 1, -outer : outer + 1]
    distance = np.hypot(rows, columns)
    ring, disk = (distance > inner) & (distance <= outer), distance <= 1
    kernel: Grey = (disk / disk.sum() - ring / ring.sum()).astype(np.float32)
    return kernel


@cache
def _directional(distance: int) -> tuple[Grey, ...]:
    """Return the second differences along four directions at ``distance`` pixels."""
    side = 2 * distance + 1
    kernels = []
    for row, column in ((0, 1), (1, 1), (1, 0), (1, -1)):
        kernel = np.zeros((side, side), dtype=np.float32)
        kernel[distance, distance] = -2
        for sign in (-1, 1):
            kernel[distance + sign * row * distance, distance + sign * column * distance] = 1
        kernels.append(kernel)
    return tuple(kernels)


def _dilated(kernel: Grey, step: int) -> Grey:
    """Return a one-row kernel with ``step`` - 1 zeros between its values."""
    return holes(kernel[0], step)[None]


def holes(values: Grey, step: int) -> Grey:
    """Return ``values`` with ``step`` - 1 zeros between them."""
    spread = np.zeros((values.size - 1) * step + 1, dtype=np.float32)
    spread[::step] = values
    return spread
