"""The sample scene: an enamelled brass medal, 1.2 mm across, on slate, under a microscope.

A toposcope is the engraved table on a summit that names the mountains around. This one shows a
range before a sky of blue enamel (smooth, nearly without texture), ringed by raised letters, with a
steep rim, ridges, scratches and glints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dffnets.synthetic.scene import Scene, Solid
from dffnets.synthetic.textures import fractal

Floats = NDArray[np.float32]

PIXEL_UM: Final = 2.5
SHAPE: Final = (540, 720)
MARGIN: Final = 24
FINE: Final = 4  # letters and lines are drawn so many times larger, then averaged

BRASS: Final = (0.78, 0.53, 0.19)
VERDIGRIS: Final = (0.10, 0.24, 0.19)
ENAMEL: Final = (0.015, 0.07, 0.28)
ROCK: Final = (0.20, 0.17, 0.15)
WOOD: Final = (0.075, 0.13, 0.045)
SNOW: Final = (0.80, 0.84, 0.90)
SLATE: Final = (0.055, 0.06, 0.07)


PEAKS: Final = ((-8, 0, 368, 132), (-82, 38, 300, 84), (78, 36, 318, 92), (28, 78, 250, 74), (-38, 88, 235, 66))
"""Mountains: right and down of the middle in pixels, height in micrometres, radius of the foot in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Places on the canvas in pixels from the middle of the frame: ``x`` right, ``y`` down, ``r`` and ``angle``."""

    x: Floats
    y: Floats
    r: Floats
    angle: Floats

    @classmethod
    def create(cls, scale: int = 1) -> _Grid:
        height, width = ((side + 2 * MARGIN) * scale for side in SHAPE)
        y = ((np.arange(height) + 0.5) / scale - (SHAPE[0] / 2 + MARGIN)).astype(np.float32)
        x = ((np.arange(width) + 0.5) / scale - (SHAPE[1] / 2 + MARGIN)).astype(np.float32)
        xs, ys = np.meshgrid(x, y)
        return cls(xs, ys, np.hypot(xs, ys), np.arctan2(ys, xs))


def medal(seed: int = 7) -> Scene:
    """Return the scene; heights in micrometres, 0 to about 380, towards the lens."""
    rng = np.random.default_rng(seed)
    grid = _Grid.create()
    canvas = grid.r.shape
    disc = _ramp(246 - grid.r, 1.5)
    sky = _ramp(166 - grid.r, 2.5)
    mountains = _mountains(grid, rng)
    letters = _reduced(_lettering())
    rim = _ramp(246 - grid.r, 3) * _ramp(grid.r - 230, 5)
    inner_rim = np.exp(-(((grid.r - 171) / 5.5) ** 2))
    beads = _beads(grid)
    slate = 14 * fractal(canvas, 2.6, rng, coarsest=0.004).clip(-2.5, 2.5)
    bowl = 150 + 14 * np.cos(np.clip(grid.r / 246, 0, 1) * np.pi / 2)
    metal = bowl + 75 * rim + 62 * inner_rim + 52 * letters + 45 * beads + 1.2 * fractal(canvas, 2.0, rng)
    relief = metal * (1 - sky) + sky * np.maximum(150 + 6 * (grid.r / 166) ** 2, mountains)
    heights = (45 + slate) * (1 - disc) + disc * relief
    rocky = sky * _ramp(mountains - 152, 3)
    colour = _colour(grid, heights.astype(np.float32), disc, sky, rocky, letters, rng)
    return Scene((Solid(heights.astype(np.float32), colour),), MARGIN)


def _ramp(distance: Floats, width: float) -> Floats:
    """Return 0 below, 1 above, smooth over ``width`` pixels around 0."""
    share = np.clip(distance / width + 0.5, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _reduced(plane: Floats) -> Floats:
    size = plane.shape[1] // FINE, plane.shape[0] // FINE
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 0.9), np.float32)


def _mountains(grid: _Grid, rng: np.random.Generator) -> Floats:
    """Return a range of three peaks with ridges and valleys, in micrometres; far below the sky where there is none."""
    ridges = 1 - np.abs(fractal(grid.r.shape, 3.0, rng, coarsest=0.012)).clip(0, 1.6)
    crags = fractal(grid.r.shape, 2.2, rng, coarsest=0.03)
    range_ = np.full(grid.r.shape, -1e3, np.float32)
    for x, y, top, foot in (
        (-8, 0, 368, 132),
        (-82, 38, 300, 84),
        (78, 36, 318, 92),
        (28, 78, 250, 74),
        (-38, 88, 235, 66),
    ):
        away = np.hypot(grid.x - x, (grid.y - y) * 1.12) / foot
        spurs = 0.10 * np.cos(5 * np.arctan2(grid.y - y, grid.x - x) + x) * np.clip(away, 0, 1)
        cone = 150 + (top - 150) * (1 - np.clip(away + spurs, 0, 2) ** 0.85)
        range_ = np.maximum(range_, cone)
    share = np.clip((range_ - 140) / 200, 0, 1)
    return np.asarray(range_ + share * (44 * ridges - 30 + 4 * crags), np.float32)


def _lettering() -> Floats:
    """Return letters on two arcs, ``FINE`` times as large as the canvas, 1 on letters."""
    grid = _Grid.create(FINE)
    above = _arc(grid, "TOPOSCOPE", radius=199, spread=2.05, outward=True)
    below = _arc(grid, "FOCUS TO DEPTH", radius=201, spread=2.0, outward=False)
    return np.maximum(above, below)


def _arc(grid: _Grid, text: str, radius: float, spread: float, outward: bool) -> Floats:
    """Return ``text`` along an arc of ``spread`` radians, read from inside (outward) or from below."""
    font, size, thick = cv2.FONT_HERSHEY_TRIPLEX, 5.0, 14
    (width, height), base = cv2.getTextSize(text, font, size, thick)
    strip = np.zeros((height + 2 * base, width + 40), np.uint8)
    cv2.putText(strip, text, (20, height + base), font, size, 255, thick, cv2.LINE_AA)
    tall = 34.0  # pixels of the frame that the strip's letters are high
    turn = grid.angle + np.pi / 2 if outward else np.pi / 2 - grid.angle
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    across = grid.r - radius if outward else radius - grid.r
    map_x = (turn / spread + 0.5) * strip.shape[1]
    map_y = strip.shape[0] / 2 - across * (height / tall)
    return np.asarray(cv2.remap(strip, map_x, map_y, cv2.INTER_LINEAR).astype(np.float32) / 255, np.float32)


def _beads(grid: _Grid) -> Floats:
    """Return half-round beads between the two arcs of letters, left and right."""
    beads = np.zeros(grid.r.shape, np.float32)
    for angle in (-0.17, 0.0, 0.17, np.pi - 0.17, np.pi, np.pi + 0.17):
        away = np.hypot(grid.x - 200 * np.cos(angle), grid.y - 200 * np.sin(angle))
        beads = np.maximum(beads, np.sqrt(np.clip(1 - (away / 9.5) ** 2, 0, None)))
    return beads


def _colour(
    grid: _Grid, heights: Floats, disc: Floats, sky: Floats, rocky: Floats, letters: Floats, rng: np.random.Generator
) -> Floats:
    """Return (H, W, 3) linear light: materials, patina in the recesses, scratches, light from the upper left."""
    canvas = grid.r.shape
    fine = fractal(canvas, 0.8, rng, finest=0.4)
    blotches = fractal(canvas, 2.4, rng)
    recess = np.clip((cv2.GaussianBlur(heights, (0, 0), 7) - heights) / 22 + 0.18 * blotches, 0, 1)
    scratches = _scratches(canvas, rng)

    def paint(below: Floats, material: tuple[float, float, float], share: Floats) -> Floats:
        return np.asarray(below + share[..., None] * (np.array(material, np.float32) - below), np.float32)

    ground = np.array(SLATE, np.float32) * (1 + 0.35 * fine + 0.25 * blotches)[..., None]
    metal = np.array(BRASS, np.float32) * (1 + 0.13 * fine + 0.10 * blotches + 0.5 * scratches)[..., None]
    metal = paint(
        metal, VERDIGRIS, np.clip(0.9 * recess + 0.22 * np.clip(blotches - 0.6, 0, 1), 0, 0.9) * (1 - 0.6 * letters)
    )
    colour = ground * (1 - disc[..., None]) + metal * disc[..., None]
    glow = np.clip((grid.y + 160) / 320, 0, 1)
    enamel = np.array(ENAMEL, np.float32) * (1 + 1.6 * glow + 0.05 * fractal(canvas, 1.2, rng, finest=0.3))[..., None]
    colour = colour * (1 - sky[..., None]) + enamel * sky[..., None]
    colour = paint(colour, SNOW, sky * _stars(grid, rng))
    grain = np.exp(0.20 * fine + 0.22 * fractal(canvas, 1.8, rng))[..., None]
    rock = paint(
        np.broadcast_to(np.array(ROCK, np.float32), (*canvas, 3)), WOOD, _ramp(205 + 9 * blotches - heights, 30)
    )
    rock = rock * grain
    snow = _ramp(heights + 12 * blotches - 262, 18)
    rock = paint(rock, SNOW, snow * (1 - 0.12 * np.clip(fine, 0, 2)).astype(np.float32))
    colour = colour * (1 - rocky[..., None]) + rock * rocky[..., None]
    shade, glint = _light(heights)
    shiny = disc * (0.35 + 0.65 * (1 - sky)) * (1 - rocky) + 0.1 * rocky
    lit = colour * shade[..., None] + (0.85 * glint * shiny)[..., None] * np.array((1.0, 0.93, 0.78), np.float32)
    return np.clip(lit, 0.002, 1.6).astype(np.float32)


def _light(heights: Floats) -> tuple[Floats, Floats]:
    """Return diffuse light and glints of a lamp at the upper left, by the slopes of the surface."""
    soft = np.asarray(cv2.GaussianBlur(heights, (0, 0), 1.2) / PIXEL_UM, np.float32)
    across, down = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=1 / 8)
    length = np.sqrt(1 + across**2 + down**2)
    lamp = np.array([-0.45, -0.55, 0.70]) / np.linalg.norm([-0.45, -0.55, 0.70])
    half = lamp + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    diffuse = (-across * lamp[0] - down * lamp[1] + lamp[2]) / length
    mirror = np.clip((-across * half[0] - down * half[1] + half[2]) / length, 0, 1)
    return np.asarray(0.30 + 0.85 * np.clip(diffuse, 0, None), np.float32), np.asarray(mirror**60, np.float32)


def _scratches(canvas: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return fine straight lines, 0..1."""
    height, width = canvas
    plane = np.zeros((height, width), np.uint8)
    for _ in range(140):
        x, y, angle, length = rng.uniform(0, width), rng.uniform(0, height), rng.normal(0.5, 0.5), rng.uniform(20, 160)
        ends = [
            (round(16 * (x + s * length * np.cos(angle))), round(16 * (y + s * length * np.sin(angle)))) for s in (0, 1)
        ]
        cv2.line(plane, ends[0], ends[1], int(rng.uniform(60, 255)), 1, cv2.LINE_AA, 4)
    return np.asarray(plane / 255, np.float32)


def _stars(grid: _Grid, rng: np.random.Generator) -> Floats:
    """Return small inlaid stars in the upper sky, 0..1."""
    stars = np.zeros(grid.r.shape, np.float32)
    for _ in range(16):
        angle, away = rng.uniform(-2.7, -0.45), rng.uniform(105, 150)
        distance = np.hypot(grid.x - away * np.cos(angle), grid.y - away * np.sin(angle))
        stars = np.maximum(stars, _ramp(rng.uniform(1.0, 2.4) - distance, 1.5))
    return stars
