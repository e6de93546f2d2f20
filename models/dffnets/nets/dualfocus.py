"""DualFocus: depth from focus with spatial and focal variational constraints.

Woo and Lee, "DualFocus: Depth from Focus with Spatio-Focal Dual Variational Constraints", NeurIPS 2025.
No code is public; this is written from the paper's slides and formulas.

Kept: the focus volume with focal differences; a gradient head per slice; the least-squares surface
that fits those gradients; a learned gradient layer on that surface, supervised where the slice is in
focus (spatial constraint, `dffnets.losses.spatial_variation`); the surface features joined to the
volume; probabilities whose rise and fall is supervised (focal constraint, `dffnets.losses.
focal_variation`). The least-squares problem has the Neumann Laplacian as its normal matrix, so it is
solved exactly and fast by cosine transforms instead of a dense inverse.

Silent in what is public, and chosen here: the encoder (residual, strides 2 to 16, brought together at
1/4), 32 channels, 8 surfaces a slice at 1/8, and the 3-D decoder. Softmax makes the probabilities.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

from dffnets.layers import Conv3d, ConvNorm3d, UpConvNorm3d, in_windows


class Residual2d(nn.Module):
    """Residual block on single frames, (B*N, C, h, w)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.shortcut(features) + self.body(features))


class FrameEncoder(nn.Module):
    """Features of each frame at 1/4 of its size, from strides 2, 4, 8 and 16; shared by all slices."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.stem = nn.Sequential(
            nn.Conv2d(3, c // 2, 5, 2, 2, bias=False), nn.BatchNorm2d(c // 2), nn.ReLU(inplace=True)
        )
        self.levels = nn.ModuleList([Residual2d(c // 2, c, 2), Residual2d(c, 2 * c, 2), Residual2d(2 * c, 2 * c, 2)])
        self.lateral = nn.ModuleList([nn.Conv2d(c, c, 1), nn.Conv2d(2 * c, c, 1), nn.Conv2d(2 * c, c, 1)])
        self.smooth = Residual2d(c, c)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return (half-size stem features, quarter-size features) of frames (M, 3, H, W)."""
        stem = self.stem(frames)
        maps, features = [], stem
        for level in self.levels:
            features = level(features)
            maps.append(features)
        joined = self.lateral[2](maps[2])
        for k in (1, 0):
            joined = F.interpolate(joined, maps[k].shape[-2:], mode="nearest") + self.lateral[k](maps[k])
        return stem, self.smooth(joined)


def focal_differences(volume: Tensor) -> Tensor:
    """Return [V_n, V_n+1 - V_n], and [V_N, V_N - V_N-1] for the last slice: (B, 2C, N, h, w)."""
    steps = volume[:, :, 1:] - volume[:, :, :-1]
    return torch.cat([volume, torch.cat([steps, steps[:, :, -1:]], 2)], 1)


@lru_cache(maxsize=32)
def cosine_basis(length: int, device: torch.device) -> Tensor:
    """Return the orthonormal DCT-II matrix (length, length), rows are frequencies, float32."""
    with torch.inference_mode(False):  # it is kept, and training may need it later
        k = torch.arange(length, device=device, dtype=torch.float64)
        basis = torch.cos(math.pi / length * (k[:, None]) * (k[None, :] + 0.5)) * math.sqrt(2 / length)
        basis[0] /= math.sqrt(2)
        return basis.float()


def surface_from_gradients(gradient_x: Tensor, gradient_y: Tensor) -> Tensor:
    """Return the surface whose forward differences fit the gradients best, in the least-squares sense.

    ``gradient_x`` and ``gradient_y`` (..., h, w): differences to the next pixel in x and y; the last
    column of x and the last row of y mean nothing and are ignored. Solves min ||P z - gradients||^2 for
    z (..., h, w) with mean 0: P'P is diagonal under the cosine transform. The transform is two small
    matrix products, which are exact, differentiable and quick for the sizes met here (1/8 of the image).
    """
    h, w = gradient_x.shape[-2:]
    gx, gy = gradient_x.float()[..., :, :-1], gradient_y.float()[..., :-1, :]
    # P' gradients: what flows in minus what flows out, nothing across the border
    divergence = F.pad(gx, (1, 0)) - F.pad(gx, (0, 1)) + F.pad(gy, (0, 0, 1, 0)) - F.pad(gy, (0, 0, 0, 1))
    rows, columns = cosine_basis(h, gx.device), cosine_basis(w, gx.device)
    spectrum = rows @ divergence @ columns.T
    fy = 2 - 2 * torch.cos(math.pi * torch.arange(h, device=gx.device) / h)
    fx = 2 - 2 * torch.cos(math.pi * torch.arange(w, device=gx.device) / w)
    eigenvalues = fy[:, None] + fx[None, :]
    eigenvalues[0, 0] = 1.0  # the mean is free: its numerator is 0
    return rows.T @ (spectrum / eigenvalues) @ columns


class GradientHead(nn.Module):
    """Predict depth gradients per slice, integrate them to latent surfaces, predict gradients anew.

    A surface's height grows with the size of the map, so maps larger than ``window`` (that of training) are
    integrated in windows of that size.
    """

    def __init__(self, channels: int, surfaces: int, window: int = 16) -> None:
        super().__init__()
        self.surfaces, self.window = surfaces, window
        self.predict = nn.Sequential(
            ConvNorm3d(channels, channels, (1, 3, 3)), Conv3d(channels, 2 * surfaces, (1, 3, 3), padding=(0, 1, 1))
        )
        self.norm = nn.GroupNorm(surfaces, surfaces)
        self.regress = Conv3d(surfaces, 2, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Return surface features (B, S, N, h, w) and depth gradients (B, 2, N, h, w), (x, y)."""
        with torch.autocast(volume.device.type, enabled=False):
            gradients = self.predict(volume.float())
            surface = in_windows(self._integrate, gradients, self.window)
            return in_windows(lambda part: self.norm(self._integrate(part)), gradients, self.window), self.regress(
                surface
            )

    def _integrate(self, gradients: Tensor) -> Tensor:
        return surface_from_gradients(gradients[:, : self.surfaces], gradients[:, self.surfaces :])


class DualFocus(nn.Module):
    """DualFocus behind the interface that all networks share.

    ``forward(stack, positions)``: stack (B, 3, N, H, W) standardised, with H and W multiples of 16, positions
    (B, N) in 0..1; returns probability volumes (B, N, H, W), coarse to fine, the last the answer. While
    training, ``gradients`` holds the predicted depth gradients (B, 2, N, H/8, W/8) of the last call,
    in focus coordinate per pixel of that map, for the spatial loss.
    """

    def __init__(self, channels: int = 32, surfaces: int = 8) -> None:
        super().__init__()
        c = channels
        self.encoder = FrameEncoder(c)
        self.enter = ConvNorm3d(2 * c, c)
        self.to_eighth = ConvNorm3d(c, c, stride=2)
        self.gradient_head = GradientHead(c, surfaces)
        self.join = nn.Sequential(ConvNorm3d(c + surfaces, 2 * c), ConvNorm3d(2 * c, 2 * c))
        self.to_sixteenth = nn.Sequential(ConvNorm3d(2 * c, 2 * c, stride=2), ConvNorm3d(2 * c, 2 * c))
        self.up_eighth = UpConvNorm3d(2 * c, 2 * c)
        self.up_quarter = UpConvNorm3d(2 * c, c)
        self.decode = nn.Sequential(ConvNorm3d(2 * c, c), ConvNorm3d(c, c))
        self.up_half = UpConvNorm3d(c, c // 2)
        self.refine = ConvNorm3d(c, c // 2)
        # no bias: softmax over the slices would not notice it
        self.score = nn.ModuleList(Conv3d(k, 1, (1, 3, 3), padding=(0, 1, 1), bias=False) for k in (2 * c, c, c // 2))
        self.gradients: Tensor | None = None

    def forward(self, stack: Tensor, positions: Tensor) -> list[Tensor]:
        b, _, n, h, w = stack.shape
        frames = stack.transpose(1, 2).reshape(b * n, 3, h, w).contiguous(memory_format=torch.channels_last)
        stem, features = self.encoder(frames)
        half = stem.view(b, n, -1, h // 2, w // 2).transpose(1, 2)  # (B, C/2, N, H/2, W/2)
        quarter = features.view(b, n, -1, h // 4, w // 4).transpose(1, 2)  # (B, C, N, H/4, W/4)
        quarter = self.enter(focal_differences(quarter))
        eighth = self.to_eighth(quarter)
        surface, gradients = self.gradient_head(eighth)
        self.gradients = gradients if self.training else None
        eighth = self.join(torch.cat([eighth, surface.to(eighth.dtype)], 1))
        eighth = F.relu(eighth + self.up_eighth(self.to_sixteenth(eighth)))
        quarter = self.decode(torch.cat([F.relu(self.up_quarter(eighth)), quarter], 1))
        half = self.refine(torch.cat([F.relu(self.up_half(quarter)), half], 1))
        return [
            self._probability(score(v), (h, w)) for score, v in zip(self.score, (eighth, quarter, half), strict=True)
        ]

    @staticmethod
    def _probability(scores: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(scores[:, 0].float(), size, mode="bilinear", align_corners=False).softmax(1)
