"""Blocks that two networks or more share.

Volumes are (B, C, N, H, W): batch, channels, slices, rows, columns. Nothing here shrinks N.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

Size3 = int | tuple[int, int, int]


class ConvNorm3d(nn.Sequential):
    """3-D convolution without bias, batch norm, and ReLU unless ``relu`` is False.

    "Same" padding; ``stride`` acts on rows and columns only.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Size3 = 3, stride: int = 1, dilation: int = 1, relu: bool = True
    ) -> None:
        n, h, w = (kernel,) * 3 if isinstance(kernel, int) else kernel
        padding = (n // 2, dilation * (h // 2), dilation * (w // 2))
        layers: list[nn.Module] = [
            nn.Conv3d(inputs, outputs, (n, h, w), (1, stride, stride), padding, (1, dilation, dilation), bias=False),
            nn.BatchNorm3d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class UpConvNorm3d(nn.Sequential):
    """Transposed 3x3x3 convolution that doubles rows and columns, then batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.ConvTranspose3d(inputs, outputs, 3, stride=(1, 2, 2), padding=1, output_padding=(0, 1, 1), bias=False),
            nn.BatchNorm3d(outputs),
        )


class SharpRegionDetector(nn.Module):
    """Emphasise what is sharper in one slice than in its neighbours.

    Won and Jeon, ECCV 2022, section 3.2 (SRD); FAD's clarity area identification describes the same
    block. A 2-D residual block looks for sharp structure in each slice; a convolution over three slices
    then compares it with the slices before and after.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            ConvNorm3d(channels, channels, (1, 3, 3)), ConvNorm3d(channels, channels, (1, 3, 3), relu=False)
        )
        self.focal = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.attention = nn.Conv3d(channels, channels, 1, bias=False)

    def forward(self, volume: Tensor) -> Tensor:
        sharp = F.relu(volume + self.spatial(volume))
        return sharp + F.relu(self.attention(F.relu(self.focal(sharp))))


def slice_probability(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Turn focus scores into probabilities over the slices.

    ``scores`` (B, 1, N, h, w) are brought to ``size`` bilinearly; softplus keeps them above 0 and
    dividing by their sum over N makes probabilities (B, N, H, W). In float32 whatever the input:
    the small constant underflows in half precision.
    """
    scores = scores[:, 0].float()
    if tuple(scores.shape[-2:]) != size:
        scores = F.interpolate(scores, size, mode="bilinear", align_corners=False)
    positive = F.softplus(scores) + 1e-6
    return positive / positive.sum(1, keepdim=True)


def expected_position(probability: Tensor, positions: Tensor) -> Tensor:
    """Return the mean focus position (B, H, W) of ``probability`` (B, N, H, W), ``positions`` (B, N)."""
    return torch.einsum("bnhw,bn->bhw", probability, positions.to(probability.dtype))


def grey(stack: Tensor) -> Tensor:
    """Return (B, 1, N, H, W) luminance (Rec. 601) of a stack (B, 3, N, H, W)."""
    return (stack * stack.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1, 1)).sum(1, keepdim=True)


def standardise(frames: Tensor) -> Tensor:
    """Return frames (B, C, N, H, W) with mean 0 and standard deviation 1 over each whole stack.

    One mean and one deviation for all slices: what tells the slices apart must not be normalised away.
    """
    spread, mean = torch.std_mean(frames, (1, 2, 3, 4), keepdim=True)
    return (frames - mean) / (spread + 1e-4)
