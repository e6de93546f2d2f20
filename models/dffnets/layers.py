"""Blocks that two networks or more share.

Volumes are (B, C, N, H, W): batch, channels, slices, rows, columns. Nothing here shrinks N.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  the usual name
from torch import Tensor, nn

HAS_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
SMALL_VOLUME = 20480
"""torch keeps single volumes on the CPU in float32 from oneDNN whose sizes but the last multiply to this or less."""
Size3 = int | tuple[int, int, int]


class Conv3d(nn.Conv3d):
    """3-D convolution that runs flat kernels as 2-D ones, with the same weights and result.

    (1, k, k) works on each slice by itself, so slices join the batch; (k, 1, 1) and (1, 1, 1) work on each
    pixel by itself, so rows and columns join. On volumes with channels last in memory both are views, and
    libraries have no fast 3-D kernels for flat shapes (oneDNN takes a third of the time this way).
    """

    def forward(self, volume: Tensor) -> Tensor:
        n, h, w = self.kernel_size
        if h == w == 1 and self.stride == (1, 1, 1):
            b, c, slices, rows, columns = volume.shape
            flat = _channels_last(volume).view(b, c, slices, rows * columns)
            out = F.conv2d(flat, self.weight[..., 0], self.bias, padding=(n // 2, 0))
            return out.view(b, -1, slices, rows, columns)
        if n == 1:
            b, c, slices, rows, columns = volume.shape
            frames = _channels_last(volume).transpose(1, 2).view(b * slices, c, rows, columns)
            stride, padding, dilation = self.stride[1:], _sides(self.padding)[1:], self.dilation[1:]
            out = F.conv2d(frames, self.weight[:, :, 0], self.bias, stride, padding, dilation)
            return out.view(b, slices, *out.shape[1:]).transpose(1, 2)
        if _torch_is_slow(volume):
            convolved: Tensor = torch.mkldnn_convolution(
                volume, self.weight, self.bias, _sides(self.padding), self.stride, self.dilation, self.groups
            )
            return convolved
        return super().forward(volume)


class ConvTranspose3d(nn.ConvTranspose3d):
    """Transposed 3-D convolution that stays quick for a single volume on the CPU."""

    def forward(self, volume: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not _torch_is_slow(volume):
            return super().forward(volume, output_size)
        # empty slices behind the last change nothing, and with enough of them the volume goes to oneDNN
        _, channels, slices, rows, _ = volume.shape
        enough = SMALL_VOLUME // (channels * rows) + 1
        return super().forward(F.pad(volume, (0, 0, 0, 0, 0, enough - slices)), output_size)[:, :, :slices]


def _torch_is_slow(volume: Tensor) -> bool:
    """Whether torch would take its own loops for this volume, up to twenty times slower than oneDNN."""
    small = len(volume) == 1 and volume[..., 0].numel() <= SMALL_VOLUME
    return HAS_ONEDNN and small and volume.dtype == torch.float32 and volume.device.type == "cpu"


def _sides(padding: str | tuple[int, ...]) -> tuple[int, ...]:
    """Return padding as numbers; by name it is never given here."""
    if isinstance(padding, str):
        raise TypeError(f"padding {padding!r} is a name; give numbers.")
    return padding


def _channels_last(volume: Tensor) -> Tensor:
    return volume.contiguous(memory_format=torch.channels_last_3d)


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
            Conv3d(inputs, outputs, (n, h, w), (1, stride, stride), padding, (1, dilation, dilation), bias=False),
            nn.BatchNorm3d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class UpConvNorm3d(nn.Sequential):
    """Transposed 3x3x3 convolution that doubles rows and columns, then batch norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            ConvTranspose3d(inputs, outputs, 3, stride=(1, 2, 2), padding=1, output_padding=(0, 1, 1), bias=False),
            nn.BatchNorm3d(outputs),
        )


class Residual(nn.Module):
    """Two 3x3x3 convolutions with a shortcut; mixes each slice with two neighbours on either side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm3d(channels, channels), ConvNorm3d(channels, channels, relu=False))

    def forward(self, volume: Tensor) -> Tensor:
        return F.relu(volume + self.body(volume))


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
        self.focal = Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.attention = Conv3d(channels, channels, 1, bias=False)

    def forward(self, volume: Tensor) -> Tensor:
        sharp = F.relu(volume + self.spatial(volume))
        return sharp + F.relu(self.attention(F.relu(self.focal(sharp))))


def space_to_depth(volume: Tensor) -> Tensor:
    """Fold 2 x 2 pixels into channels: (B, C, N, H, W) -> (B, 4 C, N, H/2, W/2), channels last in memory.

    That layout lets oneDNN and cuDNN take the 3-D convolutions without copies.
    """
    b, c, n, h, w = volume.shape
    folded = F.pixel_unshuffle(volume.transpose(1, 2).reshape(b * n, c, h, w), 2)
    folded = folded.view(b, n, 4 * c, h // 2, w // 2).transpose(1, 2)
    return folded.contiguous(memory_format=torch.channels_last_3d)


def depth_to_space(scores: Tensor) -> Tensor:
    """Undo `space_to_depth` for scores (B, 4, N, h, w): (B, 1, N, 2 h, 2 w)."""
    b, _, n, h, w = scores.shape
    return F.pixel_shuffle(scores.transpose(1, 2).reshape(b * n, 4, h, w), 2).view(b, 1, n, 2 * h, 2 * w)


def position_planes(positions: Tensor, like: Tensor) -> Tensor:
    """Return (B, 2, N, h, w): where each slice lies, -1..1, and how far its neighbours are against the mean.

    ``positions`` (B, N) in 0..1; sizes and type as of the volume ``like``.
    """
    step = torch.gradient(positions, dim=1)[0] * (positions.shape[1] - 1)
    planes = torch.stack([2 * positions - 1, step - 1], 1)[..., None, None]
    return planes.expand(-1, -1, -1, *like.shape[-2:]).to(like.dtype)


def in_windows(function: Callable[[Tensor], Tensor], volume: Tensor, window: int) -> Tensor:
    """Apply ``function``, which keeps all sizes but the channels, to windows of a map and blend what it gives.

    For operations that look at the whole map and mean something else on maps of another size. A map
    (B, C, N, h, w) that is larger than ``window`` (even) is cut into windows that overlap by half, each is
    treated by itself, and their answers are blended by raised cosines, which add up to 1.
    """
    b, c, n, h, w = volume.shape
    if h <= window and w <= window:
        return function(volume)
    half = window // 2
    # one half window around, so that every place lies in four windows
    pad = (half, half + -w % half, half, half + -h % half)
    padded = F.pad(volume.flatten(1, 2), pad, mode="replicate").view(b, c, n, h + pad[2] + pad[3], w + pad[0] + pad[1])
    parts = padded.unfold(-2, window, half).unfold(-2, window, half)  # (B, C, N, ny, nx, window, window)
    ny, nx = parts.shape[3:5]
    stacked = parts.permute(0, 3, 4, 1, 2, 5, 6).reshape(b * ny * nx, c, n, window, window)
    place = (torch.arange(window, device=volume.device, dtype=volume.dtype) + 0.5) * (torch.pi / window)
    weight = torch.outer(place.sin() ** 2, place.sin() ** 2)
    treated = function(stacked) * weight  # (B ny nx, C', N, window, window)
    channels, size = treated.shape[1], (int(padded.shape[-2]), int(padded.shape[-1]))
    columns = treated.view(b, ny * nx, -1).transpose(1, 2)  # (B, C' N window window, ny nx)
    blended = F.fold(columns, size, kernel_size=window, stride=half).view(b, channels, n, *size)
    return blended[..., half : half + h, half : half + w]


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
