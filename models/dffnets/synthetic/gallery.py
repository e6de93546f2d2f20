"""Scenes that are rendered by name: the shipped sample and a few simple ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dffnets.synthetic.medal import PIXEL_UM, medal
from dffnets.synthetic.optics import Lens, Microscope, Sensor, ThinLens
from dffnets.synthetic.scene import Scene, Solid
from dffnets.synthetic.textures import fractal

Floats = NDArray[np.float32]

SIDE = 384


@dataclass(frozen=True, slots=True, eq=False)
class Exhibit:
    """A scene and how it is photographed: ``positions`` in ``unit``, ``pixel_um`` None where it has no one value."""

    scene: Scene
    lens: Lens
    sensor: Sensor
    positions: NDArray[np.float64]
    unit: Literal["um", "mm"]
    kind: Literal["microscope", "camera"]
    pixel_um: float | None
    light: Floats | None = None


@dataclass(frozen=True, slots=True)
class ExhibitCard:
    """A scene by name: ``make`` takes a seed."""

    name: str
    title: str
    make: Callable[[int], Exhibit]


def _sample(seed: int) -> Exhibit:
    scene = medal(seed)
    height, width = (side - 2 * scene.margin for side in scene.canvas)
    rows, columns = np.indices((height, width), dtype=np.float32)
    # the lamp stands at the upper left, the field darkens towards its corners
    away = np.hypot((rows - 0.42 * height) / width, (columns - 0.45 * width) / width)
    light = (1.04 - 0.45 * away**2).astype(np.float32)
    sensor = Sensor(full_well=18_000, read_noise=8, bits=8, gamma=2.2)
    lens = Microscope(na=0.14, pixel_um=PIXEL_UM)
    return Exhibit(scene, lens, sensor, np.arange(0.0, 381.0, 20.0), "um", "microscope", PIXEL_UM, light)


def _small(heights: Floats, seed: int) -> Exhibit:
    """Photograph a height field, in micrometres, under a strong objective."""
    margin = (heights.shape[0] - SIDE) // 2
    scene = Scene((Solid(heights, _texture(heights.shape, seed)),), margin)
    positions = np.arange(0.0, 31.0, 2.0)
    return Exhibit(scene, Microscope(na=0.3, pixel_um=0.5), Sensor(gamma=2.2), positions, "um", "microscope", 0.5)


def _grid(margin: int = 24) -> tuple[Floats, Floats]:
    line = ((np.arange(-margin, SIDE + margin) + 0.5) / SIDE).astype(np.float32)
    rows, columns = np.meshgrid(line, line, indexing="ij")
    return rows, columns


def _texture(shape: tuple[int, ...], seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    side = (shape[0], shape[1])
    detail, tint = 0.7 * fractal(side, 0.9, rng) + 0.5 * fractal(side, 2.2, rng), fractal(side, 2.6, rng)
    planes = [0.30 + 0.11 * detail + share * tint for share in (0.05, 0.0, -0.05)]
    return np.asarray(np.clip(np.stack(planes, axis=2), 0.02, 1), np.float32)


def _plane(seed: int) -> Exhibit:
    _, columns = _grid()
    return _small((3 + 24 * columns).astype(np.float32), seed)


def _step(seed: int) -> Exhibit:
    _, columns = _grid()
    return _small(np.where(columns < 0.5, np.float32(8), np.float32(22)), seed)


def _dome(seed: int) -> Exhibit:
    rows, columns = _grid()
    away = np.clip(1 - ((rows - 0.5) ** 2 + (columns - 0.5) ** 2) / 0.42**2, 0, None)
    return _small((3 + 24 * np.sqrt(away)).astype(np.float32), seed)


def _photograph(seed: int) -> Exhibit:
    """Discs and bars at 0.3 to 1.2 m before a slanting wall, through a 50 mm lens that breathes."""
    margin = 64
    rows, columns = _grid(margin)
    rng = np.random.default_rng(seed)
    solids = [Solid((900 + 300 * columns).astype(np.float32), _texture(rows.shape, seed))]
    for number, distance in enumerate(np.geomspace(800, 330, 6)):
        row, column, size = rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85), rng.uniform(0.06, 0.16)
        reach = np.abs(columns - column) * 4 if number % 2 else np.hypot(rows - row, columns - column)
        mask = np.clip((size - reach) * SIDE + 0.5, 0, 1).astype(np.float32)
        colour = _texture(rows.shape, seed + 1 + number) * rng.uniform(0.5, 1.6, 3).astype(np.float32)
        solids.append(Solid(float(distance), np.clip(colour, 0, 1), mask))
    positions = 1 / np.linspace(1 / 300, 1 / 1200, 12)
    lens = ThinLens(focal_mm=50, f_number=4, pitch_um=32, far_mm=1200, breathing=True)
    scene = Scene(tuple(solids), margin, towards_lens=-1)
    return Exhibit(scene, lens, Sensor(gamma=2.2), positions, "mm", "camera", None)


EXHIBITS: dict[str, ExhibitCard] = {
    card.name: card
    for card in (
        ExhibitCard("sample", "enamelled brass medal under a microscope: the shipped sample", _sample),
        ExhibitCard("plane", "tilted plane under a microscope", _plane),
        ExhibitCard("step", "two levels under a microscope", _step),
        ExhibitCard("dome", "dome on a flat ground under a microscope", _dome),
        ExhibitCard("photograph", "discs and bars before a wall through a breathing camera lens", _photograph),
    )
}
"""All scenes by name."""
