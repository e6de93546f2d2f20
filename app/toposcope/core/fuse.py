"""Fuse a stack into one picture that is sharp everywhere, frame by frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.stack import Plane, full_scale, to_grey

LEVELS = 5
POWER = 6  # of the energy: near to choosing the sharpest frame, yet without seams
NOISE_MARGIN = 5.0
"""Energy below this multiple of the noise's counts as nothing to see."""
ENERGY_LIMIT = 3e5  # its 6th power, summed over hundreds of frames, stays inside float32
QUANTISATION = 0.3  # SD of rounding, in grey steps

Float = NDArray[np.float32]


class Fuser:
    """Streaming all-in-focus fusion; memory does not grow with the number of frames.

    Each frame is split into a Laplacian pyramid. At every level the frames are averaged with
    weights that grow with the local energy of the level above its noise,

        w = 1 + max(energy / noise - margin, 0) ** power,

    so that texture comes from the sharpest frame, and a place where no frame shows more than noise
    becomes the mean of all frames, in which the noise averages out. The weights are those of the
    grey picture for all channels: colours cannot shift. Kept are, per level, the weighted sum of each
    channel and the sum of weights: 5.4 float32 planes for colour.

    Source: Burt & Kolczynski, "Enhanced image capture through fusion", ICCV 1993 (salience-weighted
    pyramids). We sum over all frames instead of pairs, measure salience against the noise, and give
    the residual low-pass image equal weights.

    Parameters
    ----------
    shape : rows and columns of a frame
    channels : 1 (grey) or 3 (RGB)
    dtype : uint8, uint16 or float32 (0..1), also of the result
    n : number of frames to come
    """

    def __init__(self, shape: tuple[int, int], channels: int, dtype: np.dtype[Any], n: int) -> None:
        self._channels, self._dtype, self._n = channels, np.dtype(dtype), n
        self._white = full_scale(self._dtype)
        self._shapes = [shape]
        for _ in range(LEVELS):
            self._shapes.append(tuple(-(-side // 2) for side in self._shapes[-1]))  # type: ignore[arg-type]
        self._sums = [[np.zeros(s, np.float32) for _ in range(channels)] for s in self._shapes]
        self._weights = [np.zeros(s, np.float32) for s in self._shapes[:-1]]
        self._noise: list[float] = []

    def add(self, i: int, plane: Plane, measure: Float) -> None:
        """Take frame ``i``: its pixels in native dtype, and its focus measure (H, W)."""
        grey: Plane = to_grey(plane)
        channels: list[Plane] = [self._channel(plane, c) for c in range(self._channels)] if plane.ndim == 3 else [grey]
        for level in range(LEVELS):
            grey, detail = _split(grey)
            weight = self._weigh(detail, level)
            cv2.add(self._weights[level], weight, dst=self._weights[level])
            if plane.ndim == 2:
                channels = [grey]
                cv2.accumulateProduct(detail, weight, self._sums[level][0])
                continue
            for c in range(self._channels):
                channels[c], detail = _split(channels[c])
                cv2.accumulateProduct(detail, weight, self._sums[level][c])
        for c, rest in enumerate(channels):
            cv2.accumulate(rest, self._sums[LEVELS][c])

    def finish(self, index: Float, confidence: Float) -> Plane:
        """Return the fused picture, (H, W) or (H, W, 3), in the dtype of the frames.

        Parameters
        ----------
        index : (H, W) fractional index of the slice in focus, NaN where unknown
        confidence : (H, W) in 0..1
        """
        fused = []
        for c in range(self._channels):
            picture = self._sums[LEVELS][c] / np.float32(self._n)
            for level in reversed(range(LEVELS)):
                picture = _expand(picture, self._shapes[level])
                picture += cv2.divide(self._sums[level][c], self._weights[level])
            fused.append(self._native(picture))
        return fused[0] if self._channels == 1 else cv2.merge(fused)

    def _channel(self, plane: Plane, c: int) -> Plane:
        return np.multiply(plane[..., c], np.float32(1 / self._white), dtype=np.float32)

    def _native(self, picture: Plane) -> Plane:
        if self._dtype == np.float32:
            return picture.clip(0, 1)
        return (picture * np.float32(self._white)).round().clip(0, self._white).astype(self._dtype)

    def _weigh(self, detail: Plane, level: int) -> Plane:
        """Return the weight of a level's grey detail from its energy against the noise."""
        energy: Plane = cv2.GaussianBlur(cv2.multiply(detail, detail), (5, 5), 1.0)
        if level == len(self._noise):
            # most of a frame is out of focus: its quietest tenth holds little but noise
            floor = (QUANTISATION / self._white) ** 2 if self._white > 1 else 1e-8
            self._noise.append(max(float(np.quantile(energy[::4, ::4], 0.1)), floor / 4**level))
        np.multiply(energy, np.float32(1 / self._noise[level]), out=energy)
        np.subtract(energy, np.float32(NOISE_MARGIN), out=energy)
        np.clip(energy, 0, ENERGY_LIMIT, out=energy)
        cv2.pow(energy, POWER, dst=energy)
        return np.add(energy, np.float32(1), out=energy)


def _expand(coarse: Plane, shape: tuple[int, ...]) -> Plane:
    return cv2.pyrUp(coarse, dstsize=(shape[1], shape[0]))


def _split(picture: Plane) -> tuple[Plane, Plane]:
    """Return the next coarser Gaussian level, and the detail that it lacks."""
    coarse = cv2.pyrDown(picture)
    up = _expand(coarse, picture.shape[:2])
    return coarse, cv2.subtract(picture, up, dst=up)
