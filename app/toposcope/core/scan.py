"""The one pass over the frames: each is read once, measured once and forgotten.

Frames are worked on in bands of rows by several threads while the next frame is being read. What is
kept, whatever the number of slices, are the peaks so far: at every pixel for the fine window, at every
fourth for the coarse ones.

::

    read ── grey ── measure ──┬── peaks, fine window            (full size)
                              ├── mean of 4 x 4 ── blur ── peaks, coarse window
                              │                     └── blur ── peaks, coarser window ── ...
                              ├── noise of the measure, brightness
                              └── fusion, sweep advice, focus volume
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.focus import gradient_energy
from toposcope.core.jobs import Progress, Report
from toposcope.core.noise import NoiseLevel, NoiseMeter
from toposcope.core.peak import Codes, PeakTracker
from toposcope.core.stack import FocalStack, Plane, to_grey
from toposcope.core.volume import MeasureVolume

Grey = NDArray[np.float32]
Consumer = Callable[[int, Plane, Grey], object]
"""Takes the number of a frame, its pixels and its measure; both are valid only during the call."""

CELL: Final = 4
"""Side in pixels of the cells that coarse windows are made of."""

BAND_ROWS: Final = 128
"""Rows worked on at a time, a multiple of `CELL`: few enough to stay in the cache between steps."""

_COARSE_BLUR: Final = (1.0, 2.5, 5.0)  # in cells, each on top of the one before

COARSE_SIGMA: Final = (4.6, 11.0, 23.0)
"""Standard deviation in pixels of the coarse windows, the fine window and the cells included."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a classical method measures a frame.

    ``halo`` rows above and below have a say in the measure of a row. ``power`` is 2 where the measure
    grows with the square of contrast, 1 where it grows with contrast. ``coarse`` asks for wider windows
    where texture is faint.
    """

    measure: Callable[[Grey], Grey]
    halo: int
    power: int
    coarse: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What one pass leaves behind.

    ``fine`` the peaks at full size; ``coarse`` those of wider windows, one value for each cell of `CELL`
    x `CELL` pixels; ``brightness`` mean grey value of each cell over the sweep; ``smoothness`` what share of
    the peak in the first coarse window is gradient that the means of cells show too, None without
    coarse windows: much where the peak is a blurred edge, little where it is texture.
    """

    fine: PeakTracker
    coarse: tuple[PeakTracker, ...]
    brightness: Grey
    smoothness: Grey | None
    noise: NoiseLevel


def scan(
    stack: FocalStack,
    recipe: Recipe,
    consumers: Sequence[Consumer],
    volume: MeasureVolume | None,
    pool: ThreadPoolExecutor,
    report: Report,
    gains: Sequence[float] = (),
) -> Scan:
    """Go through the frames once and return their peaks.

    ``gains`` are the factors by which the frames were brightened to match each other; none means 1.

    Raises
    ------
    FrameError
        If a frame cannot be read.
    """
    height, width = stack.shape
    coarse_too = recipe.coarse and min(height, width) >= 2 * CELL
    cells = (-(-height // CELL), -(-width // CELL))
    measure = np.empty((height, width), dtype=np.float32)
    coarse = np.empty(cells, dtype=np.float32)
    cell_grey, brightness, smoothness = (np.zeros(cells, dtype=np.float32) for _ in range(3))
    fine = PeakTracker(stack.shape, stack.coordinate)
    wider = tuple(PeakTracker(cells, stack.coordinate) for _ in _COARSE_BLUR) if coarse_too else ()
    widen: list[Callable[[Grey], Grey]] = [partial(_blurred, sigma=s) for s in _COARSE_BLUR] if coarse_too else []
    from_fine: list[Callable[[Grey], Grey]] = [lambda plane: widen[0](cell_means(plane)), *widen[1:]]
    meter = NoiseMeter(
        recipe.measure, recipe.power, stack.shape, stack.source.dtype, from_fine if coarse_too else (), gains
    )

    def take(i: int, plane: Plane, rows: slice) -> Codes:
        top, bottom = max(rows.start - recipe.halo, 0), min(rows.stop + recipe.halo, height)
        grey, inner = to_grey(plane[top:bottom]), slice(rows.start - top, rows.stop - top)
        measure[rows] = recipe.measure(grey)[inner]
        of_cells = slice(rows.start // CELL, -(-rows.stop // CELL))
        cell_grey[of_cells] = cell_means(grey[inner])
        if coarse_too:
            coarse[of_cells] = cell_means(measure[rows])
        return fine.add(i, measure[rows], rows)

    bands = [slice(top, min(top + BAND_ROWS, height)) for top in range(0, height, BAND_ROWS)]
    with ThreadPoolExecutor(1, "frame-reader") as reader:
        coming = reader.submit(stack.read, 0)
        for i in range(stack.n):
            report(Progress(i / stack.n, f"measuring slice {i + 1} of {stack.n}"))
            plane = coming.result()
            if i + 1 < stack.n:
                coming = reader.submit(stack.read, i + 1)
            codes = list(pool.map(partial(take, i, plane), bands))
            meter.add(plane)
            brightness += cell_grey * np.float32(1 / stack.n)
            level = coarse
            for k, (tracker, wide) in enumerate(zip(wider, widen, strict=True)):
                level = wide(level)
                tracker.add(i, level)
                if k == 0:
                    smooth = wide(gradient_energy(cell_grey)) / np.maximum(level, np.float32(1e-12)) / CELL**2
                    cv2.copyTo(smooth, (tracker.index == i).view(np.uint8), smoothness)
            if volume is not None:
                volume.add(i, codes, measure)
            for consumer in consumers:
                consumer(i, plane, measure)
    return Scan(fine, wider, brightness, smoothness if coarse_too else None, meter.level())


def cell_means(plane: Grey) -> Grey:
    """Return the means of the cells of ``plane``; cells that stick out are filled by mirroring."""
    height, width = plane.shape
    below, right = -height % CELL, -width % CELL
    if below or right:
        plane = cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    size = (plane.shape[1] // CELL, plane.shape[0] // CELL)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _blurred(plane: Grey, sigma: float) -> Grey:
    return cv2.GaussianBlur(plane, (0, 0), sigma)  # type: ignore[return-value]
