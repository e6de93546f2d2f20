"""What this sweep lacks: plain words about the capture, for the next capture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import typical_step
from toposcope.core.curve import flat_curves, format_length, format_position
from toposcope.core.stack import FocalStack, Plane, full_scale
from toposcope.core.words import percent

if TYPE_CHECKING:
    from toposcope.core.align import Alignment

Lack = Literal["cut_low", "cut_high", "coarse_step", "idle_slices", "over_exposed", "motion", "textureless"]
"""What a sweep can lack. The order is also the code in `SweepReport.map`, from 1; 0 is "nothing"."""

GRAVITY: Final[tuple[Lack, ...]] = (
    "motion",
    "cut_low",
    "cut_high",
    "coarse_step",
    "over_exposed",
    "textureless",
    "idle_slices",
)
MAX_POINTS: Final = 1 << 18
MAX_VALUES: Final = 1 << 24  # of all curves together: 64 MB of float32
CUT_SHARE: Final = 0.03
COARSE_WIDTH: Final = 1.7
"""In slices. Narrower curves hold less than 0.4 of the peak at the next slice, exp(-4 ln 2 / 1.7²), and less than
0.01 at the one after it: too little to say where between the slices the peak is."""
GOOD_WIDTH: Final = 3.0
INNER_SHARE: Final = 0.3
"""Less texture than this with both flanks inside the sweep does not tell how wide curves are."""
IDLE_SHARE: Final = 0.1
"""A slice is idle when it holds less than this part of what it would hold if all held the same."""
OVER_EXPOSED_SHARE: Final = 0.005
TEXTURELESS_SHARE: Final = 0.1
SATURATED: Final = 0.992
"""Of white: where a camera's curve, or compression, still shows that it was reached."""
LOST_SHARE: Final = 0.1
JUMP_SHARE: Final = 0.005
"""A jump that matters, as a share of the picture's width."""
TEXTURE_OVER_FLOOR: Final = 3.0


@dataclass(frozen=True, slots=True)
class SweepNote:
    """One lack: its kind, a sentence for the user, the share of pixels (or slices) in 0..1."""

    lack: Lack
    text: str
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class SweepReport:
    """All lacks of a sweep, gravest first, and where they lie: (H, W) uint8 codes, None where that was not kept."""

    notes: tuple[SweepNote, ...]
    map: NDArray[np.uint8] | None


class SweepExaminer:
    """Collects what the frames of a sweep show, one at a time, and says what the sweep lacks.

    Looks at the curves of a grid of pixels, at most `MAX_VALUES` values in all, so that memory does not
    grow with the number of slices nor with the picture.
    """

    def __init__(self, stack: FocalStack, alignment: Alignment | None) -> None:
        self._stack, self._alignment = stack, alignment
        height, width = stack.shape
        points = min(MAX_POINTS, max(MAX_VALUES // stack.n, 1))
        self._step = step = max(1, math.ceil(math.sqrt(height * width / points)))
        rows = np.minimum(np.arange(0, height, step) + step // 2, height - 1)
        columns = np.minimum(np.arange(0, width, step) + step // 2, width - 1)
        self._grid = np.ix_(rows, columns)
        self._curves = np.empty((stack.n, len(rows), len(columns)), np.float32)
        self._saturated = np.zeros(self._curves.shape[1:], np.uint16)
        self._field = np.ones(self._saturated.shape, np.bool_) if stack.void is None else ~stack.void[self._grid]

    def add(self, i: int, plane: Plane, measure: NDArray[np.float32]) -> None:
        """Take frame ``i``: its pixels in native dtype, and its focus measure (H, W)."""
        self._curves[i] = measure[self._grid]
        # a frame that was darkened to the others' brightness is burnt out below white
        gain = 1.0 if self._alignment is None else min(1.0, self._alignment.motions[i].gain)
        self._saturated += saturated(plane[self._grid], gain * full_scale(plane.dtype))

    def report(self, index: NDArray[np.float32], confidence: NDArray[np.float32]) -> SweepReport:
        """Return what the sweep lacks.

        Parameters
        ----------
        index : (H, W) fractional index of the slice in focus, NaN where unknown
        confidence : (H, W) in 0..1
        """
        n, curves, field = self._stack.n, self._curves, self._field
        strongest, top = curves.argmax(axis=0), curves.max(axis=0)
        floor = float(np.quantile(curves[:, field], 0.05)) if field.any() else 0.0
        textured = field & np.isfinite(index[self._grid]) & (confidence[self._grid] > 0)
        textured &= (top > TEXTURE_OVER_FLOOR * floor) & ~flat_curves(curves)
        # an outlier that its neighbours overruled speaks for no slice
        agreed = textured & (np.abs(index[self._grid] - strongest) < 1.5)
        widths = half_maximum_widths(curves, strongest)
        contrast = np.sqrt(top)
        width = typical_width(widths, agreed, contrast)
        burnt = field & (self._saturated > n // 2)

        marks: dict[Lack, NDArray[np.bool_]] = {
            "cut_low": agreed & (strongest == 0),
            "cut_high": agreed & (strongest == n - 1),
            "coarse_step": agreed & (widths < COARSE_WIDTH),
            "over_exposed": burnt,
            "textureless": field & ~textured & ~burnt,
            "motion": ~field,
        }
        # weighted by contrast: blurred and noisy pixels are many, spread over all slices, and faint
        held = np.bincount(strongest[agreed], contrast[agreed], minlength=n).astype(np.float64)
        notes = [
            *self._motion_notes(),
            *self._cut_notes(held, width),
            *self._step_notes(width),
            *self._exposure_notes(burnt),
            *self._texture_notes(marks["textureless"]),
            *self._idle_notes(held),
        ]
        notes.sort(key=lambda note: (GRAVITY.index(note.lack), -note.share))
        found = {note.lack for note in notes}
        codes = np.zeros(field.shape, np.uint8)
        for lack in reversed(GRAVITY):  # the gravest is painted last
            if lack in found and lack in marks:
                codes[marks[lack]] = get_args(Lack).index(lack) + 1
        height, width_px = self._stack.shape
        full = codes.repeat(self._step, axis=0)[:height].repeat(self._step, axis=1)[:, :width_px]
        return SweepReport(tuple(notes), np.ascontiguousarray(full))

    def _cut_notes(self, held: NDArray[np.float64], width: float) -> list[SweepNote]:
        """Return notes on surfaces that are sharpest at an end of the sweep."""
        notes: list[SweepNote] = []
        if not held.any():
            return notes
        steps = 3 if math.isnan(width) else max(3, math.ceil(width))
        stack = self._stack
        ends: list[tuple[Lack, int, str]] = [("cut_low", 0, "first"), ("cut_high", stack.n - 1, "last")]
        for lack, i, end in ends:
            share = float(held[i] / held.sum())
            if share < CUT_SHARE:
                continue
            place = "" if stack.unit == "index" else f" ({self._at(i)})"
            text = (
                f"{percent(share)} of the texture is sharpest in the {end} slice{place}: "
                f"the surface may go on beyond it. {self._extend(i, steps)}"
            )
            notes.append(SweepNote(lack, text, share))
        return notes

    def _extend(self, end: int, steps: int) -> str:
        stack, low = self._stack, end == 0
        if stack.unit == "index":
            return f"Take at least {steps} more slices {'before' if low else 'after'} it."
        if stack.kind.value == "camera":
            return f"Extend the sweep to {'nearer' if low else 'farther'} distances by at least {steps} steps."
        positions = stack.positions.value
        target = positions[end] + (-steps if low else steps) * abs(positions[end] - positions[1 if low else end - 1])
        place = format_position(float(target), stack.unit_symbol, self._pitch())
        return f"Extend the sweep {'downwards' if low else 'upwards'} by at least {steps} steps, to {place}."

    def _step_notes(self, width: float) -> list[SweepNote]:
        """Return a note when the curves are too narrow for the step; ``width`` in slices."""
        if not width < COARSE_WIDTH:
            return []
        stack, pitch = self._stack, self._pitch()
        if stack.unit == "index" or stack.kind.value == "camera":
            text = f"the step is coarse: curves are only {width:.1f} slices wide. "
            text += f"Take at least {GOOD_WIDTH / width:.1f} times as many slices over the same range."
        else:
            symbol = stack.unit_symbol
            text = f"the step of {format_length(pitch, symbol, pitch)} is coarse: curves are only {width:.1f} slices "
            text += f"({format_length(width * pitch, symbol, pitch)}) wide. "
            text += f"Take a step of {format_length(width * pitch / GOOD_WIDTH, symbol, pitch / 3)} or less."
        return [SweepNote("coarse_step", text, 1 - width / COARSE_WIDTH)]

    def _idle_notes(self, held: NDArray[np.float64]) -> list[SweepNote]:
        """Return notes on slices in which nothing is sharpest, one slice beside the useful ones not counted."""
        n = self._stack.n
        useful = np.flatnonzero(held > IDLE_SHARE * held.sum() / n)
        if not useful.size:
            return []
        notes = []
        first, last = max(int(useful[0]) - 1, 0), min(int(useful[-1]) + 1, n - 1)
        if first > 0:
            text = f"{_slices(first)} below {self._at(first)} hold{'s' * (first == 1)} nothing in focus; start there."
            notes.append((text, first))
        if last < n - 1:
            idle = n - 1 - last
            text = f"{_slices(idle)} above {self._at(last)} hold{'s' * (idle == 1)} nothing in focus; stop there."
            notes.append((text, idle))
        for a, b in pairwise(useful):
            if b - a > 4:
                idle = int(b - a) - 3
                text = (
                    f"{_slices(idle)} between {self._at(int(a) + 1)} and {self._at(int(b) - 1)} hold nothing in focus; "
                    "leave them out if the surfaces stay where they are."
                )
                notes.append((text, idle))
        return [SweepNote("idle_slices", text, idle / n) for text, idle in notes]

    def _exposure_notes(self, burnt: NDArray[np.bool_]) -> list[SweepNote]:
        share = float(burnt.mean())
        if share < OVER_EXPOSED_SHARE:
            return []
        text = (
            f"{percent(share)} of the picture is over-exposed in most slices: no texture is left there. "
            "Expose less, or soften or polarise the light."
        )
        return [SweepNote("over_exposed", text, share)]

    def _texture_notes(self, textureless: NDArray[np.bool_]) -> list[SweepNote]:
        share = float(textureless.sum() / max(1, self._field.sum()))
        if share < TEXTURELESS_SHARE:
            return []
        text = (
            f"{percent(share)} of the picture shows no texture in any slice: depth cannot be measured there. "
            "Let the light come from the side, project a pattern, or lower the noise."
        )
        return [SweepNote("textureless", text, share)]

    def _motion_notes(self) -> list[SweepNote]:
        """Return notes on slices that could not be registered, on jumps, and on lost field of view."""
        if self._alignment is None:
            return []
        notes: list[SweepNote] = []
        n, motions = self._stack.n, self._alignment.motions
        names = self._stack.source.names
        lost = [names[i] for i, motion in enumerate(motions) if not motion.registered]
        if lost:
            listed = ", ".join(lost[:4]) + (f" and {len(lost) - 4} more" if len(lost) > 4 else "")
            text = f"{_slices(len(lost))} could not be registered ({listed}); depth near them is uncertain."
            notes.append(SweepNote("motion", text, len(lost) / n))
        if self._alignment.needed and n >= 4:
            height, width = self._stack.shape
            centre = np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
            path = np.array([motion.matrix @ centre for motion in motions])
            steps = np.diff(path, axis=0)
            jumps = np.hypot(*(steps - np.median(steps, axis=0)).T)
            worst = int(jumps.argmax())
            if jumps[worst] > JUMP_SHARE * width and jumps[worst] > 5 * np.median(jumps):
                text = (
                    f"the picture jumps by {jumps[worst]:.0f} px between {names[worst]} and {names[worst + 1]}: "
                    "something moved or was touched. Wait between the shots, or fasten camera and object."
                )
                notes.append(SweepNote("motion", text, float(jumps[worst] / width)))
        outside = 1 - float(self._field.mean())
        if outside > LOST_SHARE:
            text = (
                f"{percent(outside)} of the picture is not seen by every slice, because the picture shifts or grows "
                "over the sweep. Frame it wider, or move the object instead of the focus."
            )
            notes.append(SweepNote("motion", text, outside))
        return notes

    def _pitch(self) -> float:
        return typical_step(self._stack.positions.value)

    def _at(self, i: int) -> str:
        """Return where slice ``i`` is."""
        if self._stack.unit == "index":
            return f"slice {self._stack.positions.value[i]:g}"
        return format_position(float(self._stack.positions.value[i]), self._stack.unit_symbol, self._pitch())


def grid_of(shape: tuple[int, int], most: int) -> tuple[NDArray[np.intp], ...]:
    """Return an index of evenly spread pixels of (H, W), the corners among them: at most ``most`` rows and columns."""
    return np.ix_(*(np.linspace(0, side - 1, min(most, side)).round().astype(np.intp) for side in shape))


def saturated(plane: Plane, white: float) -> NDArray[np.bool_]:
    """Return which pixels (H, W) of a plane (H, W) or (H, W, 3) reach ``white`` in a channel."""
    burnt: NDArray[np.bool_] = brightest(plane) >= SATURATED * white
    return burnt


def brightest(plane: Plane) -> Plane:
    """Return the largest channel (H, W) of a plane (H, W) or (H, W, 3)."""
    return plane.max(axis=2) if plane.ndim == 3 else plane


def half_maximum_widths(curves: NDArray[np.float32], strongest: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the full widths at half maximum of (N, ...) curves, in slices; NaN where a side does not fall that far.

    Half is counted from the lowest value of the curve; between slices the curve is taken as straight.
    """
    n = len(curves)
    top = curves.max(axis=0)
    half = (top + curves.min(axis=0)) / 2
    total = np.zeros(strongest.shape, np.float32)
    for side in (-1, 1):
        reach = np.full(strongest.shape, np.nan, np.float32)
        past = top
        for k in range(1, n):
            at = strongest + side * k
            inside = (at >= 0) & (at < n)
            if not inside.any():
                break
            value = np.take_along_axis(curves, np.clip(at, 0, n - 1)[None], axis=0)[0]
            crossed = inside & np.isnan(reach) & (value <= half) & (past > half)
            reach[crossed] = (k - 1) + (past[crossed] - half[crossed]) / (past[crossed] - value[crossed])
            past = value
        total += reach
    return total


def typical_width(widths: NDArray[np.float32], textured: NDArray[np.bool_], contrast: NDArray[np.float32]) -> float:
    """Return the median of ``widths`` over the pixels that are ``textured``, weighted by ``contrast``, in slices.

    NaN where too few of them have both flanks inside the sweep. All (H, W), widths as of `half_maximum_widths`.
    """
    inner = textured & np.isfinite(widths)
    values, weights = widths[inner], contrast[inner]
    if not weights.sum() > INNER_SHARE * contrast[textured].sum():
        return math.nan
    order = np.argsort(values)
    summed = np.cumsum(weights[order], dtype=np.float64)
    return float(values[order][np.searchsorted(summed, summed[-1] / 2)])


def _slices(count: int) -> str:
    return f"{count} slice{'s' * (count != 1)}"
