"""Learning Depth from Focus in the Wild: depth network and alignment network.

Won and Jeon, "Learning Depth from Focus in the Wild", ECCV 2022. The authors' code is public under
the MIT licence; this is written anew from the paper and the layer facts found there.

Kept from the paper: the four parts (sharp region detector, efficient downsampling, multi-scale
aggregation, three refinement hourglasses), four outputs from softplus scores, three basis motions.
Left out: 22,240 weights of the public code that no output depends on; the paper's own parameter
counts (67 k + 2.883 M + 1.067 M) do not count them either. Changed in the alignment network: it takes
any number of slices (public code: exactly 10); translations predicted at a coarse level are doubled
on the way to the next finer one (public code: reused as they are); the reference slice is the one
with the smallest field of view (public code: the last) or any other; and the three basis motions are
fitted to a displacement and a weight of every pixel (paper: averages over the picture of three numbers
a pixel), since an average is diluted by what shows no texture and cannot see a zoom that the lens data
do not announce.

Volumes are (B, C, N, H, W); slices mix only through the first kernel axis, and N never shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

from dffnets.layers import Conv3d, ConvNorm3d, SharpRegionDetector, UpConvNorm3d, slice_probability

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
        self.down_16 = Conv3d(c, 2 * c, 3, stride=(1, 2, 2), padding=1, bias=False)
        self.join_16 = nn.Sequential(ConvNorm3d(4 * c, 2 * c), ConvNorm3d(2 * c, 2 * c))
        self.down_32 = Conv3d(2 * c, 4 * c, 3, stride=(1, 2, 2), padding=1, bias=False)
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
        self.score_eighth = nn.Sequential(ConvNorm3d(quarter, quarter), Conv3d(quarter, 1, 3, padding=1, bias=False))
        self.widen = nn.Sequential(ConvNorm3d(quarter, 2 * quarter), ConvNorm3d(2 * quarter, 2 * quarter))
        sizes = (quarter, half, full)
        self.up = nn.ModuleList(UpConvNorm3d(2 * c, c) for c in sizes)
        self.hourglass = nn.ModuleList(Hourglass(c) for c in sizes)
        self.score = nn.ModuleList(Conv3d(c, 1, 1, bias=False) for c in sizes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, stack: Tensor) -> list[Tensor]:
        size = (int(stack.shape[-2]), int(stack.shape[-1]))
        full = self.extract(stack.contiguous(memory_format=torch.channels_last_3d))  # (B, 8, N, H, W)
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


class ConvNorm2d(nn.Sequential):
    """3x3 convolution without bias, batch norm, and ReLU unless ``relu`` is False."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class ResidualBlock2d(nn.Module):
    """Residual block within each slice, for the alignment network's features."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm2d(inputs, outputs, stride=stride), ConvNorm2d(outputs, outputs, relu=False))
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, picture: Tensor) -> Tensor:
        return F.relu(self.shortcut(picture) + self.body(picture))


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
    """Predict scale and shift of every slice against one reference slice.

    195,593 parameters. Input (B, 3, N, H, W) in -1..1, H and W multiples of 4, and the relative field
    of view (B, N) from the lens data, 1 where nothing is known; output `BasisMotions`. The reference
    is the slice with the smallest field of view unless ``reference`` (B,) says otherwise. Coarse to
    fine: at each of three levels the features, warped by what is known so far, are compared with the
    reference's, and the three basis motions are fitted to the displacements seen.
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
                ConvNorm2d(2 * c + 2, 2 * c),
                ConvNorm2d(2 * c, 2 * c),
                ConvNorm2d(2 * c, 2 * c),
                nn.Conv2d(2 * c, 3, 3, padding=1),
            )
            for c in CHANNELS
        )
        for compare in self.compare:  # an untrained network believes the lens data
            nn.init.zeros_(compare[-1].weight)  # type: ignore[index]
            nn.init.zeros_(compare[-1].bias)  # type: ignore[index]

    def forward(self, stack: Tensor, field_of_view: Tensor, reference: Tensor | None = None) -> BasisMotions:
        return self.refinements(stack, field_of_view, reference)[-1]

    def refinements(self, stack: Tensor, field_of_view: Tensor, reference: Tensor | None = None) -> list[BasisMotions]:
        """Return the motions after each level, coarse to fine; the last is the answer."""
        b, c, n, h, w = stack.shape
        pyramid = [stack.transpose(1, 2).reshape(b * n, c, h, w)]  # (B, C, N, H, W) -> (B*N, C, H, W)
        for extract in self.features:
            pyramid.append(extract(pyramid[-1]))
        if reference is None:
            reference = field_of_view.argmin(1)
        chosen = torch.arange(b, device=stack.device) * n + reference  # (B,)
        # a slice that sees twice as much shows everything half as large
        scale = field_of_view.gather(1, reference[:, None]) / field_of_view
        motion = torch.stack([scale, torch.zeros_like(scale), torch.zeros_like(scale)], 1)  # (B, 3, N)
        motions = []
        for level in (2, 1, 0):
            features = pyramid[level + 1]  # (B*N, C, h, w)
            shape = (b, n, *features.shape[1:])
            to_level = motion.new_tensor([1, 2**level, 2**level])[:, None]
            flow = motion_flow(motion / to_level, features.shape[-2:])  # (B, 2, N, h, w)
            moved = warp_slices(features, flow)
            target = features[chosen][:, None].expand(shape).reshape(features.shape)
            flow = flow.transpose(1, 2).reshape(b * n, 2, *features.shape[-2:])
            seen = self.compare[level](torch.cat([target, moved, flow.to(moved.dtype)], 1)).float()
            motion = composed(motion, fitted(seen).view(b, n, 3).transpose(1, 2) * to_level)
            motions.append(BasisMotions(motion[:, 0], motion[:, 1], motion[:, 2]))
        return motions


def fitted(seen: Tensor) -> Tensor:
    """Fit the basis motions to displacements: (M, 3, h, w) x, y and log weight -> (M, 3) scale - 1 and shifts.

    Weighted least squares. Where all weight lies in one spot the scale is kept near 1 rather than
    made up from the spot's noise.
    """
    m, _, h, w = seen.shape
    place = place_from_centre(h, w, seen)  # (2, h*w)
    displacement = seen[:, :2].reshape(m, 2, h * w)
    weight = seen[:, 2].reshape(m, 1, h * w).softmax(-1)
    middle, shift = (weight * place).sum(-1, keepdim=True), (weight * displacement).sum(-1, keepdim=True)
    away = place - middle
    spread = (weight * away.square()).sum((1, 2)) + 0.02 * place.square().sum(0).mean()
    zoom = (weight * away * (displacement - shift)).sum((1, 2)) / spread
    return torch.cat([zoom[:, None], (shift - zoom[:, None, None] * middle)[..., 0]], 1)


def composed(motion: Tensor, update: Tensor) -> Tensor:
    """Return ``motion`` (B, 3, N) after ``update`` (B, 3, N; scale - 1 and shifts), seen in slices moved back by it."""
    scale = motion[:, :1]
    return torch.cat([scale * (1 + update[:, :1]), motion[:, 1:] + scale * update[:, 1:]], 1)


def place_from_centre(height: int, width: int, like: Tensor) -> Tensor:
    """Return (2, height * width): x and y of each pixel from the picture's centre."""
    x = torch.arange(width, device=like.device, dtype=like.dtype) - (width - 1) / 2
    y = torch.arange(height, device=like.device, dtype=like.dtype) - (height - 1) / 2
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)]).flatten(1)


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
    """Sample ``volume`` (B, C, N, h, w) at grid + ``flow`` (B, 2, N, h, w), bilinear, edges repeated."""
    b, c, n, h, w = volume.shape
    frames = volume.transpose(1, 2).reshape(b * n, c, h, w)  # (B, C, N, h, w) -> (B*N, C, h, w)
    return warp_slices(frames, flow).view(b, n, c, h, w).transpose(1, 2)


def warp_slices(frames: Tensor, flow: Tensor) -> Tensor:
    """Sample ``frames`` (B*N, C, h, w) at grid + ``flow`` (B, 2, N, h, w), bilinear, edges repeated."""
    h, w = frames.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij")
    place = torch.stack([(x + flow[:, 0]) * (2 / max(w - 1, 1)), (y + flow[:, 1]) * (2 / max(h - 1, 1))], -1) - 1
    place = place.reshape(-1, h, w, 2).to(frames.dtype)
    return F.grid_sample(frames, place, padding_mode="border", align_corners=True)


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
