"""Networks as methods: frames in, probabilities of the slices out, depth from their mean position.

torch is imported inside the functions, so that the window opens and the command line answers before
it is loaded.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dffnets.shipped import WeightsCard, WeightsError, load_network, shipped_cards
from dffnets.tiling import Tile
from toposcope.core import focus
from toposcope.core.align import align
from toposcope.core.fuse import Fuser
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.method import EstimateSettings, MethodCard, compose
from toposcope.core.provenance import input_hashes
from toposcope.core.result import DepthResult
from toposcope.core.scratch import ScratchArray
from toposcope.core.settings import setting
from toposcope.core.stack import FocalStack, to_grey
from toposcope.core.sweep import SweepExaminer
from toposcope.errors import SettingsError, StackError

UNKNOWN: Final = 0.92
"""Spread of a curve, as a share of that of a flat one, above which the network does not know."""


OVERLAP: Final = 128
"""Pixels that neighbouring tiles share at least: what networks see at a tile's edge is made up so far inwards."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Settings of a network."""

    tile: int = setting(
        512,
        "Tile",
        "side of the squares that large pictures are cut into; smaller needs less memory",
        minimum=256,
        maximum=2048,
        step=64,
        unit="px",
    )
    fill: bool = setting(
        False, "Fill voids", "give pixels that the network does not know its mean position there, at confidence 0"
    )


class ProbabilityVolume:
    """Focus volume of a network: its probabilities, (N, H, W) in half precision; see `FocusVolume`."""

    def __init__(self, shape: tuple[int, int, int], scratch: Path | None = None) -> None:
        self.shape = shape
        self._array = ScratchArray(shape, np.float16, scratch)

    def add(self, window: tuple[slice, slice], shares: NDArray[np.float32]) -> None:
        """Add probabilities times blending weights (N, h, w) at rows and columns of ``window``."""
        self._array.values[(slice(None), *window)] += shares.astype(np.float16)

    def probability(self, row: int, column: int) -> NDArray[np.float32]:
        curve: NDArray[np.float32] = self._array.values[:, row, column].astype(np.float32)
        curve /= curve.sum()  # rounding to half precision undone
        return curve

    def measure(self, row: int, column: int) -> None:
        return None

    def plane(self, i: int) -> NDArray[np.float32]:
        plane: NDArray[np.float32] = self._array.values[i].astype(np.float32)
        return plane

    def close(self) -> None:
        self._array.close()


def network_methods() -> list[MethodCard]:
    """Return a method card for each network that is shipped. Does not load torch."""
    return [
        MethodCard(card.name, card.title, card.paper, card.good_at, NetworkSettings, partial(run_network, card))
        for card in shipped_cards()
    ]


def run_network(card: WeightsCard, stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
    """Run a network: align, one pass over the frames, tiles through the network, fusion.

    Depth is the mean position of the probabilities. Confidence is one minus their spread relative to
    that of a flat curve, which ranks errors well; where the curve is nearly flat the network does not
    know, and the pixel is void.
    """
    begin = time.monotonic()
    options: NetworkSettings = settings.options
    device = chosen_device(settings.device)
    import torch

    from dffnets.predict import MAX_SLICES, predict_tiles

    if settings.threads:
        torch.set_num_threads(settings.threads)
    if stack.n > MAX_SLICES:
        raise StackError(
            f"{stack.name} has {stack.n} slices; the networks take up to {MAX_SLICES}. "
            "Skip some, or use the default method."
        )
    try:
        network = load_network(card, settings.weights)
    except WeightsError as error:
        raise SettingsError(str(error)) from error
    # of the file that was loaded: the card's own was checked against its sum
    sha256 = hashlib.sha256(settings.weights.read_bytes()).hexdigest() if settings.weights else card.sha256
    stack, alignment = align(stack, settings.align, part(report, 0.0, 0.2))
    shape = (stack.n, *stack.shape)
    fuser = Fuser(stack.shape, stack.source.channels, stack.source.dtype, stack.n)
    examiner = SweepExaminer(stack, alignment)
    # grey as exact as the frames are: whole numbers of 16 bits, or floats on a scale of their own
    is_float = np.dtype(stack.source.dtype).kind == "f"
    frames = ScratchArray(shape, np.float32 if is_float else np.uint16, settings.scratch)
    volume = ProbabilityVolume(shape, settings.scratch) if settings.keep_volume else None
    place = stack.coordinate.astype(np.float32)
    positions = MeanPosition(stack.shape, place)

    def add(window: Tile, shares: NDArray[np.float32]) -> None:
        positions.add(window, shares)
        if volume is not None:
            volume.add(window.slices, shares)

    try:
        for i in range(stack.n):
            report(Progress(0.2 + 0.2 * i / stack.n, f"reading slice {i + 1} of {stack.n}"))
            plane = stack.read(i)
            grey = to_grey(plane)
            measure = focus.tenengrad(grey, 9)
            frames.values[i] = grey if is_float else np.rint(grey * 65535)
            fuser.add(i, plane, measure)
            examiner.add(i, plane, measure)
        told = part(report, 0.4, 0.95)
        tile = min(options.tile, card.largest_tile)
        predict_tiles(
            network,
            frames.values,
            place,
            add,
            card.multiple,
            device,
            tile,
            max(min(OVERLAP, tile // 2), tile // 4),
            lambda share: told(Progress(share, f"{card.title} on {device}")),
        )
        mean, spread = positions.mean, positions.relative_spread()
        confidence: NDArray[np.float32] = np.clip(1 - spread, 0, 1)
        confidence[spread >= UNKNOWN] = 0
        if stack.void is not None:
            confidence[stack.void], mean[stack.void] = 0, np.nan
        coordinate = mean if options.fill else np.where(confidence > 0, mean, np.float32(np.nan))
        index = np.interp(coordinate, place, np.arange(stack.n)).astype(np.float32)
        report(Progress(0.96, "fusing"))
        picture = fuser.finish(index, confidence)
        sweep = examiner.report(index, confidence)
        result = compose(
            stack,
            alignment,
            settings,
            coordinate,
            confidence,
            picture,
            volume,
            sweep,
            time.monotonic() - begin,
            input_hashes(stack.source, part(report, 0.98, 1.0)),
            device=device,
            weights=sha256,
            network=card.name,
        )
    except BaseException:
        if volume is not None:
            volume.close()
        raise
    finally:
        frames.close()
    report(Progress(1.0, "done"))
    return result


class MeanPosition:
    """Mean focus position of each pixel, and how far the shares of the slices spread, from tiles as they come.

    ``shape`` (H, W); ``place`` (N,) focus coordinates of the slices. ``mean`` (H, W) is in the same coordinate.
    """

    def __init__(self, shape: tuple[int, int], place: NDArray[np.float32]) -> None:
        self._place = place
        self.mean, self._squares = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def add(self, window: Tile, shares: NDArray[np.float32]) -> None:
        """Add the shares (N, h, w) of a window, weighed so that all windows over a pixel add up to 1."""
        self.mean[window.slices] += np.einsum("nhw,n->hw", shares, self._place)
        self._squares[window.slices] += np.einsum("nhw,n->hw", shares, self._place * self._place)

    def relative_spread(self) -> NDArray[np.float32]:
        """Return (H, W) standard deviations, as parts of that of shares that are the same for all slices."""
        spread: NDArray[np.float32] = np.sqrt(np.maximum(self._squares - self.mean * self.mean, 0))
        return spread / np.float32(self._place.std())


def chosen_device(wanted: str) -> str:
    """Return the device to use: ``wanted``, or the fastest there is for ``auto``.

    Raises
    ------
    SettingsError
        If the wanted one is not there.
    """
    from dffnets.predict import best_device, device_is_there

    if wanted == "auto":
        return best_device()
    if not device_is_there(wanted):
        raise SettingsError(f"there is no {wanted} device here; {best_device()} is. Choose that, or auto.")
    return wanted
