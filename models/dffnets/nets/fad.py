"""FAD: frequency-aware depth from focus.

Yan, Wang, Zhang, Qian, Jia, Chen and Li, "Frequency-Aware Deep Depth from Focus", IJCAI 2025. No code
is public; this is written from the paper.

A 3-D U-Net whose bottleneck, the time-frequency joint module, adds a multi-scale spatial branch
(equations 1-2) and a frequency branch (equations 3-6). Four score volumes, coarse to fine, become
probabilities by softplus (equation 8).

What the paper leaves silent, and what is chosen here:

* depth and channels: full size to 1/8 with 8, 16, 32, 64 channels, the joint module at 1/8;
* clarity area identification: the block of Won and Jeon, which the text describes word for word;
* pooling and kernels of the spatial branch: s = 1, 2, 4 with k = 3, 5, 7, so that the three paths see
  about 24, 80 and 224 pixels of the picture;
* the transform is 2-D, slice by slice, orthonormal; the learned weights are complex and block-diagonal
  (8 blocks, two layers), the shrinkage 0.01, as in Huang et al., "Adaptive Frequency Filters as Efficient
  Global Token Mixers", ICCV 2023, which the paper cites and equations 3-6 follow term by term;
* equation 8 does not divide by the sum over the slices; without that it is no mean position, so we divide.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

from dffnets.layers import ConvNorm3d, SharpRegionDetector, UpConvNorm3d, slice_probability


class SpatialBranch(nn.Module):
    """Local features at three scales (equations 1-2): pool, convolve, bring back, fuse."""

    scales = (1, 2, 4)
    kernels = (3, 5, 7)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(ConvNorm3d(channels, channels // 2, (1, k, k)) for k in self.kernels)
        self.fuse = ConvNorm3d(len(self.scales) * (channels // 2), channels)

    def forward(self, volume: Tensor) -> Tensor:
        size = volume.shape[-3:]
        features = []
        for scale, path in zip(self.scales, self.paths, strict=True):
            # ceil_mode: maps smaller than the pool still give one value
            pooled = F.avg_pool3d(volume, (1, scale, scale), ceil_mode=True) if scale > 1 else volume
            features.append(F.interpolate(path(pooled), size, mode="nearest"))
        fused: Tensor = self.fuse(torch.cat(features, 1))
        return fused


class FrequencyBranch(nn.Module):
    """Global features by an adaptive filter in the frequency domain (equations 3-6).

    spectrum = FFT(x); filter = shrink(complex MLP(spectrum)); out = x + IFFT(filter * spectrum).
    Always in float32: there is no complex bfloat16, and half-precision FFTs lose the fine detail
    that this branch exists for.
    """

    def __init__(self, channels: int, blocks: int = 8, shrinkage: float = 0.01) -> None:
        super().__init__()
        width = channels // blocks
        self.blocks = blocks
        self.shrinkage = shrinkage
        self.weight = nn.Parameter(0.02 * torch.randn(2, blocks, width, width, 2))  # layer, block, in, out, (re, im)
        self.bias = nn.Parameter(torch.zeros(2, blocks, width, 2))

    def forward(self, volume: Tensor) -> Tensor:
        b, _c, n, h, w = volume.shape
        with torch.autocast(volume.device.type, enabled=False):
            spectrum = torch.fft.rfft2(volume.float(), norm="ortho")  # (B, C, N, h, w/2+1) complex
            weight, bias = torch.view_as_complex(self.weight.float()), torch.view_as_complex(self.bias.float())
            hidden = spectrum.view(b, self.blocks, -1, n, h, spectrum.shape[-1])
            for layer in (0, 1):
                hidden = torch.einsum("bgcnhw,gcd->bgdnhw", hidden, weight[layer])
                hidden = hidden + bias[layer, :, :, None, None, None]
                parts = torch.view_as_real(hidden)
                parts = F.relu(parts) if layer == 0 else F.softshrink(parts, self.shrinkage)
                hidden = torch.view_as_complex(parts.contiguous())
            filtered: Tensor = torch.fft.irfft2(hidden.reshape(spectrum.shape) * spectrum, s=(h, w), norm="ortho")
        return volume + filtered.to(volume.dtype)


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
        if not self.branches:
            return volume
        return torch.stack([branch(volume) for branch in self.branches]).sum(0)


class FrequencyAwareDepth(nn.Module):
    """FAD behind the interface that all networks share.

    ``forward(stack, positions)``: stack (B, 3, N, H, W) standardised, with H and W multiples of 8, positions
    (B, N) in 0..1; returns probability volumes (B, N, H, W), coarse to fine, the last the answer.
    """

    def __init__(
        self, channels: tuple[int, ...] = (8, 16, 32, 64), spatial: bool = True, frequency: bool = True
    ) -> None:
        super().__init__()
        first = channels[0]
        self.stem = nn.Sequential(ConvNorm3d(3, first, (1, 5, 5)), ConvNorm3d(first, first), SharpRegionDetector(first))
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool3d((1, 2, 2)), ConvNorm3d(a, b), ConvNorm3d(b, b), SharpRegionDetector(b))
            for a, b in itertools.pairwise(channels)
        )
        self.joint = TimeFrequencyJoint(channels[-1], spatial, frequency)
        coarse_to_fine = channels[::-1]
        pairs = list(itertools.pairwise(coarse_to_fine))
        self.up = nn.ModuleList(UpConvNorm3d(a, b) for a, b in pairs)
        self.decode = nn.ModuleList(nn.Sequential(ConvNorm3d(2 * b, b), ConvNorm3d(b, b)) for _, b in pairs)
        # scores have a bias: it is what bias-only tuning moves to shift softplus' working point
        self.score = nn.ModuleList(nn.Conv3d(c, 1, 3, padding=1) for c in coarse_to_fine)

    def forward(self, stack: Tensor, positions: Tensor) -> list[Tensor]:
        size = (int(stack.shape[-2]), int(stack.shape[-1]))
        skips = [self.stem(stack)]  # (B, 8, N, H, W)
        for down in self.down:
            skips.append(down(skips[-1]))  # (B, c, N, H/2^k, W/2^k)
        volume = self.joint(skips.pop())  # (B, 64, N, H/8, W/8)
        probabilities = [slice_probability(self.score[0](volume), size)]
        for up, decode, score in zip(self.up, self.decode, self.score[1:], strict=True):
            volume = decode(torch.cat([F.relu(up(volume)), skips.pop()], 1))
            probabilities.append(slice_probability(score(volume), size))
        return probabilities
