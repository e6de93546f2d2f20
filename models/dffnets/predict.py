"""Run a network on a stack of any size.

The input contract of all networks, said once:

* frames in the order of focus, grey or colour, any scale of values. They are *standardised*: mean 0 and
  deviation 1 over the whole stack, one mean and one deviation for all slices. Large stacks are
  standardised as a whole before they are cut into tiles.
* positions in the focus coordinate, in which blur is linear, scaled to 0..1 over the stack
  (z for a microscope, 1/distance for a camera), ascending.
* 3 to 100 slices; any rows and columns: edges are padded by reflection to what the network needs.

The answer is a probability for each slice at each pixel. Depth is their mean position.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dffnets.tiling import GRID, Tile, blend_weights, spans

MIN_SLICES, MAX_SLICES = 3, 100
SMALLEST_TILE = 128
"""Tiles are not made smaller than this when memory runs out."""


@dataclass(frozen=True, slots=True)
class View:
    """A way to look at a stack: turned by quarters, its columns mirrored after that, slices in reverse."""

    quarters: int = 0
    mirrored: bool = False
    reversed: bool = False

    def of(self, frames: Tensor) -> Tensor:
        """Return ``frames`` (N, H, W) seen this way."""
        seen = torch.rot90(frames, self.quarters, (1, 2))
        return seen.flip(self._flipped).contiguous() if self._flipped else seen.contiguous()

    def undo(self, probability: Tensor) -> Tensor:
        """Return ``probability`` (N, h, w) of what was seen as it lies in the stack."""
        straight = probability.flip(self._flipped) if self._flipped else probability
        return torch.rot90(straight, -self.quarters, (1, 2))

    @property
    def _flipped(self) -> list[int]:
        return [0] * self.reversed + [2] * self.mirrored


VIEWS: Final = tuple(View(quarters, other, other) for quarters in (0, 2, 1, 3) for other in (False, True))
"""All together make answers that turn with the picture exactly. Mirrored ones have their slices in reverse, so that
already the second is unlike the first in both."""


class GreyStack(Protocol):
    """What `predict_tiles` reads: (N, H, W) numbers, sliced like an array (memory-mapped will do)."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, index: tuple[slice, slice, slice]) -> NDArray[np.generic]: ...


def best_device() -> str:
    """Return ``cuda``, ``mps`` or ``cpu``, the fastest that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 is quicker than float32 there: GPUs since 2020, CPUs with matrix tiles (AMX).

    CPUs that have bfloat16 in AVX-512 only gain nothing: 0.9 to 1.2 times the time of float32, measured.
    """
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability()[0] >= 8
    if device == "cpu":
        return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())
    return False


def statistics(frames: GreyStack) -> tuple[float, float]:
    """Return mean and deviation of a whole stack (N, H, W), plane by plane."""
    count, total, squares = 0, 0.0, 0.0
    for i in range(frames.shape[0]):
        plane = np.asarray(frames[i : i + 1, :, :]).astype(np.float64)
        count, total, squares = count + plane.size, total + plane.sum(), squares + (plane * plane).sum()
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean * mean, 0.0)))


@torch.inference_mode()
def forward(network: nn.Module, frames: Tensor, positions: Tensor, multiple: int, bfloat16: bool) -> Tensor:
    """Return probabilities (N, H, W) float32 of standardised grey ``frames`` (N, H, W) on any device."""
    _n, h, w = frames.shape
    pad_h, pad_w = -h % multiple, -w % multiple
    padded = frames[None, None]
    if pad_h or pad_w:
        # reflection needs the picture to be larger than the padding; tiny ones repeat their edge
        mode = "reflect" if pad_h < h and pad_w < w else "replicate"
        padded = F.pad(frames[None], (0, pad_w, 0, pad_h), mode=mode)[:, None]
    context = torch.autocast(frames.device.type, torch.bfloat16) if bfloat16 else nullcontext()
    with context:
        probability: Tensor = network(padded.expand(-1, 3, -1, -1, -1), positions[None])[-1]
    return probability[0, :, :h, :w].float()


def prepared(network: nn.Module, device: str) -> nn.Module:
    """Return a copy for prediction on ``device``: batch norms become part of the convolutions before them."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for (_, layer), (name, following) in pairwise(list(module.named_children())):
                if isinstance(following, nn.modules.batchnorm._BatchNorm):
                    fused = fuse_conv_bn_eval(layer, following, isinstance(layer, nn.ConvTranspose3d))  # type: ignore[type-var]
                    layer.weight, layer.bias = fused.weight, fused.bias
                    setattr(module, name, nn.Identity())
    return network.to(device)


def predict_tiles(
    network: nn.Module,
    frames: GreyStack,
    positions: NDArray[np.floating],
    add: Callable[[Tile, NDArray[np.float32]], None],
    multiple: int,
    device: str = "cpu",
    tile: int = 512,
    overlap: int = 128,
    report: Callable[[float], None] | None = None,
    views: int = 1,
) -> None:
    """Predict a stack of any size tile by tile.

    ``add(window, shares)`` receives (N, h, w) float32: the probabilities of one tile times its weights,
    which add up to 1 over all tiles. Summing the shares, or anything linear in them, gives the whole
    picture; nothing larger than a tile is ever held here. A tile for which memory does not suffice is
    cut into smaller ones. ``report(fraction)``, the share of the work that is done, is called before
    every layer and after every tile; whatever it raises stops the work.

    With ``views`` above 1 the network looks at each tile in the first so many of `VIEWS`, and the mean of
    what it says counts (self-ensemble: Timofte et al., "Seven ways to improve example-based single image
    super resolution", CVPR 2016; slices in reverse are ours).

    Raises
    ------
    ValueError
        If there are fewer than 3 or more than 100 slices, positions do not ascend, or there are not so many views.
    MemoryError
        If memory does not even suffice for a tile of `SMALLEST_TILE`.
    """
    n, height, width = frames.shape
    check(n, positions)
    if not 1 <= views <= len(VIEWS):
        raise ValueError(f"there are 1 to {len(VIEWS)} views; asked for are {views}.")
    mean, deviation = statistics(frames)
    network = prepared(network, device)
    fast = has_fast_bfloat16(device)
    place = torch.as_tensor(np.asarray(positions), dtype=torch.float32, device=device)

    done = looked = 0  # tiles, and views of the one at hand

    def seen(grey: Tensor) -> NDArray[np.float32]:
        nonlocal looked
        looked, total = 0, torch.zeros(())
        for view in VIEWS[:views]:
            positions = place[0] + place[-1] - place.flip(0) if view.reversed else place
            total = total + view.undo(forward(network, view.of(grey), positions, multiple, fast)).cpu()
            looked += 1
        mean: NDArray[np.float32] = (total / views).numpy()
        return mean

    def probabilities(window: Tile) -> NDArray[np.float32]:
        values = np.asarray(frames[(slice(None), *window.slices)]).astype(np.float32)
        grey = torch.from_numpy((values - np.float32(mean)) / np.float32(deviation + 1e-4)).to(device)
        side = max(values.shape[1:]) // 2
        try:
            return seen(grey)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if side < SMALLEST_TILE:
                raise MemoryError(f"there is not enough memory on {device} for {2 * side} pixels at a time.") from error
        # behind the except clause: the exception holds on to all that the network had allocated
        del grey
        empty_cache(device)
        found = np.zeros_like(values)
        for part, weight in _weighted(values.shape[1], values.shape[2], side, min(overlap, side // 4)):
            inner = Tile(
                window.top + part.top, window.top + part.bottom, window.left + part.left, window.left + part.right
            )
            found[(slice(None), *part.slices)] += probabilities(inner) * weight
        return found

    windows = _weighted(height, width, tile, overlap, GRID)
    if report:
        for module in network.modules():  # a tile takes seconds, and whoever stops the work should not wait for it
            module.register_forward_pre_hook(lambda *_: report((done + looked / views) / len(windows)))
    for window, weight in windows:
        add(window, probabilities(window) * weight)
        done, looked = done + 1, 0
        if report:
            report(done / len(windows))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory: CUDA has an error of its own, Apple's GPU and the CPU tell by the text."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def empty_cache(device: str) -> None:
    """Give back what torch keeps of the GPU's memory for later."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def _weighted(
    height: int, width: int, tile: int, overlap: int, grid: int = 1
) -> list[tuple[Tile, NDArray[np.float32]]]:
    """Return the tiles of a picture and their weights (h, w), which add up to 1 at every pixel."""
    rows, columns = (
        list(zip(windows, blend_weights(windows, overlap), strict=True))
        for windows in (spans(length, tile, overlap, grid) for length in (height, width))
    )
    return [
        (Tile(top, bottom, left, right), down[:, None] * across[None])
        for (top, bottom), down in rows
        for (left, right), across in columns
    ]


def check(n: int, positions: NDArray[np.floating]) -> None:
    """Refuse what no network can answer."""
    if not MIN_SLICES <= n <= MAX_SLICES:
        raise ValueError(
            f"the stack has {n} slices; the networks take {MIN_SLICES} to {MAX_SLICES}. Choose a part of it."
        )
    values = np.asarray(positions, dtype=np.float64)
    if values.shape != (n,) or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
        raise ValueError(f"{n} slices need {n} ascending positions; found {values.size}.")


def device_is_there(device: str) -> bool:
    """Whether ``cpu``, ``cuda`` or ``mps`` can be used."""
    return (
        device == "cpu"
        or (device == "cuda" and torch.cuda.is_available())
        or (device == "mps" and torch.backends.mps.is_available())
    )
