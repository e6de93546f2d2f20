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

from collections.abc import Callable
from contextlib import nullcontext
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from dffnets.tiling import Tile, ramp, spans

MIN_SLICES, MAX_SLICES = 3, 100


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
    """Whether bfloat16 is quicker than float32 there: GPUs since 2020, CPUs with its instructions."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability()[0] >= 8
    if device == "cpu":
        return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
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


def predict_tiles(
    network: nn.Module,
    frames: GreyStack,
    positions: NDArray[np.floating],
    write: Callable[[slice, NDArray[np.float32]], None],
    multiple: int,
    device: str = "cpu",
    tile: int = 512,
    overlap: int = 128,
    report: Callable[[float], None] | None = None,
) -> None:
    """Predict a stack of any size tile by tile.

    ``write(rows, probabilities)`` receives finished rows (N, rows, W) float32, top to bottom: nothing
    larger than a band of tiles is ever held. When the GPU runs out of memory the tiles are halved.
    ``report(fraction)`` is called after every tile; whatever it raises stops the work.

    Raises
    ------
    ValueError
        If there are fewer than 3 or more than 100 slices, or positions do not ascend over 0..1.
    """
    n, _height, _width = frames.shape
    check(n, positions)
    mean, deviation = statistics(frames)
    network = network.to(device).eval()
    fast = has_fast_bfloat16(device)
    place = torch.as_tensor(np.asarray(positions), dtype=torch.float32, device=device)
    while True:
        try:
            _predict_bands(
                network, frames, place, (mean, deviation), write, multiple, device, tile, overlap, fast, report
            )
            return
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            if tile <= 128:
                raise
            tile, overlap = tile // 2, max(overlap // 2, 32)


def _predict_bands(
    network: nn.Module,
    frames: GreyStack,
    place: Tensor,
    stats: tuple[float, float],
    write: Callable[[slice, NDArray[np.float32]], None],
    multiple: int,
    device: str,
    tile: int,
    overlap: int,
    fast: bool,
    report: Callable[[float], None] | None,
) -> None:
    n, height, width = frames.shape
    row_spans, column_spans = spans(height, tile, overlap), spans(width, tile, overlap)
    carried: NDArray[np.float32] | None = None  # sums and weights of rows that the next band also covers
    done, total = 0, len(row_spans) * len(column_spans)
    for k, (top, bottom) in enumerate(row_spans):
        band = np.zeros((n + 1, bottom - top, width), dtype=np.float32)  # probabilities, and weights last
        if carried is not None:
            band[:, : carried.shape[1]] = carried
        row_weight = ramp(top, bottom, height, overlap)[:, None]
        for left, right in column_spans:
            window = Tile(top, bottom, left, right)
            values = np.asarray(frames[(slice(None), *window.slices)]).astype(np.float32)
            grey = torch.from_numpy((values - np.float32(stats[0])) / np.float32(stats[1] + 1e-4)).to(device)
            probability = forward(network, grey, place, multiple, fast).cpu().numpy()
            weight = row_weight * ramp(left, right, width, overlap)[None]
            band[:n, :, left:right] += probability * weight
            band[n, :, left:right] += weight
            done += 1
            if report:
                report(done / total)
        ready = row_spans[k + 1][0] if k + 1 < len(row_spans) else bottom
        write(slice(top, ready), band[:n, : ready - top] / band[n : n + 1, : ready - top])
        carried = band[:, ready - top :].copy()


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
