"""The advisor: what the next sweep should do otherwise, and why.

It looks at a sweep slice by slice, at a grid of pixels, as `toposcope.core.sweep` does, and answers with a sweep that
can be run as it stands: a `SweepPlan` for a microscope that we drive, words for one that is only watched.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import MICROMETRES, Floats, Kind, Unit, typical_step
from toposcope.core.curve import flat_curves, format_length, format_position
from toposcope.core.focus import tenengrad
from toposcope.core.growing import WINDOW
from toposcope.core.plan import MAX_EXPOSURE_MS, MIN_EXPOSURE_MS, SweepPlan
from toposcope.core.stack import Plane, to_grey
from toposcope.core.sweep import (
    COARSE_WIDTH,
    CUT_SHARE,
    GOOD_WIDTH,
    IDLE_SHARE,
    MAX_VALUES,
    SATURATED,
    TEXTURE_OVER_FLOOR,
    brightest,
    grid_of,
    half_maximum_widths,
    typical_width,
)
from toposcope.core.words import number, percent
from toposcope.errors import SettingsError

POINTS: Final = 192
"""Rows and columns of the pixels that are looked at, at most."""
FEWEST_SLICES: Final = 5
"""Fewer tell nothing of a sweep."""
MARGIN_SLICES: Final = 2
"""Slices beyond the last one that holds something: the flank that a peak is placed by."""
FINE_WIDTH: Final = 6.0
"""In slices: wider curves are measured as well by fewer slices."""
SATURATED_SHARE: Final = 0.002
DARK: Final = 0.25
"""Of white: a sweep whose brightest pixels stay below this wastes its bits."""
AIM: Final = 0.8
"""Of white: where the brightest pixels should be."""
BRIGHTEST: Final = 0.999
"""Quantile of the frame that stands for its brightest pixels; hot ones are left out."""
GOOD: Final = "This sweep lacks nothing: the surface lies inside it, with steps fine enough and a good exposure."
_WORTH: Final = 1.2  # times as large: a step that gains less is not worth a change
_WHITES: Final = tuple((1 << bits) - 1 for bits in (8, 10, 12, 14, 16))  # of cameras


@dataclass(frozen=True, slots=True)
class Proposal:
    """A better sweep and the reasons for it, a sentence each; no reasons: this one was good."""

    plan: SweepPlan
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reasons and the plan, for reading."""
        if not self.reasons:
            return GOOD
        plan = self.plan
        exposure = "" if plan.exposure_ms is None else f", {plan.exposure_ms:g} ms"
        reach = f"{number(plan.bottom_um, 6)} to {number(plan.top_um, 6)} µm"
        proposed = f"{reach}, step {plan.step_um:g} µm{exposure}, {plan.n} slices."
        return "\n".join((*self.reasons, f"Proposed: {proposed}"))


@dataclass(frozen=True, slots=True)
class SweepAdvice:
    """What a sweep that others took should do otherwise, and why, a sentence each; no reasons: it was good.

    ``bottom``, ``top`` and ``step`` in micrometres where ``metric``; else in slices of this sweep, which count from 0:
    a bottom of -4 lies four slices before the first. ``exposure`` tells how many times as long to expose.
    """

    reasons: tuple[str, ...]
    bottom: float
    top: float
    step: float
    exposure: float
    metric: bool

    @property
    def n(self) -> int:
        """Number of slices of the proposed sweep."""
        return 1 + math.ceil((self.top - self.bottom) / self.step * (1 - 1e-9))

    @property
    def proposed(self) -> str:
        """The proposed sweep in a sentence; empty where this one was good."""
        if not self.reasons:
            return ""
        light = "" if self.exposure == 1 else f", exposed {_times(self.exposure)} as long"
        bottom, top = number(self.bottom, 6), number(self.top, 6)
        if self.metric:
            return f"Proposed: {bottom} to {top} µm, step {self.step:g} µm, {self.n} slices{light}."
        step = "" if self.step == 1 else f", steps {_times(self.step)} as large"
        return f"Proposed: from slice {bottom} to slice {top} as they are counted now{step}, {self.n} slices{light}."

    @property
    def text(self) -> str:
        """The reasons and the proposal, a line each."""
        return "\n".join((*self.reasons, self.proposed)) if self.reasons else GOOD


class SweepAdvisor:
    """Collects what the slices of a sweep show, in any order, and proposes a better sweep.

    ``white`` is the value that the camera cannot pass; None where nobody knows it.
    """

    def __init__(self, white: int | None = None) -> None:
        self._white = white
        self._slices: dict[Hashable, NDArray[np.float32]] = {}
        self._light: dict[Hashable, _Light] = {}
        self._every = 1

    def add(self, plane: Plane, key: Hashable, measured: NDArray[np.float32] | None = None) -> None:
        """Take in a slice by its position in micrometres, or by a name whose position `advise` is told.

        ``measured`` is what `GrowingDepth.add` has measured of the very same slice, None where nobody has.
        """
        whole = tenengrad(to_grey(plane), WINDOW) if measured is None else measured
        measure = whole[grid_of(plane.shape[:2], POINTS)][:: self._every, :: self._every]
        if (len(self._slices) + 1) * measure.size > MAX_VALUES:  # memory must not grow with the sweep
            self._every *= 2
            self._slices = {known: values[::2, ::2].copy() for known, values in self._slices.items()}
            measure = measure[::2, ::2]
        self._slices[key] = measure.copy()
        self._light[key] = _Light.of(plane, self._white)

    def propose(
        self,
        plan: SweepPlan,
        exposure_ms: float,
        limits_um: tuple[float, float] | None = None,
        depth_of_field_um: float | None = None,
    ) -> Proposal | None:
        """Return a better plan than ``plan``, taken at ``exposure_ms``; None for fewer than 5 slices."""
        if len(self._slices) < FEWEST_SLICES:
            return None
        z = {key: cast("float", key) for key in self._slices}
        sweep = _Sweep(plan.bottom_um, plan.top_um, plan.step_um, plan.pitch_um, limits_um, depth_of_field_um)
        better, factor, reasons = self._improve(z, sweep, _InMicrometres(plan.pitch_um), exposure_ms)
        exposure = exposure_ms if factor == 1 else _exposed(exposure_ms, factor)
        bottom, top, step = better
        try:
            improved = replace(plan, bottom_um=bottom, top_um=top, step_um=step, exposure_ms=exposure)
        except SettingsError:  # a range that the step does not fit into
            improved = replace(plan, bottom_um=bottom, top_um=top, step_um=(top - bottom) / 4, exposure_ms=exposure)
        return Proposal(improved if reasons else plan, reasons)

    def advise(
        self, positions: Mapping[str, float], unit: Unit, kind: Kind = "microscope", reduced: bool = False
    ) -> SweepAdvice | None:
        """Return what a better sweep would be than that of the slices at ``positions``; None for fewer than 5.

        ``reduced`` tells that the slices were added smaller than they are: blur of a few pixels does not show then,
        and focus curves look wider than they are.
        """
        metric = unit in MICROMETRES and kind == "microscope"
        names = sorted((name for name in positions if name in self._slices), key=positions.__getitem__)
        if len(names) < FEWEST_SLICES:
            return None
        z: dict[Hashable, float] = {
            name: positions[name] * MICROMETRES[unit] if metric else float(k) for k, name in enumerate(names)
        }
        pitch = typical_step(np.array(list(z.values())))
        sweep = _Sweep(z[names[0]], z[names[-1]], _digits(pitch, 6), pitch, reduced=reduced)
        words: _Words = _InMicrometres(pitch) if metric else _InSlices()
        (bottom, top, step), factor, reasons = self._improve(z, sweep, words, None)
        return SweepAdvice(reasons, bottom, top, min(step, top - bottom), factor, metric)

    def _improve(
        self, positions: Mapping[Hashable, float], sweep: _Sweep, words: _Words, exposure_ms: float | None
    ) -> tuple[tuple[float, float, float], float, tuple[str, ...]]:
        """Return bottom, top and step of a better sweep, how many times as long to expose, and the reasons."""
        reasons: list[str] = []
        order = sorted(positions, key=positions.__getitem__)
        z, curves = np.array([positions[key] for key in order]), np.stack([self._slices[key] for key in order])
        factor, burnt = self._exposure([self._light[key] for key in order], exposure_ms, reasons)
        bottom, top, step = sweep.bottom, sweep.top, sweep.step
        strongest, peak = curves.argmax(axis=0), curves.max(axis=0)
        textured = (peak > TEXTURE_OVER_FLOOR * np.quantile(curves, 0.05)) & ~flat_curves(curves)
        if textured.any():
            contrast = np.sqrt(peak)
            held = np.bincount(strongest[textured], contrast[textured], minlength=len(z)).astype(np.float64)
            if not burnt:  # curves of white pixels tell no width
                width = typical_width(half_maximum_widths(curves, strongest), textured, contrast)
                step = _better_step(sweep, width, words, reasons)
            bottom, top = _better_range(z, held, step, sweep, words, reasons)
        else:
            reasons.append(
                "No texture comes into focus anywhere in this sweep: look where the surface is, or let the light come "
                "from the side."
            )
        return (bottom, top, step), factor, tuple(reasons)

    def _exposure(self, light: list[_Light], exposure_ms: float | None, reasons: list[str]) -> tuple[float, bool]:
        """Return how many times as long to expose so that nothing is white and little is lost, and whether it is."""
        white = self._white or _least_white(light)
        if white is None:
            return 1.0, False
        worst = max(one.burnt.get(white, 0.0) for one in light)
        reached = max(one.bright for one in light) / white
        if worst > SATURATED_SHARE:
            # how far the light goes beyond white is not known: halve it, and more where much is white
            factor = 0.5 if worst < 0.05 else 0.25
            reasons.append(
                f"{percent(worst)} of a slice is white: no texture is left there. "
                f"{_expose(factor, exposure_ms)}, and look again."
            )
            return factor, True
        if reached < DARK:
            factor = AIM / max(reached, 0.01)
            factor = factor if exposure_ms is not None else _digits(factor)
            reasons.append(
                f"Even the brightest pixels reach {100 * reached:.0f} % of white only: noise is larger than it need "
                f"be. {_expose(factor, exposure_ms)}."
            )
            return factor, False
        return 1.0, False


@dataclass(frozen=True, slots=True)
class _Sweep:
    """The sweep that was taken, in micrometres or slices; ``pitch`` is the step between its slices."""

    bottom: float
    top: float
    step: float
    pitch: float
    limits: tuple[float, float] | None = None
    depth_of_field: float | None = None
    reduced: bool = False


@dataclass(frozen=True, slots=True)
class _Light:
    """How bright a slice is: its greatest value, that of its brightest pixels, and the share at each possible white."""

    top: float
    bright: float
    burnt: Mapping[int, float]

    @classmethod
    def of(cls, plane: Plane, white: int | None) -> _Light:
        values = brightest(plane)
        whites = {np.dtype(np.uint8): _WHITES[:1], np.dtype(np.uint16): _WHITES[1:]}.get(plane.dtype, ())
        if white is not None:
            whites = (white,)
        burnt = {one: float((values >= SATURATED * one).mean()) for one in whites}
        return cls(float(values.max()), float(np.quantile(values, BRIGHTEST)), burnt)


def _least_white(light: list[_Light]) -> int | None:
    """Return the least white of a camera that no slice passes; None for values that are no camera's."""
    top = max(one.top for one in light)
    return next((white for white in light[0].burnt if white >= top), None)


class _Words(Protocol):
    """How positions and steps are told. All sentences begin large."""

    def coarse(self, width: float, better: float) -> str: ...
    def fine(self, width: float, better: float, at_most: bool) -> str:
        """Say that the step may be ``better``; ``at_most`` where the depth of field forbids more."""
        ...

    def cut(self, share: float, is_top: bool, beyond: float, target: float) -> str:
        """Say that the surface goes on ``beyond`` the end of the sweep, which should lie at ``target``."""
        ...

    def idle(self, count: int, is_top: bool, target: float) -> str:
        """Say that nothing is in focus in the ``count`` slices beyond ``target``."""
        ...

    def rounded(self, value: float, sign: float) -> float:
        """Round a position; ``sign`` points out of the sweep."""
        ...


@dataclass(frozen=True, slots=True)
class _InMicrometres:
    pitch: float

    def coarse(self, width: float, better: float) -> str:
        return (
            f"The step of {format_length(self.pitch, 'µm', self.pitch)} is coarse: focus curves are only {width:.1f} "
            f"slices wide. A step of {better:g} µm gives {GOOD_WIDTH:g}."
        )

    def fine(self, width: float, better: float, at_most: bool) -> str:
        enough = "the depth of field, is enough" if at_most else f"gives {GOOD_WIDTH:g}"
        return (
            f"The step of {format_length(self.pitch, 'µm', self.pitch)} is finer than it need be: focus curves are "
            f"{width:.1f} slices wide. A step of {better:g} µm{',' * at_most} {enough}, and a quicker sweep."
        )

    def cut(self, share: float, is_top: bool, beyond: float, target: float) -> str:
        name, side = ("top", "above") if is_top else ("bottom", "below")
        return (
            f"{100 * share:.0f} % of the texture is sharpest in the {name} slice: the surface goes on {side} it. "
            f"Put the {name} at {format_position(target, 'µm', self.pitch)}."
        )

    def idle(self, count: int, is_top: bool, target: float) -> str:
        name, side = ("top", "above") if is_top else ("bottom", "below")
        return (
            f"{count} slices {side} {format_position(target, 'µm', self.pitch)} hold nothing in focus. "
            f"Put the {name} there."
        )

    def rounded(self, value: float, sign: float) -> float:
        grain = 10 ** math.floor(math.log10(self.pitch / 2))  # a power of ten that is half a step or less
        return float(round(round(value / grain) * grain, 9))


@dataclass(frozen=True, slots=True)
class _InSlices:
    def coarse(self, width: float, better: float) -> str:
        return (
            f"The step is coarse: focus curves are only {width:.1f} slices wide. "
            f"Steps {_times(better)} as large give {GOOD_WIDTH:g}."
        )

    def fine(self, width: float, better: float, at_most: bool) -> str:
        return (
            f"The step is finer than it need be: focus curves are {width:.1f} slices wide. "
            f"Steps {_times(better)} as large give {GOOD_WIDTH:g}, and a quicker sweep."
        )

    def cut(self, share: float, is_top: bool, beyond: float, target: float) -> str:
        told = f"{100 * share:.0f} % of the texture is sharpest in the {'last' if is_top else 'first'} slice: "
        count = math.ceil(beyond)
        return f"{told}the surface goes on {'beyond' if is_top else 'before'} it. " + (
            f"Take {count} slices more there." if is_top else f"Begin {count} slices earlier."
        )

    def idle(self, count: int, is_top: bool, target: float) -> str:
        return (
            f"{count} slices {'after' if is_top else 'before'} slice {target:g} hold nothing in focus. "
            f"{'End' if is_top else 'Begin'} there."
        )

    def rounded(self, value: float, sign: float) -> float:
        return float(math.ceil(value) if sign > 0 else math.floor(value))


def _better_step(sweep: _Sweep, width: float, words: _Words, reasons: list[str]) -> float:
    """Return a step that gives curves of `GOOD_WIDTH` slices, where they are too narrow or too wide now."""
    better = _digits(sweep.pitch * width / GOOD_WIDTH)
    if width < COARSE_WIDTH:
        reasons.append(words.coarse(width, better))
        return better
    if width > FINE_WIDTH and not sweep.reduced:
        # coarse texture stays sharp for longer than fine texture would, which other places may hold
        limit = sweep.depth_of_field or math.inf
        at_most = limit < better
        better = _digits(min(better, limit))
        if better > _WORTH * sweep.pitch:
            reasons.append(words.fine(width, better, at_most))
            return better
    return sweep.step


def _better_range(
    z: Floats, held: NDArray[np.float64], step: float, sweep: _Sweep, words: _Words, reasons: list[str]
) -> tuple[float, float]:
    """Return bottom and top that hold the surface with a margin; ``held`` (n,) tells what each slice holds."""
    share = held / held.sum()
    useful = np.flatnonzero(held > IDLE_SHARE * held.sum() / len(z))
    first, last = int(useful[0]), int(useful[-1])
    margin = MARGIN_SLICES * max(step, sweep.pitch)
    ends = []
    for is_top in (False, True):
        i, inner = (len(z) - 1, last) if is_top else (0, first)
        sign, now = (1.0, sweep.top) if is_top else (-1.0, sweep.bottom)
        target = now
        if share[i] > CUT_SHARE:
            # the more is cut off the farther it may go on
            target = now + sign * max(margin, float(z[-1] - z[0]) * min(0.5, float(share[i])))
            if sweep.limits is not None:
                target = min(max(target, sweep.limits[0]), sweep.limits[1])
            target = words.rounded(target, sign)
            reasons.append(words.cut(float(share[i]), is_top, abs(target - now), target))
        else:
            wanted = words.rounded(float(z[inner]) + sign * margin, sign)
            if abs(i - inner) - math.ceil(margin / sweep.pitch) > 1 and (wanted - now) * sign < 0:
                target = wanted
                idle = int(((z - wanted) * sign > 1e-6 * sweep.pitch).sum())
                reasons.append(words.idle(idle, is_top, wanted))
        ends.append(target)
    return ends[0], ends[1]


def _expose(factor: float, exposure_ms: float | None) -> str:
    if exposure_ms is None:
        return f"Expose {_times(factor)} as long"
    return f"Expose {_exposed(exposure_ms, factor):g} ms instead of {exposure_ms:g} ms"


def _exposed(exposure_ms: float, factor: float) -> float:
    return _digits(min(max(exposure_ms * factor, MIN_EXPOSURE_MS), MAX_EXPOSURE_MS))


def _times(factor: float) -> str:
    """Write a factor before "as long": half, a quarter, 3.2 times."""
    return {0.5: "half", 0.25: "a quarter"}.get(factor, f"{factor:.2g} times")


def _digits(value: float, count: int = 2) -> float:
    """Round to so many digits."""
    return float(f"{value:.{count}g}")
