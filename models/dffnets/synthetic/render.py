"""Render focal stacks: solids blurred layer by layer, with occlusion.

Each solid is cut into thin layers across its depth range. All layers are solid backwards: layer j
covers every pixel whose surface lies at layer j or before it. Per slice:

1. the cover of each layer is blurred with that layer's blur circle;
2. the layers of one body are nested, not independent: a ray is stopped at layer j or before it with
   probability max over k >= j of the blurred covers. At the focus rays cross to the other side of an
   edge, so that this holds on each side of it, and the two add up. The differences from layer to
   layer are the layers' weights; they sum to the body's total cover;
3. each layer's colour is that of the band of surface which belongs to it, blurred and normalised;
4. bodies are laid one over the other, back to front, as independent ones.

Two errors remain, both measured against rays in the tests: rays that pass one body's edge twice, and
the correlation between different bodies. Layering premultiplied colour and alpha independently
(Hasinoff & Kutulakos, "A Layer-Based Restoration Framework for Variable-Aperture Photography", ICCV
2007) is the special case of one layer per body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dffnets.synthetic.optics import Lens, Sensor, transfer
from dffnets.synthetic.scene import Scene, Solid

LAYER_PX = 0.4
"""Neighbouring layers differ by at most this radius of blur: their mixture then is hardly wider than it should be."""

WALL = 0.02
"""Weight of the colour of the body behind a layer, seen where only a wall is left of the layer."""


RINGING = 1e-3
"""Covers below this say nothing: sharp masks ring that much when they are blurred by a sharp disc."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A rendered focal stack and its truth.

    ``frames`` (N, H, W) or (N, H, W, 3) as the sensor records them; ``positions`` (N,) of the focus;
    ``depth`` (H, W) float32 of the unmoved scene, in the lens's unit; ``all_in_focus`` as a frame without
    blur and noise; ``motions`` (N, 2, 3) map pixel (column, row) of the unmoved scene to that of the frame.
    """

    frames: NDArray[Any]
    positions: NDArray[np.float64]
    depth: NDArray[np.float32]
    all_in_focus: NDArray[Any]
    motions: NDArray[np.float64]


def render_stack(
    scene: Scene,
    lens: Lens,
    positions: Sequence[float] | NDArray[np.float64],
    sensor: Sensor | None = None,
    motions: NDArray[np.float64] | None = None,
    light: NDArray[np.float32] | None = None,
    seed: int = 0,
    on_slice: Callable[[int], None] = lambda i: None,
    device: str = "cpu",
) -> Rendered:
    """Render what a sensor records of ``scene`` at each focus position.

    Parameters
    ----------
    positions : (N,) focus, in the lens's unit
    sensor : None gives exact light as float32, without noise
    motions : (N, 2, 3) shift and rotation of each frame against the unmoved scene, on top of the
        lens's own change of magnification; None holds still
    light : (H, W) factor on every frame, for uneven light
    on_slice : called before each slice is rendered; may raise to stop
    """
    focus = np.asarray(positions, np.float64)
    sensor = sensor or Sensor(full_well=np.inf, bits=None)
    whole = _whole_motions(scene, lens, focus, motions)
    rng = np.random.default_rng(seed)
    exact = np.isinf(sensor.full_well)
    frames = []
    with _one_thread():
        renderer = LayerRenderer(scene, lens, device)
        for i, at in enumerate(focus):
            on_slice(i)
            picture = scene.cut(_moved(renderer.light_at(float(at)), whole[i], scene.margin)).astype(np.float32)
            if light is not None:
                picture = picture * light[..., None]
            frames.append(_flat(sensor.encode(picture) if exact else sensor.record(picture, rng)))
    sharp = scene.cut(scene.all_in_focus()).astype(np.float32)
    if light is not None:
        sharp = sharp * light[..., None]
    return Rendered(
        np.stack(frames), focus, scene.cut(scene.depth()).astype(np.float32), _flat(sensor.encode(sharp)), whole
    )


class LayerRenderer:
    """Renders one scene at any focus; the transforms of its layers are made once."""

    def __init__(self, scene: Scene, lens: Lens, device: str = "cpu") -> None:
        self._lens, self._canvas, self._towards_lens = lens, scene.canvas, scene.towards_lens
        height, width = scene.canvas
        rows = torch.fft.fftfreq(height, device=device)
        columns = torch.fft.rfftfreq(width, device=device)
        self._frequency = torch.hypot(rows[:, None], columns[None])
        self._sharpest = torch.exp(-2 * (torch.pi * lens.sharpest_px * self._frequency).square())
        self._bodies = [
            [(at, torch.fft.rfft2(planes.to(device))) for at, planes in _layers(solid, scene, lens)]
            for solid in scene.solids
        ]

    def light_at(self, focus: float) -> NDArray[np.float32]:
        """Return (H, W, C) linear light of the canvas at one focus."""
        picture = torch.zeros((), device=self._frequency.device)
        for layers in self._bodies:
            colour, cover = self._body_at(layers, focus)
            picture = colour + (1 - cover) * picture
        return np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())

    def _body_at(self, layers: list[tuple[float, torch.Tensor]], focus: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return premultiplied colour (C, H, W) and cover (H, W) of one body."""
        union = before = beyond = colour = tint = torch.zeros((), device=self._frequency.device)
        for at, spectrum in reversed(layers):  # from the front, so that the maxima can run along
            radius = float(self._lens.radius_px(np.asarray(at, np.float64), focus))
            blur = self._sharpest * transfer(self._frequency, radius, self._lens.psf)
            planes = torch.fft.irfft2(spectrum * blur, s=self._canvas)  # (C + 2, H, W)
            cover, band, tinted = planes[0].clamp(0, 1), planes[1].clamp(min=0), planes[2:].clamp(min=0)
            if (at - focus) * self._towards_lens > 0:
                before = torch.maximum(before, cover)
            else:
                beyond = torch.maximum(beyond, cover)
            stopped = (before + beyond).clamp(max=1)
            # a band that is hardly there rings more than it says: the layer before it lends its colour
            tint = (tinted + RINGING * tint) / (band + RINGING)
            colour = colour + (stopped - union) * tint
            union = stopped
        return colour, union


def _layers(solid: Solid, scene: Scene, lens: Lens) -> list[tuple[float, torch.Tensor]]:
    """Cut a solid into layers, back to front: (depth, (C + 2, H, W) cover, band, band times colour)."""
    # in x, which grows towards the lens and in which blur is linear
    surface = np.broadcast_to(_linear(np.asarray(solid.depth, np.float64), scene), scene.canvas)
    mask = np.ones(scene.canvas, np.float32) if solid.mask is None else solid.mask
    seen = surface[mask > 0]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    back, front = _unlinear(np.array([low, high]), scene)
    count = 1 if high == low else 1 + int(np.ceil(float(lens.radius_px(back, float(front))) / LAYER_PX))
    xs = np.linspace(low, high, count)
    step = (high - low) / (count - 1) if count > 1 else 1.0
    colour = torch.from_numpy(np.ascontiguousarray(np.moveaxis(solid.colour, 2, 0), np.float32))
    covers = [mask * np.clip((surface - x) / step + 1, 0, 1).astype(np.float32) for x in xs]
    covers.append(np.zeros(scene.canvas, np.float32))
    layers = []
    for j, x in enumerate(xs):
        cover = torch.from_numpy(covers[j])
        band = torch.from_numpy(covers[j] - np.float32(1 - WALL) * covers[j + 1])
        planes = torch.cat([cover[None], band[None], band * colour])
        layers.append((float(_unlinear(np.asarray(x), scene)), planes))
    return layers


def _linear(depth: NDArray[np.float64], scene: Scene) -> NDArray[np.float64]:
    return depth if scene.towards_lens > 0 else 1.0 / depth


def _unlinear(x: NDArray[np.float64], scene: Scene) -> NDArray[np.float64]:
    return x if scene.towards_lens > 0 else 1.0 / x


def _whole_motions(
    scene: Scene, lens: Lens, focus: NDArray[np.float64], motions: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return (N, 2, 3): the lens's magnification about the centre, then ``motions``."""
    height, width = (side - 2 * scene.margin for side in scene.canvas)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    whole = np.zeros((len(focus), 2, 3))
    for i, scale in enumerate(lens.magnifications(focus)):
        grown = np.column_stack([scale * np.eye(2), centre - scale * centre])
        whole[i] = grown if motions is None else motions[i] @ np.vstack([grown, [0, 0, 1]])
    return whole


def _moved(picture: NDArray[np.float32], motion: NDArray[np.float64], margin: int) -> NDArray[np.float32]:
    """Return the canvas moved by ``motion``, which speaks of pixels of the frame."""
    if np.array_equal(motion, np.eye(2, 3)):
        return picture
    on_canvas = motion.copy()
    on_canvas[:, 2] += margin - motion[:, :2] @ (margin, margin)
    size = picture.shape[1], picture.shape[0]
    moved = cv2.warpAffine(picture, on_canvas, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32).reshape(picture.shape)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch from sharing out planes of a few hundred pixels: its threads then wait more than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _flat(picture: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W, 1) as (H, W)."""
    return picture[..., 0] if picture.shape[-1] == 1 else picture
