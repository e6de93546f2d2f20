"""Networks as methods: frames in, probabilities of the slices out, depth from their mean position.

torch is imported inside the functions, so that the window opens and the command line answers before
it is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dffnets.shipped import WeightsCard, WeightsError, load_network, shipped_cards
from dffnets.tiling import Tile
from toposcope.core import focus
from toposcope.core.align import align
from toposcope.core.classical import default_peaks
from toposcope.core.exact import MeasuredVolume, take_peaks
from toposcope.core.fuse import Fuser
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.method import EstimateSettings, MethodCard, compose
from toposcope.core.provenance import file_hash, input_hashes
from toposcope.core.result import DepthResult
from toposcope.core.scales import (
    NAMED,
    UNKNOWN,
    Answer,
    MeanPosition,
    ProbabilityVolume,
    factors_for,
    merge,
    reduced_shape,
)
from toposcope.core.scan import Consumer
from toposcope.core.scratch import ScratchArray
from toposcope.core.settings import setting
from toposcope.core.stack import FocalStack, to_grey
from toposcope.core.sweep import SweepExaminer
from toposcope.core.volume import FocusVolume, MeasureVolume
from toposcope.errors import SettingsError, StackError

if TYPE_CHECKING:
    from torch import nn


OVERLAP: Final = 128
"""Pixels that neighbouring tiles share at least: what networks see at a tile's edge is made up so far inwards."""


def _exact(default: bool) -> Any:
    return setting(
        default, "Exact peaks", "take the peak of the default's focus measure where it agrees with the network"
    )


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
    scale: str = setting(
        "automatic",
        "Scale",
        "at which the network looks; automatic looks at several and puts the answers together",
        choices=("automatic", *NAMED),
    )
    views: int = setting(
        1,
        "Views",
        "how often the network looks: at the picture turned, mirrored and with slices in reverse; the mean of more "
        "views errs less, and takes as many times as long",
        minimum=1,
        maximum=8,
    )
    exact: bool = _exact(False)
    fill: bool = setting(
        False, "Fill voids", "give pixels that the network does not know its mean position there, at confidence 0"
    )


@dataclass(frozen=True, slots=True)
class HybridSettings(NetworkSettings):
    """Settings of the light network with exact peaks."""

    exact: bool = _exact(True)


HYBRID: Final = "light"
"""The network of the hybrid method."""


def network_methods() -> list[MethodCard]:
    """Return a method card for the hybrid and for each network that is shipped. Does not load torch."""
    cards = {card.name: card for card in shipped_cards()}
    hybrid = MethodCard(
        "hybrid",
        "Hybrid",
        "the light network, and the default's peaks where both agree",
        "texture beside bare places: as exact as the default, as few voids as a network",
        HybridSettings,
        partial(run_network, cards[HYBRID]),
        by_network=True,
    )
    networks = [
        MethodCard(name, card.title, card.paper, card.good_at, NetworkSettings, partial(run_network, card), True)
        for name, card in cards.items()
    ]
    return [hybrid, *networks]


def check_weights(method: str, file: Path) -> None:
    """Refuse weights that a method cannot run with, without running it.

    Raises
    ------
    SettingsError
        If the method takes none, or ``file`` is missing, damaged or of another network.
    """
    networks = {card.name: card for card in shipped_cards()}
    name = HYBRID if method == "hybrid" else method
    if name not in networks:
        raise SettingsError(
            f"{method} takes no other weights. Leave them out, or choose one of {', '.join([*networks, 'hybrid'])}."
        )
    try:
        load_network(networks[name], file)
    except WeightsError as error:
        raise SettingsError(str(error)) from error


def run_network(card: WeightsCard, stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
    """Run a network: align, one pass over the frames, tiles through the network, fusion; see `by_probability`."""
    begin = time.monotonic()
    options: NetworkSettings = settings.options
    device = chosen_device(settings.device)
    import torch

    from dffnets.predict import MAX_SLICES

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
    sha256 = file_hash(settings.weights) if settings.weights else card.sha256

    def look(frames: NDArray[Any], place: NDArray[np.float32], factor: int, report: Report) -> Answer:
        return _answer(card, network, frames, place, factor, settings, device, report)

    about = {"device": device, "weights": sha256, "network": card.name}
    return by_probability(look, options.scale, stack, settings, begin, about, report)


Look = Callable[[NDArray[Any], NDArray[np.float32], int, Report], Answer]
"""Grey frames (N, H, W), uint16 or float, the places (N,) of their slices, and by how much to reduce them."""


def by_probability(
    look: Look,
    scale: str,
    stack: FocalStack,
    settings: EstimateSettings,
    begin: float,
    about: Mapping[str, str],
    report: Report,
) -> DepthResult:
    """Return the depth of a stack by the probabilities of its slices: align, one pass over the frames, look, fuse.

    Depth is the mean position of the probabilities, or with ``exact`` a peak near it (see `toposcope.core.exact`).
    Confidence is one minus their spread relative to that of a flat curve, which ranks errors well; where the
    curve is nearly flat the method does not know, and the pixel is void.

    Parameters
    ----------
    look : called once for each of the factors of ``scale``; see `factors_for`
    settings : whose options have ``exact`` and ``fill``
    begin : when the work began, by `time.monotonic`
    about : what goes into the provenance beside the settings
    """
    options = settings.options
    stack, alignment = align(stack, settings.align, part(report, 0.0, 0.2))
    shape = (stack.n, *stack.shape)
    fuser = Fuser(stack.shape, stack.source.channels, stack.source.dtype, stack.n)
    examiner = SweepExaminer(stack, alignment)
    # grey as exact as the frames are: whole numbers of 16 bits, or floats on a scale of their own
    is_float = np.dtype(stack.source.dtype).kind == "f"
    frames = ScratchArray(shape, np.float32 if is_float else np.uint16, settings.scratch)
    place = stack.coordinate.astype(np.float32)
    answers: list[Answer] = []
    measured = MeasureVolume(shape, settings.scratch) if options.exact and settings.keep_volume else None

    def keep(i: int, grey: NDArray[np.float32]) -> None:
        frames.values[i] = grey if is_float else np.rint(grey * 65535)

    consumers, told = (fuser.add, examiner.add), part(report, 0.2, 0.4)
    try:
        peaks = None
        if options.exact:
            gains = [motion.gain for motion in alignment.motions]
            kept = (lambda i, plane, _: keep(i, to_grey(plane)), *consumers)
            peaks = default_peaks(stack, kept, measured, settings.threads, gains, told)
        else:
            _measure_each(stack, keep, consumers, told)
        factors = factors_for(stack.shape, scale)
        shares = np.cumsum([0.0] + [1 / factor**2 for factor in factors])
        for factor, begun, ended in zip(factors, shares, shares[1:], strict=False):
            told = part(report, 0.4 + 0.55 * float(begun / shares[-1]), 0.4 + 0.55 * float(ended / shares[-1]))
            answers.append(look(frames.values, place, factor, told))
        merged = merge(answers, stack.shape, place, stack.void)
        mean, spread, numbers = merged.mean, merged.relative_spread, np.arange(stack.n)
        index = np.interp(mean, place, numbers).astype(np.float32)
        confidence: NDArray[np.float32] = np.clip(1 - spread, 0, 1)
        confidence[spread >= UNKNOWN] = 0
        if stack.void is not None:
            confidence[stack.void] = 0
        volume: FocusVolume | None = merged.volume()
        if peaks is not None:
            index, confidence, taken = take_peaks(index, confidence, peaks)
            mean = np.interp(index, numbers, place).astype(np.float32)
            if volume is not None and measured is not None:
                volume = MeasuredVolume(volume, measured, taken)
        hidden = stack.void if options.fill else confidence == 0
        if hidden is not None:
            index[hidden] = mean[hidden] = np.nan
        report(Progress(0.96, "fusing"))
        picture = fuser.finish(index, confidence)
        sweep = examiner.report(index, confidence)
        result = compose(
            stack,
            alignment,
            settings,
            mean,
            confidence,
            picture,
            volume,
            sweep,
            time.monotonic() - begin,
            input_hashes(stack.source, part(report, 0.98, 1.0)),
            **about,
            reduced_by=str(merged.factor),
        )
    except BaseException:
        for answer in answers:
            answer.close()
        if measured is not None:
            measured.close()
        raise
    finally:
        frames.close()
    report(Progress(1.0, "done"))
    return result


def _measure_each(
    stack: FocalStack,
    keep: Callable[[int, NDArray[np.float32]], None],
    consumers: Sequence[Consumer],
    report: Report,
) -> None:
    """Read each frame once: ``keep`` gets it in grey, ``consumers`` as it is and with its sharpness."""
    for i in range(stack.n):
        report(Progress(i / stack.n, f"reading slice {i + 1} of {stack.n}"))
        plane = stack.read(i)
        grey = to_grey(plane)
        keep(i, grey)
        measure = focus.tenengrad(grey, 9)
        for consumer in consumers:
            consumer(i, plane, measure)


def _answer(
    card: WeightsCard,
    network: nn.Module,
    frames: NDArray[Any],
    place: NDArray[np.float32],
    factor: int,
    settings: EstimateSettings,
    device: str,
    report: Report,
) -> Answer:
    """Return what the network says of grey ``frames`` (N, H, W) reduced by ``factor``."""
    from dffnets.predict import predict_tiles

    n, *shape = frames.shape
    height, width = reduced_shape((shape[0], shape[1]), factor)
    volume = ProbabilityVolume((n, height, width), settings.scratch) if settings.keep_volume else None
    positions = MeanPosition((height, width), place)
    reduced = ScratchArray((n, height, width), frames.dtype, settings.scratch) if factor > 1 else None
    scale = "" if factor == 1 else f", at 1/{factor} of the size"

    def add(window: Tile, shares: NDArray[np.float32]) -> None:
        positions.add(window, shares)
        if volume is not None:
            volume.add(window.slices, shares)

    try:
        if reduced is not None:
            for i in range(n):
                reduced.values[i] = cv2.resize(frames[i], (width, height), interpolation=cv2.INTER_AREA)
        tile = min(settings.options.tile, card.largest_tile)
        predict_tiles(
            network,
            frames if reduced is None else reduced.values,
            place,
            add,
            card.multiple,
            device,
            tile,
            max(min(OVERLAP, tile // 2), tile // 4),
            lambda share: report(Progress(share, f"{card.title} on {device}{scale}")),
            settings.options.views,
        )
    except BaseException:
        if volume is not None:
            volume.close()
        raise
    finally:
        if reduced is not None:
            reduced.close()
    return Answer(factor, positions, volume)


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
