"""Random patterns with a known spectrum, from which surfaces and their colours are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def fractal(
    shape: tuple[int, int], beta: float, rng: np.random.Generator, finest: float = 0.5, coarsest: float = 0.0
) -> Floats:
    """Return noise whose power falls as frequency ** -beta: mean 0, standard deviation 1, (H, W).

    0 is white, 1 like many photographs' detail, 3 and more like hills. Frequencies outside
    ``coarsest``..``finest`` (cycles per pixel) are left out. Left and right, top and bottom edges meet.
    """
    height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = np.maximum(frequency, 1 / max(shape)) ** (-beta / 2)
    amplitude[(frequency > finest) | (frequency < coarsest)] = 0
    amplitude[0, 0] = 0
    noise: NDArray[np.float64] = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * amplitude, s=shape)
    noise /= noise.std()
    return noise.astype(np.float32)
