"""FAD: frequency-aware depth from focus.

Yan, Wang, Zhang, Qian, Jia, Chen and Li, "Frequency-Aware Deep Depth from Focus", IJCAI 2025. No code
is public; this is written from the paper.

A 3-D U-Net whose bottleneck, the time-frequency joint module, adds a multi-scale spatial branch
(equations 1-2) and a frequency branch (equations 3-6). Four score volumes, coarse to fine, become
probabilities by softplus (equation 8).

What the paper leaves silent, and what is chosen here:

* depth and channels: 1/2 to 1/16 with 16, 32, 48, 64 channels in residual blocks, those of the light network,
  and the joint module at 1/16. Rows and columns are folded 2 x 2 into channels at the entry and unfolded at
  the finest score: volumes of 8 channels at full size take most of the time of such networks and hold little;
* the position of each slice and its distance to its neighbours enter as two planes, so that unequal steps
  are understood; in the paper positions enter equation 8 only;
* clarity area identification: the block of Won and Jeon, which the text describes word for word;
* pooling and kernels of the spatial branch: s = 1, 2, 4 with k = 3, so that the three paths see about 48,
  96 and 192 pixels of the picture;
* the transform is 2-D, slice by slice, orthonormal; the learned weights are complex and block-diagonal
  (8 blocks, two layers), the shrinkage 0.01, as in Huang et al., "Adaptive Frequency Filters as Efficient
  Global Token Mixers", ICCV 2023, which the paper cites and equations 3-6 follow term by term;
* equation 8 does not divide by the sum over the slices; without that it is no mean position, so we divide.

What each branch is worth (`tests/benchmarks/ablation.py`: 200 steps of 2 crops from the light network's weights, RMSE
of the range on the 64 validation stacks): U-Net alone 0.0960, with the spatial branch 0.0959, with the frequency
branch 0.0959, with both 0.0956. The order is that of the paper's figure 7, the gain far smaller, and another seed may
give as much.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

from dffnets.layers import (
    Conv3d,
    ConvNorm3d,
    ConvTranspose3d,
    Residual,
    SharpRegionDetector,
    depth_to_space,
    grey,
    in_windows,
    position_planes,
    slice_probability,
    space_to_depth,
)
from dffnets.nets.light import LightNetwork

SOFTMAX_BIAS = -6.0
"""Added to scores that were trained under softmax: softplus is an exponential below about -1."""


class SpatialBranch(nn.Module):
    """Local features at three scales (equations 1-2): pool, convolve, bring back, fuse."""

    scales = (1, 2, 4)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(ConvNorm3d(channels, channels // 2, (1, 3, 3)) for _ in self.scales)
        self.fuse = ConvNorm3d(len(self.scales) * (channels // 2), channels)

    def forward(self, volume: Tensor) -> Tensor:
        size = volume.shape[-3:]
        features = []
        for scale, path in zip(self.scales, self.paths, strict=True):
            pool = (1, min(scale, size[1]), min(scale, size[2]))
            pooled = F.avg_pool3d(volume, pool, ceil_mode=True) if scale > 1 else volume
            features.append(F.interpolate(path(pooled), size, mode="nearest"))
        fused: Tensor = self.fuse(torch.cat(features, 1))
        return fused


class FrequencyBranch(nn.Module):
    """Global features by an adaptive filter in the frequency domain (equations 3-6).

    spectrum = FFT(x); filter = shrink(complex MLP(spectrum)); out = x + IFFT(filter * spectrum).
    Always in float32: there is no complex bfloat16, and half-precision FFTs lose the fine detail
    that this branch exists for. What a frequency means hangs on the size of the map, so maps larger than
    ``window`` (that of training) are filtered in windows of that size.
    """

    def __init__(self, channels: int, blocks: int = 8, shrinkage: float = 0.01, window: int = 8) -> None:
        super().__init__()
        self.window = window
        width = channels // blocks
        self.blocks = blocks
        self.shrinkage = shrinkage
        self.weight = nn.Parameter(0.02 * torch.randn(2, blocks, width, width, 2))  # layer, block, in, out, (re, im)
        self.bias = nn.Parameter(torch.zeros(2, blocks, width, 2))

    def forward(self, volume: Tensor) -> Tensor:
        with torch.autocast(volume.device.type, enabled=False):
            return volume + in_windows(self._filter, volume.float(), self.window).to(volume.dtype)

    def _filter(self, volume: Tensor) -> Tensor:
        b, _c, n, h, w = volume.shape
        spectrum = torch.fft.rfft2(volume, norm="ortho")  # (B, C, N, h, w/2+1) complex
        weight, bias = torch.view_as_complex(self.weight.float()), torch.view_as_complex(self.bias.float())
        hidden = spectrum.view(b, self.blocks, -1, n, h, spectrum.shape[-1])
        for layer in (0, 1):
            hidden = torch.einsum("bgcnhw,gcd->bgdnhw", hidden, weight[layer])
            hidden = hidden + bias[layer, :, :, None, None, None]
            parts = torch.view_as_real(hidden)
            parts = F.relu(parts) if layer == 0 else F.softshrink(parts, self.shrinkage)
            hidden = torch.view_as_complex(parts.contiguous())
        filtered: Tensor = torch.fft.irfft2(hidden.reshape(spectrum.shape) * spectrum, s=(h, w), norm="ortho")
        return filtered


class TimeFrequencyJoint(nn.Module):
    """Sum of the spatial and the frequency branch (equation 7); either can be left out for ablation."""

    def __init__(self, channels: int, spatial: bool = True, frequency: bool = True) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        if spatial:
            self.branches.append(SpatialBranch(channels))
        if frequency:
            self.branches.append(FrequencyBranch(channels))

    def forward(self, volume: Tensor) -> Tensor:
        if not any(isinstance(branch, FrequencyBranch) for branch in self.branches):
            return sum((branch(volume) for branch in self.branches), volume)
        return torch.stack([branch(volume) for branch in self.branches]).sum(0)


class FrequencyAwareDepth(nn.Module):
    """FAD behind the interface that all networks share.

    ``forward(stack, positions)``: stack (B, 3, N, H, W) standardised, with H and W multiples of 16, positions
    (B, N) in 0..1; returns probability volumes (B, N, H, W), coarse to fine, the last the answer; only
    that one when not training.
    """

    def __init__(
        self, channels: tuple[int, ...] = (16, 32, 48, 64), spatial: bool = True, frequency: bool = True
    ) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(channels))
        self.stem = ConvNorm3d(12 + 2, channels[0])
        self.encode = nn.ModuleList(Residual(c) for c in channels)
        self.clarity = SharpRegionDetector(channels[0])
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool3d((1, 2, 2)), ConvNorm3d(a, b, (1, 3, 3))) for a, b in pairs)
        self.joint = TimeFrequencyJoint(channels[-1], spatial, frequency)
        self.up = nn.ModuleList(ConvTranspose3d(b, a, (1, 2, 2), (1, 2, 2), bias=False) for a, b in pairs)
        self.decode = nn.ModuleList(Residual(a) for a, _ in pairs)
        # scores have a bias: it is what bias-only tuning moves to shift softplus' working point
        self.score = nn.ModuleList(
            Conv3d(c, 1 if level else 4, (3, 1, 1), padding=(1, 0, 0)) for level, c in enumerate(channels)
        )

    def forward(self, stack: Tensor, positions: Tensor) -> list[Tensor]:
        size = (int(stack.shape[-2]), int(stack.shape[-1]))
        folded = space_to_depth(stack)  # (B, 12, N, H/2, W/2)
        volume = self.clarity(self.encode[0](self.stem(torch.cat([folded, position_planes(positions, folded)], 1))))
        skips = [volume]
        for down, encode in zip(self.down, self.encode[1:], strict=True):
            volume = encode(down(volume))  # (B, c, N, H/2^k, W/2^k)
            skips.append(volume)
        volume = self.joint(skips.pop())  # (B, 64, N, H/16, W/16)
        scores = [self.score[-1](volume)]
        for level in reversed(range(len(self.up))):
            volume = self.decode[level](F.relu(self.up[level](volume) + skips.pop()))
            scores.append(self.score[level](volume))
        scores[-1] = depth_to_space(scores[-1])
        return [slice_probability(s, size) for s in (scores if self.training else scores[-1:])]

    @torch.no_grad()
    def adopt(self, light: LightNetwork) -> None:
        """Take over the weights of a trained light network, whose U-Net has the same blocks.

        What FAD adds begins as the identity: the clarity block, both branches of the joint module. The focal
        differences of the light network's input become part of the first convolution; scores move down to
        where softplus is an exponential, as softmax has it. Only max pooling in place of strides differs.
        """
        weights, own = light.state_dict(), self.state_dict()
        luminance = grey(torch.eye(3).view(3, 3, 1, 1, 1)).view(3)
        kernel = weights["stem.0.weight"][:, :, 0]  # (16, 4 frame + 4 next minus frame + 2 planes, 3, 3)
        frame, difference = kernel[:, :4], kernel[:, 4:8]
        stem = own["stem.0.weight"].zero_()  # (16, 12 colours + 2 planes, 3 slices, 3, 3)
        for k, share in enumerate(luminance):
            stem[:, 4 * k : 4 * k + 4, 1] = share * (frame - difference)
            stem[:, 4 * k : 4 * k + 4, 2] = share * difference
        stem[:, 12:, 1] = kernel[:, 8:]
        for name, value in weights.items():
            part, level, *rest = name.split(".")
            if part in ("encode", "decode") or name.startswith("stem.1."):
                own[name] = value
            elif part == "down":
                own[".".join(["down", level, "1", *rest])] = value
            elif part == "narrow":
                own[f"up.{level}.weight"] = value.transpose(0, 1).expand_as(own[f"up.{level}.weight"])
            elif part == "score":
                reach = value.shape[2] // 2
                own[f"score.{level}.weight"].zero_()[:, :, 1 - reach : 2 + reach] = value
                own[f"score.{level}.bias"].fill_(SOFTMAX_BIAS)
        # what is new begins near 0; at 0 itself a ReLU would keep it from ever learning
        own["clarity.spatial.1.1.weight"].zero_()
        own["clarity.attention.weight"].mul_(0.1)
        for name in own:
            if name.endswith("fuse.1.weight"):
                own[name].fill_(0.1)
        self.load_state_dict(own)
