"""Learning Depth from Focus in the Wild: depth network and alignment network.

Won and Jeon, "Learning Depth from Focus in the Wild", ECCV 2022. The authors' code is public under
the MIT licence; this is written anew from the paper and the layer facts found there.

Kept from the paper: the four parts (sharp region detector, efficient downsampling, multi-scale
aggregation, three refinement hourglasses), four outputs from softplus scores, three basis motions.
Left out: 22,240 weights of the public code that no output depends on; the paper's own parameter
counts (67 k + 2.883 M + 1.067 M) do not count them either. Changed in the alignment network: it takes
any number of slices (public code: exactly 10), translations predicted at a coarse level are doubled
on the way to the next finer one (public code: reused as they are), and the reference slice is the one
with the smallest field of view (public code: the last).

Volumes are (B, C, N, H, W); slices mix only through the first kernel axis, and N never shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

from dffnets.layers import ConvNorm3d, SharpRegionDetector, UpConvNorm3d, slice_probability

CHANNELS = (8, 16, 32)
"""Channels at full, half and quarter size."""


class EfficientDownsampling(nn.Module):
    """Halve rows and columns by a strided and a max-pooled branch (paper: EFD).

    The pooled branch keeps the strongest responses, which a strided convolution may step over.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.strided = ConvNorm3d(inputs, outputs, stride=2, relu=False)
        self.pooled = nn.Sequential(nn.MaxPool3d((1, 2, 2)), ConvNorm3d(inputs, outputs, relu=False))

    def forward(self, volume: Tensor) -> Tensor:
        return F.relu(self.strided(volume) + self.pooled(volume))


class ResidualPair(nn.Module):
    """Two convolutions that set the channels, then two with a shortcut around them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(ConvNorm3d(inputs, outputs), ConvNorm3d(outputs, outputs))
        self.refine = nn.Sequential(ConvNorm3d(outputs, outputs), ConvNorm3d(outputs, outputs, relu=False))

    def forward(self, volume: Tensor) -> Tensor:
        entered: Tensor = self.enter(volume)
        refined: Tensor = self.refine(entered)
        return entered + refined


class Aggregation(nn.Module):
    """Gather context from 1/8, 1/16 and 1/32 of the image; give 32 channels at 1/8."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        c = channels
        self.eighth, self.sixteenth, self.thirtysecond = (
            ResidualPair(c, c),
            ResidualPair(c, 2 * c),
            ResidualPair(c, 2 * c),
        )
        self.down_16 = nn.Conv3d(c, 2 * c, 3, stride=(1, 2, 2), padding=1, bias=False)
        self.join_16 = nn.Sequential(ConvNorm3d(4 * c, 2 * c), ConvNorm3d(2 * c, 2 * c))
        self.down_32 = nn.Conv3d(2 * c, 4 * c, 3, stride=(1, 2, 2), padding=1, bias=False)
        self.join_32 = nn.Sequential(ConvNorm3d(6 * c, 4 * c), ConvNorm3d(4 * c, 4 * c))
        self.up_16, self.skip_16 = UpConvNorm3d(4 * c, 2 * c), ConvNorm3d(2 * c, 2 * c, 1, relu=False)
        self.up_8, self.skip_8 = UpConvNorm3d(2 * c, c), ConvNorm3d(c, c, 1, relu=False)

    def forward(self, quarter: Tensor) -> Tensor:
        eighth = self.eighth(F.avg_pool3d(quarter, (1, 2, 2)))
        sixteenth = self.sixteenth(F.avg_pool3d(quarter, (1, 4, 4)))
        thirtysecond = self.thirtysecond(F.avg_pool3d(quarter, (1, 8, 8)))
        middle = self.join_16(torch.cat([self.down_16(eighth), sixteenth], 1))  # (B, 2c, N, H/16, W/16)
        deep = self.join_32(torch.cat([self.down_32(middle), thirtysecond], 1))  # (B, 4c, N, H/32, W/32)
        middle = F.relu(self.up_16(deep) + self.skip_16(middle))
        return F.relu(self.up_8(middle) + self.skip_8(eighth))  # (B, c, N, H/8, W/8)


class Hourglass(nn.Module):
    """Refine a volume at two coarser sizes, with shortcuts from the hourglass before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.enter = ConvNorm3d(2 * c, c)
        self.down = ConvNorm3d(c, 2 * c, stride=2)
        self.middle = ConvNorm3d(2 * c, 2 * c, relu=False)
        self.deep = nn.Sequential(ConvNorm3d(2 * c, 2 * c, stride=2), ConvNorm3d(2 * c, 2 * c))
        self.up_deep = UpConvNorm3d(2 * c, 2 * c)
        self.up = UpConvNorm3d(2 * c, c)

    def forward(self, volume: Tensor, before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the refined volume (B, c, N, h, w), and what the next hourglass needs.

        ``volume`` is (B, 2c, N, h, w). ``before`` holds the entered and the refined volume of the
        hourglass before, which has the size of this one's middle.
        """
        entered = self.enter(volume)
        middle = self.middle(self.down(entered))
        middle = F.relu(middle if before is None else middle + before[1])
        deep = self.up_deep(self.deep(middle))
        refined = self.up(F.relu(deep + (middle if before is None else before[0])))
        return refined, (entered, refined)


class DepthNetwork(nn.Module):
    """Depth from a registered stack: 4.017 M parameters, four probability volumes.

    Input (B, 3, N, H, W) standardised, with H and W multiples of 32. Output: probabilities over the
    slices, (B, N, H, W) each, coarse to fine; the last is the answer, the others help to train.
    """

    def __init__(self) -> None:
        super().__init__()
        full, half, quarter = CHANNELS
        self.extract = nn.Sequential(ConvNorm3d(3, full, (1, 9, 9), dilation=2), SharpRegionDetector(full))
        self.to_half = nn.Sequential(EfficientDownsampling(full, half), SharpRegionDetector(half))
        self.to_quarter = nn.Sequential(EfficientDownsampling(half, quarter), SharpRegionDetector(quarter))
        self.aggregate = Aggregation(quarter)
        self.score_eighth = nn.Sequential(ConvNorm3d(quarter, quarter), nn.Conv3d(quarter, 1, 3, padding=1, bias=False))
        self.widen = nn.Sequential(ConvNorm3d(quarter, 2 * quarter), ConvNorm3d(2 * quarter, 2 * quarter))
        sizes = (quarter, half, full)
        self.up = nn.ModuleList(UpConvNorm3d(2 * c, c) for c in sizes)
        self.hourglass = nn.ModuleList(Hourglass(c) for c in sizes)
        self.score = nn.ModuleList(nn.Conv3d(c, 1, 1, bias=False) for c in sizes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, stack: Tensor) -> list[Tensor]:
        size = (int(stack.shape[-2]), int(stack.shape[-1]))
        full = self.extract(stack)  # (B, 8, N, H, W)
        half = self.to_half(full)  # (B, 16, N, H/2, W/2)
        quarter = self.to_quarter(half)  # (B, 32, N, H/4, W/4)
        context = self.aggregate(quarter)  # (B, 32, N, H/8, W/8)
        probabilities = [slice_probability(self.score_eighth(context), size)]
        volume, before = self.widen(context), None
        for up, hourglass, score, skip in zip(self.up, self.hourglass, self.score, (quarter, half, full), strict=True):
            raised = up(volume)
            refined, before = hourglass(torch.cat([raised, skip], 1), before)
            volume = raised + refined
            probabilities.append(slice_probability(score(volume), size))
        return probabilities


class ResidualBlock2d(nn.Module):
    """Residual block within each slice, for the alignment network's features."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm3d(inputs, outputs, (1, 3, 3), stride), ConvNorm3d(outputs, outputs, (1, 3, 3), relu=False)
        )
        self.shortcut = nn.Conv3d(inputs, outputs, 1, stride=(1, stride, stride), bias=False)

    def forward(self, volume: Tensor) -> Tensor:
        return F.relu(self.shortcut(volume) + self.body(volume))


@dataclass(frozen=True, slots=True)
class BasisMotions:
    """Motion of each slice against the reference, (B, N) each (paper: alpha, beta, gamma).

    The content at offset u from the picture's centre lies at u * ``scale`` + shift in the slice;
    ``shift_x`` and ``shift_y`` are pixels of the full-size picture.
    """

    scale: Tensor
    shift_x: Tensor
    shift_y: Tensor


class AlignmentNetwork(nn.Module):
    """Predict scale and shift of every slice against the slice with the smallest field of view.

    195,593 parameters. Input (B, 3, N, H, W) in -1..1, H and W multiples of 4, and the relative
    field of view (B, N) from the lens data, 1 where nothing is known; output `BasisMotions`. Coarse
    to fine: at each of three levels the features, warped by what is known so far, are compared with
    the reference's, and a correction is averaged over the whole picture.
    """

    def __init__(self) -> None:
        super().__init__()
        c1, c2, c4 = CHANNELS
        self.features = nn.ModuleList(
            [
                nn.Sequential(ResidualBlock2d(3, c1), ResidualBlock2d(c1, c1)),
                nn.Sequential(ResidualBlock2d(c1, c2, 2), ResidualBlock2d(c2, c2)),
                nn.Sequential(ResidualBlock2d(c2, c4, 2), ResidualBlock2d(c4, c4)),
            ]
        )
        self.compare = nn.ModuleList(
            nn.Sequential(
                ConvNorm3d(2 * c + 2, 2 * c, (1, 3, 3)),
                ConvNorm3d(2 * c, 2 * c, (1, 3, 3)),
                ConvNorm3d(2 * c, 2 * c, (1, 3, 3)),
                nn.Conv3d(2 * c, 3, (1, 3, 3), padding=(0, 1, 1)),
            )
            for c in CHANNELS
        )

    def forward(self, stack: Tensor, field_of_view: Tensor) -> BasisMotions:
        pyramid = [stack]
        for extract in self.features:
            pyramid.append(extract(pyramid[-1]))
        reference = field_of_view.argmin(1)  # (B,)
        batch = torch.arange(len(reference), device=stack.device)
        motion = torch.stack([field_of_view, torch.zeros_like(field_of_view), torch.zeros_like(field_of_view)], 1)
        for level in (2, 1, 0):
            features = pyramid[level + 1]  # (B, C, N, h, w)
            flow = motion_flow(motion / motion.new_tensor([1, 2**level, 2**level])[:, None], features.shape[-2:])
            warped = warp(features, flow)
            target = warped[batch, :, reference].unsqueeze(2).expand_as(warped)
            update = self.compare[level](torch.cat([target, warped, flow.to(warped.dtype)], 1)).float().mean((-2, -1))
            # (B, 3, N): a thousandth of scale moves a corner about as far as a tenth of a pixel of shift
            motion = motion + update * update.new_tensor([1e-3, 2**level, 2**level])[:, None]
        return BasisMotions(motion[:, 0], motion[:, 1], motion[:, 2])


def motion_flow(motion: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Return the flow (B, 2, N, h, w), (x, y) in pixels, of ``motion`` (B, 3, N): scale and shifts."""
    height, width = size
    x = torch.arange(width, device=motion.device, dtype=motion.dtype) - (width - 1) / 2
    y = torch.arange(height, device=motion.device, dtype=motion.dtype) - (height - 1) / 2
    scale, shift_x, shift_y = motion[..., None, None].unbind(1)  # (B, N, 1, 1) each
    flow_x = ((scale - 1) * x + shift_x).expand(-1, -1, height, -1)
    flow_y = ((scale - 1) * y[:, None] + shift_y).expand(-1, -1, -1, width)
    return torch.stack([flow_x, flow_y], 1)


def warp(volume: Tensor, flow: Tensor) -> Tensor:
    """Sample ``volume`` (B, C, N, h, w) at grid + ``flow`` (B, 2, N, h, w), bilinear, 0 outside."""
    b, c, n, h, w = volume.shape
    y, x = torch.meshgrid(torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij")
    place = torch.stack([(x + flow[:, 0]) * (2 / max(w - 1, 1)), (y + flow[:, 1]) * (2 / max(h - 1, 1))], -1) - 1
    frames = volume.transpose(1, 2).reshape(b * n, c, h, w)  # (B, C, N, h, w) -> (B*N, C, h, w)
    sampled = F.grid_sample(frames, place.reshape(b * n, h, w, 2).to(frames.dtype), align_corners=True)
    return sampled.view(b, n, c, h, w).transpose(1, 2)


class DepthFromFocusInTheWild(nn.Module):
    """The depth network behind the interface that all networks share.

    ``forward(stack, positions)``: stack (B, 3, N, H, W) standardised, positions (B, N) in 0..1, both
    in the order of focus; returns probability volumes (B, N, H, W), coarse to fine.
    """

    def __init__(self) -> None:
        super().__init__()
        self.depth = DepthNetwork()

    def forward(self, stack: Tensor, positions: Tensor) -> list[Tensor]:
        probabilities: list[Tensor] = self.depth(stack)
        return probabilities
