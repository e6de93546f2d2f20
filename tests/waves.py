"""Surfaces whose parameters are known from formulas: waves of amplitude 1 µm and length 10 µm."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from toposcope.core.surface import Surface, areal_parameters

Floats = NDArray[np.float64]
LENGTH_UM = 10.0


def axis(extent_um: float, pixel_um: float) -> Floats:
    """Middles of pixels."""
    return (np.arange(round(extent_um / pixel_um)) + 0.5) * pixel_um


def sine(pixel_um: float = 0.1, extent_um: float = 100.0, rows: int = 60, length_um: float = LENGTH_UM) -> Surface:
    """Return grooves: a sine along the columns."""
    wave = np.sin(2 * np.pi * axis(extent_um, pixel_um) / length_um)
    return Surface(np.tile(wave, (rows, 1)), pixel_um)


def egg_box(pixel_um: float = 0.1, extent_um: float = 100.0) -> Surface:
    """Return the sum of a sine along the rows and one along the columns."""
    wave = np.sin(2 * np.pi * axis(extent_um, pixel_um) / LENGTH_UM)
    return Surface(wave[:, None] + wave[None, :], pixel_um)


def values(surface: Surface) -> dict[str, float]:
    """Areal parameters by name."""
    return {one.name: one.value for one in areal_parameters(surface)}


def with_voids(surface: Surface, share: float, seed: int = 0) -> Surface:
    """Return a surface with so many heights missing, at random."""
    z = surface.z_um.copy()
    z[np.random.default_rng(seed).random(z.shape) < share] = math.nan
    return Surface(z, surface.pixel_um)
