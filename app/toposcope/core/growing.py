"""Depth that builds up slice by slice, while a microscope still takes the stack.

One window, no alignment, no smoothing: a preview. `toposcope.core.estimate` makes the depth that is kept.
"""

from __future__ import annotations

import math
import tempfile
import weakref
from bisect import bisect
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.curve import CONTRAST, flat_curves
from toposcope.core.focus import tenengrad
from toposcope.core.peak import STEPS, Codes, Values, encode, gaussian_top
from toposcope.core.stack import Plane, to_grey
from toposcope.core.sweep import TEXTURE_OVER_FLOOR, grid_of
from toposcope.errors import SettingsError, StackError

WINDOW: Final = 9
"""Odd side in pixels of the square that the squared gradient is averaged over, by all that looks while slices come."""

REGIONS: Final = 5
"""Rows and columns of the regions that the sharpness is told for."""

COMPLETE_SHARE: Final = 0.95
"""A sweep looks complete when so much of the texture came into focus and went out of it again."""

FEWEST_SLICES: Final = 5
"""No sweep of fewer slices looks complete."""

_LEAST_TEXTURE: Final = 0.005  # of the picture: less tells nothing of a sweep
_LOST: Final = 0.25  # of its sharpness: a pixel that lost so much on both sides was in focus in between
_RISE: Final = 1.25  # times the valley before it: what the end of a region's curve may reach by noise and flicker
_RISE_SHARE: Final = 0.02  # of its peak: or so much above the valley, where both are next to nothing
_IN_MEMORY: Final = 64 << 20  # bytes of measures, more go to a scratch file
_POINTS: Final = 96  # rows and columns of the pixels whose whole curves are kept


@dataclass(frozen=True, slots=True, eq=False)
class SharpnessCurve:
    """Sharpness against focus: mean squared gradient, in (grey value 0..1 / pixel)².

    ``z`` (n,) ascending; ``whole`` (n,) of the whole frame; ``regions`` (rows, columns, n) of its parts,
    row 0 at the top.
    """

    z: NDArray[np.float64]
    whole: NDArray[np.float64]
    regions: NDArray[np.float64]

    @property
    def still_rises(self) -> bool:
        """Whether the whole frame is sharpest at an end of what was seen."""
        return len(self.z) < 3 or int(self.whole.argmax()) in (0, len(self.z) - 1)


def sharpness_of(measure: NDArray[np.float32]) -> tuple[float, NDArray[np.float64]]:
    """Return the means of a measure (H, W): of the whole, and of its regions (rows, columns)."""
    height, width = measure.shape
    regions = cv2.resize(measure, (min(REGIONS, width), min(REGIONS, height)), interpolation=cv2.INTER_AREA)
    return float(measure.mean(dtype=np.float64)), np.asarray(regions, dtype=np.float64)


class GrowingDepth:
    """Depth preview that gets better with each slice; memory of a few pictures, not of the stack.

    >>> growing = GrowingDepth()
    >>> for frame, z in slices:                      # doctest: +SKIP
    ...     growing.add(frame, z)
    ...     show(growing.depth(), growing.looks_complete)

    Slices come in any order, which changes nothing in the result: of every slice its measure is kept,
    beyond 64 MB in a scratch file that vanishes with this object or with the program. Where the scratch file
    cannot be written the preview goes on; slices out of order then leave voids. A second slice at the same
    z is refused: begin anew to replace one.

    Frames are compared as they lie, without alignment. For use from one thread at a time.

    Parameters
    ----------
    window : odd side in pixels of the square that the squared gradient is averaged over

    Raises
    ------
    SettingsError
        If ``window`` is no odd number from 1.
    """

    def __init__(self, window: int = WINDOW) -> None:
        if window < 1 or window % 2 == 0:
            raise SettingsError(f"the window is {window} pixels wide; give an odd number from 1.")
        self._window = window
        self._z: list[float] = []  # in order of arrival: the slot of a slice is its place here
        self._order: list[int] = []  # slots by ascending z
        self._codes: Codes | None = None
        self._store = _Store()
        self._points: list[Values] = []
        self._complete: tuple[int, str | None] | None = None  # by how many slices, and the answer
        self._whole: list[float] = []
        self._regions: list[NDArray[np.float64]] = []

    @property
    def n(self) -> int:
        """Number of slices so far."""
        return len(self._z)

    @property
    def z(self) -> NDArray[np.float64]:
        """Positions so far, (n,) ascending."""
        return np.array(sorted(self._z))

    def add(self, frame: NDArray[Any], z: float) -> NDArray[np.float32]:
        """Take in a slice, and return its measure (H, W), for others who look at the same slice.

        Parameters
        ----------
        frame : (H, W) grey or (H, W, 3) RGB; uint8, uint16 or float32 in 0..1; copied where needed
        z : its focus position, in any unit

        Raises
        ------
        StackError
            If the frame is of another shape or type than the first, no picture at all, or if there is a slice
            at ``z`` already. The preview stays as it was.
        """
        self._check(frame, z)
        measure = tenengrad(to_grey(frame), self._window)
        codes = encode(measure)
        place = bisect([self._z[slot] for slot in self._order], z)
        below = self._order[place - 1] if place else None
        above = self._order[place] if place < self.n else None
        if self._codes is None:
            self._begin(frame, codes)
        else:
            self._update(frame, codes, z, below, above)
        self._store.append(codes)
        self._order.insert(place, self.n)
        self._z.append(float(z))
        whole, regions = sharpness_of(measure)
        self._whole.append(whole)
        self._regions.append(regions)
        self._points.append(measure[self._grid])
        return measure

    def move(self, z: Sequence[float]) -> bool:
        """Give all slices new positions, in the order in which they were added, and return whether that went.

        It does not where the new positions are not distinct or order the slices otherwise: then begin anew.
        """
        moved = [float(value) for value in z]
        ordered = [moved[slot] for slot in self._order] if len(moved) == self.n else []
        if len(ordered) < self.n or not all(a < b for a, b in pairwise(ordered)):
            return False
        self._z = moved
        return True

    def _check(self, frame: Plane, z: float) -> None:
        if frame.ndim not in (2, 3) or frame.size == 0 or (frame.ndim == 3 and frame.shape[2] != 3):
            raise StackError(f"a slice is an array of shape {frame.shape}; give (rows, columns) or (rows, columns, 3).")
        if frame.dtype not in (np.uint8, np.uint16, np.float32):
            raise StackError(f"a slice is of type {frame.dtype}; give uint8, uint16, or float32 from 0 to 1.")
        if frame.dtype == np.float32 and not np.isfinite(frame).all():
            raise StackError("a slice holds values that are no numbers; give float32 from 0 to 1.")
        if not math.isfinite(z):
            raise StackError(f"the focus position of a slice is {z}; give a finite number.")
        if not self._z:
            return
        if frame.shape != self._picture.shape or frame.dtype != self._picture.dtype:
            raise StackError(
                f"a slice is {_described(frame)} but the first was {_described(self._picture)}. "
                "All slices of a sweep must be alike; begin a new sweep after changing the camera."
            )
        if z in self._z:
            raise StackError(
                f"there is a slice at z = {z:g} already. Leave one of the two out, or begin anew to replace it."
            )

    def _begin(self, frame: Plane, codes: Codes) -> None:
        self._codes, self._least = codes.copy(), codes.copy()
        self._index = np.zeros(codes.shape, dtype=np.uint16)
        self._below, self._above = np.zeros_like(codes), np.zeros_like(codes)
        self._lost = np.zeros(codes.shape, dtype=np.bool_)
        self._picture = frame.copy()
        self._grid = grid_of(frame.shape[:2], _POINTS)

    def _update(self, frame: Plane, codes: Codes, z: float, below: int | None, above: int | None) -> None:
        """Take in a slice between the slots ``below`` and ``above``, its neighbours in z so far."""
        best = self._seen()
        newer = codes > best
        same = codes == best
        if same.any():  # of equals the lowest counts, whichever came first
            newer[same] = np.array(self._z)[self._index[same]] > z
        if below is not None:
            cv2.copyTo(codes, ((self._index == below) & ~newer).view(np.uint8), self._above)
        if above is not None:
            cv2.copyTo(codes, ((self._index == above) & ~newer).view(np.uint8), self._below)
        chosen = newer.view(np.uint8)
        lost = False
        for slot, side in ((below, self._below), (above, self._above)):
            if slot is not None:
                found = self._store.read(slot)
                lost |= found is None
                if found is not None:
                    cv2.copyTo(found, chosen, side)
        self._lost[newer] = lost
        cv2.copyTo(codes, chosen, best)
        cv2.copyTo(np.full_like(self._index, self.n), chosen, self._index)
        cv2.copyTo(frame, chosen, self._picture)
        cv2.min(codes, self._least, dst=self._least)

    def depth(self) -> NDArray[np.float32]:
        """Return the position of best focus so far, (H, W) in units of z.

        The peak of a Gaussian through the sharpest slice and its two neighbours in z. NaN where that is unsure
        yet: the sharpest slice is the first or last in z, or the pixel shows no texture that stands out from the noise.

        Raises
        ------
        StackError
            If there is no slice yet.
        """
        best = self._seen()
        if self.n < 3:
            return np.full(best.shape, np.nan, dtype=np.float32)
        z, order = np.array(self._z), np.array(self._order)
        origin = z[order[0]]
        of_slot, low, high = (np.full(self.n, np.nan, dtype=np.float32) for _ in range(3))
        of_slot[:] = z - origin  # large positions of small steps lose no digits
        low[order[1:]], high[order[:-1]] = of_slot[order[:-1]], of_slot[order[1:]]
        z0, z1, z2 = low[self._index], of_slot[self._index], high[self._index]  # NaN at the ends
        level0, level1, level2 = (c * np.float32(1 / STEPS) for c in (self._below, best, self._above))
        top, bend = gaussian_top((z0, z1, z2), (level0, level1, level2))
        place = np.clip(np.where(bend < 0, top, z1), z0, z2)
        place[~self._textured() | self._lost | np.isnan(z0) | np.isnan(z2)] = np.nan
        depth: NDArray[np.float32] = (place.astype(np.float64) + origin).astype(np.float32)
        return depth

    def all_in_focus(self) -> NDArray[Any]:
        """Return of every pixel the sharpest value so far, in the frames' own bit depth.

        Raises
        ------
        StackError
            If there is no slice yet.
        """
        self._seen()
        return self._picture.copy()

    def sharpness(self) -> SharpnessCurve:
        """Return how sharp the frame and its regions are, against z; empty without slices."""
        if not self._z:
            return SharpnessCurve(np.empty(0), np.empty(0), np.empty((REGIONS, REGIONS, 0)))
        regions = np.stack([self._regions[slot] for slot in self._order], axis=2)
        return SharpnessCurve(self.z, np.array(self._whole)[self._order], regions)

    @property
    def looks_complete(self) -> str | None:
        """Why the sweep looks complete, as a sentence; None while it does not.

        It does when nearly all texture came into focus and lost a quarter of its sharpness again on both sides, and
        when no region gets sharper towards an end of what was seen. Surfaces still so far out of focus that nothing
        shows of them are not foreseen.
        """
        if self._complete is None or self._complete[0] != self.n:  # it is asked for again and again
            self._complete = self.n, self._why_complete()
        return self._complete[1]

    def _why_complete(self) -> str | None:
        if self.n < FEWEST_SLICES:
            return None
        curves = np.stack([self._points[slot] for slot in self._order])
        top = curves.max(axis=0)
        textured = (top > TEXTURE_OVER_FLOOR * self._floor()) & ~flat_curves(curves)
        if textured.mean() < _LEAST_TEXTURE or self.region_rises:
            return None
        fell = textured & _fell_on_both_sides(curves)
        contrast = np.sqrt(top)  # as `toposcope.core.sweep` weighs
        share = float(contrast[fell].sum() / contrast[textured].sum())
        if share < COMPLETE_SHARE:
            return None
        return f"{100 * share:.0f} % of the texture came into focus and went out of it again on both sides."

    @property
    def region_rises(self) -> bool:
        """Whether a region gets sharper again, or still, towards an end of the sweep."""
        for curve in self.sharpness().regions.reshape(-1, self.n):
            peak, last = int(curve.argmax()), self.n - 1
            before = curve if peak == 0 else curve[: peak + 1]
            beyond = curve if peak == last else curve[peak:]
            for end, valley in ((curve[0], before.min()), (curve[-1], beyond.min())):
                if end > _RISE * valley and end - valley > _RISE_SHARE * curve[peak]:
                    return True
        return False

    def _textured(self) -> NDArray[np.bool_]:
        """Return (H, W) whether the peak stands out from the pixel's own curve and from the picture's noise."""
        best = self._seen()
        least_texture = encode(np.full((1, 1), TEXTURE_OVER_FLOOR * self._floor(), dtype=np.float32))[0, 0]
        known: NDArray[np.bool_] = best > least_texture
        return known & (best - self._least > STEPS * math.log(1 / (1 - CONTRAST)))

    def _floor(self) -> float:
        """Return the measure of mere noise, as `toposcope.core.sweep` takes it."""
        return float(np.quantile(np.stack(self._points), 0.05))

    def _seen(self) -> Codes:
        if self._codes is None:
            raise StackError("there is no slice yet; add one first.")
        return self._codes


def _fell_on_both_sides(curves: Values) -> NDArray[np.bool_]:
    """Return whether (n, ...) curves lose `_LOST` of their height on either side of their peaks."""
    slices = np.arange(len(curves)).reshape(-1, *(1,) * (curves.ndim - 1))
    peak, top = curves.argmax(axis=0), curves.max(axis=0)
    level = top - _LOST * (top - curves.min(axis=0))
    below, above = (np.where(side, curves, np.inf).min(axis=0) for side in (slices <= peak, slices >= peak))
    fell: NDArray[np.bool_] = (below <= level) & (above <= level)
    return fell


class _Store:
    """The measures of all slices as codes, (H, W) each: in memory while small, then in a scratch file."""

    def __init__(self) -> None:
        self._file: tempfile.SpooledTemporaryFile[bytes] | None
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="toposcope-growing-")
        weakref.finalize(self, _close, self._file)
        self._n = 0
        self._last: Codes | None = None

    def append(self, codes: Codes) -> None:
        self._last = codes
        self._n += 1
        if self._file is None:
            return
        try:
            self._file.seek((self._n - 1) * codes.nbytes)
            self._file.write(codes.tobytes())
        except OSError:  # no room: what follows in order needs the last slice alone
            _close(self._file)
            self._file = None

    def read(self, slot: int) -> Codes | None:
        """Return the measures of a slice, None where they are lost."""
        if self._last is None or self._file is None or slot == self._n - 1:
            return self._last if slot == self._n - 1 else None
        try:
            self._file.seek(slot * self._last.nbytes)
            return np.frombuffer(self._file.read(self._last.nbytes), dtype=np.uint16).reshape(self._last.shape)
        except (OSError, ValueError):
            return None


def _close(file: tempfile.SpooledTemporaryFile[bytes]) -> None:
    with suppress(OSError):  # what could not be written is not wanted any more
        file.close()


def _described(frame: Plane) -> str:
    colour = "colour" if frame.ndim == 3 else "grey"
    return f"{frame.shape[1]} x {frame.shape[0]} pixels, {colour}, {frame.dtype}"
