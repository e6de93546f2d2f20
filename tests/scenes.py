"""Small rendered focal stacks with known depth, for every test that needs a truth.

>>> scene = tilted_plane(noise=0.01)
>>> scene.stack.n, scene.stack.shape, scene.depth.shape
(11, (160, 160), (160, 160))

Scenes are cached: the same arguments give the same object. Do not write into its arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dffnets import synthetic
from toposcope.core.calibration import Kind, Side, Sourced, Unit
from toposcope.core.stack import ArraySource, FocalStack

Floats = NDArray[np.float32]
Encoding = Literal["uint8", "uint16", "float32"]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A rendered stack and its truth.

    ``depth`` (H, W) float32 in the stack's unit; ``index`` (H, W) float32 the same as a fractional
    slice number; ``textured`` (H, W) bool, False where there is nothing to focus on; ``edges`` (H, W)
    bool, True near steps of depth, where blur of one side covers the other; ``motions`` (N, 2, 3)
    map pixel (column, row) of the unmoved scene to that of each frame; ``all_in_focus`` as a frame
    without blur and noise.
    """

    stack: FocalStack
    depth: Floats
    index: Floats
    textured: NDArray[np.bool_]
    edges: NDArray[np.bool_]
    motions: NDArray[np.float64]
    all_in_focus: NDArray[Any]

    @property
    def inner(self) -> NDArray[np.bool_]:
        """Pixels whose depth any good method should find: textured, away from steps and borders."""
        inner = self.textured & ~self.edges
        for border in (inner[:8], inner[-8:], inner[:, :8], inner[:, -8:]):
            border[:] = False
        return inner


@dataclass(frozen=True, slots=True)
class Look:
    """How a scene is photographed; all scene functions take these as keywords.

    ``noise`` standard deviation at mid grey as a share of white; ``magnify`` total change of
    magnification from the last to the first slice (0.1: 10 %); ``drift`` shift over the sweep as a
    share of the width; ``turn_deg`` rotation over the sweep; ``blur_px`` radius of blur one slice out
    of focus; ``contrast`` of the texture. A ``camera`` has metric distances of 300 to 600 mm.
    """

    size: int = 160
    n: int = 11
    noise: float = 0.0
    colour: bool = False
    encoding: Encoding = "uint8"
    kind: Kind = "microscope"
    unit: Unit = "um"
    magnify: float = 0.0
    drift: float = 0.0
    turn_deg: float = 0.0
    blur_px: float = 1.5
    contrast: float = 0.18
    psf: synthetic.Psf = "disc"
    seed: int = 1


def tilted_plane(**look: Any) -> Scene:
    """Return a plane that rises from left to right through the whole sweep, without its first and last slice."""
    return _tilted_plane(Look(**look))


def step(**look: Any) -> Scene:
    """Return two levels, one upright edge between them: 30 % and 70 % of the sweep."""
    return _step(Look(**look))


def hemisphere(**look: Any) -> Scene:
    """Return a dome on a flat ground."""
    return _hemisphere(Look(**look))


def textureless_patches(**look: Any) -> Scene:
    """Return a slope with four discs that show no texture at all."""
    return _textureless_patches(Look(**look))


def print_on_board(**look: Any) -> Scene:
    """Return a dark, faintly textured, nearly level board with bright print, blurred far at the ends."""
    return _print_on_board(Look(**({"n": 10, "blur_px": 6.0, "size": 320, "contrast": 0.012, "noise": 0.004} | look)))


def hard(**look: Any) -> Scene:
    """Return `occlusion` with discs on the ground and on the floating disc that show no texture at all."""
    return _hard(Look(**look))


def occlusion(**look: Any) -> Scene:
    """Return a tilted ground with a disc and two bars that float high above it and hide it."""
    return _occlusion(Look(**look))


def film(**look: Any) -> Scene:
    """Return a level film at 70 % of the sweep, half transparent, and a ground below it that rises from 15 to 35 %.

    The truth is that of the ground.
    """
    return _film(Look(**look))


@lru_cache(maxsize=32)
def _film(look: Look) -> Scene:
    _, columns = _grid(look)
    ground, film = 0.15 + 0.2 * columns, np.full_like(columns, 0.7)
    return _photograph(look, [(ground, _texture(look), None), (film, _texture(look, 1), np.full_like(film, 0.5))])


@lru_cache(maxsize=32)
def _tilted_plane(look: Look) -> Scene:
    _, columns = _grid(look)
    return _photograph(look, [(_in_sweep(columns), _texture(look), None)])


@lru_cache(maxsize=32)
def _step(look: Look) -> Scene:
    _, columns = _grid(look)
    return _photograph(look, [(np.where(columns < 0.5, 0.3, 0.7), _texture(look), None)])


@lru_cache(maxsize=32)
def _hemisphere(look: Look) -> Scene:
    rows, columns = _grid(look)
    dome = np.sqrt(np.clip(0.4**2 - (rows - 0.5) ** 2 - (columns - 0.5) ** 2, 0, None)) / 0.4
    return _photograph(look, [(0.1 + 0.8 * dome, _texture(look), None)])


@lru_cache(maxsize=32)
def _textureless_patches(look: Look) -> Scene:
    rows, columns = _grid(look)
    texture = _texture(look)
    for row, column in ((0.28, 0.28), (0.28, 0.72), (0.72, 0.28), (0.72, 0.72)):
        texture[np.hypot(rows - row, columns - column) < 0.14] = 0.45
    return _photograph(look, [(_in_sweep((rows + columns) / 2), texture, None)])


@lru_cache(maxsize=32)
def _print_on_board(look: Look) -> Scene:
    rows, columns = _grid(look)
    ring = np.abs(np.hypot(rows - 0.32, columns - 0.35) - 0.14) < 0.03
    line = np.abs(rows - 0.72) < 0.025
    pad = (np.abs(rows - 0.42) < 0.1) & (np.abs(columns - 0.8) < 0.06)
    ink = cv2.GaussianBlur((ring | line | pad).astype(np.float32), (0, 0), 2.5)
    colour = _texture(look) - np.float32(0.35) + np.float32(0.8) * ink[..., None]
    return _photograph(look, [(0.3 + 0.02 * columns, colour, None)])


@lru_cache(maxsize=32)
def _occlusion(look: Look) -> Scene:
    return _hanging(look, bare=False)


@lru_cache(maxsize=32)
def _hard(look: Look) -> Scene:
    return _hanging(look, bare=True)


def _hanging(look: Look, bare: bool) -> Scene:
    rows, columns = _grid(look)
    textures = [_texture(look, number) for number in range(4)]
    if bare:
        for number, row, column, radius in ((0, 0.35, 0.56, 0.06), (0, 0.9, 0.3, 0.08), (2, 0.35, 0.32, 0.08)):
            textures[number][np.hypot(rows - row, columns - column) < radius] = 0.45
    disc = np.clip((0.16 - np.hypot(rows - 0.35, columns - 0.32)) * look.size + 0.5, 0, 1)
    bars = np.clip((0.04 - np.abs(rows - 0.75)) * look.size + 0.5, 0, 1)
    upright = np.clip((0.03 - np.abs(columns - 0.72)) * look.size + 0.5, 0, 1)
    ground = 0.1 + 0.25 * columns
    return _photograph(
        look,
        [
            (ground, textures[0], None),
            (np.full_like(ground, 0.6), textures[1], bars),
            (np.full_like(ground, 0.7), textures[2], disc),
            (np.full_like(ground, 0.85), textures[3], upright),
        ],
    )


def _margin(look: Look) -> int:
    moves = look.drift + look.magnify / 2 + np.radians(look.turn_deg)
    return int(np.ceil(look.blur_px * (look.n - 1))) + 4 + int(np.ceil(moves * look.size))


def _grid(look: Look) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows and columns as shares of the frame, margins below 0 and above 1."""
    margin = _margin(look)
    line = (np.arange(-margin, look.size + margin) + 0.5) / look.size
    rows, columns = np.meshgrid(line, line, indexing="ij")
    return rows, columns


def _in_sweep(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(0.1 + 0.8 * share, 0.0, 1.0)


def _texture(look: Look, number: int = 0) -> Floats:
    """Return (H, W, C) light around 0.45: fine detail over coarse."""
    rng = np.random.default_rng((look.seed, number))
    side = look.size + 2 * _margin(look)
    shape = (side, side)
    planes = []
    for _ in range(3 if look.colour else 1):
        detail = 0.8 * synthetic.fractal(shape, 0.6, rng, finest=0.4) + 0.4 * synthetic.fractal(shape, 2.2, rng)
        planes.append(np.clip(0.45 + look.contrast * detail, 0.02, 0.95))
    return np.stack(planes, axis=2).astype(np.float32)


def _photograph(look: Look, bodies: list[tuple[NDArray[np.float64], Floats, NDArray[np.float64] | None]]) -> Scene:
    """Render bodies whose depth is a share of the sweep, 0 farthest from the lens and 1 nearest."""
    lens, positions, towards_lens = _lens(look)
    low, high = positions[0], positions[-1]

    def place(share: NDArray[np.float64]) -> Floats:
        if towards_lens > 0:
            return np.asarray(low + share * (high - low), np.float32)
        return np.asarray(1 / (1 / high + share * (1 / low - 1 / high)), np.float32)

    solids = [
        synthetic.Solid(place(share), colour, None if mask is None else mask.astype(np.float32))
        for share, colour, mask in bodies
    ]
    scene = synthetic.Scene(tuple(solids), _margin(look), towards_lens)
    bits: Any = {"uint8": 8, "uint16": 16, "float32": None}[look.encoding]
    well = 0.5 / look.noise**2 if look.noise else 1e12
    sensor = synthetic.Sensor(full_well=well, read_noise=0.0, bits=bits)
    rendered = synthetic.render_stack(scene, lens, positions, sensor, _motions(look), seed=look.seed)
    scale = {"um": 1.0, "mm": 1e-3, "m": 1e-6, "index": 1.0}[look.unit]  # heights are rendered in um
    if towards_lens < 0:
        scale *= 1e3  # distances in mm
    stack, depth = _stack(look, rendered, scale, towards_lens)
    share = (rendered.depth - low) / (high - low)
    if towards_lens < 0:
        share = (1 / low - 1 / rendered.depth) / (1 / low - 1 / high)
    index = share * (look.n - 1)
    if look.unit == "index":
        depth = index
    cut = [scene.cut(colour) for _, colour, _ in bodies]
    textured = np.ones(depth.shape, bool)
    if len(bodies) == 1:
        textured = (np.asarray(cut[0]) != np.float32(0.45)).any(axis=2)
    return Scene(
        stack,
        depth.astype(np.float32),
        index.astype(np.float32),
        textured,
        _near_steps(index, reach=int(np.ceil(2 * look.blur_px)) + 3),
        rendered.motions,
        rendered.all_in_focus,
    )


def _lens(look: Look) -> tuple[synthetic.Lens, NDArray[np.float64], int]:
    if look.kind == "microscope":
        step_um, na = 2.0, 0.3
        pixel_um = step_um * float(np.tan(np.arcsin(na))) / look.blur_px
        positions = 10.0 + step_um * np.arange(look.n, dtype=np.float64)
        return synthetic.Microscope(na, pixel_um, wavelength_um=0.1, psf=look.psf), positions, 1
    near, far = 300.0, 600.0
    positions = 1 / np.linspace(1 / near, 1 / far, look.n)
    focal = 50.0
    sensor_mm = focal * far / (far - focal)
    # the pitch that makes one slice blur by blur_px
    angle = focal / 4 * (1 / near - 1 / far) / (look.n - 1)
    pitch_um = angle * sensor_mm / 2 / look.blur_px * 1e3
    return synthetic.ThinLens(focal, 4.0, pitch_um, far, psf=look.psf), positions, -1


def _motions(look: Look) -> NDArray[np.float64]:
    """Return (N, 2, 3): magnification, rotation about the centre and drift, none at the last slice."""
    centre = (look.size - 1) / 2
    motions = np.zeros((look.n, 2, 3))
    for i in range(look.n):
        left = 1 - i / (look.n - 1)
        scale, angle = 1 + look.magnify * left, np.radians(look.turn_deg) * left
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        drift = look.drift * look.size * left * np.array([0.8, -0.6])
        motions[i] = np.column_stack([turn, np.full(2, centre) - turn @ np.full(2, centre) + drift])
    return motions


def _stack(look: Look, rendered: synthetic.Rendered, scale: float, towards_lens: int) -> tuple[FocalStack, Floats]:
    positions = None if look.unit == "index" else Sourced(rendered.positions * scale, "rendered")
    side: Side = "high" if towards_lens > 0 else "low"
    pixel = None
    if look.kind == "microscope":
        pixel = Sourced(2.0 * float(np.tan(np.arcsin(0.3))) / look.blur_px, "rendered")
    names = tuple(f"slice_{i:02d}" for i in range(look.n))
    stack = FocalStack.create(
        ArraySource(rendered.frames, names),
        positions,
        look.unit,
        Sourced(look.kind, "rendered"),
        Sourced(side, "rendered"),
        pixel,
        name="scene",
    )
    return stack, (rendered.depth * scale).astype(np.float32)


def _near_steps(index: NDArray[np.floating], reach: int) -> NDArray[np.bool_]:
    """Return where neighbours within ``reach`` pixels differ by more than a slice."""
    low = cv2.erode(index.astype(np.float32), np.ones((3, 3), np.uint8))
    high = cv2.dilate(index.astype(np.float32), np.ones((3, 3), np.uint8))
    jumps = (high - low > 1.0).astype(np.uint8)
    return cv2.dilate(jumps, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
