"""How far a depth map lies from the truth, and how many pixels have one peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from dffnets import metrics
from toposcope.core.calibration import Floats, Kind, Unit, to_coordinate, to_positions
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.volume import FocusVolume

Map = NDArray[np.floating]
Voids = Literal["filled", "known"]
ErrorUnit = Literal["share", "stack"]

MEASURES: Final = metrics.NAMES
"""The errors of a row, in the order of the tables; each with its formula in `dffnets.metrics`."""

TOLERANCE: Final = 1e-3
"""Ups and downs of the probability below this are no peaks, as in the log of a training."""

BEYOND: Final = 1e-6
"""Share of the range by which a truth may lie beyond the sweep: what rounding to float32 does."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a method said of a stack, with nothing of the truth in it.

    ``depth`` (H, W) in the unit of the stack, NaN in voids; ``known`` (H, W) bool, False in voids and
    where they were filled; ``peaks`` (H, W) uint8 how often the probability turns from rising to falling,
    ``standing`` (H, W) uint8 how many peaks stand out by the program's own rule
    (`toposcope.core.curve.peak_counts`), both None where no curves were kept. ``positions``, ``unit``
    and ``kind`` of the slices that were used. Seconds of the estimation alone.
    """

    depth: Map
    known: NDArray[np.bool_]
    peaks: NDArray[np.uint8] | None
    standing: NDArray[np.uint8] | None
    positions: Floats
    unit: Unit
    kind: Kind
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """What an answer is worth.

    ``errors`` by the names of `MEASURES`; ``known`` share of the scored pixels that the method knows
    by itself; ``unimodal`` share whose probability rises to one peak and falls, ``one_peak`` share with
    one peak that stands out, NaN where no curves were kept; ``scored`` share of the picture whose truth
    is known and lies within the sweep; ``error`` (H, W) signed, NaN where not scored.
    """

    errors: dict[str, float]
    known: float
    unimodal: float
    one_peak: float
    scored: float
    error: Map


def score(answer: Answer, truth: Map, voids: Voids = "filled", unit: ErrorUnit = "share") -> Score:
    """Hold an answer against the truth.

    Pixels count whose truth is known and lies within the sweep: beyond it nothing can be found.

    Parameters
    ----------
    truth : (H, W) positions in the unit of the stack, NaN where unknown
    voids : ``known`` scores only pixels that the method knows; ``filled`` scores all, and takes the
        middle of the sweep where there is no depth
    unit : errors in the ``stack``'s unit, or as ``share`` of the swept range (for a camera with known
        distances the range of 1/distance, in which blur grows evenly)
    """
    calibration = (answer.positions, answer.unit, answer.kind)
    depth: Map = answer.depth.astype(np.float64)
    truth = truth.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = to_coordinate(truth, *calibration)
    scored = np.isfinite(place) & (place >= -BEYOND) & (place <= 1 + BEYOND)
    middle = to_positions(np.array(0.5), *calibration)
    depth = np.where(np.isfinite(depth), depth, middle)
    if unit == "share":
        depth, truth = to_coordinate(depth, *calibration), place
    pixels = scored if voids == "filled" else scored & answer.known
    return Score(
        errors=metrics.depth_errors(depth, np.where(scored, truth, 0), pixels),
        known=_share(answer.known, scored),
        unimodal=_share(answer.peaks == 1, scored) if answer.peaks is not None else np.nan,
        one_peak=_share(answer.standing == 1, scored) if answer.standing is not None else np.nan,
        scored=float(scored.mean()),
        error=np.where(pixels, depth - truth, np.nan),
    )


def _share(chosen: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(chosen[among].mean()) if among.any() else float("nan")


def turning_points(volume: FocusVolume, tolerance: float = TOLERANCE, report: Report = silent) -> NDArray[np.uint8]:
    """Return (H, W) how often the probability of each pixel turns from rising to falling.

    The count that trainings log (`dffnets.training.count_peaks`): from 0 before the first slice to 0
    behind the last, steps up to ``tolerance`` taken as level. Holds two planes and a few bytes a pixel.
    """
    n, *shape = volume.shape
    turns = np.zeros(shape, np.uint8)
    is_rising = np.zeros(shape, np.bool_)
    past: NDArray[np.float32] = np.zeros(shape, np.float32)
    for i in range(n + 1):
        plane = volume.plane(i) if i < n else np.zeros(shape, np.float32)
        step = plane - past
        falls = step < -tolerance
        turns += falls & is_rising
        is_rising &= ~falls
        is_rising |= step > tolerance
        past = plane
        report(Progress((i + 1) / (n + 1), "counting peaks"))
    return turns
