"""What networks say of a stack at several sizes, put together.

Networks have learnt blur of a certain width in pixels. In large pictures of deep scenes it is wider: a bright
edge far out of focus then spreads over more than a network looks at, and its halo is taken for a surface. Reduced
by 2, 4, ... the same blur is as narrow as learnt, but fine detail is gone. So the network looks at all sizes. From
coarse to fine, each adds its detail wherever both agree; where they do not, that which is surer there, taken all
together, is believed. Reduced sizes cost a third more time. ``tests/benchmarks/large_pictures.py`` shows what it
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

Floats = NDArray[np.float32]

SMALLEST: Final = 128
"""Least short side of a reduced picture: that of the stacks that networks are trained on."""

NAMED: Final = {"full": 1, "half": 2, "quarter": 4, "eighth": 8}
"""By how much a picture is reduced."""

AGREES: Final = 0.5
"""Slices within which a finer size adds its detail."""

SURER: Final = 0.9
"""Part of the coarser size's variance, where both disagree, that the finer one's must be below to be believed."""


def factors_for(shape: tuple[int, int], name: str) -> tuple[int, ...]:
    """Return by how much pictures of ``shape`` are reduced, coarse to fine, for a size by `NAMED` or ``automatic``."""
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
        return relative_spread(self.variance(), self._place)

    def enlarged(self, shape: tuple[int, int]) -> MeanPosition:
        """Return the same for a picture of another size, as if curves were interpolated between pixels."""
        if shape == self.mean.shape:
            return self
        enlarged = MeanPosition((0, 0), self._place)
        enlarged.mean, enlarged._squares = (_enlarged(values, shape) for values in (self.mean, self._squares))
        return enlarged


def relative_spread(variance: Floats, place: Floats) -> Floats:
    """Return standard deviations as parts of that of shares that are the same for all slices at ``place`` (N,)."""
    spread: Floats = np.sqrt(variance)
    return spread / np.float32(place.std())


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
    """Focus volume of answers at several sizes; see `FocusVolume`.

    ``origin`` (H, W) says from which of ``volumes`` the curve of each pixel comes. Smaller ones are interpolated
    between their pixels, as `MeanPosition.enlarged` does.
    """

    def __init__(self, volumes: Sequence[ProbabilityVolume], origin: NDArray[np.uint8]) -> None:
        self.shape = (volumes[0].shape[0], *origin.shape)
        self._volumes, self._origin = tuple(volumes), origin

    def probability(self, row: int, column: int) -> Floats:
        volume = self._volumes[self._origin[row, column]]
        _, height, width = volume.shape
        top, below = _between(row, self.shape[1], height)
        left, beside = _between(column, self.shape[2], width)
        curve: Floats = sum(
            weight * volume.probability(i, k)
            for i, k, weight in (
                (top, left, (1 - below) * (1 - beside)),
                (top, left + 1, (1 - below) * beside),
                (top + 1, left, below * (1 - beside)),
                (top + 1, left + 1, below * beside),
            )
            if weight > 0
        )
        return curve

    def measure(self, row: int, column: int) -> None:
        return None

    def plane(self, i: int) -> Floats:
        found = np.empty(self.shape[1:], np.float32)
        for k, volume in enumerate(self._volumes):
            here = self._origin == k
            found[here] = _enlarged(volume.plane(i), found.shape)[here]
        return found

    def close(self) -> None:
        for volume in self._volumes:
            volume.close()


def _between(place: int, length: int, count: int) -> tuple[int, float]:
    """Return where a pixel of ``length`` lies among ``count`` larger ones: the one before it, and how far on."""
    exact = min(max((place + 0.5) * count / length - 0.5, 0.0), count - 1.0)
    first = min(int(exact), max(count - 2, 0))
    return first, exact - first


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Answers put together, all (H, W): ``mean`` position, ``relative_spread`` of the curve, and ``origin``, which
    of the ``answers`` each pixel is from."""  # noqa: D205, D209

    mean: Floats
    relative_spread: Floats
    origin: NDArray[np.uint8]
    answers: tuple[Answer, ...]

    @property
    def factor(self) -> int:
        """By how much the coarsest answer is reduced that any pixel is from."""
        return self.answers[0].factor

    def volume(self) -> ProbabilityVolume | ScaledVolume | None:
        """Return the curves, None where they were not kept."""
        volumes = [answer.volume for answer in self.answers if answer.volume is not None]
        if not volumes:
            return None
        return volumes[0] if volumes[0].shape[1:] == self.origin.shape else ScaledVolume(volumes, self.origin)


def merge(
    answers: Sequence[Answer], shape: tuple[int, int], place: Floats, void: NDArray[np.bool_] | None = None
) -> Merged:
    """Put answers together, which come coarse to fine, for a picture of ``shape`` (H, W).

    Each takes the place of what was put together before wherever both lie within `AGREES` slices of each other; and
    everywhere if, on the mean over the other pixels outside ``void`` (H, W), its curves are narrower (see `SURER`).
    Answers of which nothing is left are closed. ``place`` (N,) are the focus coordinates of the slices.
    """
    numbers = np.arange(len(place))
    first = answers[0].positions.enlarged(shape)
    mean, variance, origin = first.mean.copy(), first.variance(), np.zeros(shape, np.uint8)
    index = np.interp(mean, place, numbers).astype(np.float32)
    for k, answer in enumerate(answers[1:], 1):
        finer = answer.positions.enlarged(shape)
        finer_index, finer_variance = np.interp(finer.mean, place, numbers).astype(np.float32), finer.variance()
        taken = np.abs(finer_index - index) < AGREES
        open_ = ~taken if void is None else ~taken & ~void
        if not open_.any() or finer_variance[open_].mean() < SURER * variance[open_].mean():
            taken = np.ones(shape, bool)
        for values, those in ((mean, finer.mean), (index, finer_index), (variance, finer_variance)):
            np.copyto(values, those, where=taken)
        origin[taken] = k
    kept = np.unique(origin)
    for k, answer in enumerate(answers):
        if k not in kept:
            answer.close()
    renumbered = np.searchsorted(kept, origin).astype(np.uint8)
    return Merged(mean, relative_spread(variance, place), renumbered, tuple(answers[k] for k in kept))
