"""Run the alignment network: how the frames of a stack lie against each other.

>>> predict(load(), frames).motions[3]                             # doctest: +SKIP
array([ 0.981,  1.204, -0.37 ])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dffnets.nets.dffwild import AlignmentNetwork, BasisMotions
from dffnets.shipped import WeightsCard, filled, shipped_cards

Floats = NDArray[np.float64]

WINDOW = 31
"""Side in pixels of the square that brightness and contrast are evened out over."""
MULTIPLE = 8
"""Rows and columns that `predict` takes divide by this: half of them must divide by 4."""
PASSES = (2, 2, 1)
"""By how much pictures are reduced in each pass: large motions are found in small pictures."""
STEPS = (0.0, 0.5, 1.0, 1.4)
"""Shares of what the network asks for that are tried."""
CHUNK = 8
"""Slices that are compared with the reference at once: bounds the memory."""


def card() -> WeightsCard:
    """Return the card of the shipped weights."""
    return next(card for card in shipped_cards("alignment") if card.name == "alignment")


def load() -> AlignmentNetwork:
    """Return the network with its shipped weights; raises `dffnets.shipped.WeightsError`."""
    network = AlignmentNetwork()
    filled(network, card())
    return network


def prepare(frames: NDArray[np.float32]) -> Tensor:
    """Return grey frames (N, H, W) as the network takes them: (3, N, H, W) in -1..1.

    Each slice is freed of its local mean and divided by its local contrast, so that neither exposure nor
    lighting decides, nor the strength of texture that defocus changes.
    """
    evened = np.stack([_even(frame) for frame in frames])
    return torch.from_numpy(evened / 3).clamp(-1, 1).expand(3, -1, -1, -1)


def _even(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a frame (H, W) with local mean 0 and local contrast 1."""
    band = frame - cv2.blur(frame, (WINDOW, WINDOW))
    contrast = cv2.blur(band * band, (WINDOW, WINDOW))
    floor = 0.01 * float(contrast.mean()) + 4e-6  # noise in flat places is not made into texture
    evened: NDArray[np.float32] = (band / np.sqrt(np.maximum(contrast, 0) + floor)).astype(np.float32)
    return evened


def stacked(motions: BasisMotions) -> Tensor:
    """Return (B, N, 3): scale and shifts."""
    return torch.stack([motions.scale, motions.shift_x, motions.shift_y], -1)


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """How slices lie against slice ``reference``.

    ``motions`` (N, 3) scale and shifts: content at offset u from the middle of the reference lies at
    u * scale + shift in the slice, in pixels. ``likeness`` (N,) is the correlation of each slice, moved
    back, with the reference, and ``before`` (N,) what it was unmoved; of evened-out pictures of half size.
    """

    motions: Floats
    reference: int
    likeness: Floats
    before: Floats


def predict(
    network: AlignmentNetwork,
    frames: NDArray[np.float32],
    field_of_view: Floats | None = None,
    passes: tuple[int, ...] = PASSES,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Predicted:
    """Find the motions of grey frames (N, H, W) in 0..1, H and W multiples of 8.

    Each pass moves the frames back by what is known and asks again: the network was trained on motions
    up to a tenth of the picture, and is most exact on small ones. Of each answer as much is taken as makes
    the slice most like the reference. The reference is the slice with the
    smallest of ``field_of_view`` (N,), relative, from the lens data; without lens data it is the middle
    one, which resembles the others most. ``on_progress`` hears the share done and may raise to stop.
    """
    n = len(frames)
    reference = n // 2
    motions = np.tile([1.0, 0.0, 0.0], (n, 1))
    if field_of_view is not None:
        reference = int(np.argmin(field_of_view))
        motions[:, 0] = field_of_view[reference] / field_of_view
    halves = _reduced(frames, 2)
    before = likeness(halves, motions, reference, 2)
    for number, reduction in enumerate(passes):
        small = halves if reduction == 2 else _reduced(frames, reduction)
        target = prepare(small[reference : reference + 1])
        updates = []
        for first in range(0, n, CHUNK):
            on_progress((number + first / n) / len(passes))
            chunk = slice(first, first + CHUNK)
            seen = prepare(_moved_back(small[chunk], motions[chunk], reduction))
            updates.append(_compared(network, target, seen))
        motions = _best_step(small, motions, np.concatenate(updates), reference, reduction)
    motions[reference] = 1, 0, 0
    return Predicted(motions, reference, likeness(halves, motions, reference, 2), before)


def _best_step(frames: NDArray[np.float32], motions: Floats, updates: Floats, reference: int, reduction: int) -> Floats:
    """Return motions (N, 3) after as much of each update as makes the slice most like the reference.

    ``updates`` (N, 3) are in pixels of ``frames``, seen in slices moved back by ``motions``. The network
    asks for too little where motion is large, and may ask for nonsense where texture repeats.
    """
    steps = [
        np.hstack(
            [
                motions[:, :1] * (1 + share * (updates[:, :1] - 1)),
                motions[:, 1:] + share * motions[:, :1] * updates[:, 1:] * reduction,
            ]
        )
        for share in STEPS
    ]
    alike = np.stack([likeness(frames, step, reference, reduction) for step in steps])
    best: Floats = np.stack(steps)[alike.argmax(0), np.arange(len(motions))]
    return best


def _compared(network: AlignmentNetwork, target: Tensor, seen: Tensor) -> Floats:
    """Return motions (N, 3) of prepared slices (3, N, H, W) against a prepared reference (3, 1, H, W)."""
    stack = torch.cat([target, seen], 1)[None]
    with torch.inference_mode():
        unknown = torch.ones(1, stack.shape[2])
        found = stacked(network.eval()(stack, unknown, torch.zeros(1, dtype=torch.long)))
    return found[0, 1:].numpy().astype(np.float64)


def _reduced(frames: NDArray[np.float32], reduction: int) -> NDArray[np.float32]:
    """Return frames with blocks of ``reduction`` by ``reduction`` pixels averaged."""
    if reduction == 1:
        return frames
    n, h, w = frames.shape
    blocks = frames.reshape(n, h // reduction, reduction, w // reduction, reduction)
    means: NDArray[np.float32] = blocks.mean((2, 4), dtype=np.float32)
    return means


def _moved_back(frames: NDArray[np.float32], motions: Floats, reduction: int) -> NDArray[np.float32]:
    """Return frames warped onto the reference; ``motions`` in pixels of frames ``reduction`` times as large."""
    height, width = frames.shape[1:]
    moved = np.empty_like(frames)
    for out, frame, (scale, x, y) in zip(moved, frames, motions, strict=True):
        across, down = (1 - scale) * (width - 1) / 2 + x / reduction, (1 - scale) * (height - 1) / 2 + y / reduction
        matrix = np.array([[scale, 0, across], [0, scale, down]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        out[:] = cv2.warpAffine(frame, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return moved


def likeness(frames: NDArray[np.float32], motions: Floats, reference: int, reduction: int) -> Floats:
    """Return (N,) correlations of evened-out frames, moved back, with the reference."""
    target = _even(frames[reference]).ravel()
    moved = _moved_back(frames, motions, reduction)
    return np.array([np.corrcoef(target, _even(frame).ravel())[0, 1] for frame in moved])
