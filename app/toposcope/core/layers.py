"""Which surface is meant where one is seen through another: glass, water, varnish, a thin film.

There a focus curve has two peaks, and the stronger of them belongs to whichever surface happens to show more texture at
that very pixel: the strongest peaks make a patchwork of both. The outer peaks, first and last along the sweep, make
two whole surfaces. Behind an opaque edge, though, the blurred rim of what lies in front is an outer peak as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.curve import needed_prominence
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.peak import gaussian_top
from toposcope.core.refine import DepthMap
from toposcope.core.volume import FocusVolume

Floats = NDArray[np.float32]

Layer = Literal["strongest", "nearest", "farthest"]
"""Which peak counts where a curve has several: the highest, or that nearest to the lens or farthest from it."""
LAYERS: Final[tuple[Layer, ...]] = ("strongest", "nearest", "farthest")

APART: Final = 1.0
"""Slices from which on two peaks are those of two surfaces."""
AROUND: Final = 9
"""Side in pixels of the square in which a peak is compared with its neighbours'."""
ALIKE: Final = 1.5
"""Slices within which two peaks belong to one surface."""
TRUSTED: Final = 0.5
"""Share of the square whose outer peaks must lie on the same surface: noise has some anywhere."""
COMPANY: Final = 0.25
"""Share of the square that must lie on the same surface as a pixel where there are two."""


@dataclass(frozen=True, slots=True, eq=False)
class OuterPeaks:
    """The first peak of each pixel along the sweep that stands out.

    ``index`` (H, W) float32 slice index with fraction, NaN where none does; ``height`` (H, W) its probability as a
    share of the highest.
    """

    index: Floats
    height: Floats


def take_layer(depth: DepthMap, volume: FocusVolume, from_last: bool, report: Report = silent) -> DepthMap:
    """Return ``depth`` with the outer peaks in place of the strongest where they are others.

    What was unknown stays so, and a pixel whose outer peak stands alone becomes unknown: there only the other surface
    shows. Confidence shrinks with the height of the peak.

    Parameters
    ----------
    depth : of the strongest peaks
    volume : the focus curves that it is from
    from_last : whether the surface is meant that the last slice is nearest to
    """
    outer = outer_peaks(volume, from_last, report)
    known = (depth.confidence > 0) & np.isfinite(depth.index) & np.isfinite(outer.index)
    other = known & (np.abs(outer.index - depth.index) > APART)
    other &= _company(outer.index, known, volume.shape[0]) > TRUSTED
    index = np.where(other, outer.index, depth.index).astype(np.float32)
    confidence = np.where(other, depth.confidence * outer.height, depth.confidence).astype(np.float32)
    several = cv2.blur(other.astype(np.float32), (AROUND, AROUND)) > 0  # an opaque surface is left as it is
    alone = several & known & (_company(index, known, volume.shape[0]) < COMPANY)
    index[alone], confidence[alone] = np.nan, 0
    return DepthMap(index, confidence)


def outer_peaks(volume: FocusVolume, from_last: bool, report: Report = silent) -> OuterPeaks:
    """Return the first peak that stands out, going up from the first slice, or down ``from_last``.

    A peak stands out by the rule of `toposcope.core.curve`. Goes through the slices twice and keeps a constant number
    of planes. Between slices it is placed by a Gaussian through three values.
    """
    n = volume.shape[0]
    order: Sequence[int] = range(n - 1, -1, -1) if from_last else range(n)
    first = volume.plane(order[0])
    top, bottom, past = first.copy(), first.copy(), first
    variation = np.zeros_like(first)
    for count, i in enumerate(order[1:], 1):
        plane = volume.plane(i)
        variation += np.abs(plane - past)
        np.maximum(top, plane, out=top)
        np.minimum(bottom, plane, out=bottom)
        past = plane
        report(Progress(0.5 * count / n, "finding the layers"))
    highest = top.copy()
    needed = needed_prominence(top, bottom, variation, first, past, n)

    place, before, after = np.zeros(first.shape, np.int32), first.copy(), first.copy()
    top[:], past = first, first
    searching = np.isfinite(needed)
    for count, i in enumerate(order[1:], 1):
        plane = volume.plane(i)
        follows = searching & (place == count - 1)
        np.copyto(after, plane, where=follows)
        higher = searching & (plane > top)
        np.copyto(before, past, where=higher)
        np.copyto(top, plane, where=higher)
        place[higher] = count
        searching &= top - plane < needed
        past = plane
        report(Progress(0.5 + 0.5 * count / n, "finding the layers"))
    inside = (place > 0) & (place < n - 1)
    index = place + np.where(inside, _between(before, top, after), 0)
    index[~np.isfinite(needed)] = np.nan
    if from_last:
        index = n - 1 - index
    top /= np.maximum(highest, np.float32(1e-12))
    return OuterPeaks(index.astype(np.float32), top)


def _between(before: Floats, top: Floats, after: Floats) -> Floats:
    """Return how far, in slices, a Gaussian through three equal steps has its peak from the middle one."""
    levels = [np.log(np.maximum(values, np.float32(1e-9))) for values in (before, top, after)]
    shift, bend = gaussian_top((-1.0, 0.0, 1.0), levels)
    return np.clip(np.where(bend < 0, shift, 0), -0.5, 0.5).astype(np.float32)


def _company(index: Floats, known: NDArray[np.bool_], n: int) -> Floats:
    """Return the share of the known pixels around that lie on the same surface, (H, W); one slice after the other."""
    around = cv2.blur(known.astype(np.float32), (AROUND, AROUND))
    nearest = np.where(known, np.rint(index), -1)
    company = np.zeros(index.shape, np.float32)
    for i in range(n):
        here = nearest == i
        if here.any():
            alike = cv2.blur((known & (np.abs(index - i) <= ALIKE)).astype(np.float32), (AROUND, AROUND))
            np.copyto(company, alike, where=here)
    company /= np.maximum(around, np.float32(1e-6))
    return company
