"""Re-blur consistency, on scenes whose depth and blur are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dffnets.reblur import CALM, calmed, given_back, inconsistency, measure_slope, sharp_picture
from dffnets.synthetic.random_scenes import Canvas, solid
from dffnets.synthetic.torus import render

SIZE = 96
POSITIONS = torch.linspace(0, 1, 9)


def scene(slope: float, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return slices (9, S, S) and depth (S, S) of a textured wave whose blur grows by ``slope`` pixels a sweep."""
    canvas = Canvas(np.random.default_rng(seed), SIZE, torch.device("cpu"))
    depth = 0.5 + 0.35 * torch.sin(2 * np.pi * canvas.x / SIZE)
    colour = 0.4 + 0.12 * canvas.noise(1.5)
    layers = solid(depth, torch.ones_like(depth), colour, 0.15, 0.85, 28)
    return render(layers, POSITIONS, slope, 16.0, 0.6), depth


def inside() -> Tensor:
    """Return 1 away from the edges, beyond which the scene goes on as on a torus."""
    mask = torch.zeros(SIZE, SIZE)
    mask[16:-16, 16:-16] = 1
    return mask


def off(frames: Tensor, depth: Tensor, slope: float) -> float:
    """Return the mean inconsistency away from the edges."""
    found = inconsistency(frames[None], POSITIONS[None], depth[None], torch.tensor([slope]))[0]
    return float((found * inside()).sum() / inside().sum())


@pytest.mark.parametrize("slope", [8.0, 20.0, 40.0])
def test_blur_is_measured_within_a_tenth(slope: float) -> None:
    frames, depth = scene(slope)
    assert measure_slope(frames, POSITIONS, depth, inside()) == pytest.approx(slope, rel=0.1)


def test_unsure_pixels_have_no_say_in_the_blur() -> None:
    frames, depth = scene(20.0)
    sure = inside()
    sure[:, :48] = 0
    expected = measure_slope(frames, POSITIONS, depth, sure)
    spoilt = depth.clone()
    spoilt[20:60, 20:24] = 0.0
    assert measure_slope(frames, POSITIONS, spoilt, sure) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("slope", [8.0, 20.0, 40.0])
def test_the_true_depth_is_given_back_best(slope: float) -> None:
    frames, depth = scene(slope)
    truth = off(frames, depth, slope)
    for wrong in (depth + 0.25, depth - 0.25, torch.full_like(depth, 0.5)):  # two slices off, and flat
        assert truth < 0.7 * off(frames, wrong, slope)


def test_learning_by_it_alone_finds_a_plane() -> None:
    canvas = Canvas(np.random.default_rng(3), SIZE, torch.device("cpu"))
    plane = torch.full((SIZE, SIZE), 0.6)
    layers = solid(plane, torch.ones_like(plane), 0.4 + 0.1 * canvas.noise(1.0), 0.6, 0.6, 1)
    frames = render(layers, POSITIONS, 20, 16, 0.6)
    place = torch.tensor(0.45, requires_grad=True)
    optimiser = torch.optim.Adam([place], 0.01)
    for _ in range(40):
        loss = inconsistency(frames[None], POSITIONS[None], place.expand(1, SIZE, SIZE), torch.tensor([20.0])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(place.detach()) == pytest.approx(0.6, abs=0.03)


def test_a_flat_scene_in_focus_is_blurred_as_a_disc_blurs_it() -> None:
    frames = torch.zeros(1, 3, 65, 65)
    frames[0, 1, 32, 32] = 1.0
    positions = torch.tensor([[0.0, 0.5, 1.0]])
    back = given_back(frames, positions, torch.full((1, 65, 65), 0.5), torch.tensor([16.0]))[0]
    axis = torch.arange(65) - 32.0
    distance = torch.hypot(axis[:, None], axis[None])
    assert torch.allclose(back.sum((1, 2)), torch.ones(3), atol=1e-3)
    torch.testing.assert_close(back[1], calmed(frames)[0, 1], atol=2e-3, rtol=0)
    disc = back[0]
    assert float(disc[distance < 8 - 3 * CALM].mean()) == pytest.approx(1 / (np.pi * 64), rel=0.03)
    assert float(disc[distance > 8 + 3 * CALM].abs().max()) < 2e-4


def test_the_sharp_picture_lies_between_the_slices_around_the_depth() -> None:
    frames = torch.arange(3.0)[None, :, None, None].expand(1, 3, 2, 2) ** 2
    positions = torch.tensor([[0.0, 0.25, 1.0]])
    depth = torch.tensor([[[-1.0, 0.125], [0.625, 2.0]]])
    sharp, shares = sharp_picture(frames, positions, depth)
    torch.testing.assert_close(sharp, torch.tensor([[[0.0, 0.5], [2.5, 4.0]]]))
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 2, 2))
    assert shares[0, :, 0, 1].tolist() == [0.5, 0.5, 0.0]
