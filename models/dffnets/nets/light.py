"""Our own light network: a residual 3-D U-Net on half-size, space-to-depth input.

Grey frames enter with the focal differences to the next frame (after DualFocus) and the focus
position of their slice as a constant plane, so that irregular sweeps are understood. Folding 2 x 2
pixels into channels keeps every 3-D convolution at half size or below, which is what makes it quick
on a laptop. Softmax over the slices gives the probabilities.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

from dffnets.layers import Conv3d, ConvNorm3d, Residual, depth_to_space, grey, position_planes, space_to_depth


class LightNetwork(nn.Module):
    """The light network behind the interface that all networks share.

    ``forward(stack, positions)``: stack (B, 3, N, H, W) standardised, with H and W multiples of 16, positions
    (B, N) in 0..1; returns probability volumes (B, N, H, W), coarse to fine, the last the answer; only
    that one when not training.
    """

    def __init__(self, width: int = 16, differences: bool = True) -> None:
        super().__init__()
        channels = (width, 2 * width, 3 * width, 4 * width)
        self.differences = differences
        self.stem = ConvNorm3d(4 * (2 if differences else 1) + 2, width, (1, 3, 3))
        self.encode = nn.ModuleList(Residual(c) for c in channels)
        self.down = nn.ModuleList(ConvNorm3d(a, b, (1, 3, 3), stride=2) for a, b in itertools.pairwise(channels))
        self.narrow = nn.ModuleList(Conv3d(b, a, 1, bias=False) for a, b in itertools.pairwise(channels))
        self.decode = nn.ModuleList(Residual(c) for c in channels[:3])
        self.score = nn.ModuleList(
            # no bias: softmax over the slices would not notice it
            [Conv3d(channels[0], 4, (3, 1, 1), padding=(1, 0, 0), bias=False)]
            + [Conv3d(c, 1, 1, bias=False) for c in channels[1:3]]
        )

    def forward(self, stack: Tensor, positions: Tensor) -> list[Tensor]:
        size = (int(stack.shape[-2]), int(stack.shape[-1]))
        frames = grey(stack)  # (B, 1, N, H, W)
        if self.differences:
            following = torch.cat([frames[:, :, 1:], frames[:, :, -2:-1]], 2)  # the last looks back
            frames = torch.cat([frames, following - frames], 1)
        folded = space_to_depth(frames)  # (B, 4 or 8, N, H/2, W/2)
        volume = self.stem(torch.cat([folded, position_planes(positions, folded)], 1))
        skips = []
        for level, encode in enumerate(self.encode):
            volume = encode(self.down[level - 1](volume) if level else volume)
            skips.append(volume)
        volume = skips.pop()  # (B, 4c, N, H/16, W/16)
        probabilities = []
        for level in (2, 1, 0):
            skip = skips.pop()
            raised = F.interpolate(self.narrow[level](volume), skip.shape[-3:], mode="nearest")
            volume = self.decode[level](F.relu(raised + skip))
            if self.training or level == 0:
                probabilities.append(self._probability(self.score[level](volume), size))
        return probabilities

    def _probability(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        if scores.shape[1] == 4:  # half-size scores of 2 x 2 pixels each
            return depth_to_space(scores)[:, 0].float().softmax(1)
        return F.interpolate(scores[:, 0].float(), size, mode="bilinear", align_corners=False).softmax(1)
