"""A fast renderer for training: layered scenes on a torus.

On a torus (the left edge continues at the right) blur is an exact product of spectra, no border ever
shows, and a training crop can be rolled to any place. A scene is a pile of layers, far to near, each
with its opacity and its colour; every slice blurs premultiplied colour and opacity of each layer by
its distance from focus and composites them back to front, so that a near layer hides what is behind
it as a lens does, and nothing of a sharp foreground leaks into a blurred background.

A height field is a pile of thin layers, each opaque wherever the surface is at least that high (solid
downwards): seams between layers then show the layer below, never the background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dffnets.synthetic.optics import Blades

MAX_RADIUS = 46.0
"""Largest blur radius, in pixels, that the table of point spread functions holds."""

EXPONENTS = (2.0, 3.0, 5.0, 8.0, 16.0)
"""Shapes of the point spread function, from Gaussian (2) to disc (16)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: focus coordinate ``place`` (0..1 within the sweep), opacity and colour (S, S)."""

    place: float
    opacity: Tensor
    colour: Tensor


@lru_cache(maxsize=8)
def frequencies(size: int, device: torch.device) -> Tensor:
    """Return the radial frequency (S, S/2+1) of a real FFT, in cycles per pixel."""
    fy = torch.fft.fftfreq(size, device=device)[:, None]
    return torch.hypot(fy, torch.fft.rfftfreq(size, device=device)[None])


def planar_frequencies(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the frequencies (S, S/2+1) of a real FFT along x and y, in cycles per pixel."""
    fy, fx = torch.fft.fftfreq(size, device=device), torch.fft.rfftfreq(size, device=device)
    return fx.expand(size, -1), fy[:, None].expand(-1, len(fx))


@lru_cache(maxsize=1)
def _radii() -> Tensor:
    # steps grow with the radius: what matters is the step relative to the blur
    return torch.cat([torch.arange(0, 4, 0.05), torch.arange(4, 10, 0.1), torch.arange(10, MAX_RADIUS + 0.01, 0.25)])


@lru_cache(maxsize=4)
def _transfer_table(exponent: float, size: int, device: torch.device) -> Tensor:
    """Return transfer functions (R, S, S/2+1) of w(r) = 2^-(r/radius)^exponent, unit sum."""
    axis = torch.minimum(torch.arange(size), size - torch.arange(size)).float()
    distance = torch.hypot(axis[:, None], axis[None])
    ratio = (distance[None] / (_radii()[:, None, None] + 0.35)).clamp(max=40)
    weight = torch.exp(-math.log(2) * (ratio**exponent).clamp(max=80))
    weight /= weight.sum((1, 2), keepdim=True)
    table: Tensor = torch.fft.rfft2(weight).real.contiguous().to(device)
    return table


def transfer(radius: Tensor, exponent: float, size: int) -> Tensor:
    """Return the transfer functions (..., S, S/2+1) for blur radii (...) in pixels."""
    return _transfer_table(exponent, size, radius.device)[_row(radius)]


@lru_cache(maxsize=8)
def _polygon_table(blades: Blades, size: int, device: torch.device) -> Tensor:
    """Return the complex transfer functions (R, S, S/2+1) of an iris."""
    fx, fy = planar_frequencies(size, torch.device("cpu"))
    parts = [blades.transfer(fx, fy, radius[None]) for radius in _radii()]
    return torch.cat(parts).to(device)


def polygon_transfer(radius: Tensor, blades: Blades, size: int) -> Tensor:
    """Return the complex transfer functions (..., S, S/2+1) of an iris for signed radii (...), see `Blades`."""
    table = _polygon_table(blades, size, radius.device)[_row(radius.abs())]
    return torch.where((radius < 0)[..., None, None], table.conj(), table)


def _row(radius: Tensor) -> Tensor:
    """Return the rows of the tables that hold ``radius``."""
    r = radius.clamp(0, MAX_RADIUS)
    index = torch.where(r < 4, r / 0.05, torch.where(r < 10, 80 + (r - 4) / 0.1, 140 + (r - 10) / 0.25))
    return index.round().long().clamp(0, len(_radii()) - 1)


def render(
    layers: list[Layer],
    positions: Tensor,
    slope: float,
    exponent: float,
    base_sigma: float,
    blades: Blades | None = None,
) -> Tensor:
    """Render the slices (N, S, S) of a layered scene, linear light, without noise.

    Parameters
    ----------
    layers : in any order; the farthest must be opaque everywhere
    positions : (N,) focus coordinates of the slices
    slope : blur radius in pixels per unit of focus coordinate
    exponent : shape of the point spread function, one of `EXPONENTS`
    base_sigma : Gaussian blur of the lens and the pixels in perfect focus, in pixels
    blades : an iris whose polygon takes the place of ``exponent``'s round blur
    """
    pile = sorted(layers, key=lambda layer: layer.place)
    size = pile[0].opacity.shape[-1]
    device = pile[0].opacity.device
    opacity = torch.stack([layer.opacity for layer in pile])
    colour = torch.stack([layer.opacity * layer.colour for layer in pile])
    lens = torch.exp(-2 * (math.pi * base_sigma * frequencies(size, device)) ** 2)
    opacity_f, colour_f = torch.fft.rfft2(opacity) * lens, torch.fft.rfft2(colour) * lens
    places = torch.tensor([layer.place for layer in pile], device=device)
    slices = []
    for position in positions:
        radius = slope * (places - position)
        if blades is None:
            blur = transfer(radius.abs(), exponent, size)  # (L, S, S/2+1)
        else:
            blur = polygon_transfer(radius, blades, size)
        alpha = torch.fft.irfft2(opacity_f * blur, s=(size, size)).clamp(0, 1)
        light = torch.fft.irfft2(colour_f * blur, s=(size, size))
        picture = light[0]
        for k in range(1, len(pile)):
            picture = torch.addcmul(light[k], picture, 1 - alpha[k])
        slices.append(picture)
    return torch.stack(slices)
