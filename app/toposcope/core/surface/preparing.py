"""From heights as they are to the surface that parameters are about: area, spikes, form and filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.settings import checked, setting
from toposcope.core.surface.filters import FINEST_PX, SPIKE, SPIKE_PX, low_passed, spikes
from toposcope.core.surface.fitting import polynomial_fitted
from toposcope.core.surface.model import Area, Surface
from toposcope.core.words import measured, percent
from toposcope.errors import SettingsError, StackError

FINEST_TOLD_PX: Final = 16
"""Length of a wave, in pixels, of which the default method leaves half (`tests/benchmarks/surface_transfer.py`)."""
FORMS: Final = ("none", "plane", "quadratic", "cubic")
"""What may be removed as form, by the total degree of the polynomial."""


@dataclass(frozen=True, slots=True)
class SurfaceSettings:
    """What is done to heights before they are measured."""

    form: str = setting(
        "plane", "Form", "removed by least squares: a plane, or a polynomial of second or third degree", choices=FORMS
    )
    s_um: float = setting(
        0.0,
        "S-filter",
        "removes what is finer (Gaussian, nesting index); 0 is off",
        minimum=0.0,
        maximum=1e6,
        step=0.5,
        unit="µm",
    )
    l_um: float = setting(
        0.0,
        "L-filter",
        "removes what is coarser (Gaussian, nesting index); 0 is off",
        minimum=0.0,
        maximum=1e6,
        step=5.0,
        unit="µm",
    )
    outliers: bool = setting(
        False, "Leave out spikes", "heights that stick out of the median of 5 × 5 pixels by six robust deviations"
    )


def prepared(surface: Surface, settings: SurfaceSettings, area: Area | None = None, report: Report = silent) -> Surface:
    """Return the surface that parameters are about: the area cut out, spikes left out, form and filters applied.

    Spikes go first, since they would pull the form; then the form (F), what is finer (S) and what is coarser (L).
    The operations of what is returned say what was done.

    Raises
    ------
    SettingsError
        If a setting is out of its range, the area lies outside, or a filter does not suit it.
    StackError
        If too little is known in the area.
    """
    settings = checked(SurfaceSettings, settings, "measuring")
    done = list(surface.operations)
    z = surface.z_um
    if area is not None:
        inside = area.clipped(surface.shape)
        if 0 in inside.shape:
            height, width = surface.shape
            raise SettingsError(
                f"the area, {area.text}, lies outside of the surface, which has {height} rows and {width} columns. "
                "Choose it within."
            )
        if inside.shape != surface.shape:
            z = z[inside.top : inside.bottom, inside.left : inside.right]
            done.append(f"area: {inside.text}")
    _check_filters(settings, z.shape, surface.pixel_um)
    degree = FORMS.index(settings.form)
    if settings.outliers:
        z = _without_spikes(z, done, part(report, 0.0, 0.1))
    known = int(np.count_nonzero(np.isfinite(z)))
    needed = (degree + 1) * (degree + 2) // 2
    if known < needed:
        what = "a height" if degree == 0 else f"to remove a {_form_words(settings.form)}, {needed} heights"
        found = "no height is" if known == 0 else "only one is" if known == 1 else f"only {known} are"
        raise StackError(
            f"{what} must be known in the area, and {found}. Choose a larger one, or one with fewer voids."
        )
    report(Progress(0.1, "removing the form"))
    if degree:
        z = polynomial_fitted(z, degree, part(report, 0.1, 0.2))
        done.append(f"F: {_form_words(settings.form)} removed by least squares")
    if settings.s_um:
        z = low_passed(z, settings.s_um / surface.pixel_um, part(report, 0.2, 0.6))
        done.append(f"S: finer than {settings.s_um:g} µm removed (Gaussian)")
    if settings.l_um:
        z = z - low_passed(z, settings.l_um / surface.pixel_um, part(report, 0.6, 1.0))
        done.append(f"L: coarser than {settings.l_um:g} µm removed (Gaussian)")
    report(Progress(1.0, "surface"))
    return Surface(z, surface.pixel_um, tuple(done))


def fineness_text(pixel_um: float | None, s_um: float) -> str:
    """Say how fine a depth from focus with such pixels can be; nothing where the S-filter ``s_um`` sees to it.

    None for heights that do not come from focus.
    """
    finest = FINEST_TOLD_PX * pixel_um if pixel_um is not None else 0.0
    if s_um >= finest:
        return ""
    return (
        f"Depth from focus smooths what is finer than about {FINEST_TOLD_PX} pixels, {measured(finest)} µm: such "
        "roughness is told too small. An S-filter of that size makes it comparable."
    )


def _form_words(form: str) -> str:
    return "plane" if form == "plane" else f"{form} polynomial"


def _without_spikes(z: Floats, done: list[str], report: Report) -> Floats:
    found = spikes(z, report)
    count = int(np.count_nonzero(found))
    if count == 0:
        done.append("no spikes found")
        return z
    share = percent(count / np.count_nonzero(np.isfinite(z)))
    done.append(
        f"spikes left out: {share} of the heights, off the median of {SPIKE_PX} × {SPIKE_PX} pixels by more than "
        f"{SPIKE:g} robust standard deviations"
    )
    return np.where(found, np.nan, z)


def _check_filters(settings: SurfaceSettings, shape: tuple[int, ...], pixel_um: float) -> None:
    if settings.s_um and settings.l_um and settings.l_um <= settings.s_um:
        raise SettingsError(
            f"the L-filter, {settings.l_um:g} µm, must be larger than the S-filter, {settings.s_um:g} µm: between the "
            "two lies what is left."
        )
    for name, index in (("S", settings.s_um), ("L", settings.l_um)):
        if index and index < FINEST_PX * pixel_um * (1 - 1e-9):
            raise SettingsError(
                f"the {name}-filter, {index:g} µm, is finer than two pixels, {FINEST_PX * pixel_um:.4g} µm: it would "
                "find nothing to remove. Choose a larger one, or none."
            )
        if index and index > min(shape) * pixel_um * (1 + 1e-9):
            height, width = (n * pixel_um for n in shape)
            raise SettingsError(
                f"the {name}-filter, {index:g} µm, is wider than the area, {width:.4g} × {height:.4g} µm. Choose a "
                "smaller one, or a larger area."
            )
