"""Two depth maps of the same pixels, or heights that were measured apart: their difference, and what it comes to.

>>> found = compare(read_result("by_default"), read_result("by_network"))           # doctest: +SKIP
>>> found.mean, found.beyond, found.unit                                            # doctest: +SKIP
>>> found = compare_heights(read_result("out"), read_height_map("measured.x3p"))    # doctest: +SKIP
>>> write_difference(found, "out", ("default", "light"))                            # doctest: +SKIP
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.align import STILL
from toposcope.core.calibration import MICROMETRES, UNIT_SYMBOLS, Floats, Unit, typical_step
from toposcope.core.curve import format_length
from toposcope.core.export import made_folder, together, write_bytes, write_float_tiff, write_image
from toposcope.core.height_map import (
    MIRROR_WORDS,
    HeightMap,
    Level,
    Mirror,
    Place,
    from_result,
    lay_over,
    level_to,
    mirrored,
    squared,
)
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.pictures import Picture, map_picture
from toposcope.core.result import DepthResult
from toposcope.errors import CalibrationError, StackError, ToposcopeError

COLOURS: Final = "matplotlib:coolwarm"
"""Diverging: blue below 0, red above, pale grey at 0; none of its colours is that of a void."""

CENTRAL: Final = 0.99
"""Share of the differences that the colours span, so that a few wild pixels do not eat them."""

SAMPLE: Final = 1_000_000
"""Pixels that are enough to find where the colours end."""

TOLERANCE: Final = 1e-4
"""Slices by which two depths may differ from a whole step through rounding to single precision."""

SHIFTED_PX: Final = 0.5
"""Pixels that two pictures may lie apart before their depths are not compared pixel by pixel any more."""

_BAND: Final = 1 << 20  # pixels in double precision at a time


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """The depth of A less that of B, and statistics over the pixels where both are known.

    ``values`` (H, W) float32 in ``unit``, NaN where either map is void; ``step`` the usual distance of
    two slices of A in ``unit``, NaN where there are no slices; ``mean``, ``median`` and ``deviation``
    (standard, of the population) in ``unit``; ``beyond`` the share (0..1) of pixels whose two depths lie more than
    one slice apart: all four NaN where no pixel is known in both. ``known``, ``known_a`` and ``known_b`` are the shares
    of all pixels that are known in both, in A, in B; ``limit`` is where colours that are centred at 0 end,
    above 0; ``pixel_um`` the side of a pixel in micrometres, None where unknown; ``apart_px`` how far the
    corners of A's pictures lie from those of B's (root mean square over all slices), None where that is not
    known: each result lies on the slice that its frames were aligned to. ``calibration`` says where a frame of
    both lies at different positions, empty where none does. ``note`` says how heights were laid over each other,
    empty where pixels are compared as they lie; ``better`` how the one that was laid over must be mirrored to agree
    better, "none" if it need not.
    """

    values: NDArray[np.float32]
    unit: Unit
    step: float
    pixel_um: float | None
    known: float
    known_a: float
    known_b: float
    mean: float
    median: float
    deviation: float
    beyond: float
    limit: float
    apart_px: float | None
    calibration: str = ""
    note: str = ""
    better: Mirror = "none"

    @property
    def unit_symbol(self) -> str:
        """The unit as it is written for users."""
        return UNIT_SYMBOLS[self.unit]

    @property
    def text(self) -> str:
        """The statistics in one line, for users."""
        if math.isnan(self.mean):
            return "no pixel is known in both"
        parts = [f"{name} {self._length(value)}" for name, value in (("mean", self.mean), ("median", self.median))]
        parts.append(f"standard deviation {self._length(self.deviation)}")
        if not math.isnan(self.step):
            step = "" if self.unit == "index" else f" ({self.step:.4g} {self.unit_symbol})"
            parts.append(f"{100 * self.beyond:.1f} % beyond one slice step{step}")
        parts.append(f"{100 * self.known:.1f} % known in both")
        if self.apart_px is not None and self.apart_px > SHIFTED_PX:
            parts.append(f"beware: aligned differently, the pictures lie {self.apart_px:.1f} px apart")
        if self.calibration:
            parts.append(f"beware: calibrated differently, {self.calibration}")
        return " · ".join(parts)

    def facts(self) -> dict[str, Any]:
        """Return the statistics for machines: plain numbers, None where there is none."""
        numbers = {
            "mean": self.mean,
            "median": self.median,
            "standard_deviation": self.deviation,
            "root_mean_square": math.hypot(self.mean, self.deviation),
            "beyond_one_step_share": self.beyond,
        }
        numbers = {"step": self.step, **numbers}
        return {
            "unit": self.unit,
            **{name: None if math.isnan(value) else value for name, value in numbers.items()},
            "known_in_both_share": self.known,
            "known_in_a_share": self.known_a,
            "known_in_b_share": self.known_b,
            "colour_limit": self.limit,
            "pictures_apart_px": self.apart_px,
            **({"calibrated_differently": self.calibration} if self.calibration else {}),
            **({"note": self.note} if self.note else {}),
            **({"agrees_better_mirrored": self.better} if self.better != "none" else {}),
        }

    def _length(self, value: float) -> str:
        resolution = self.limit / 100 if math.isnan(self.step) else self.step / 10
        return format_length(value, self.unit_symbol, resolution)


def objection(a: DepthResult, b: DepthResult) -> ToposcopeError | None:
    """Return why two results cannot be subtracted, None if they can."""
    if a.shape != b.shape:
        sizes = " and ".join(f"{width} × {height}" for height, width in (a.shape, b.shape))
        return StackError(f"the results have different sizes, {sizes} pixels: compare two of the same frames.")
    if a.unit != b.unit:
        units = " and ".join(f"'{UNIT_SYMBOLS[result.unit]}'" for result in (a, b))
        return CalibrationError(f"the depths have different units, {units}: compute both with the same calibration.")
    return None


def compare(a: DepthResult, b: DepthResult, report: Report = silent) -> Difference:
    """Return the depth of ``a`` less that of ``b``, pixel by pixel, with statistics.

    Pixels are compared as they lie: both results must belong to the same picture. How many slices two
    depths lie apart is counted in the slices of ``a``, wherever these are.

    Raises
    ------
    StackError
        If the sizes differ.
    CalibrationError
        If the units differ.
    """
    if (error := objection(a, b)) is not None:
        raise error
    values: NDArray[np.float32] = a.depth - b.depth
    report(Progress(0.2, "difference"))
    known = values[np.isfinite(values)]
    step = typical_step(a.positions.value)
    steps = np.diff(a.positions.value)
    usual = step
    if not a.provenance.frames:  # a height map, whose positions are no slices
        # but its lowest height, the middle and the highest: 1/50 of a step is 1/100 of all, as for `compare_heights`
        step, usual, beyond = math.nan, step / 50, 0
    elif np.allclose(steps, step, rtol=1e-6):  # the same by a tenth of the work
        beyond = int(np.count_nonzero(np.abs(known) > step * (1 + TOLERANCE)))
    else:
        beyond = _beyond(a, b, part(report, 0.2, 0.7))
    report(Progress(0.8, "difference"))
    found = _difference(
        values,
        a.unit,
        step,
        a.pixel_um.value if a.pixel_um else None,
        (float(a.valid.mean()), float(b.valid.mean())),
        beyond / known.size if known.size and not math.isnan(step) else math.nan,
        _apart(a, b),
        usual,
    )
    report(Progress(1.0, "difference"))
    return replace(found, calibration=_moved_frame(a, b))


def compare_heights(
    a: DepthResult | HeightMap,
    b: DepthResult | HeightMap,
    level: Level = "plane",
    place: Place = "auto",
    report: Report = silent,
    mirror: Mirror = "none",
) -> Difference:
    """Return the heights of ``a`` less those of ``b`` in micrometres, one of which was measured by an instrument.

    They are compared on the grid of the result, or on that of A where both are height maps; the other one is laid
    over it and brought to its level.

    Parameters
    ----------
    level : what is removed by least squares before: nothing, an offset, or an offset and a tilt. Instruments count
        heights from anywhere.
    place : where the height map (B, where both are) lies on the other; see `toposcope.core.height_map.lay_over`
    mirror : what is done to it before; see `toposcope.core.height_map.mirrored`

    Raises
    ------
    CalibrationError
        If a length is not known that is needed.
    StackError
        If the two cannot be laid over each other.
    """
    step = math.nan
    for one in (a, b):
        if isinstance(one, DepthResult) and one.unit != "index":
            step = typical_step(one.positions.value) * MICROMETRES[one.unit]
    first, second = (from_result(one) if isinstance(one, DepthResult) else one for one in (a, b))
    b_stays = isinstance(b, DepthResult) and not isinstance(a, DepthResult)
    staying, moving = (second, first) if b_stays else (first, second)
    moving = mirrored(moving, mirror)
    staying = squared(staying, part(report, 0.0, 0.1))
    pixel = staying.pixel_x_um
    placed = lay_over(moving, staying.z_um, pixel.value if pixel else None, place, part(report, 0.1, 0.8))
    levelled, how = level_to(staying.z_um, placed.z_um, level)
    report(Progress(0.9, "difference"))
    values = (levelled - staying.z_um if b_stays else staying.z_um - levelled).astype(np.float32)
    known = values[np.isfinite(values)]
    shares = tuple(float(np.isfinite(z).mean()) for z in (staying.z_um, placed.z_um))
    beyond = math.nan
    if known.size and not math.isnan(step):
        beyond = float(np.count_nonzero(np.abs(known) > step * (1 + TOLERANCE))) / known.size
    words = [
        f"{moving.name} {placed.text}",
        *([MIRROR_WORDS[mirror]] if mirror != "none" else []),
        *([how] if how else []),
    ]
    return _difference(
        values,
        "um",
        step,
        pixel.value if pixel else None,
        (shares[1], shares[0]) if b_stays else (shares[0], shares[1]),
        beyond,
        None,
        _span(staying) / 100 if math.isnan(step) else step,
        "; ".join(words),
        placed.better,
    )


def _span(height_map: HeightMap) -> float:
    """Return how far heights reach, in micrometres and above 0."""
    low, high = height_map.range_um or (0.0, 0.0)
    return high - low if high > low else 1.0


def _difference(
    values: NDArray[np.float32],
    unit: Unit,
    step: float,
    pixel_um: float | None,
    shares: tuple[float, float],
    beyond: float,
    apart_px: float | None,
    usual: float,
    note: str = "",
    better: Mirror = "none",
) -> Difference:
    """Return the difference with what its values come to.

    ``shares`` are those of the pixels known in A and in B, ``usual`` is what colours span where the two are the same.
    """
    known = values[np.isfinite(values)]
    return Difference(
        values=values,
        unit=unit,
        step=step,
        pixel_um=pixel_um,
        known=known.size / values.size,
        known_a=shares[0],
        known_b=shares[1],
        mean=float(known.mean(dtype=np.float64)) if known.size else math.nan,
        median=float(np.median(known)) if known.size else math.nan,
        deviation=float(known.std(dtype=np.float64)) if known.size else math.nan,
        beyond=beyond,
        limit=_limit(known, usual),
        apart_px=apart_px,
        note=note,
        better=better,
    )


def _apart(a: DepthResult, b: DepthResult) -> float | None:
    """Return how far corners of A's picture lie from those of B's, by what both know of the same frames."""
    one, other = a.alignment, b.alignment
    if one is None or other is None or a.provenance.frames != b.provenance.frames:
        return None
    height, width = a.shape
    corners = np.array([(x, y, 1) for x in (0, width - 1) for y in (0, height - 1)], np.float64).T
    squares = []
    for pair in zip(one.motions, other.motions, strict=True):
        # pixel of A -> pixel of the frame, and of B -> pixel of the frame
        from_a, from_b = (
            np.vstack([motion.matrix if found.needed else STILL, (0, 0, 1)])
            for motion, found in zip(pair, (one, other), strict=True)
        )
        squares.append(((np.linalg.inv(from_b) @ from_a @ corners - corners)[:2] ** 2).sum(axis=0))
    return float(np.sqrt(np.mean(squares)))


def _moved_frame(a: DepthResult, b: DepthResult) -> str:
    """Say which frame of both lies elsewhere in A than in B, empty if none does: typed in, or read otherwise."""
    places = []
    for one in (a, b):
        frames, positions = one.provenance.frames, one.positions.value
        places.append(dict(zip(frames, positions, strict=True)) if len(frames) == len(positions) else {})
    for name, at in places[0].items():
        if name in places[1] and abs(at - places[1][name]) > TOLERANCE * typical_step(a.positions.value):
            return f"{name} lies at {at:.6g} in A and at {places[1][name]:.6g} {a.unit_symbol} in B"
    return ""


def _beyond(a: DepthResult, b: DepthResult, report: Report) -> int:
    """Return the number of pixels, known in both, whose depths lie more than one slice of ``a`` apart."""
    positions, slices = _ruler(a.positions.value)
    height, width = a.shape
    rows = max(1, _BAND // width)
    count = 0
    for top in range(0, height, rows):
        report(Progress(top / height, "difference"))
        one, other = (result.depth[top : top + rows] for result in (a, b))
        known = np.isfinite(one) & np.isfinite(other)
        apart = np.interp(one[known], positions, slices) - np.interp(other[known], positions, slices)
        count += int(np.count_nonzero(np.abs(apart) > 1 + TOLERANCE))
    return count


def _ruler(positions: Floats) -> tuple[Floats, Floats]:
    """Return positions and their slice numbers, going on with the outer steps: B may know depths beyond those of A."""
    far = 1e6
    steps = np.diff(positions)
    low, high = positions[0] - far * steps[0], positions[-1] + far * steps[-1]
    return np.array([low, *positions, high]), np.array([-far, *range(len(positions)), len(positions) - 1 + far])


def _limit(known: NDArray[np.float32], step: float) -> float:
    """Return the end of a colour scale around 0 that holds `CENTRAL` of the differences; ``step`` for mere rounding."""
    sizes = np.abs(known[:: max(1, known.size // SAMPLE)])
    least = step * TOLERANCE
    ends = (float(np.quantile(sizes, CENTRAL)), float(sizes.max())) if sizes.size else ()
    return next((end for end in ends if end > least), step)


def difference_picture(
    difference: Difference, names: tuple[str, str] = ("A", "B"), longest: int = 1600, limit: float | None = None
) -> Picture:
    """Draw the difference with its colour bar, the names of A and B above and the statistics below.

    ``longest`` is the longest side of the map in pixels, ``limit`` where the colours end (in the unit of the
    difference; by default its own). Returns (h, w, 3) uint8.
    """
    end = limit or difference.limit
    return map_picture(
        difference.values,
        difference.unit_symbol,
        (f"A  {names[0]}", f"−  B  {names[1]}"),
        COLOURS,
        difference.pixel_um,
        longest,
        (-end, end),
        difference.text[:1].upper() + difference.text[1:],
    )


def write_numbers(difference: Difference, path: Path | str) -> None:
    """Write the difference as float32 TIFF with its unit and the pixel size, NaN where either map is void.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    write_float_tiff(difference.values, path, difference.unit, difference.pixel_um, "difference A - B")


def write_difference(difference: Difference, folder: Path | str, names: tuple[str, str]) -> dict[str, Path]:
    """Write difference.tif (numbers), difference.png (drawn) and difference.json (statistics): all or none.

    ``names`` tell A and B apart in the picture and in the statistics; ``folder`` is made where missing.
    Returns the files by what they hold.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    folder = made_folder(folder)
    files = {
        "difference": folder / "difference.tif",
        "picture": folder / "difference.png",
        "statistics": folder / "difference.json",
    }
    facts = {"a": names[0], "b": names[1], **difference.facts()}
    with together():
        write_numbers(difference, files["difference"])
        write_image(difference_picture(difference, names), files["picture"])
        write_bytes(files["statistics"], (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    return files
