"""Areal parameters of ISO 25178-2, of heights with voids.

::

    height    Sa Sq Sz Sp Sv Ssk Sku    from the mean of what is known
    hybrid    Sdq Sdr                   cells of four pixels that are all known
    spatial   Sal Str                   `toposcope.core.surface.spatial`
    function  Sk Spk Svk Smr1 Smr2      `toposcope.core.surface.material`
    volume    Vmp Vmc Vvc Vvv           the same
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.surface.material import core_parameters, volume_parameters
from toposcope.core.surface.model import FLAT_UM, Parameter, Surface
from toposcope.core.surface.spatial import spatial_parameters

_BAND: Final = 1 << 20  # pixels at a time


def areal_parameters(surface: Surface, report: Report = silent) -> tuple[Parameter, ...]:
    """Return the parameters of a surface, usually one that `prepared` made; NaN where one is not defined."""
    report(Progress(0.0, "heights"))
    known = surface.z_um[np.isfinite(surface.z_um)]
    mean = float(known.mean()) if known.size else 0.0
    z = known - mean
    heights = height_parameters(z, "S")
    report(Progress(0.2, "slopes"))
    hybrid = hybrid_parameters(surface, part(report, 0.2, 0.4))
    report(Progress(0.4, "material ratio"))
    z.sort()
    report(Progress(0.5, "material ratio"))
    function = core_parameters(z)
    volume = volume_parameters(z)
    del known, z
    spatial = spatial_parameters(surface, part(report, 0.6, 1.0))
    report(Progress(1.0, "parameters"))
    return (*heights, *hybrid, *spatial, *function, *volume)


def height_parameters(z: Floats, letter: str) -> tuple[Parameter, ...]:
    """Return the height parameters of heights (n,) in micrometres whose mean is 0; ``letter`` S, or P of a profile."""
    group = "height" if letter == "S" else "profile"
    mean = rms = top = bottom = skew = kurtosis = math.nan
    if z.size:
        squares = z * z
        mean, rms = float(np.abs(z).mean()), math.sqrt(float(squares.mean()))
        top, bottom = float(z.max()), -float(z.min())
        if rms > FLAT_UM:
            skew = float((squares * z).mean()) / rms**3
            kurtosis = float((squares * squares).mean()) / rms**4
    return (
        Parameter(f"{letter}a", "arithmetical mean height", mean, "µm", group),
        Parameter(f"{letter}q", "root mean square height", rms, "µm", group),
        Parameter(f"{letter}z", "maximum height", top + bottom, "µm", group),
        Parameter(f"{letter}p", "maximum peak height", top, "µm", group),
        Parameter(f"{letter}v", "maximum pit depth", bottom, "µm", group),
        Parameter(f"{letter}sk", "skewness", skew, "", group),
        Parameter(f"{letter}ku", "kurtosis", kurtosis, "", group),
    )


def hybrid_parameters(surface: Surface, report: Report = silent) -> tuple[Parameter, ...]:
    """Return slope and developed area: over cells of four neighbours, the means of their opposite differences."""
    z = surface.z_um
    height, width = surface.shape
    count, squares, excess = 0, 0.0, 0.0
    rows = max(1, _BAND // max(1, width))
    for top in range(0, height - 1, rows):
        report(Progress(top / height, "slopes"))
        block = z[top : top + rows + 1]
        across = np.diff(block, axis=1)
        right = (across[:-1] + across[1:]) / (2 * surface.pixel_um)
        down = np.diff(block, axis=0)
        slopes = right**2 + ((down[:, :-1] + down[:, 1:]) / (2 * surface.pixel_um)) ** 2
        slopes = slopes[np.isfinite(slopes)]
        count += slopes.size
        squares += float(slopes.sum())
        # sqrt(1 + s) - 1, without losing the digits of small slopes
        excess += float((slopes / (np.sqrt(1 + slopes) + 1)).sum())
    gradient = math.sqrt(squares / count) if count else math.nan
    ratio = 100 * excess / count if count else math.nan
    return (
        Parameter("Sdq", "root mean square gradient", gradient, "", "hybrid"),
        Parameter("Sdr", "developed interfacial area ratio", ratio, "%", "hybrid"),
    )
