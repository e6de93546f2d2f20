"""Other channels of a stack, sharp everywhere by the depth that was found in one of them.

>>> stack = open_stack("cells.czi", OpenOptions(channel=0))            # doctest: +SKIP
>>> result = estimate(stack)                                           # doctest: +SKIP
>>> [one.name for one in fuse_channels(stack, result)]                 # doctest: +SKIP
['LED555 (568 nm)', 'LED470 (517 nm)']
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toposcope.core.align import AlignedSource
from toposcope.core.calibration import focus_coordinate, to_coordinate
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.refine import fill_voids
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack, FrameSource, Plane, SelectedSource, full_scale
from toposcope.errors import StackError


@dataclass(frozen=True, slots=True, eq=False)
class ChannelPicture:
    """The all-in-focus picture of one channel, in the bit depth of its frames."""

    name: str
    picture: Plane


def channel_names(stack: FocalStack) -> tuple[str, ...]:
    """Return the names of all channels of the file that ``stack`` is from; empty where it holds one."""
    channels = stack.part("channel")
    return channels.options if channels is not None and stack.reopen is not None else ()


def fuse_channels(stack: FocalStack, result: DepthResult, report: Report = silent) -> tuple[ChannelPicture, ...]:
    """Return the all-in-focus pictures of all channels, those of the others by the depth of ``stack``'s.

    Raises
    ------
    StackError
        If the file holds one channel only, or another channel lacks frames.
    FrameError
        If a frame cannot be read.
    """
    names, own = channel_names(stack), stack.part("channel")
    if own is None or not names:
        raise StackError(f"{stack.name} holds one channel only; its picture is the all-in-focus picture.")
    pictures = []
    for k, name in enumerate(names):
        share = part(report, k / len(names), (k + 1) / len(names))
        own_picture = k == own.chosen
        picture = result.all_in_focus if own_picture else fuse_channel(stack, result, k, share)
        pictures.append(ChannelPicture(name, picture))
    return tuple(pictures)


def fuse_channel(stack: FocalStack, result: DepthResult, channel: int, report: Report = silent) -> Plane:
    """Return channel number ``channel`` sharp everywhere by the depth of ``result``, which is of ``stack``.

    Each pixel is taken from the two slices that its depth lies between, in proportion. Where the depth is not
    known it is filled from around. Frames are aligned as those of ``stack`` were; their brightness is kept.

    Raises
    ------
    StackError
        If the channel lacks frames that the result was made from, or they have another size.
    FrameError
        If a frame cannot be read.
    """
    if stack.reopen is None:
        raise StackError(f"{stack.name} holds one channel only.")
    other = stack.reopen({"channel": channel}, part(report, 0.0, 0.05))
    try:
        return fuse_by_depth(_matching(other, result), result, part(report, 0.05, 1.0))
    finally:
        other.close()


def _matching(other: FocalStack, result: DepthResult) -> FrameSource:
    """Return the frames of another channel that go with those that ``result`` was made from, aligned alike."""
    places = {name: k for k, name in enumerate(other.source.names)}
    missing = [name for name in result.provenance.frames if name not in places]
    if missing:
        raise StackError(f"this channel of {other.name} has no {missing[0]}, which its depth was made from.")
    source: FrameSource = SelectedSource(other.source, tuple(places[name] for name in result.provenance.frames))
    if source.shape != result.shape:
        raise StackError(
            f"this channel of {other.name} is {source.shape[1]} x {source.shape[0]} pixels, "
            f"its depth {result.shape[1]} x {result.shape[0]}."
        )
    alignment = result.alignment
    if alignment is not None and alignment.needed:
        source = AlignedSource(source, tuple(replace(motion, gain=1.0) for motion in alignment.motions))
    return source


def fuse_by_depth(source: FrameSource, result: DepthResult, report: Report = silent) -> Plane:
    """Return the frames of ``source``, which are those of ``result``, put together by its depth; see `fuse_channel`."""
    index = slice_index(result)
    fused = np.zeros((*result.shape, 3) if source.channels == 3 else result.shape, np.float32)
    for i in range(source.n):
        report(Progress(i / source.n, f"fusing {source.names[i]}"))
        weight = np.maximum(0, 1 - np.abs(index - np.float32(i)), dtype=np.float32)
        rows = np.flatnonzero(weight.any(axis=1))
        if not rows.size:
            continue
        band = slice(int(rows[0]), int(rows[-1]) + 1)
        shares = weight[band] if fused.ndim == 2 else weight[band, :, None]
        fused[band] += source.read(i)[band] * shares
    if source.dtype == np.float32:
        return fused.clip(0, 1)
    return fused.round().clip(0, full_scale(source.dtype)).astype(source.dtype)


def slice_index(result: DepthResult) -> NDArray[np.float32]:
    """Return the depth of a result as (H, W) fractional numbers of slices, voids filled from around."""
    positions, unit, kind = result.positions.value, result.unit, result.kind.value
    coordinate = to_coordinate(result.depth.astype(np.float64), positions, unit, kind)
    slices = focus_coordinate(positions, unit, kind)
    index = np.interp(coordinate, slices, np.arange(len(positions))).astype(np.float32)
    index[~result.valid] = np.nan
    if not result.valid.any():
        index[:] = len(positions) // 2
    return fill_voids(index, result.confidence)
