"""The advisor: what the next sweep should do otherwise, and why.

It looks at a sweep slice by slice, at a grid of pixels, as `toposcope.core.sweep` does, and answers with a plan that
can be run as it stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.capture.plan import MAX_EXPOSURE_MS, MIN_EXPOSURE_MS, SweepPlan
from toposcope.core.curve import flat_curves, format_length, format_position
from toposcope.core.focus import tenengrad
from toposcope.core.stack import Plane, to_grey
from toposcope.core.sweep import (
    COARSE_WIDTH,
    CUT_SHARE,
    GOOD_WIDTH,
    IDLE_SHARE,
    TEXTURE_OVER_FLOOR,
    brightest,
    grid_of,
    half_maximum_widths,
    saturated,
)
from toposcope.errors import SettingsError

WINDOW: Final = 9
POINTS: Final = 192
"""Rows and columns of the pixels that are looked at, at most."""
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


@dataclass(frozen=True, slots=True)
class Proposal:
    """A better sweep and the reasons for it, a sentence each; no reasons: this one was good."""

    plan: SweepPlan
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reasons and the plan, for reading."""
        if not self.reasons:
            return "This sweep lacks nothing: the surface lies inside it, with steps fine enough and a good exposure."
        plan = self.plan
        exposure = "" if plan.exposure_ms is None else f", {plan.exposure_ms:g} ms"
        return "\n".join(
            [
                *(f"{reason[0].upper()}{reason[1:]}" for reason in self.reasons),
                f"Proposed: {plan.bottom_um:g} to {plan.top_um:g} µm, step {plan.step_um:g} µm{exposure}, "
                f"{plan.n} slices.",
            ]
        )


class SweepAdvisor:
    """Collects what the slices of a sweep show, in any order, and proposes a better sweep.

    ``white`` is the value that the camera cannot pass.
    """

    def __init__(self, white: int) -> None:
        self._white = white
        self._slices: dict[float, NDArray[np.float32]] = {}
        self._saturated: list[float] = []
        self._brightest: list[float] = []

    def add(self, plane: Plane, z_um: float) -> None:
        """Take in a slice."""
        measure = tenengrad(to_grey(plane), WINDOW)
        self._slices[float(z_um)] = measure[grid_of(plane.shape[:2], POINTS)]
        self._saturated.append(float(saturated(plane, self._white).mean()))
        self._brightest.append(float(np.quantile(brightest(plane), BRIGHTEST)) / self._white)

    def propose(
        self, plan: SweepPlan, exposure_ms: float, limits_um: tuple[float, float] | None = None
    ) -> Proposal | None:
        """Return a better plan than ``plan``, taken at ``exposure_ms``; None for fewer than 5 slices."""
        if len(self._slices) < 5:
            return None
        reasons: list[str] = []
        z = np.array(sorted(self._slices))
        curves = np.stack([self._slices[at] for at in z])
        exposure = self._exposure(exposure_ms, reasons)
        bottom, top, step = plan.bottom_um, plan.top_um, plan.step_um
        strongest, peak = curves.argmax(axis=0), curves.max(axis=0)
        textured = (peak > TEXTURE_OVER_FLOOR * np.quantile(curves, 0.05)) & ~flat_curves(curves)
        if textured.any():
            contrast = np.sqrt(peak)
            held = np.bincount(strongest[textured], contrast[textured], minlength=len(z)).astype(np.float64)
            if max(self._saturated) <= SATURATED_SHARE:  # curves of white pixels tell no width
                step = self._step(plan, curves, strongest, textured, contrast, reasons)
            bottom, top = _range(z, held, step, plan, limits_um, reasons)
        else:
            reasons.append(
                "no texture comes into focus anywhere in this sweep: look for the surface in the live view, or let the "
                "light come from the side."
            )
        try:
            better = replace(plan, bottom_um=bottom, top_um=top, step_um=step, exposure_ms=exposure)
        except SettingsError:  # a range that the step does not fit into
            better = replace(plan, bottom_um=bottom, top_um=top, step_um=(top - bottom) / 4, exposure_ms=exposure)
        return Proposal(better if reasons else plan, tuple(reasons))

    def _exposure(self, exposure_ms: float, reasons: list[str]) -> float:
        """Return an exposure at which nothing is white and little is lost."""
        worst, reached = max(self._saturated), max(self._brightest)
        if worst > SATURATED_SHARE:
            # how far the light goes beyond white is not known: halve it, and more where much is white
            factor = 0.5 if worst < 0.05 else 0.25
            better = _digits(max(exposure_ms * factor, MIN_EXPOSURE_MS))
            reasons.append(
                f"{100 * worst:.1f} % of a slice is white: no texture is left there. Expose {better:g} ms instead of "
                f"{exposure_ms:g} ms, and look again."
            )
            return better
        if reached < DARK:
            better = _digits(min(exposure_ms * AIM / max(reached, 0.01), MAX_EXPOSURE_MS))
            reasons.append(
                f"even the brightest pixels reach {100 * reached:.0f} % of white only: noise is larger than it need "
                f"be. Expose {better:g} ms instead of {exposure_ms:g} ms."
            )
            return better
        return exposure_ms

    def _step(
        self,
        plan: SweepPlan,
        curves: NDArray[np.float32],
        strongest: NDArray[np.intp],
        textured: NDArray[np.bool_],
        contrast: NDArray[np.float32],
        reasons: list[str],
    ) -> float:
        """Return a step that gives curves of `GOOD_WIDTH` slices, where they are too narrow or too wide now."""
        widths = half_maximum_widths(curves, strongest)
        inner = textured & np.isfinite(widths)
        if contrast[inner].sum() < 0.3 * contrast[textured].sum():
            return plan.step_um
        order = np.argsort(widths[inner])
        weight = np.cumsum(contrast[inner][order])
        width = float(widths[inner][order][np.searchsorted(weight, weight[-1] / 2)])
        better = _digits(plan.pitch_um * width / GOOD_WIDTH)
        pitch = plan.pitch_um
        if width < COARSE_WIDTH:
            reasons.append(
                f"the step of {format_length(pitch, 'µm', pitch)} is coarse: focus curves are only {width:.1f} slices "
                f"wide. A step of {better:g} µm gives {GOOD_WIDTH:g}."
            )
            return better
        if width > FINE_WIDTH:
            reasons.append(
                f"the step of {format_length(pitch, 'µm', pitch)} is finer than it need be: focus curves are "
                f"{width:.1f} slices wide. A step of {better:g} µm gives {GOOD_WIDTH:g}, and a quicker sweep."
            )
            return better
        return plan.step_um


def _range(
    z: NDArray[np.float64],
    held: NDArray[np.float64],
    step_um: float,
    plan: SweepPlan,
    limits_um: tuple[float, float] | None,
    reasons: list[str],
) -> tuple[float, float]:
    """Return bottom and top that hold the surface with a margin; ``held`` tells what each slice holds."""
    pitch = plan.pitch_um
    share = held / held.sum()
    useful = np.flatnonzero(held > IDLE_SHARE * held.sum() / len(z))
    first, last = int(useful[0]), int(useful[-1])
    span = float(z[-1] - z[0])
    margin = MARGIN_SLICES * max(step_um, pitch)
    ends = []
    for is_top in (False, True):
        i, inner = (len(z) - 1, last) if is_top else (0, first)
        sign = 1.0 if is_top else -1.0
        now = plan.top_um if is_top else plan.bottom_um
        name, side = ("top", "above") if is_top else ("bottom", "below")
        if share[i] > CUT_SHARE:
            # the more is cut off the farther it may go on
            target = now + sign * max(margin, span * min(0.5, float(share[i])))
            if limits_um is not None:
                target = min(max(target, limits_um[0]), limits_um[1])
            target = _round(target, pitch)
            reasons.append(
                f"{100 * share[i]:.0f} % of the texture is sharpest in the {name} slice: the surface goes on {side} "
                f"it. Put the {name} at {format_position(target, 'µm', pitch)}."
            )
        else:
            wanted = _round(float(z[inner]) + sign * margin, pitch)
            idle = abs(i - inner) - math.ceil(margin / pitch)
            target = now
            if idle > 1 and (wanted - now) * sign < 0:
                target = wanted
                reasons.append(
                    f"{idle} slices {side} {format_position(wanted, 'µm', pitch)} "
                    f"hold nothing in focus. Put the {name} there."
                )
        ends.append(target)
    return ends[0], ends[1]


def _digits(value: float) -> float:
    """Round to two digits."""
    return float(f"{value:.2g}")


def _round(value: float, pitch: float) -> float:
    """Round to a tenth of a step."""
    grain = 10 ** math.floor(math.log10(pitch / 2))
    return float(round(round(value / grain) * grain, 9))
