"""Re-blur consistency: the sharp picture, blurred by as much as a depth says, must give the slices back.

A check on a depth that needs no truth, and a loss that needs no label:

::

    slices ── taken at the depth ── sharp picture ── cut into layers by depth ── each blurred by its distance
    from the focus of a slice ── added up ── held against that slice

How fast blur grows along the sweep is measured on the stack itself (`measure_slope`). Layers are spread, not
gathered: a bright point far from focus lights up its surroundings, whatever their depth. What is not
modelled: occlusion, values cut off at white, and the curve of the camera. Where these rule, a true depth is
not given back either; ``tests/benchmarks/adaptation.py`` shows such a microscope.

Frames (B, N, H, W) on any scale, positions (B, N) ascending in 0..1, depth (B, H, W) focus coordinate. All is
differentiable in the depth.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor

from dffnets.synthetic.optics import transfer

CALM: Final = 1.0
"""Deviation in pixels of the blur that both sides get before they are compared: noise is not to be given back."""

LEAST_OPACITY: Final = 0.05
"""Share of light below which a place counts as not lit by any layer."""

SLOPES: Final = (2.0, 120.0)
"""Least and largest blur radius in pixels, of points at one end of the sweep seen with the focus at the other."""

TABLE_STEP: Final = 1 / 256
FINEST: Final = 64.0
"""Step and end of the table of a disc's transfer function, in cycles per radius."""

RIM: Final = 24
"""Pixels by which pictures are mirrored at their edges, at most, so that blur does not come in from beyond."""


def sharp_picture(frames: Tensor, positions: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the picture (B, H, W) of each pixel at its depth, and the shares (B, N, H, W) of the slices in it.

    Linear between the two slices around the depth; the first or the last one beyond them.
    """
    place = depth.clamp(min=positions[:, :1, None], max=positions[:, -1:, None])
    after = torch.searchsorted(positions.contiguous(), place.detach().flatten(1).contiguous())
    after = after.view(depth.shape).clamp(1, positions.shape[1] - 1)
    low, high = (positions.gather(1, k.flatten(1)).view(depth.shape) for k in (after - 1, after))
    share = (place - low) / (high - low)
    shares = torch.zeros_like(frames)
    shares = shares.scatter(1, (after - 1)[:, None], (1 - share)[:, None]).scatter(1, after[:, None], share[:, None])
    return (shares * frames).sum(1), shares


def given_back(frames: Tensor, positions: Tensor, depth: Tensor, slope: Tensor) -> Tensor:
    """Return the slices (B, N, H, W) that a depth gives back, blurred by `CALM` more than they are.

    ``slope`` (B,) is the radius in pixels of the disc that a point becomes, per unit of the focus coordinate.
    """
    return _given_back(*sharp_picture(frames, positions, depth), positions, slope)


def _given_back(sharp: Tensor, layers: Tensor, positions: Tensor, slope: Tensor) -> Tensor:
    """Blur a sharp picture (B, H, W) that is cut into ``layers`` (B, N, H, W), one at the place of each slice."""
    _, _, height, width = layers.shape
    rim = min(RIM, height - 1, width - 1)
    opacity = F.pad(layers, (rim,) * 4, mode="reflect")
    colour = opacity * F.pad(sharp[:, None], (rim,) * 4, mode="reflect")
    size = (int(opacity.shape[-2]), int(opacity.shape[-1]))
    fy = torch.fft.fftfreq(size[0], device=sharp.device)[:, None]
    frequency = torch.hypot(fy, torch.fft.rfftfreq(size[1], device=sharp.device))
    calm = torch.exp(-2 * (math.pi * CALM * frequency).square())
    opacity_f, colour_f = torch.fft.rfft2(opacity), torch.fft.rfft2(colour)
    out = []
    for i in range(positions.shape[1]):
        radius = slope[:, None] * (positions - positions[:, i : i + 1]).abs()  # (B, N)
        spread = calm * _disc(frequency * radius[..., None, None])
        light, lit = (torch.fft.irfft2((part * spread).sum(1), s=size) for part in (colour_f, opacity_f))
        out.append((light / lit.clamp(min=LEAST_OPACITY))[:, rim : rim + height, rim : rim + width])
    return torch.stack(out, 1)


@lru_cache(maxsize=2)
def _disc_table(device: torch.device) -> Tensor:
    return transfer(torch.arange(0, FINEST, TABLE_STEP, device=device), 1.0, "disc")


def _disc(cycles: Tensor) -> Tensor:
    """Return the transfer function of a disc at ``cycles`` (frequency times radius), from a table."""
    row = (cycles / TABLE_STEP).round().long().clamp(max=int(FINEST / TABLE_STEP) - 1)
    return _disc_table(cycles.device)[row]


def inconsistency(frames: Tensor, positions: Tensor, depth: Tensor, slope: Tensor) -> Tensor:
    """Return by how much the slices are not given back, (B, H, W): mean squared difference over the slices.

    A slice counts as far as the sharp picture was not taken from it, for it gives itself back.
    """
    sharp, shares = sharp_picture(frames, positions, depth)
    weight = 1 - shares.detach()
    off = (_given_back(sharp, shares, positions, slope) - calmed(frames)).square()
    return (off * weight).sum(1) / weight.sum(1).clamp(min=1e-6)


def calmed(frames: Tensor) -> Tensor:
    """Return frames blurred by `CALM`."""
    reach = math.ceil(3 * CALM)
    axis = torch.arange(-reach, reach + 1, device=frames.device, dtype=frames.dtype)
    kernel = torch.exp(-0.5 * (axis / CALM).square())
    kernel = (kernel / kernel.sum())[None, None]
    flat = frames.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (reach,) * 4, mode="reflect"), kernel[..., None])
    return F.conv2d(flat, kernel[:, :, None]).view(frames.shape)


@torch.no_grad()
def measure_slope(frames: Tensor, positions: Tensor, depth: Tensor, sure: Tensor) -> float:
    """Return the blur radius in pixels per unit of the focus coordinate that gives one stack back best.

    Shapes as above without B; ``sure`` (H, W) weighs the pixels, for which ``depth`` must be known; elsewhere it
    may be anything but NaN. Searched between `SLOPES`.
    """
    low, high = (math.log(end) for end in SLOPES)

    def off(logarithm: float) -> float:
        slope = frames.new_tensor([math.exp(logarithm)])
        found = inconsistency(frames[None], positions[None], depth[None], slope)[0]
        return float((found * sure).sum())

    steps = torch.linspace(low, high, 9).tolist()  # one valley is not certain: first look over all
    best = min(range(9), key=[off(step) for step in steps].__getitem__)
    low, high = steps[max(best - 1, 0)], steps[min(best + 1, 8)]
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = off(left), off(right)
    while high - low > 0.03:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = off(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = off(right)
    return math.exp((low + high) / 2)
