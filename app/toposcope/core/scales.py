"""What networks say of a stack at several scales, put together.

Networks have learnt blur of a certain width in pixels. In large pictures of deep scenes it is wider: a bright
edge far out of focus then spreads over more than a network looks at, and its halo is taken for a surface. Reduced
by 2, 4, ... the same blur is as narrow as learnt, but fine detail is gone. So the network looks at all scales. From
coarse to fine, each adds its detail wherever both agree; where they do not, that which is surer there, taken all
together, is believed. Reduced scales cost a third more time. ``tests/benchmarks/large_pictures.py`` shows what it
is worth; choosing pixel by pixel, or region by region, was worth less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dffnets.tiling import Tile
from toposcope.core.scratch import ScratchArray
from toposcope.core.volume import Origin

Floats = NDArray[np.float32]

UNKNOWN: Final = 0.92
"""Spread of a curve, as a share of that of a flat one, above which the network does not know."""

SMALLEST: Final = 128
"""Least short side of a reduced picture: that of the stacks that networks are trained on."""

NAMED: Final = {"full": 1, "half": 2, "quarter": 4, "eighth": 8}
"""By how much a picture is reduced."""

AGREES, DISAGREES = 0.5, 1.0
"""Slices within which a finer scale adds its detail in full, and from which on not at all."""

SURER: Final = 0.9
"""Part of the coarser scale's variance, where they do not agree, that the finer one's must be below to be believed."""


def factors_for(shape: tuple[int, int], name: str) -> tuple[int, ...]:
    """Return by how much pictures of ``shape`` are reduced, coarse to fine, for a scale by `NAMED` or ``automatic``."""
    if name != "automatic":
        return (NAMED[name],)
    factors = [1]
    while min(shape) // (2 * factors[-1]) >= SMALLEST:
        factors.append(2 * factors[-1])
    return tuple(reversed(factors))


def reduced_shape(shape: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return rows and columns of a picture reduced by ``factor``, at least 1."""
    return max(1, round(shape[0] / factor)), max(1, round(shape[1] / factor))


class MeanPosition:
    """Mean focus position of each pixel, and how far the shares of the slices spread, from tiles as they come.

    ``shape`` (H, W); ``place`` (N,) focus coordinates of the slices. ``mean`` (H, W) is in the same coordinate.
    """

    def __init__(self, shape: tuple[int, int], place: Floats) -> None:
        self._place = place
        self.mean, self._squares = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def add(self, window: Tile, shares: Floats) -> None:
        """Add the shares (N, h, w) of a window, weighed so that all windows over a pixel add up to 1."""
        self.mean[window.slices] += np.einsum("nhw,n->hw", shares, self._place)
        self._squares[window.slices] += np.einsum("nhw,n->hw", shares, self._place * self._place)

    def variance(self) -> Floats:
        """Return the variance (H, W) of the shares of each pixel."""
        variance: Floats = np.maximum(self._squares - self.mean * self.mean, 0)
        return variance

    def relative_spread(self) -> Floats:
        """Return (H, W) standard deviations, as parts of that of shares that are the same for all slices."""
        spread: Floats = np.sqrt(self.variance())
        return spread / np.float32(self._place.std())

    def enlarged(self, shape: tuple[int, int]) -> MeanPosition:
        """Return the same for a picture of another size, as if curves were interpolated between pixels."""
        if shape == self.mean.shape:
            return self
        return self._of(*(_enlarged(values, shape) for values in (self.mean, self._squares)))

    def mixed(self, other: MeanPosition, weight: Floats) -> MeanPosition:
        """Return the same for the mean of these shares and ``other``'s, which has the ``weight`` (H, W) 0..1."""
        return self._of(
            self.mean + weight * (other.mean - self.mean), self._squares + weight * (other._squares - self._squares)
        )

    def _of(self, mean: Floats, squares: Floats) -> MeanPosition:
        made = MeanPosition((0, 0), self._place)
        made.mean, made._squares = mean, squares
        return made


def _enlarged(values: Floats, shape: tuple[int, int]) -> Floats:
    return cv2.resize(values, shape[::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


class ProbabilityVolume:
    """Focus volume of a network: its probabilities, (N, H, W) in half precision; see `FocusVolume`."""

    def __init__(self, shape: tuple[int, int, int], scratch: Path | None = None) -> None:
        self.shape = shape
        self._array = ScratchArray(shape, np.float16, scratch)

    def add(self, window: tuple[slice, slice], shares: Floats) -> None:
        """Add probabilities times blending weights (N, h, w) at rows and columns of ``window``."""
        self._array.values[(slice(None), *window)] += shares.astype(np.float16)

    def probability(self, row: int, column: int) -> Floats:
        curve: Floats = self._array.values[:, row, column].astype(np.float32)
        curve /= curve.sum()  # rounding to half precision undone
        return curve

    def measure(self, row: int, column: int) -> None:
        return None

    def plane(self, i: int) -> Floats:
        plane: Floats = self._array.values[i].astype(np.float32)
        return plane

    def origin(self, row: int, column: int) -> Origin:
        return "mean"

    @property
    def memory(self) -> int:
        return self._array.memory

    def close(self) -> None:
        self._array.close()


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a network says of a stack reduced by ``factor``; ``volume`` None where nobody needs its curves."""

    factor: int
    positions: MeanPosition
    volume: ProbabilityVolume | None

    def close(self) -> None:
        """Give the volume back."""
        if self.volume is not None:
            self.volume.close()


class ScaledVolume:
    """Focus volume of answers at several scales; see `FocusVolume`.

    The curve of a pixel is the mean of those of ``volumes``, by their ``weights``, (H, W) each. Smaller volumes are
    interpolated between their pixels, as `MeanPosition.enlarged` does.
    """

    def __init__(self, volumes: Sequence[ProbabilityVolume], weights: Sequence[NDArray[np.float16]]) -> None:
        self.shape = (volumes[0].shape[0], *weights[0].shape)
        self._parts = tuple(zip(volumes, weights, strict=True))

    def probability(self, row: int, column: int) -> Floats:
        curve = np.zeros(self.shape[0], np.float32)
        for volume, weights in self._parts:
            if weights[row, column] > 0:
                curve += np.float32(weights[row, column]) * self._interpolated(volume, row, column)
        curve /= curve.sum()  # rounding of the weights undone
        return curve

    def _interpolated(self, volume: ProbabilityVolume, row: int, column: int) -> Floats:
        _, height, width = volume.shape
        top, below = _between(row, self.shape[1], height)
        left, beside = _between(column, self.shape[2], width)
        curve = np.zeros(self.shape[0], np.float32)
        for i, vertical in ((top, 1 - below), (top + 1, below)):
            for k, horizontal in ((left, 1 - beside), (left + 1, beside)):
                if vertical * horizontal > 0:
                    curve += np.float32(vertical * horizontal) * volume.probability(i, k)
        return curve

    def measure(self, row: int, column: int) -> None:
        return None

    def plane(self, i: int) -> Floats:
        found = np.zeros(self.shape[1:], np.float32)
        for volume, weights in self._parts:
            found += weights * _enlarged(volume.plane(i), found.shape)
        return found

    def origin(self, row: int, column: int) -> Origin:
        return "mean"

    @property
    def memory(self) -> int:
        return sum(volume.memory + weights.nbytes for volume, weights in self._parts)

    def close(self) -> None:
        for volume, _ in self._parts:
            volume.close()


def _between(place: int, length: int, count: int) -> tuple[int, float]:
    """Return where a pixel of ``length`` lies among ``count`` larger ones: the one before it, and how far on."""
    exact = min(max((place + 0.5) * count / length - 0.5, 0.0), count - 1.0)
    first = min(int(exact), max(count - 2, 0))
    return first, exact - first


def least_around(weight: Floats, side: int) -> Floats:
    """Return the least ``weight`` (H, W) in a square of ``side`` pixels about each pixel, without steps.

    On its way to a halo's depth an answer agrees in passing; a rim of false depth would be left there.
    """
    least = cv2.erode(weight, np.ones((side, side), np.uint8))
    return np.asarray(cv2.blur(least, (side, side)), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Answers put together: ``mean`` position and ``relative_spread`` of the curves, (H, W).

    ``weights`` (H, W) of the ``answers`` add up to 1 at every pixel.
    """

    mean: Floats
    relative_spread: Floats
    answers: tuple[Answer, ...]
    weights: tuple[NDArray[np.float16], ...]

    @property
    def factor(self) -> int:
        """By how much the coarsest answer is reduced that has a part in any pixel."""
        return self.answers[0].factor

    def volume(self) -> ProbabilityVolume | ScaledVolume | None:
        """Return the curves, None where they were not kept."""
        volumes = [answer.volume for answer in self.answers if answer.volume is not None]
        if not volumes:
            return None
        return volumes[0] if volumes[0].shape[1:] == self.mean.shape else ScaledVolume(volumes, self.weights)


def merge(
    answers: Sequence[Answer], shape: tuple[int, int], place: Floats, void: NDArray[np.bool_] | None = None
) -> Merged:
    """Put answers together, which come coarse to fine, for a picture of ``shape`` (H, W).

    Each takes the place of what was put together before where both lie within `AGREES` slices of each other, less
    and less up to `DISAGREES`, unless its curve is flat; what counts is the worst among a pixel of it and its
    neighbours. And it does so everywhere if, on the mean over the pixels that do not agree, outside ``void`` (H, W),
    its curves are narrower (see `SURER`). Answers of which nothing is left are closed. ``place`` (N,) are the focus
    coordinates of the slices.
    """
    numbers = np.arange(len(place))
    merged = answers[0].positions.enlarged(shape)
    weights = [np.ones(shape, np.float32)]
    for answer in answers[1:]:
        finer = answer.positions.enlarged(shape)
        apart = np.abs(np.interp(finer.mean, place, numbers) - np.interp(merged.mean, place, numbers))
        weight = np.clip((DISAGREES - apart) / (DISAGREES - AGREES), 0, 1).astype(np.float32)
        weight[finer.relative_spread() >= UNKNOWN] = 0
        weight = least_around(weight, 2 * answer.factor + 1)
        contested = weight < 1 if void is None else (weight < 1) & ~void
        if not contested.any() or finer.variance()[contested].mean() < SURER * merged.variance()[contested].mean():
            weight = np.ones(shape, np.float32)
        merged = merged.mixed(finer, weight)
        weights = [one * (1 - weight) for one in weights] + [weight]
    kept = [bool(weight.any()) for weight in weights]
    for answer, is_kept in zip(answers, kept, strict=True):
        if not is_kept:
            answer.close()
    parts = [(a, w.astype(np.float16)) for a, w, is_kept in zip(answers, weights, kept, strict=True) if is_kept]
    return Merged(merged.mean, merged.relative_spread(), tuple(a for a, _ in parts), tuple(w for _, w in parts))
