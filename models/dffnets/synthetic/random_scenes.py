"""Random scenes for training: endless, seeded, of two kinds.

``micro``: one height field seen by a telecentric objective: rough, milled, scratched, stepped, domed,
tilted surfaces, matt or shaded, with textures from strong to almost none, saturated glints and uneven
light. ``macro``: a background and objects of all widths down to hairs, at many distances, with true
occlusion. Both get flicker, signal-dependent noise, a camera curve, irregular focus steps and slices
beyond the scene. A trial (0.66 M parameters, minutes of training) showed that such stacks carry over
to path-traced scenes, and that the mixture of both kinds matters more than anything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dffnets.synthetic.torus import EXPONENTS, Layer, frequencies, render

SceneKind = Literal["micro", "macro"]


@dataclass(frozen=True, slots=True)
class TrainingStack:
    """One stack: ``frames`` (N, H, W) uint8, ``depth`` (H, W) float16 and ``positions`` (N,) float32.

    Depth and positions are focus coordinates; positions run upwards within 0..1, and depth may lie
    outside (surfaces beyond the sweep, pixels without truth), which training masks. ``periodic`` stacks
    are squares on a torus: what leaves at one border comes in at the opposite one.
    """

    frames: Tensor
    depth: Tensor
    positions: Tensor
    kind: SceneKind
    periodic: bool = True


class Canvas:
    """Random pictures (S, S) on the torus, drawn with one seeded generator; shapes are ``scale`` times as large."""

    def __init__(self, random: np.random.Generator, size: int, device: torch.device, scale: int = 1) -> None:
        self.random, self.size, self.device, self.scale = random, size, device, scale
        axis = torch.arange(size, device=device, dtype=torch.float32)
        self.y, self.x = torch.meshgrid(axis, axis, indexing="ij")

    def uniform(self, low: float, high: float) -> float:
        """Return a number between the two."""
        return float(self.random.uniform(low, high))

    def log_uniform(self, low: float, high: float) -> float:
        """Return a number between the two, evenly in its logarithm."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return bool(self.random.random() < probability)

    def choose(self, makers: list[Callable[[], Tensor]]) -> Tensor:
        """Return what one of ``makers`` draws."""
        return makers[int(self.random.integers(len(makers)))]()

    def white(self) -> Tensor:
        """Return white noise of deviation 1."""
        noise = self.random.standard_normal((self.size, self.size), dtype=np.float32)
        return torch.from_numpy(noise).to(self.device)

    def noise(self, beta: float) -> Tensor:
        """Return noise of deviation 1 with power spectrum 1/f^beta (0 white, 2 clouds, 4 hills)."""
        amplitude = frequencies(self.size, self.device).clamp(min=1 / self.size) ** (-beta / 2)
        amplitude = amplitude.clone()
        amplitude[0, 0] = 0
        field: Tensor = torch.fft.irfft2(torch.fft.rfft2(self.white()) * amplitude, s=(self.size, self.size))
        return field / (field.std() + 1e-9)

    def smooth(self, picture: Tensor, sigma: float) -> Tensor:
        """Return ``picture`` blurred by a Gaussian of ``sigma`` pixels."""
        window = torch.exp(-2 * (math.pi * sigma * frequencies(self.size, self.device)) ** 2)
        smoothed: Tensor = torch.fft.irfft2(torch.fft.rfft2(picture) * window, s=(self.size, self.size))
        return smoothed

    def offsets(self) -> tuple[Tensor, Tensor]:
        """Return (dy, dx) to a random point in pixels of scale 1, the short way round the torus."""
        half = self.size / 2
        cy, cx = self.uniform(0, self.size), self.uniform(0, self.size)
        dy, dx = (self.y - cy + half) % self.size - half, (self.x - cx + half) % self.size - half
        return dy / self.scale, dx / self.scale

    # -- textures: reflectance, about 0..1 -------------------------------------------------------

    def texture(self) -> Tensor:
        """Return a reflectance, from strong contrast down to almost none."""
        pattern = self.choose(
            [
                lambda: self.noise(self.uniform(0.3, 3.2)),
                lambda: self.noise(self.uniform(0.3, 2.0)),
                lambda: torch.tanh(self.noise(self.uniform(1.5, 3.5)) * self.uniform(1, 8)),
                self._stripes,
                self._speckles,
                lambda: self.noise(self.uniform(1, 3)) * (self.noise(3) * 4 + self.uniform(-3, 3)).sigmoid(),
                self._scratches,
            ]
        )
        if self.chance(0.3):
            pattern = pattern + 0.25 * self.noise(self.uniform(0, 1.5))
        reflectance = self.uniform(0.1, 0.8) + self.log_uniform(0.012, 0.35) * pattern
        if self.chance(0.3):
            reflectance = reflectance + self.uniform(0, 0.25) * self.noise(4)
        return reflectance.clamp(0, 1.2)

    def _stripes(self) -> Tensor:
        u, v = (int(k) for k in self.random.integers(-24, 25, 2))
        phase = 2 * math.pi * (u * self.x + v * self.y) / self.size + self.uniform(0, 2) * self.noise(3)
        return torch.tanh(torch.sin(phase) * self.uniform(0.5, 5)) + 0.2 * self.noise(1)

    def _speckles(self) -> Tensor:
        dots = self.smooth(self.noise(self.uniform(0, 2)), self.uniform(0.6, 3))
        return ((dots / (dots.std() + 1e-9) - self.uniform(0.8, 2)) * 6).sigmoid() * 3

    def _scratches(self) -> Tensor:
        lines = torch.zeros_like(self.x)
        for _ in range(int(self.random.integers(3, 25))):
            lines = torch.maximum(lines, self.mask("hair") * self.uniform(0.2, 1))
        return 3 * lines * (1 if self.chance(0.5) else -1) + 0.3 * self.noise(self.uniform(0, 2))

    # -- shapes: opacity 0..1 with soft edges ---------------------------------------------------

    def mask(self, shape: str) -> Tensor:
        """Return a ``blob``, ``bar``, ``hair``, ``box``, ``ring`` or ``disc`` of random size and place."""
        if shape == "blob":
            return ((self.noise(self.uniform(2.5, 4)) - self.uniform(0.2, 1.2)) * 12).sigmoid()
        dy, dx = self.offsets()
        angle = self.uniform(0, math.pi)
        u, v = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
        if shape == "bar":
            return _inside(v, self.uniform(3, 14)) * _inside(u, self.uniform(20, 60))
        if shape == "hair":
            v = v + self.uniform(0, 8) * torch.sin(u / self.uniform(8, 30))
            return _inside(v, self.uniform(0.5, 2.2)) * (60 - u.abs()).clamp(0, 1)
        if shape == "box":
            return _inside(u, self.uniform(5, 28)) * _inside(v, self.uniform(5, 28))
        radius = torch.hypot(dx, dy)
        if shape == "ring":
            return _inside(radius - self.uniform(8, 28), self.uniform(2, 6))
        return _inside(radius, self.uniform(5, 26))

    # -- heights: 0..1 -----------------------------------------------------------------------------

    def height(self) -> Tensor:
        """Return a height field scaled to 0..1, either side up, any way round."""
        field = self.choose(
            [
                lambda: self.noise(self.uniform(2.4, 4)),
                lambda: self._steps("ring", 0.4) + self.uniform(0, 0.4) * self.noise(4),
                self._blocks,
                self._milled,
                self._dome,
                self._slope,
                lambda: (
                    torch.tanh(self.noise(self.uniform(2.5, 4)) * self.uniform(1, 10))
                    + self.uniform(0, 0.5) * self.noise(3.5)
                ),
            ]
        )
        field = field - field.min()
        field = field / (field.max() + 1e-6)
        if self.chance(0.3):
            field = 1 - field
        return torch.rot90(field, int(self.random.integers(4))) if self.chance(0.5) else field

    def _steps(self, shape: str, lowest: float) -> Tensor:
        field = torch.zeros_like(self.x)
        for _ in range(int(self.random.integers(2, 8))):
            field = torch.maximum(field, self.mask(shape) * self.uniform(lowest, 1))
        return field

    def _blocks(self) -> Tensor:
        _, dx = self.offsets()
        tilt = 0.2 * dx / self.size * self.uniform(-1, 1)
        return torch.maximum(tilt, self._steps("box" if self.chance(0.5) else "disc", 0.1))

    def _milled(self) -> Tensor:
        grooves = 0.4 * self.noise(1.5)[:1].expand(self.size, -1)
        return grooves + self.noise(3.6) + self.uniform(0, 0.1) * self.noise(1.6)

    def _dome(self) -> Tensor:
        dy, dx = self.offsets()
        return torch.sqrt((self.uniform(30, 90) ** 2 - dx**2 - dy**2).clamp(min=0))

    def _slope(self) -> Tensor:
        dy, dx = self.offsets()
        return dx * self.uniform(-1, 1) + dy * self.uniform(-1, 1) + self.uniform(0, 10) * self.noise(3.5)

    def shading(self, height_px: Tensor) -> Tensor:
        """Return light 0.25..1.05 on a surface lit from a random side; ``height_px`` in pixels."""
        slope_x = (torch.roll(height_px, -1, 1) - torch.roll(height_px, 1, 1)) / 2
        slope_y = (torch.roll(height_px, -1, 0) - torch.roll(height_px, 1, 0)) / 2
        angle = self.uniform(0, 2 * math.pi)
        lambert = 0.79 - 0.6 * (math.cos(angle) * slope_x + math.sin(angle) * slope_y)
        return 0.25 + 0.8 * ((lambert / torch.sqrt(1 + slope_x**2 + slope_y**2) + 0.2) / 1.2).clamp(0, 1)


def _inside(distance: Tensor, half_width: float) -> Tensor:
    """Return 1 where |distance| is below ``half_width``, 0 beyond, over one pixel."""
    return (half_width - distance.abs() + 0.5).clamp(0, 1)


def solid(field: Tensor, opacity: Tensor, colour: Tensor, low: float, high: float, count: int) -> list[Layer]:
    """Return ``count`` layers that fill a surface ``field`` between ``low`` and ``high``, solid downwards."""
    if count < 2:
        return [Layer(0.5 * (low + high), opacity, colour)]
    step = (high - low) / (count - 1)
    places = [low + k * step for k in range(count)]
    return [
        Layer(place, opacity if k == 0 else opacity * ((field - place) / step + 0.5).clamp(0, 1), colour)
        for k, place in enumerate(places)
    ]


def micro_scene(canvas: Canvas) -> tuple[list[Layer], Tensor]:
    """Return the layers and the depth (S, S) of a height field under a microscope."""
    low = canvas.uniform(-0.03, 0.4)
    high = canvas.uniform(max(low + 0.1, 0.5), 1.03)
    depth = low + (high - low) * canvas.height()
    colour = canvas.texture()
    if canvas.chance(0.7):
        colour = colour * canvas.shading((depth - low) * canvas.uniform(5, 60))
    if canvas.chance(0.25):  # glints: small saturated spots where the surface happens to face the light
        glint = canvas.smooth(canvas.white(), canvas.uniform(0.7, 2.0))
        colour = colour + canvas.uniform(0.5, 3) * ((glint / glint.std() - canvas.uniform(2, 3)) * 8).sigmoid()
    if canvas.chance(0.3):
        colour = colour * (1 + canvas.uniform(0.05, 0.25) * canvas.noise(4)).clamp(0.2, 1.8)
    layers = solid(depth, torch.ones_like(depth), colour, low, high, int(canvas.random.integers(20, 33)))
    return layers, depth


SHAPES = ("blob", "bar", "hair", "hair", "hair", "box", "ring", "disc", "ball")
"""Objects of a macro scene; hairs are what classical and learned methods miss most, so there are more."""


def macro_scene(canvas: Canvas) -> tuple[list[Layer], Tensor]:
    """Return the layers and the depth (S, S) of objects in front of a background."""
    low = canvas.uniform(-0.02, 0.3)
    flat = canvas.chance(0.4)
    depth = torch.full_like(canvas.x, low) if flat else low + canvas.uniform(0.05, 0.4) * canvas.height()
    layers = solid(
        depth, torch.ones_like(depth), canvas.texture(), float(depth.min()), float(depth.max()), 1 if flat else 9
    )
    for _ in range(int(canvas.random.integers(2, 10))):
        opacity, surface, colour = _object(canvas, low)
        surface = surface.clamp(-0.02, 1.03)
        seen = surface[opacity > 0.5]
        if seen.numel() < 3:
            continue
        bottom, top = float(seen.min()), float(seen.max())
        layers += solid(surface, opacity, colour, bottom, top, min(10, int((top - bottom) / 0.025) + 1))
        depth = torch.where((opacity > 0.5) & (surface > depth), surface, depth)
    return layers, depth


def _object(canvas: Canvas, low: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return opacity, depth and colour (S, S) of one object."""
    shape = SHAPES[int(canvas.random.integers(len(SHAPES)))]
    colour, place = canvas.texture(), canvas.uniform(low, 1.0)
    if shape == "ball":
        dy, dx = canvas.offsets()
        radius = canvas.uniform(6, 26)
        bulge = torch.sqrt((radius**2 - dx**2 - dy**2).clamp(min=0))
        surface = place + canvas.uniform(0.02, 0.2) * bulge / radius
        return _inside(torch.hypot(dx, dy), radius), surface, colour * canvas.shading(0.8 * bulge)
    opacity = canvas.mask(shape)
    if shape != "hair" and canvas.chance(0.5):
        dy, dx = canvas.offsets()
        angle = canvas.uniform(0, 2 * math.pi)
        tilt = (dx * math.cos(angle) + dy * math.sin(angle)) / canvas.size
        return opacity, place + canvas.uniform(0, 0.25) * tilt, colour
    return opacity, torch.full_like(canvas.x, place), colour


def focus_positions(canvas: Canvas, count: int) -> Tensor:
    """Return (N,) ascending focus coordinates over 0..1, three in ten irregular."""
    positions = torch.linspace(0, 1, count)
    if count > 5 and canvas.chance(0.3):
        jitter = torch.from_numpy(canvas.random.uniform(-0.35, 0.35, count).astype(np.float32)) / (count - 1)
        jitter[0] = jitter[-1] = 0
        positions = positions + jitter
    return positions.to(canvas.device)


def expose(canvas: Canvas, slices: Tensor) -> Tensor:
    """Return slices (N, S, S) as a camera gives them: flicker, noise, saturation, curve; uint8."""
    n = len(slices)
    flicker = float(canvas.random.choice([0, 0.005, 0.02]))
    gain = 1 + flicker * torch.from_numpy(canvas.random.standard_normal((n, 1, 1), dtype=np.float32)).to(canvas.device)
    slices = slices.clamp(0, 1.3) * gain
    read = canvas.log_uniform(0.0007, 0.035)
    shot = read * canvas.uniform(0, 1.5)
    grain = torch.from_numpy(canvas.random.standard_normal(tuple(slices.shape), dtype=np.float32)).to(canvas.device)
    slices = slices + grain * torch.sqrt(read**2 + shot**2 * slices.clamp(min=0))
    slices = (slices / max(1.0, float(slices.max()) * 0.97)).clamp(0, 1) ** math.exp(canvas.uniform(-0.7, 0.4))
    return (slices * 255).round().clamp(0, 255).to(torch.uint8)


def random_stack(
    seed: tuple[int, ...],
    kind: SceneKind | None = None,
    count: int | None = None,
    size: int = 128,
    device: str = "cpu",
    scale: int = 1,
) -> TrainingStack:
    """Render one random stack; the same ``seed`` gives the same stack.

    ``count`` slices (default 5 to 16, three in ten 17 to 40) of ``size`` pixels; ``kind`` at random unless given.
    ``scale`` makes shapes and blur larger, as a camera of more pixels does; texture and hairs stay as fine as pixels,
    and blur within what the renderer's table holds.
    """
    canvas = Canvas(np.random.default_rng(seed), size, torch.device(device), scale)
    kind = kind or ("micro" if canvas.chance(0.45) else "macro")
    layers, depth = micro_scene(canvas) if kind == "micro" else macro_scene(canvas)
    count = count or int(canvas.random.integers(*((17, 41) if canvas.chance(0.3) else (5, 17))))
    positions = focus_positions(canvas, count)
    # blur radius grows by 0.45 to 4.2 px a slice: sampled per step, since that is what a sweep is planned by
    slope = min(scale * canvas.log_uniform(0.45, 4.2), 44.0 / (count - 1)) * (count - 1)
    exponent = EXPONENTS[int(canvas.random.choice(len(EXPONENTS), p=[0.2, 0.1, 0.15, 0.15, 0.4]))]
    frames = expose(canvas, render(layers, positions, slope, exponent, canvas.uniform(0.25, 0.9)))
    if canvas.chance(0.5):  # near and far change places
        frames, positions, depth = frames.flip(0), 1 - positions.flip(0), 1 - depth
    return TrainingStack(frames, depth.to(torch.float16), positions, kind)
