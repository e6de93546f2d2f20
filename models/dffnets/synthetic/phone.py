"""Phones: how their lenses breathe and miss while they refocus, and stacks misaligned as theirs are.

A phone focuses by moving its lens away from the sensor, which magnifies the picture (focus breathing).
The spring that carries the lens neither goes exactly where it is told nor moves exactly along its axis.
Won and Jeon, "Learning Depth from Focus in the Wild", ECCV 2022, measured both on four phones: alpha,
what is left of the relative field of view once the lens data are used, a line in 1/distance; and beta
and gamma, the shifts of the picture in x and y. Their public simulator gives the figures, which are
taken over here; unlike there, each phone has its own pixel pitch, blur circles have the diameter of
the thin-lens formula (there twice as much), surfaces move together with their colour, and all is seeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dffnets.synthetic.optics import ThinLens
from dffnets.synthetic.random_scenes import Canvas, expose, macro_scene
from dffnets.synthetic.torus import EXPONENTS, render

Floats = NDArray[np.float64]

NEAREST_MM, FARTHEST_MM = 100.0, 900.0
"""Ends of the sweep that the figures were measured in."""


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone's main camera.

    ``pitch_um`` and ``width_px`` are those of the pictures it writes. ``alpha`` is (slope in metres,
    intercept) of the error of the relative field of view against 1/distance; ``beta`` and ``gamma`` are
    (mean, standard deviation) of the shift in x and y, in pixels of those pictures.
    """

    name: str
    focal_mm: float
    f_number: float
    pitch_um: float
    width_px: int
    alpha: tuple[float, float]
    beta: tuple[float, float]
    gamma: tuple[float, float]

    def lens(self, reduction: float = 1.0, far_mm: float = FARTHEST_MM) -> ThinLens:
        """Return the lens before pixels ``reduction`` times as large as the phone's own."""
        return ThinLens(self.focal_mm, self.f_number, self.pitch_um * reduction, far_mm, breathing=True)

    def field_of_view(self, distances_mm: Floats) -> Floats:
        """Return the relative field of view (N,) that the lens data promise, 1 for the smallest (paper: eq. 1)."""
        s = self.focal_mm * distances_mm / (distances_mm - self.focal_mm)
        relative: Floats = s.max() / s
        return relative

    def motions(self, distances_mm: Floats, reduction: float, rng: np.random.Generator) -> Floats:
        """Draw how the slices lie: (N, 3) scale and shifts against the one with the smallest field of view.

        Content at offset u from the middle of that slice lies at u * scale + shift in slice n. Shifts are
        in pixels ``reduction`` times as large as the phone's own.
        """
        seen = self.field_of_view(distances_mm)
        slope, intercept = self.alpha
        n = len(distances_mm)
        motions = np.empty((n, 3))
        motions[:, 0] = 1 / (seen + slope / (distances_mm * 1e-3) + intercept)
        for axis, (mean, sigma) in ((1, self.beta), (2, self.gamma)):
            motions[:, axis] = (mean + sigma * rng.standard_normal(n)) / reduction
        return relative_to(motions, int(seen.argmin()))


PHONES = (
    Phone("Pixel 4 XL", 4.4, 1.7, 1.4, 4032, (-0.00266, 0.0192), (-4.46, 7.18), (-9.95, 8.05)),
    Phone("Pixel 6", 6.8, 1.9, 2.4, 4080, (-0.00429, 0.0033), (0.47, 6.26), (2.69, 6.86)),
    Phone("Galaxy S8+", 4.3, 1.5, 1.4, 4032, (-0.00204, 0.0167), (4.43, 4.60), (3.70, 3.59)),
    Phone("Galaxy Note10", 4.8, 1.7, 1.4, 4032, (-0.00402, 0.0247), (-4.32, 2.92), (-0.95, 0.15)),
)
"""The four phones of the paper. Pitches are those of the 12-megapixel pictures (Pixel 6: two pixels binned)."""


def relative_to(motions: Floats, reference: int) -> Floats:
    """Return motions (N, 3), given against anything, against slice ``reference``."""
    scale = motions[:, :1] / motions[reference, 0]
    return np.hstack([scale, motions[:, 1:] - scale * motions[reference, 1:]])


def focus_distances(count: int) -> Floats:
    """Return (N,) focus distances in mm from far to near, even in 1/distance, as the phones stepped."""
    return 1 / np.linspace(1 / FARTHEST_MM, 1 / NEAREST_MM, count)


def sweep_motions(count: int, size: int, rng: np.random.Generator) -> Floats:
    """Draw motions (N, 3) that no lens data announce: a zoom by up to 15 %, a drift and a tremble.

    What macro rails, zooming adapters and stages do to pictures of ``size`` pixels; against slice 0.
    """
    along = np.linspace(0, 1, count) ** rng.uniform(0.6, 1.6)
    motions = np.empty((count, 3))
    motions[:, 0] = np.exp(along * rng.uniform(-0.15, 0.15))
    drift, tremble = rng.uniform(-0.04, 0.04, 2) * size, rng.uniform(0, 0.008) * size
    motions[:, 1:] = along[:, None] * drift + tremble * rng.standard_normal((count, 2))
    return relative_to(motions, 0)


def moved(frames: NDArray[np.float32], motions: Floats, size: int) -> NDArray[np.float32]:
    """Return the middle (N, size, size) of ``frames`` (N, S, S), each moved by its motion.

    Frames lie on a torus: where a motion brings in what is beyond the edge, the other side follows
    without a seam. Bicubic.
    """
    seen = np.empty((len(frames), size, size), np.float32)
    here, there = (size - 1) / 2, (frames.shape[-1] - 1) / 2
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    for k, (frame, (scale, x, y)) in enumerate(zip(frames, motions, strict=True)):
        back = np.array([[1 / scale, 0, there - (here + x) / scale], [0, 1 / scale, there - (here + y) / scale]])
        seen[k] = cv2.warpAffine(frame, back, (size, size), flags=flags, borderMode=cv2.BORDER_WRAP)
    return seen


@dataclass(frozen=True, slots=True)
class PhoneStack:
    """A stack as a phone takes it, from far to near.

    ``frames`` (N, S, S) uint8; ``distances_mm`` (N,) of the focus; ``field_of_view`` (N,) float32 relative,
    from the lens data; ``motions`` (N, 3) float32 true scale and shifts in pixels against slice
    ``reference``, that with the smallest field of view; ``depth`` (S, S) float32 focus coordinate as that
    slice shows the scene, 0 at the far end of the sweep and 1 at the near one.
    """

    frames: Tensor
    distances_mm: Floats
    field_of_view: Tensor
    motions: Tensor
    reference: int
    depth: Tensor


def phone_stack(
    seed: tuple[int, ...],
    count: int = 8,
    size: int = 128,
    reduction: float | None = None,
    phone: Phone | None = None,
) -> PhoneStack:
    """Render one random scene as a phone sees it while it refocuses; the same ``seed`` gives the same stack.

    ``count`` slices of ``size`` pixels, each as wide as ``reduction`` of the phone's own (by default
    from 4 to what shows the whole picture); ``phone`` at random unless given. Noise is the sensor's:
    it does not move with the picture.
    """
    rng = np.random.default_rng(seed)
    # a quarter wider, for what motion brings in; even or odd as the picture, so that both have one middle
    canvas = Canvas(rng, size + 2 * -(-size // 8), torch.device("cpu"))
    phone = phone or PHONES[int(rng.integers(len(PHONES)))]
    if reduction is None:
        reduction = canvas.log_uniform(4, max(4.0, phone.width_px / size))
    distances = focus_distances(count)
    lens = phone.lens(reduction, NEAREST_MM)
    slope = float(lens.radius_px(np.array(FARTHEST_MM), NEAREST_MM))  # linear in 1/distance, the focus coordinate
    layers, depth = macro_scene(canvas)
    exponent = EXPONENTS[int(rng.integers(len(EXPONENTS)))]
    positions = torch.linspace(0, 1, count)
    slices = render(layers, positions, slope, exponent, canvas.uniform(0.25, 0.9))
    motions = phone.motions(distances, reduction, rng)
    seen = torch.from_numpy(moved(slices.numpy(), motions, size))
    reference = int(phone.field_of_view(distances).argmin())
    edge = (canvas.size - size) // 2
    return PhoneStack(
        expose(canvas, seen),
        distances,
        torch.from_numpy(phone.field_of_view(distances).astype(np.float32)),
        torch.from_numpy(motions.astype(np.float32)),
        reference,
        depth[edge : edge + size, edge : edge + size].clone(),
    )


def as_matrices(motions: NDArray[Any], shape: tuple[int, int]) -> Floats:
    """Return motions (N, 3) as matrices (N, 2, 3) from pixel (column, row) of the reference to that of the slice."""
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    matrices = np.zeros((len(motions), 2, 3))
    for matrix, (scale, x, y) in zip(matrices, np.asarray(motions, np.float64), strict=True):
        matrix[:, :2] = scale * np.eye(2)
        matrix[:, 2] = np.array([x, y]) + (1 - scale) * middle
    return matrices
