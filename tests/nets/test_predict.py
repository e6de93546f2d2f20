"""Prediction on stacks of any size."""

from __future__ import annotations

import itertools
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from dffnets.predict import VIEWS, View, forward, predict_tiles, prepared, statistics
from dffnets.registry import CARDS, create_network
from dffnets.tiling import GRID, Tile, blend_weights, ramp, spans


@given(st.integers(1, 3000), st.integers(64, 512), st.integers(8, 32))
def test_windows_cover_everything_and_share_enough(length: int, tile: int, overlap: int) -> None:
    windows = spans(length, tile, overlap, grid=GRID)
    assert windows[0][0] == 0
    assert windows[-1][1] == length
    for (_, end), (begin, _) in itertools.pairwise(windows):
        assert end - begin >= overlap
    assert all(min(length, tile) <= end - begin < tile + GRID for begin, end in windows)
    assert all(begin % GRID == 0 for begin, _ in windows) or tile - overlap < GRID


def test_ramp_falls_only_where_a_neighbour_takes_over() -> None:
    weight = ramp(0, 60, 100, 16)
    assert weight[0] == 1
    assert weight[-1] < 1e-3
    assert (ramp(0, 60, 60, 16) == 1).all()


@given(st.integers(1, 3000), st.integers(64, 512), st.integers(8, 32))
def test_weights_of_all_windows_add_up_to_one(length: int, tile: int, overlap: int) -> None:
    total = np.zeros(length)
    windows = spans(length, tile, overlap)
    for (begin, end), weight in zip(windows, blend_weights(windows, overlap), strict=True):
        total[begin:end] += weight
    np.testing.assert_allclose(total, 1, atol=1e-5)


@pytest.mark.parametrize("name", list(CARDS))
def test_folding_batch_norms_into_convolutions_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    network = create_network(name)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # as training leaves them
                module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
    frames, positions = torch.randn(4, 32, 64), torch.linspace(0, 1, 4)
    whole = forward(network.eval(), frames, positions, CARDS[name].multiple, bfloat16=False)
    folded = prepared(network, "cpu")
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())
    torch.testing.assert_close(
        forward(folded, frames, positions, CARDS[name].multiple, bfloat16=False), whole, atol=1e-4, rtol=1e-4
    )


class Hungry(nn.Module):
    """Takes the brightest slice, and no more than ``most`` pixels a side; tells what it finds of an earlier try."""

    held: weakref.ref[Tensor] | None = None

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error = most, error

    def forward(self, stack: Tensor, positions: Tensor) -> list[Tensor]:
        assert Hungry.held is None or Hungry.held() is None, "what a failed try had allocated is still there"
        scores = stack[:, 0] * 50
        if max(stack.shape[-2:]) > self.most:
            Hungry.held = weakref.ref(scores)
            raise type(self.error)(*self.error.args)
        return [scores.softmax(1)]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_tiles_for_which_memory_fails_are_cut_into_smaller_ones(error: Exception) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 280, 300), dtype=np.uint8)
    volume = collect(Hungry(150, error), frames, 1, tile=512)
    np.testing.assert_allclose(volume.sum(0), 1, atol=1e-4)
    gap = np.sort(frames, 0)[-1].astype(int) - np.sort(frames, 0)[-2]
    assert (volume.argmax(0) == frames.argmax(0))[gap > 0].all()


def test_where_memory_fails_for_the_smallest_tile_the_work_ends() -> None:
    frames = np.zeros((3, 280, 300), np.uint8)
    with pytest.raises(MemoryError, match="not enough memory on cpu"):
        collect(Hungry(8, torch.OutOfMemoryError("CUDA out of memory")), frames, 1, tile=512)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        collect(Hungry(8, RuntimeError("shapes do not fit")), frames, 1, tile=512)


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_what_is_seen_another_way_is_put_back(view: View) -> None:
    frames = torch.arange(3 * 4 * 6).view(3, 4, 6)
    torch.testing.assert_close(view.undo(view.of(frames)), frames)
    assert torch.equal(view.of(frames), frames) == (view == View())


class Shifting(nn.Module):
    """Errs one pixel to the right and one slice onward, and believes in the slices by their positions."""

    def forward(self, stack: Tensor, positions: Tensor) -> list[Tensor]:
        return [(stack[:, 0].roll((1, 1), (1, 3)) * positions[:, :, None, None]).softmax(1)]


def test_answers_of_all_views_turn_with_the_picture_and_with_the_order_of_slices() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 40, 48), dtype=np.uint8)
    positions = np.array([0.0, 0.1, 0.4, 0.7, 1.0])

    def depth(frames: NDArray[np.uint8], positions: NDArray[np.float64], views: int) -> NDArray[np.float32]:
        return np.einsum("nhw,n->hw", collect(Shifting(), frames, 1, positions, views=views), positions)

    turned = depth(np.rot90(frames, 1, (1, 2)), positions, 8)
    np.testing.assert_allclose(turned, np.rot90(depth(frames, positions, 8)), atol=1e-5)
    mirrored = depth(frames[::-1, :, ::-1], 1 - positions[::-1], 8)
    np.testing.assert_allclose(1 - mirrored[:, ::-1], depth(frames, positions, 8), atol=1e-5)
    assert np.abs(depth(np.rot90(frames, 1, (1, 2)), positions, 1) - np.rot90(depth(frames, positions, 1))).max() > 0.1


def test_progress_rises_through_the_views_and_a_wrong_number_of_them_is_refused() -> None:
    told: list[float] = []
    frames = np.zeros((4, 300, 500), np.uint8)
    predict_tiles(Shifting(), frames, np.linspace(0, 1, 4), lambda *_: None, 1, tile=256, report=told.append, views=3)
    assert told == sorted(told)
    assert len(set(told)) > 12
    assert told[-1] == 1
    with pytest.raises(ValueError, match="1 to 8 views"):
        collect(Shifting(), frames, 1, views=9)


def collect(
    network: nn.Module,
    frames: NDArray[np.uint8],
    multiple: int,
    positions: NDArray[np.float64] | None = None,
    **options: int,
) -> NDArray[np.float32]:
    volume = np.zeros(frames.shape, dtype=np.float32)

    def add(window: Tile, shares: NDArray[np.float32]) -> None:
        volume[(slice(None), *window.slices)] += shares

    place = np.linspace(0, 1, len(frames)) if positions is None else positions
    predict_tiles(network, frames, place, add, multiple, **options)  # type: ignore[arg-type]
    return volume


@pytest.mark.parametrize("name", list(CARDS))
def test_odd_sizes_are_padded_and_probabilities_sum_to_one(name: str) -> None:
    torch.manual_seed(0)
    frames = np.random.default_rng(0).integers(0, 255, (4, 37, 51), dtype=np.uint8)
    volume = collect(create_network(name), frames, CARDS[name].multiple)
    np.testing.assert_allclose(volume.sum(0), 1, atol=1e-4)


def test_tiles_of_a_local_network_agree_with_the_whole() -> None:
    torch.manual_seed(0)
    network = create_network("light", width=4)
    frames = np.random.default_rng(0).integers(0, 255, (5, 208, 240), dtype=np.uint8)
    whole = collect(network, frames, 16, tile=512)
    tiled = collect(network, frames, 16, tile=144, overlap=80)
    depth = [np.einsum("nhw,n->hw", volume, np.linspace(0, 1, 5)) for volume in (whole, tiled)]
    assert np.abs(depth[0] - depth[1]).max() < 1e-3


def test_a_network_can_be_stopped_within_a_tile() -> None:
    layers = 0

    def report(share: float) -> None:
        nonlocal layers
        assert share == 0
        layers += 1
        if layers == 5:
            raise InterruptedError

    network, frames = create_network("light", width=4), np.zeros((3, 64, 64))
    with pytest.raises(InterruptedError):
        predict_tiles(network, frames, np.linspace(0, 1, 3), lambda window, shares: None, 16, report=report)
    assert not any(module._forward_pre_hooks for module in network.modules()), "the network itself is changed"


def test_statistics_are_those_of_the_whole_stack() -> None:
    frames = np.random.default_rng(0).integers(0, 65535, (3, 20, 30), dtype=np.uint16)
    mean, deviation = statistics(frames)
    assert mean == pytest.approx(frames.mean())
    assert deviation == pytest.approx(frames.std())


@pytest.mark.parametrize(("slices", "text"), [(2, "2 slices"), (101, "101 slices")])
def test_too_few_or_too_many_slices_are_refused(slices: int, text: str) -> None:
    frames = np.zeros((slices, 16, 16), dtype=np.uint8)
    with pytest.raises(ValueError, match=text):
        predict_tiles(nn.Identity(), frames, np.linspace(0, 1, slices), lambda window, shares: None, 16)


def test_positions_must_ascend() -> None:
    with pytest.raises(ValueError, match="ascending"):
        predict_tiles(nn.Identity(), np.zeros((3, 8, 8)), np.array([0.0, 0.7, 0.5]), lambda window, shares: None, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", list(CARDS))
def test_cpu_and_gpu_agree(name: str) -> None:
    torch.manual_seed(0)
    network = create_network(name).eval()
    frames, positions = torch.randn(5, 64, 64), torch.linspace(0, 1, 5)
    multiple = CARDS[name].multiple
    on_cpu = forward(network, frames, positions, multiple, bfloat16=False)
    on_gpu = forward(network.cuda(), frames.cuda(), positions.cuda(), multiple, bfloat16=False)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-3, rtol=1e-3)
