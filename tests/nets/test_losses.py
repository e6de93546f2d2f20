"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dffnets import losses
from dffnets.training import count_peaks


def curve(*values: float) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


VALID = torch.ones(1, 1, 1, dtype=torch.bool)


def test_absolute_error_of_the_mean_position() -> None:
    probability, positions = curve(0.25, 0.5, 0.25), torch.tensor([[0.0, 0.4, 1.0]])
    depth = torch.full((1, 1, 1), 0.75)  # mean position 0.45
    assert math.isclose(float(losses.absolute_error(probability, positions, depth, VALID)), 0.3, rel_tol=1e-6)


def test_pixels_without_truth_do_not_count() -> None:
    probability, positions = curve(0.25, 0.5, 0.25).expand(1, 3, 1, 2), torch.tensor([[0.0, 0.4, 1.0]])
    depth, valid = torch.tensor([[[0.75, 99.0]]]), torch.tensor([[[True, False]]])
    assert math.isclose(float(losses.absolute_error(probability, positions, depth, valid)), 0.3, rel_tol=1e-6)
    nothing = losses.absolute_error(probability, positions, depth, torch.zeros_like(valid))
    assert float(nothing) == 0


def test_near_error_counts_in_slices_and_forgives_what_is_far_off() -> None:
    positions = torch.linspace(0, 1, 5)[None]
    probability = curve(0.0, 1.0, 0.0, 0.0, 0.0)  # slice 1
    for slices, expected in ((0.0, 0.0), (0.5, 0.5), (2.5, 2.5 / 3.0)):
        depth = torch.full((1, 1, 1), (1 + slices) / 4)
        loss = float(losses.near_error(probability, positions, depth, VALID))
        assert math.isclose(loss, expected, rel_tol=1e-5, abs_tol=1e-7)


def test_slice_targets_share_linearly_between_two_neighbours() -> None:
    target = losses.slice_targets(torch.linspace(0, 1, 5)[None], torch.full((1, 1, 1), 0.3125))  # slice 1.25
    torch.testing.assert_close(target.flatten(), torch.tensor([0.0, 0.75, 0.25, 0.0, 0.0]), atol=3e-4, rtol=0)
    assert float(target.min()) > 0


def test_focal_variation_is_zero_for_one_peak_and_counts_each_wrong_step() -> None:
    assert float(losses.focal_variation(curve(0.1, 0.2, 0.4, 0.2, 0.1), VALID)) == 0
    assert float(losses.focal_variation(curve(0.5, 0.3, 0.2), VALID)) == 0
    # 0.2 -> 0.1 falls before the peak; 0.0 -> 0.2 rises behind it
    wrong = losses.focal_variation(curve(0.2, 0.1, 0.5, 0.0, 0.2), VALID)
    assert math.isclose(float(wrong), 0.1**2 + 0.2**2, rel_tol=1e-5)


def test_losses_of_small_second_peaks() -> None:
    one, small, large = curve(0.1, 0.5, 0.3), curve(0.1, 0.5, 0.2, 0.225), curve(0.0, 0.5, 0.1, 0.4)
    assert float(losses.focal_turns(one, VALID)) == float(losses.focal_peaks(one, VALID)) == 0
    assert math.isclose(float(losses.focal_turns(small, VALID)), 0.025, rel_tol=1e-5)
    # 0.025 and 0.3 as shares of the peak are 0.05 and 0.6
    assert math.isclose(float(losses.focal_peaks(small, VALID)), 0.05 / 0.10, rel_tol=1e-5)
    assert math.isclose(float(losses.focal_peaks(large, VALID)), 0.6 / 0.65, rel_tol=1e-5)


def test_spatial_variation_is_zero_for_true_gradients_and_weighs_by_focus() -> None:
    x = torch.arange(8.0)
    depth = (0.1 * x).expand(1, 8, 8) + 0.0
    valid = torch.ones_like(depth, dtype=torch.bool)
    positions = torch.tensor([[0.0, 0.5, 1.0]])
    gradients = torch.zeros(1, 2, 3, 8, 8)
    gradients[:, 0] = 0.1
    assert float(losses.spatial_variation(gradients, positions, depth, valid)) < 1e-6
    off = gradients.clone()
    off[:, 0] += 0.2  # everywhere in all slices: the weights sum to 1
    assert math.isclose(float(losses.spatial_variation(off, positions, depth, valid)), 0.2, rel_tol=1e-4)


def test_laplacian_variance_compares_sharpness_both_ways() -> None:
    truth = torch.randn(2, 16, 16)
    valid = torch.ones_like(truth, dtype=torch.bool)
    for factor in (0.5, 2.0):  # variance changes by its square
        loss = losses.laplacian_variance(truth * factor, truth, valid)
        assert math.isclose(float(loss), math.log(4), rel_tol=1e-3)


def test_peaks_are_counted_on_either_end_and_plateaus_once() -> None:
    curves = torch.tensor(
        [
            [0.5, 0.3, 0.2, 0.0],
            [0.0, 0.2, 0.3, 0.5],
            [0.4, 0.1, 0.4, 0.1],
            [0.1, 0.4, 0.4, 0.1],
            [0.25, 0.25, 0.25, 0.25],
        ]
    )
    assert count_peaks(curves.T[None, :, None])[0, 0].tolist() == [1, 1, 2, 1, 1]
