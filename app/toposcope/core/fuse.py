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
BAND_ROWS: Final = 256
"""The finest level goes in bands: its planes stay in the cache, and only the sums are held whole."""
MARGIN_ROWS: Final = 16  # even, and more than pyramid and energy reach
NEIGHBOURS: Final = ((3.0, 1e-2), (12.0, 1e-4))
"""Reach, in pixels of the rests, and weight of the depths around where a pixel's own is unknown."""
EVEN: Final = 1e-6  # weight of every frame where all around is unknown, too

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
        self._sums: list[list[Float]] = [[np.zeros(s, np.float32) for _ in range(channels)] for s in self._shapes[:-1]]
        self._weights = [np.zeros(s, np.float32) for s in self._shapes[:-1]]
        self._rests = np.zeros((n, channels, *self._shapes[-1]), self._rest_dtype)
        self._noise: list[float] = []

    def add(self, i: int, plane: Plane, measure: Float) -> None:
        """Take frame ``i``: its pixels in native dtype.

        ``measure`` (H, W) is what all that watch a pass are given; the pyramid does not need it.
        """
        if not self._noise:
            self._noise = self._noise_levels(to_grey(plane))
        height = self._shapes[0][0]
        pictures = [np.empty(self._shapes[1], np.float32) for _ in range(self._pictures)]
        for top in range(0, height, BAND_ROWS):
            rows = slice(top, min(top + BAND_ROWS, height))
            wide = slice(max(rows.start - MARGIN_ROWS, 0), min(rows.stop + MARGIN_ROWS, height))
            band = plane[wide]
            halves = self._gather(0, self._split_channels(band), rows, rows.start - wide.start)
            for picture, half in zip(pictures, halves, strict=True):
                picture[top // 2 : -(-rows.stop // 2)] = half[(top - wide.start) // 2 :][: -(-(rows.stop - top) // 2)]
        for level in range(1, len(self._sums)):
            pictures = self._gather(level, pictures)
        channels = pictures[-self._channels :]
        scale = 1.0 if self._rest_dtype == np.float32 else 65535.0
        for c, rest in enumerate(channels):
            self._rests[i, c] = rest if scale == 1.0 else np.rint(rest * np.float32(scale)).clip(0, scale)

    def finish(self, index: Float, confidence: Float) -> Plane:
        """Return the fused picture, (H, W) or (H, W, 3), in the dtype of the frames; uses the sums up.

        Parameters
        ----------
        index : (H, W) fractional index of the slice in focus, NaN where unknown
        confidence : (H, W) in 0..1
        """
        fused = []
        for c, coarse in enumerate(self._fuse_rests(index, confidence)):
            picture = coarse
            for level in reversed(range(len(self._sums))):
                sums = self._sums[level][c]
                cv2.divide(sums, self._weights[level], dst=sums)
                picture = _expand(picture, self._shapes[level])
                picture += sums
                self._sums[level][c] = np.empty(0, np.float32)
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
            share = share + sum(part * cv2.GaussianBlur(share, (0, 0), reach) for reach, part in NEIGHBOURS)
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

    @property
    def _pictures(self) -> int:
        """What goes down the pyramid: the grey picture, and with colour its channels after it."""
        return 1 if self._channels == 1 else 1 + self._channels

    def _split_channels(self, plane: Plane) -> list[Plane]:
        grey: Plane = to_grey(plane)
        if plane.ndim == 2:
            return [grey]
        return [grey, *(self._channel(plane, c) for c in range(self._channels))]

    def _gather(self, level: int, pictures: list[Plane], rows: slice = slice(None), skip: int = 0) -> list[Plane]:
        """Add the weighted detail of a level to its sums and return the pictures' coarser rests.

        ``pictures`` may be a band with a margin: ``rows`` are the rows of the level that they stand for,
        after the first ``skip`` of theirs.
        """
        sums, weights = [total[rows] for total in self._sums[level]], self._weights[level][rows]
        inner = slice(skip, skip + len(weights))
        rest, detail = _split(pictures[0])
        rests = [rest]
        weight = self._weigh(detail, level)[inner]
        cv2.add(weights, weight, dst=weights)
        if self._channels == 1:
            cv2.accumulateProduct(detail[inner], weight, sums[0])
        for picture, total in zip(pictures[1:], sums, strict=self._channels > 1):
            rest, detail = _split(picture)
            cv2.accumulateProduct(detail[inner], weight, total)
            rests.append(rest)
        return rests

    def _noise_levels(self, grey: Plane) -> list[float]:
        """Return the energy of mere noise at each level, from a frame.

        Most of a frame is out of focus: its quietest tenth holds little but noise.
        """
        levels = []
        floor = (QUANTISATION / self._white) ** 2 if self._white > 1 else 1e-8
        for level in range(len(self._sums)):
            grey, detail = _split(grey)
            levels.append(max(float(np.quantile(_energy(detail)[::4, ::4], 0.1)), floor / 4**level))
        return levels

    def _channel(self, plane: Plane, c: int) -> Plane:
        return np.multiply(plane[..., c], np.float32(1 / self._white), dtype=np.float32)

    def _native(self, picture: Plane) -> Plane:
        if self._dtype == np.float32:
            return picture.clip(0, 1)
        picture *= np.float32(self._white)
        return picture.round(out=picture).clip(0, self._white, out=picture).astype(self._dtype)

    def _weigh(self, detail: Plane, level: int) -> Plane:
        """Return the weight of a level's grey detail from its energy against the noise."""
        energy = _energy(detail)
        np.multiply(energy, np.float32(1 / self._noise[level]), out=energy)
        np.subtract(energy, np.float32(NOISE_MARGIN), out=energy)
        np.clip(energy, 0, ENERGY_LIMIT, out=energy)
        np.multiply(energy, np.float32(LEAST_WEIGHT ** (1 / POWER)), out=energy)
        cv2.pow(energy, POWER, dst=energy)
        return np.add(energy, np.float32(LEAST_WEIGHT), out=energy)


def _energy(detail: Plane) -> Plane:
    """Return the local mean square of a level's detail."""
    energy: Plane = cv2.multiply(detail, detail)
    return cv2.GaussianBlur(energy, (5, 5), 1.0, dst=energy)


def _halved(shape: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // 2), -(-shape[1] // 2)


def _expand(coarse: Plane, shape: tuple[int, ...]) -> Plane:
    return cv2.pyrUp(coarse, dstsize=(shape[1], shape[0]))


def _split(picture: Plane) -> tuple[Plane, Plane]:
    """Return the next coarser Gaussian level, and the detail that it lacks."""
    coarse = cv2.pyrDown(picture)
    up = _expand(coarse, picture.shape[:2])
    return coarse, cv2.subtract(picture, up, dst=up)
