"""The alignment network: its geometry against formulas, its training against itself, its answers against truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from dffnets import alignment_training
from dffnets.alignment import card, load, predict, prepare, stacked
from dffnets.alignment_training import (
    AlignmentConfig,
    AlignmentSampler,
    corner_error,
    loss_of,
    photometric_loss,
    train,
)
from dffnets.nets.dffwild import AlignmentNetwork, BasisMotions, composed, fitted, motion_flow, warp
from dffnets.shipped import shipped_cards
from dffnets.synthetic.phone import PHONES, moved, phone_stack, relative_to
from dffnets.synthetic.pool import fill_pool
from dffnets.synthetic.random_scenes import TrainingStack, random_stack


@pytest.fixture(scope="module")
def stacks() -> list[TrainingStack]:
    return [random_stack((5, k), count=5, size=64) for k in range(4)]


def config(folder: Path, **values: Any) -> AlignmentConfig:
    return replace(
        AlignmentConfig(folder, iterations=4, minutes=1e9, crops=(32,), counts=(3,), pixels=2 * 3 * 32 * 32), **values
    )


def test_corner_error_is_that_of_four_corners() -> None:
    found, true, (height, width) = torch.tensor([1.05, 2.0, -1.0]), torch.tensor([1.02, 0.5, 0.25]), (40, 60)
    corners = torch.tensor([(x, y) for x in (-29.5, 29.5) for y in (-19.5, 19.5)])
    off = (found[0] - true[0]) * corners + (found[1:] - true[1:])
    assert corner_error(found, true, (height, width)).item() == pytest.approx(
        off.square().sum(1).mean().sqrt().item(), rel=1e-5
    )


def test_fit_finds_the_motion_that_weighty_pixels_show() -> None:
    flow = motion_flow(torch.tensor([[[1.03], [1.5], [-0.7]]]), (24, 32))[:, :, 0]  # (1, 2, 24, 32)
    seen = torch.cat([flow, torch.zeros(1, 1, 24, 32)], 1)
    seen[:, :2, :, :6], seen[:, 2, :, :6] = 9.0, -40.0  # a strip that is wrong and says so
    zoom, x, y = fitted(seen)[0].tolist()
    assert zoom == pytest.approx(0.03, rel=0.05)  # held back a little: its ridge is 2 %
    assert (x, y) == pytest.approx((1.5, -0.7), abs=0.01)


def test_update_is_seen_in_slices_moved_back() -> None:
    motion, update = torch.tensor([[[0.9], [3.0], [-2.0]]]), torch.tensor([[[0.05], [0.4], [0.1]]])
    point = torch.tensor([10.0, -4.0])
    seen = 1.05 * point + torch.tensor([0.4, 0.1])
    there = 0.9 * seen + torch.tensor([3.0, -2.0])
    scale, *shift = composed(motion, update)[0, :, 0].tolist()
    torch.testing.assert_close(scale * point + torch.tensor(shift), there)


def test_neither_exposure_nor_contrast_changes_what_the_network_sees() -> None:
    frames = np.random.default_rng(0).random((2, 48, 64), np.float32)
    prepared = prepare(frames)
    assert prepared.shape == (3, 2, 48, 64)
    assert prepared.abs().max() <= 1
    torch.testing.assert_close(prepare(0.5 * frames + 0.2), prepared, atol=2e-3, rtol=0)


def test_likeness_of_the_paper_is_best_at_the_truth(stacks: list[TrainingStack], tmp_path: Path) -> None:
    sharp = TrainingStack(stacks[0].frames[:1].expand(5, -1, -1), stacks[0].depth, stacks[0].positions, "macro")
    batch = AlignmentSampler([sharp], config(tmp_path)).draw(2, 3, 48)
    truth = photometric_loss(batch.frames, batch.motions, batch.reference)
    for off in ([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [0.03, 0.0, 0.0]):
        assert photometric_loss(batch.frames, batch.motions + torch.tensor(off), batch.reference) > truth


def test_drawn_motions_bring_slices_onto_the_reference(stacks: list[TrainingStack], tmp_path: Path) -> None:
    sharp = [TrainingStack(s.frames[:1].expand(5, -1, -1), s.depth, s.positions, "macro") for s in stacks]
    batch = AlignmentSampler(sharp, config(tmp_path)).draw(12, 4, 48)
    rows = torch.arange(12)
    assert (batch.motions[rows, batch.reference] - torch.tensor([1.0, 0, 0])).abs().max() < 1e-6
    assert (batch.field_of_view.min(1).values == 1).all()

    def unlike(motions: Tensor) -> Tensor:
        seen = warp(batch.frames, motion_flow(motions.transpose(1, 2), batch.frames.shape[-2:]))
        return (seen - batch.frames[rows, :, batch.reference].unsqueeze(2)).abs()[..., 8:-8, 8:-8].mean()

    assert unlike(batch.motions) < 0.6 * unlike(torch.tensor([1.0, 0, 0]).expand(12, 4, 3))


def test_a_few_steps_lower_the_loss(stacks: list[TrainingStack], tmp_path: Path) -> None:
    torch.manual_seed(0)
    batch = AlignmentSampler(stacks, config(tmp_path)).draw(2, 3, 32)
    network = AlignmentNetwork()
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(25):
        found = network.refinements(batch.frames, batch.field_of_view, batch.reference)
        loss = loss_of(found, batch, photometric=0.1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.6 * losses[0]


def test_training_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_pool(tmp_path / "pool", 3, 1, size=32, workers=1)
    monkeypatch.setattr(alignment_training, "held_out", lambda: [])
    monkeypatch.setattr(alignment_training, "validate", lambda network, stacks: {})
    options: dict[str, Any] = {"pool": tmp_path / "pool", "pool_seed": 3, "pool_stacks": 50, "seed": 7}

    def stop(line: dict[str, float]) -> None:
        if line["iteration"] == 2:
            raise InterruptedError

    whole = train(config(tmp_path / "whole", **options))
    # a checkpoint after every step, and a stop after the second
    halved = config(tmp_path / "halved", checkpoint_minutes=0.0, **options)
    with pytest.raises(InterruptedError):
        train(halved, stop)
    again = train(halved)
    one, two = load_file(whole), load_file(again)
    assert all(torch.equal(one[name], two[name]) for name in one)


class Exact(AlignmentNetwork):
    """Finds shifts by phase correlation in place of learned features."""

    def forward(self, stack: Tensor, field_of_view: Tensor, reference: Tensor | None = None) -> BasisMotions:
        frames = stack[0, 0].numpy().astype(np.float64)
        window = cv2.createHanningWindow(frames.shape[:0:-1], cv2.CV_64F)
        found = [cv2.phaseCorrelate(frames[0], frame, window)[0] for frame in frames]
        x, y = torch.tensor(found, dtype=torch.float32).T[:, None]
        return BasisMotions(torch.ones_like(x), x, y)


def shifted(shifts: NDArray[np.float64], size: int = 128) -> NDArray[np.float32]:
    stack = random_stack((6, 1), "macro", 3, 192)
    frame = cv2.GaussianBlur(stack.frames[1].numpy().astype(np.float32) / 255, (0, 0), 1.0)
    frames = np.repeat(np.asarray(frame, np.float32)[None], len(shifts), 0)
    return moved(frames, np.column_stack([np.ones(len(shifts)), shifts]), size)


@pytest.mark.parametrize("count", [3, 11])  # less and more than is compared at once
def test_passes_add_up_to_the_whole_motion(count: int) -> None:
    shifts = np.random.default_rng(2).uniform(-9, 9, (count, 2))
    heard: list[float] = []
    found = predict(Exact(), shifted(shifts), on_progress=heard.append)
    assert found.reference == count // 2
    # phase correlation is off by some tenths of a pixel at repeated borders; a wrong reduction, by pixels
    np.testing.assert_allclose(found.motions[:, 1:], shifts - shifts[count // 2], atol=0.6)
    assert found.likeness.min() > 0.9
    assert found.before.min() < 0.5
    assert heard == sorted(heard)


def test_lens_data_choose_the_reference_and_start_the_search() -> None:
    found = predict(Exact(), shifted(np.zeros((3, 2))), np.array([1.1, 1.05, 1.0]))
    assert found.reference == 2
    # nothing moves, which a network that finds no scale cannot tell the lens
    np.testing.assert_allclose(found.motions[:, 0], [1 / 1.1, 1 / 1.05, 1], rtol=1e-6)


def test_stacked_motions_are_scale_and_shifts() -> None:
    one, two, three = torch.rand(3, 2, 4)
    assert torch.equal(stacked(BasisMotions(one, two, three))[1, 2], torch.stack([one[1, 2], two[1, 2], three[1, 2]]))


def test_answers_that_make_slices_less_alike_are_not_taken() -> None:
    class Wrong(Exact):
        def forward(self, stack: Tensor, field_of_view: Tensor, reference: Tensor | None = None) -> BasisMotions:
            right = super().forward(stack, field_of_view, reference)
            return BasisMotions(right.scale, -right.shift_x, -right.shift_y)

    shifts = np.array([[4.0, -3.0], [0.0, 0.0], [-2.0, 5.0]])
    np.testing.assert_allclose(predict(Wrong(), shifted(shifts)).motions, [(1, 0, 0)] * 3)


def test_shipped_weights_align_a_phones_stack_within_half_a_pixel() -> None:
    phone = phone_stack((8, 2), count=5, size=128, reduction=24, phone=PHONES[1])
    frames = phone.frames.numpy().astype(np.float32) / np.float32(255)
    true = relative_to(phone.motions.numpy().astype(np.float64), 2)
    found = predict(load(), frames)
    error = corner_error(torch.from_numpy(found.motions), torch.from_numpy(true), (128, 128))
    still = corner_error(torch.tensor([1.0, 0, 0]).double().expand(5, 3), torch.from_numpy(true), (128, 128))
    assert still.max() > 3
    assert error.max() < 0.5


def test_weights_are_those_of_their_card() -> None:
    told = card()
    assert sum(p.numel() for p in load().parameters()) == told.parameters
    assert told.name not in {depth.name for depth in shipped_cards()}
