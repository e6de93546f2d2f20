"""Losses, one function each.

Depths and positions are focus coordinates in 0..1. ``valid`` (B, H, W) marks pixels with a truth inside
the sweep; a mean position can never leave it, so truth outside must not pull.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor

from dffnets.layers import expected_position

RIPPLE = 0.05
"""Wrong steps, as a share of the peak's height, that `focal_peaks` counts as half a second peak."""


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of ``values`` where ``valid``; 0 when nothing is."""
    weight = valid.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def absolute_error(probability: Tensor, positions: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean absolute error of the mean position; shapes (B, N, H, W), (B, N), (B, H, W)."""
    return masked_mean((expected_position(probability, positions) - depth).abs(), valid)


def root_square_error(probability: Tensor, positions: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    """Return the l2 norm of the error per pixel, as in DfFW and FAD ("|| D - D_gt ||_2")."""
    return torch.sqrt(masked_mean((expected_position(probability, positions) - depth) ** 2, valid) + 1e-8)


def near_error(probability: Tensor, positions: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of e / (e + 1/2), where e is the error of the mean position in slices.

    Ours, after Geman and McClure's robust error. Errors in shares of the range ask little of a long stack,
    where a whole slice is next to nothing; this asks most of pixels that are nearly right already.
    """
    slices = (expected_position(probability, positions) - depth).abs() * (positions.shape[1] - 1)
    return masked_mean(slices / (slices + 0.5), valid)


def slice_targets(positions: Tensor, depth: Tensor) -> Tensor:
    """Return target probabilities (B, N, H, W): the two slices around the truth share it linearly.

    A little reaches further out, so that no slice has the target 0 and gradients stay finite.
    """
    n = positions.shape[1]
    distance = (positions[:, :, None, None] - depth[:, None]).abs() * (n - 1)
    target = (1 - distance).clamp(min=0) + 1e-4 * torch.exp(-distance)
    return target / target.sum(1, keepdim=True)


def cross_entropy(probability: Tensor, positions: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    """Return the cross entropy between `slice_targets` and ``probability``."""
    entropy = -(slice_targets(positions, depth) * (probability + 1e-8).log()).sum(1)
    return masked_mean(entropy, valid)


def focal_variation(probability: Tensor, valid: Tensor) -> Tensor:
    """Punish probabilities that do not rise to their peak and fall behind it.

    Woo and Lee, DualFocus, NeurIPS 2025: sum over i < k of max(0, p_i - p_i+1)^2 and over i >= k of
    max(0, p_i+1 - p_i)^2, where k is the peak. ``probability`` (B, N, H, W).
    """
    return masked_mean((_wrong_steps(probability) ** 2).sum(1), valid)


def focal_turns(probability: Tensor, valid: Tensor) -> Tensor:
    """Return the mean total of the steps that `focal_variation` punishes, not squared.

    Ours: squares forgive the small ripples that make a second peak; absolute values do not.
    """
    return masked_mean(_wrong_steps(probability).sum(1), valid)


def focal_peaks(probability: Tensor, valid: Tensor) -> Tensor:
    """Return a smooth count of the pixels whose curve has a second peak: the mean of r / (r + `RIPPLE`).

    Ours. r is the total of the steps that `focal_variation` punishes, as a share of the peak's height. Small ripples,
    which make most second peaks, are pulled at hardest; a pixel that two surfaces share counts once, however high its
    second peak is, so that the depth of such pixels is not given up for one.
    """
    wrong = _wrong_steps(probability).sum(1) / probability.amax(1).detach()
    return masked_mean(wrong / (wrong + RIPPLE), valid)


def _wrong_steps(probability: Tensor) -> Tensor:
    """Return by how much each step (B, N-1, H, W) falls before the peak, or rises behind it; else 0."""
    steps = probability[:, 1:] - probability[:, :-1]  # step i from slice i to i+1
    peak = probability.argmax(1, keepdim=True)
    before = torch.arange(steps.shape[1], device=steps.device).view(1, -1, 1, 1) < peak
    return torch.where(before, (-steps).clamp(min=0), steps.clamp(min=0))


def spatial_variation(gradients: Tensor, positions: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    """Ask each slice's depth gradients to match the truth where that slice is in focus.

    Woo and Lee, DualFocus, NeurIPS 2025: sum over pixels and slices of q_n |grad D - gradients_n|_1 with
    q_n = softmax over n of -|f_n - D|. ``gradients`` (B, 2, N, h, w) are differences in x and y of the
    depth at their own size; ``depth`` (B, H, W) is averaged down to it. The paper gives no scale inside
    the softmax; distances are counted in slices, so that q means the same for short and long stacks.
    """
    size = (int(gradients.shape[-2]), int(gradients.shape[-1]))
    known = F.adaptive_avg_pool2d(valid.float()[:, None], size)[:, 0]
    coarse = F.adaptive_avg_pool2d((depth * valid)[:, None], size)[:, 0] / known.clamp(min=1e-6)
    truth = torch.zeros_like(gradients[:, :, 0])
    truth[:, 0, :, :-1] = coarse[:, :, 1:] - coarse[:, :, :-1]
    truth[:, 1, :-1] = coarse[:, 1:] - coarse[:, :-1]
    n = positions.shape[1]
    sharp = (-(positions[:, :, None, None] - coarse[:, None]).abs() * (n - 1)).softmax(1)  # (B, N, h, w)
    error = (gradients - truth[:, :, None]).abs().sum(1)  # (B, N, h, w)
    inside = (known > 0.99).float()
    inside[:, -1] = 0  # the last row and column have no forward difference
    inside[:, :, -1] = 0
    return masked_mean((sharp * error).sum(1), inside)


def laplacian_variance(prediction: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    """Return |log(var(Laplacian prediction) / var(Laplacian truth))|, FocDepthFormer's sharpness term.

    The paper's term has no absolute value and falls without bound as the prediction gets flat.
    """
    kernel = prediction.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)

    def variance(map_: Tensor) -> Tensor:
        laplacian = F.conv2d(torch.where(valid, map_, map_.detach().mean())[:, None], kernel)
        return laplacian.var((1, 2, 3)) + 1e-6

    return (variance(prediction) / variance(depth)).log().abs().mean()
