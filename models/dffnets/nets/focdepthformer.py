"""FocDepthFormer: transformer in space, LSTM over the slices.

Kang et al., "FocDepthFormer: Transformer with latent LSTM for Depth Estimation from Focal Stack", 2024.
Written from the paper.

Kept: parallel 3x3, 5x5, 7x7 early convolutions that end in one channel; patches with position embedding
and a global token added to each; a transformer encoder shared by all slices, tapped at several depths;
an LSTM that runs over the slices at each token, combined by a maximum; a convolutional decoder with
fusion blocks (after DPT). Two sizes: ``paper`` (about 75 M parameters) and ``compact``, which can be
trained and shipped.

Changed, with reasons:

* Size. The position table (24 x 24 for 384 x 384) is interpolated to the size at hand, so that any picture works.
* "Activated" tokens (norm above 0.4) all pass after layer normalisation, so the LSTM runs over all tokens.
* "As many LSTM layers as slices" contradicts both any-length stacks and the paper's own parameter
  count, which fits three layers.
* Answer. The paper regresses one depth map; a program that shows the focus curve of a pixel needs to
  know how each slice scored. The decoder's map is a query, each slice's early features are its keys;
  their product, softmax over the slices, is the probability, and depth its mean position. That keeps
  the answer inside the sweep, for any number of slices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class FocDepthFormerConfig:
    """Sizes: token ``width``, ``blocks`` of attention with ``heads``, tapped ``taps`` times."""

    width: int
    blocks: int
    heads: int
    lstm_layers: int
    early: int
    features: int
    taps: int = 4
    patch: int = 16
    table: int = 24


SIZES: Mapping[str, FocDepthFormerConfig] = {
    "paper": FocDepthFormerConfig(width=768, blocks=6, heads=12, lstm_layers=3, early=48, features=256),
    "compact": FocDepthFormerConfig(width=192, blocks=4, heads=3, lstm_layers=1, early=16, features=64),
}


class EarlyConvolutions(nn.Module):
    """Multi-scale features of each frame: (M, C, H, W), and one channel for the patches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.parallel = nn.ModuleList(nn.Conv2d(3, channels // 2, k, padding=k // 2) for k in (3, 5, 7))
        wide = 3 * (channels // 2)
        self.spatial = nn.Sequential(
            nn.BatchNorm2d(wide), nn.ReLU(inplace=True), nn.Conv2d(wide, channels, 3, padding=1)
        )
        self.channel = nn.Conv2d(channels, 1, 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.spatial(torch.cat([conv(frames) for conv in self.parallel], 1)))
        return features, self.channel(features)


class Attention(nn.Module):
    """Transformer block with layer norm before attention and before the two-layer perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        m, t, c = tokens.shape
        q, k, v = self.qkv(self.norm1(tokens)).view(m, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)  # (M, heads, T, c/heads)
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(m, t, c))
        mlp: Tensor = self.mlp(self.norm2(tokens))
        return tokens + mlp


class FuseBlock(nn.Module):
    """Add a finer map to a coarser one after a residual unit, then double the size (DPT)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.before, self.after = self._unit(features), self._unit(features)

    @staticmethod
    def _unit(features: int) -> nn.Sequential:
        return nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
        )

    def forward(self, coarse: Tensor | None, tap: Tensor) -> Tensor:
        joined = tap + self.before(tap)
        if coarse is not None:
            joined = joined + F.interpolate(coarse, tap.shape[-2:], mode="bilinear", align_corners=False)
        return F.interpolate(joined + self.after(joined), scale_factor=2, mode="bilinear", align_corners=False)


class FocDepthFormer(nn.Module):
    """FocDepthFormer behind the interface that all networks share.

    ``forward(stack, positions)``: stack (B, 3, N, H, W) standardised, with H and W multiples of 16, positions
    (B, N) in 0..1; returns one probability volume (B, N, H, W) in a list.
    """

    def __init__(self, size: Literal["paper", "compact"] = "compact") -> None:
        super().__init__()
        self.config = c = SIZES[size]
        width = c.width
        self.early = EarlyConvolutions(c.early)
        self.embed = nn.Conv2d(1, width, c.patch, c.patch)
        self.place = nn.Parameter(0.02 * torch.randn(1, width, c.table, c.table))
        self.summary = nn.Linear(width, width)
        self.focus = nn.Linear(1, width)
        self.blocks = nn.ModuleList(Attention(width, c.heads) for _ in range(c.blocks))
        self.tap_after = [round((k + 1) * c.blocks / c.taps) - 1 for k in range(c.taps)]
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, width, c.lstm_layers, batch_first=True)
        # tapped maps leave at 1/4, 1/8, 1/16 and 1/32 of the picture, deepest coarsest (DPT's reassembly)
        self.project = nn.ModuleList(nn.Conv2d(width, c.features, 1) for _ in range(c.taps))
        self.fuse = nn.ModuleList(FuseBlock(c.features) for _ in range(c.taps))
        self.query = nn.Conv2d(c.features, c.early, 3, padding=1)
        self.key = nn.Conv2d(2 * c.early, c.early, 1)

    def forward(self, stack: Tensor, positions: Tensor) -> list[Tensor]:
        b, _, n, h, w = stack.shape
        rows, columns = h // self.config.patch, w // self.config.patch
        frames = stack.transpose(1, 2).reshape(b * n, 3, h, w)
        early, single = self.early(frames)  # (B*N, e, H, W), (B*N, 1, H, W)
        place = F.interpolate(self.place, (rows, columns), mode="bicubic", align_corners=False)
        tokens = (self.embed(single) + place).flatten(2).transpose(1, 2)  # (B*N, T, width)
        tokens = (
            tokens + self.summary(tokens.mean(1, keepdim=True)) + self.focus(2 * positions.reshape(b * n, 1, 1) - 1)
        )
        taps = []
        for k, block in enumerate(self.blocks):
            tokens = block(tokens)
            taps += [tokens] * self.tap_after.count(k)
        maps = [t.view(b, n, -1, t.shape[-1]).amax(1) for t in taps[:-1]]  # over the slices: (B, T, width)
        maps.append(self._remember(self.norm(tokens), b, n))
        fused: Tensor | None = None
        for level in reversed(range(self.config.taps)):
            tap = maps[level].transpose(1, 2).reshape(b, -1, rows, columns)
            scale = 2.0 ** (2 - level)  # 4, 2, 1, 1/2 times the token grid
            tap = (
                F.interpolate(self.project[level](tap), scale_factor=scale, mode="bilinear")
                if level < 3
                else (F.avg_pool2d(self.project[level](tap), 2, ceil_mode=True))
            )
            fused = self.fuse[level](fused, tap)
        query = F.interpolate(self.query(fused), (h, w), mode="bilinear", align_corners=False)  # (B, e, H, W)
        keys = early.view(b, n, -1, h, w)
        keys = self.key(torch.cat([keys, keys - keys.mean(1, keepdim=True)], 2).flatten(0, 1)).view(b, n, -1, h, w)
        # a plain product stays in float32, an einsum would be cast to half precision again
        scores = (query.float()[:, None] * keys.float()).sum(2) / math.sqrt(query.shape[1])
        return [scores.softmax(1)]

    def _remember(self, tokens: Tensor, b: int, n: int) -> Tensor:
        """Run the LSTM over the slices at each token; strongest response over the slices (B, T, width)."""
        t, c = tokens.shape[1:]
        series = tokens.view(b, n, t, c).transpose(1, 2).reshape(b * t, n, c)
        outputs: Tensor = self.lstm(series)[0]  # (B*T, N, width)
        return outputs.amax(1).view(b, t, c)
