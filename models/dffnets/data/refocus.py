"""Focal stacks from light fields, by shifting the views and adding them up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dffnets.data.sample import Bytes, Positions


def refocus(views: NDArray[np.uint8], disparities: Positions) -> Bytes:
    """Return the focal stack (N, H, W, 3) that a light field's synthetic aperture would see.

    A point of disparity d px between neighbouring views, seen at p in the central view, lies at
    p + d (c - v) in view v, where c is the central one and both count (row, column). Frame k is therefore
    the mean over all views of view v at p + d_k (c - v): sharp where the scene has disparity d_k.
    Shifts are made by the phase of the Fourier transform, hence periodic at the borders.

    Parameters
    ----------
    views : (V, U, H, W, 3), V and U odd; first rows, then columns of views
    disparities : (N,) pixels, larger is nearer

    Source: Ng et al., "Light Field Photography with a Hand-held Plenoptic Camera", 2005, as the toolbox of
    DDFF-12 and the generator of AiFDepthNet apply it. They take absolute values view by view and cut
    fractions of grey levels off; here the mean is clipped and rounded, which differs by about one level.
    """
    rows_of_views, columns_of_views, height, width, channels = views.shape
    row = np.fft.fftfreq(height)[:, None].astype(np.float32)
    column = np.fft.rfftfreq(width)[None].astype(np.float32)
    total = np.zeros((len(disparities), channels, height, width // 2 + 1), np.complex64)
    for v in range(rows_of_views):
        for u in range(columns_of_views):
            spectrum = np.fft.rfft2(np.moveaxis(views[v, u], 2, 0).astype(np.float32))  # (3, H, W / 2 + 1)
            down, right = rows_of_views // 2 - v, columns_of_views // 2 - u
            for k, disparity in enumerate(disparities.astype(np.float32)):
                turn = np.float32(2 * np.pi) * disparity
                shift = np.exp(1j * turn * down * row) * np.exp(1j * turn * right * column)
                total[k] += spectrum * shift.astype(np.complex64)
    mean = np.fft.irfft2(total / (rows_of_views * columns_of_views), s=(height, width))  # (N, 3, H, W)
    return np.ascontiguousarray(np.moveaxis(np.clip(np.rint(mean), 0, 255), 1, 3).astype(np.uint8))
