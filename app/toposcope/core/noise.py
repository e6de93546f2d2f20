"""How much of a focus measure is noise.

Two frames next to each other in a sweep show nearly the same where they are both out of focus, so what
their difference measures there is noise: with the spectrum that demosaicking, compression and
warping gave it, and as strong as it is at that brightness.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.stack import Plane, full_scale, to_grey

Grey = NDArray[np.float32]

BINS: Final = 8
"""Steps of brightness that the noise is told apart for."""

_STRIPS: Final = 5
_STRIP_ROWS: Final = 96  # the coarsest window fits in
_FEWEST: Final = 0.03  # of the pixels, that a step of brightness needs
_MOST: Final = 3.0  # times the common noise: more is texture of a brightness that is only seen in focus
_QUARTILE: Final = 0.674  # of the normal distribution, and its 5 % quantile
_TWENTIETH: Final = 1.645


@dataclass(frozen=True, slots=True, eq=False)
class NoiseLevel:
    """What a focus measure makes of noise.

    ``floor`` (8,) float32: mean measure of noise alone in eight equal steps of brightness 0..1;
    ``typical`` the floor at the brightness of the picture;
    ``scatter``: standard deviation of that measure from pixel to pixel, relative to its mean, then those
    of its means over coarse windows; ``power``: 2 where the measure grows with the square of contrast,
    1 where it grows with contrast; ``drift`` how much more noise the noisiest frame has than the
    calmest, relative to the floor: frames brightened to match the others bring more.
    """

    floor: Grey
    typical: float
    scatter: tuple[float, ...]
    power: int
    drift: float = 0.0

    def at(self, brightness: Grey) -> Grey:
        """Return the floor at ``brightness`` 0..1, interpolated, any shape."""
        table = np.interp(np.linspace(0, 1, 256), (np.arange(BINS) + 0.5) / BINS, self.floor).astype(np.float32)
        floor: Grey = table[np.clip(brightness * 255, 0, 255).astype(np.uint8)]
        return floor

    def deviation(self, measure: Grey, floor: Grey, window: int = 0) -> Grey:
        """Return the standard deviation that noise gives to ``measure``, taken over window number ``window``.

        A mean of squares of signal + noise has variance scatter² (F² + 2 F S), F being the floor and S
        the signal's share; a mean of absolute values scatters alike at any contrast.
        """
        scatter = np.float32(self.scatter[window])
        if self.power == 1:
            return scatter * floor
        signal = np.maximum(measure - floor, 0)
        deviation: Grey = scatter * np.sqrt(floor * (floor + 2 * signal))
        return deviation


class NoiseMeter:
    """Estimates the noise of a stack while its frames come by.

    Parameters
    ----------
    measure : the focus measure
    power : 2 where it grows with the square of contrast, else 1
    shape : (H, W)
    dtype : of the frames; their rounding is the least noise that is believed
    coarser : functions that widen the window, each of the result of the one before
    gains : factors that the frames were brightened by
    """

    def __init__(
        self,
        measure: Callable[[Grey], Grey],
        power: int,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        coarser: Sequence[Callable[[Grey], Grey]] = (),
        gains: Sequence[float] = (),
    ) -> None:
        strengths = [gain**power for gain in gains] or [1.0]
        self._drift = (max(strengths) - min(strengths)) / min(strengths)
        height = shape[0]
        self._measure, self._power, self._coarser = measure, power, coarser
        rows = min(_STRIP_ROWS, height)
        tops = np.unique(np.linspace(0, height - rows, min(_STRIPS, -(-height // rows))).astype(int))
        self._strips = [slice(int(top), int(top) + rows) for top in tops]
        self._before: list[Grey] = []
        self._floors: list[Grey] = []
        self._scatters: list[list[float]] = []
        self._population = np.zeros(BINS)
        step = 1e-3 if np.issubdtype(dtype, np.floating) else 1 / full_scale(dtype)
        rounding = np.random.default_rng(0).uniform(-step / 2, step / 2, (320, 320)).astype(np.float32)
        of_rounding = measure(rounding)
        self._least = float(of_rounding.mean())
        self._white = [float(level.std() / max(level.mean(), 1e-30)) for level in self._windows(of_rounding)]

    def _windows(self, measure: Grey) -> list[Grey]:
        """Return the measure over the fine and all coarser windows."""
        levels = [measure]
        for coarser in self._coarser:
            levels.append(coarser(levels[-1]))
        return levels

    def add(self, plane: Plane) -> None:
        """Take in the next frame."""
        strips = [to_grey(plane[rows]) for rows in self._strips]
        if self._before:
            self._compare(strips)
        self._before = strips

    def _compare(self, strips: list[Grey]) -> None:
        """Note the noise's measure between this frame and the one before, NaN where a brightness is unseen."""
        measures, steps = [], []
        for now, before in zip(strips, self._before, strict=True):
            measures.append(self._measure(cv2.subtract(now, before) * np.float32(np.sqrt(0.5))))
            steps.append(np.clip((now + before) * (BINS / 2), 0, BINS - 1).astype(np.uint8))
        measure, step = np.concatenate(measures), np.concatenate(steps)
        floor = np.full(BINS, np.nan, dtype=np.float32)
        for k in range(BINS):
            chosen = measure[step == k]
            self._population[k] += chosen.size
            if chosen.size >= _FEWEST * measure.size:
                # the lower quartile: the upper pixels may be in focus and differ by more than noise
                quarter = chosen.size // 4
                floor[k] = np.partition(chosen, quarter)[quarter]
        self._floors.append(floor / np.float32(max(1 - _QUARTILE * self._white[0], 0.3)))
        of_step = np.where(np.isfinite(floor), np.maximum(floor, np.float32(0.3 * self._least)), np.inf)
        evened = [m / of_step[s] for m, s in zip(measures, steps, strict=True)]
        windows = [self._windows(strip) for strip in evened]
        self._scatters.append(
            [_scatter(np.concatenate([w[k].ravel() for w in windows])) for k in range(len(self._white))]
        )

    def level(self) -> NoiseLevel:
        """Return the noise level of the frames so far."""
        seen = np.array(self._floors, dtype=np.float32).reshape(-1, BINS)
        floor = np.full(BINS, np.nan)
        for k in range(BINS):
            known = seen[:, k][np.isfinite(seen[:, k])]
            if known.size:  # the calmer pairs: in the others, much of the picture comes into focus
                floor[k] = np.quantile(known, 0.2)
        steps = np.arange(BINS)
        known = np.isfinite(floor)
        floor = np.interp(steps, steps[known], floor[known]) if known.any() else np.zeros(BINS)
        common = float(floor @ self._population / max(self._population.sum(), 1))
        floor = np.clip(floor, None, _MOST * common)
        # Noise that is not white, such as that of compression, does not average out as white noise does; but
        # what is found also holds differences of noise from place to place, which are constant over the
        # sweep and do no harm. The geometric mean of the two is the compromise.
        found = np.median(np.array(self._scatters).reshape(-1, len(self._white)), axis=0)
        scatter = tuple(float(max(w, (w * min(s, 1.0)) ** 0.5)) for w, s in zip(self._white, found, strict=True))
        floor = np.maximum(floor, self._least).astype(np.float32)
        return NoiseLevel(floor, max(common, self._least), scatter, self._power, self._drift)


def _scatter(measure: Grey) -> float:
    """Return the relative standard deviation of ``measure``, by its lowest quarter: above that may be signal."""
    low, quarter = np.quantile(measure[::2], (0.05, 0.25))
    spread = (quarter - low) / (_TWENTIETH - _QUARTILE)
    return float(spread / max(quarter + _QUARTILE * spread, 1e-30))
