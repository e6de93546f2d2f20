"""Fuse a stack into one picture that is sharp everywhere, frame by frame."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.stack import Plane, full_scale, to_grey

FINE_LEVELS: Final = 3
COARSE_LEVELS: Final = 3
KEPT_BYTES: Final = 160 << 20
POWER: Final = 12  # of the energy: as sharp as choosing the best frame, yet without seams
NOISE_MARGIN: Final = 5.0
"""Energy below this multiple of the noise's counts as nothing to see."""
LEAST_WEIGHT: Final = 1e-30  # from here, 12 powers of the energy limit stay inside float32
ENERGY_LIMIT: Final = 2e5
QUANTISATION: Final = 0.3  # SD of rounding, in grey steps
EVEN: Final = 1e-4  # weight of every frame where the depth is unknown

Float = NDArray[np.float32]


class Fuser:
    """Streaming all-in-focus fusion.

    Each frame is split into a Laplacian pyramid. At the fine levels the frames are averaged with
    weights that grow with the local energy of the level above its noise,

        w = 1 + max(energy / noise - margin, 0) ** power,

    so that texture comes from the sharpest frame, and a place where no frame shows more than noise
    becomes the mean of all frames, in which the noise averages out. The coarse levels cannot be
    chosen in this way: there blur takes little energy away but carries light over depth steps, and
    what wins is the halo. So the small rest of each frame is kept until the depth is known, and its
    levels are weighted by the share of their surroundings that lies at the frame's slice.
    The weights are those of the grey picture for all channels: colours cannot shift.

    Memory: 5.3 float32 planes of sums for colour, and the rests, together at most `KEPT_BYTES`: they
    are kept at 1/8 of the frame's size, smaller when there are very many.

    Source: Burt & Kolczynski, "Enhanced image capture through fusion", ICCV 1993 (salience-weighted
    pyramids). We sum over all frames instead of pairs, measure salience against the noise, and
    weight the coarse levels by the depth.

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
        self._rest_dtype = np.dtype(np.float32 if self._dtype == np.float32 else np.uint16)
        self._shapes = [shape]
        while len(self._shapes) <= FINE_LEVELS or self._rest_bytes() > KEPT_BYTES:
            self._shapes.append(_halved(self._shapes[-1]))
        self._sums = [[np.zeros(s, np.float32) for _ in range(channels)] for s in self._shapes[:-1]]
        self._weights = [np.zeros(s, np.float32) for s in self._shapes[:-1]]
        self._rests = np.zeros((n, channels, *self._shapes[-1]), self._rest_dtype)
        self._noise: list[float] = []

    def add(self, i: int, plane: Plane, measure: Float) -> None:
        """Take frame ``i``: its pixels in native dtype.

        ``measure`` (H, W) is what all that watch a pass are given; the pyramid does not need it.
        """
        grey: Plane = to_grey(plane)
        channels: list[Plane] = [grey]
        for level in range(len(self._sums)):
            grey, detail = _split(grey)
            weight = self._weigh(detail, level)
            cv2.add(self._weights[level], weight, dst=self._weights[level])
            if plane.ndim == 2:
                channels = [grey]
                cv2.accumulateProduct(detail, weight, self._sums[level][0])
                continue
            del detail  # a plane less at the peak of memory
            finer = channels if level else (self._channel(plane, c) for c in range(self._channels))
            channels = [
                self._gather(picture, weight, sums) for picture, sums in zip(finer, self._sums[level], strict=True)
            ]
        scale = 1.0 if self._rest_dtype == np.float32 else 65535.0
        for c, rest in enumerate(channels):
            self._rests[i, c] = rest if scale == 1.0 else np.rint(rest * np.float32(scale)).clip(0, scale)

    def finish(self, index: Float, confidence: Float) -> Plane:
        """Return the fused picture, (H, W) or (H, W, 3), in the dtype of the frames.

        Parameters
        ----------
        index : (H, W) fractional index of the slice in focus, NaN where unknown
        confidence : (H, W) in 0..1
        """
        fused = []
        for c, coarse in enumerate(self._fuse_rests(index, confidence)):
            picture = coarse
            for level in reversed(range(len(self._sums))):
                picture = _expand(picture, self._shapes[level])
                picture += cv2.divide(self._sums[level][c], self._weights[level])
            fused.append(self._native(picture))
        return fused[0] if self._channels == 1 else cv2.merge(fused)

    def _fuse_rests(self, index: Float, confidence: Float) -> list[Plane]:
        """Return the coarse part of each channel in 0..1, from the frames' rests and the depth."""
        shape = self._shapes[-1]
        shapes = [shape]
        while len(shapes) <= COARSE_LEVELS and min(shapes[-1]) > 8:
            shapes.append(_halved(shapes[-1]))
        # every 2nd pixel tells the shares as well, and costs a quarter
        index, confidence = index[::2, ::2], confidence[::2, ::2]
        sums = [[np.zeros(s, np.float32) for _ in range(self._channels)] for s in shapes]
        weights = [np.zeros(s, np.float32) for s in shapes]
        scale = np.float32(1.0 if self._rest_dtype == np.float32 else 1 / 65535)
        for i in range(self._n):
            near = np.nan_to_num(np.maximum(0, 1 - np.abs(index - np.float32(i))), copy=False)
            near *= confidence + np.float32(0.01)
            share: Plane = cv2.resize(near, shape[::-1], interpolation=cv2.INTER_AREA)
            rests: list[Plane] = [rest * scale for rest in self._rests[i]]
            for level in range(len(shapes)):
                weight = share + np.float32(EVEN)
                weights[level] += weight
                last = level == len(shapes) - 1
                for c in range(self._channels):
                    detail = rests[c]
                    if not last:
                        rests[c], detail = _split(rests[c])
                    cv2.accumulateProduct(detail, weight, sums[level][c])
                share = share if last else cv2.pyrDown(share)
        coarse = []
        for c in range(self._channels):
            picture: Plane = sums[-1][c] / weights[-1]
            for level in reversed(range(len(shapes) - 1)):
                picture = _expand(picture, shapes[level])
                picture += sums[level][c] / weights[level]
            coarse.append(picture)
        return coarse

    def _rest_bytes(self) -> int:
        height, width = self._shapes[-1]
        return self._n * self._channels * height * width * self._rest_dtype.itemsize

    @staticmethod
    def _gather(picture: Plane, weight: Plane, sums: Float) -> Plane:
        """Add the weighted detail of ``picture`` to ``sums`` and return its coarser rest."""
        coarse, detail = _split(picture)
        cv2.accumulateProduct(detail, weight, sums)
        return coarse

    def _channel(self, plane: Plane, c: int) -> Plane:
        return np.multiply(plane[..., c], np.float32(1 / self._white), dtype=np.float32)

    def _native(self, picture: Plane) -> Plane:
        if self._dtype == np.float32:
            return picture.clip(0, 1)
        return (picture * np.float32(self._white)).round().clip(0, self._white).astype(self._dtype)

    def _weigh(self, detail: Plane, level: int) -> Plane:
        """Return the weight of a level's grey detail from its energy against the noise."""
        energy: Plane = cv2.multiply(detail, detail)
        cv2.GaussianBlur(energy, (5, 5), 1.0, dst=energy)
        if level == len(self._noise):
            # most of a frame is out of focus: its quietest tenth holds little but noise
            floor = (QUANTISATION / self._white) ** 2 if self._white > 1 else 1e-8
            self._noise.append(max(float(np.quantile(energy[::4, ::4], 0.1)), floor / 4**level))
        np.multiply(energy, np.float32(1 / self._noise[level]), out=energy)
        np.subtract(energy, np.float32(NOISE_MARGIN), out=energy)
        np.clip(energy, 0, ENERGY_LIMIT, out=energy)
        np.multiply(energy, np.float32(LEAST_WEIGHT ** (1 / POWER)), out=energy)
        cv2.pow(energy, POWER, dst=energy)
        return np.add(energy, np.float32(LEAST_WEIGHT), out=energy)


def _halved(shape: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // 2), -(-shape[1] // 2)


def _expand(coarse: Plane, shape: tuple[int, ...]) -> Plane:
    return cv2.pyrUp(coarse, dstsize=(shape[1], shape[0]))


def _split(picture: Plane) -> tuple[Plane, Plane]:
    """Return the next coarser Gaussian level, and the detail that it lacks."""
    coarse = cv2.pyrDown(picture)
    up = _expand(coarse, picture.shape[:2])
    return coarse, cv2.subtract(picture, up, dst=up)
