"""Classical methods: one measure of sharpness, or several views, of each slice, and the peaks between them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dffnets.shipped import shipped_cards
from toposcope.core import focus, tft
from toposcope.core.align import align
from toposcope.core.fuse import Fuser
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.layers import LAYERS, take_layer
from toposcope.core.method import EstimateSettings, MethodCard, compose
from toposcope.core.noise import NoiseLevel
from toposcope.core.provenance import input_hashes
from toposcope.core.refine import DepthMap, fill_voids, settle, smooth
from toposcope.core.result import DepthResult
from toposcope.core.scan import Consumer, Recipe, scan
from toposcope.core.settings import setting
from toposcope.core.stack import FocalStack
from toposcope.core.sweep import SweepExaminer
from toposcope.core.volume import MeasureVolume
from toposcope.errors import SettingsError

Grey = NDArray[np.float32]


def _smoothing(default: float) -> Any:
    return setting(
        default,
        "Smoothing",
        "mean with neighbours that agree on the depth, as far as this; steps stay sharp",
        minimum=0.0,
        maximum=20.0,
        step=0.5,
        unit="px",
    )


@dataclass(frozen=True, slots=True)
class DepthSettings:
    """Settings that all classical methods share."""

    peak: str = setting(
        "smoothed",
        "Peak",
        "how the peak is placed between slices: through all values near it, or by a Gaussian through three",
        choices=("smoothed", "three-point"),
    )
    smooth: float = _smoothing(0.0)
    layer: str = setting(
        "strongest",
        "Surface",
        "where one is seen through another, as through glass or varnish: the one that shows most at each pixel, or "
        "that nearest to the lens, or farthest from it",
        choices=LAYERS,
    )
    fill: bool = setting(
        False, "Fill voids", "give pixels without texture the depth of their surroundings, at confidence 0"
    )


@dataclass(frozen=True, slots=True)
class DefaultSettings(DepthSettings):
    """Settings of the default method, none of which needs to be touched."""

    smooth: float = _smoothing(1.5)


@dataclass(frozen=True, slots=True)
class WindowSettings(DepthSettings):
    """Settings that all single-window methods share."""

    window: int = setting(
        9,
        "Window",
        "side of the square that the measure is averaged over; larger is calmer but rounds off edges",
        minimum=1,
        maximum=101,
        step=2,
        unit="px",
        odd=True,
    )


@dataclass(frozen=True, slots=True)
class SmlSettings(WindowSettings):
    """Settings of the modified Laplacian."""

    step: int = setting(1, "Step", "distance of the points of the second difference", minimum=1, maximum=9, unit="px")


@dataclass(frozen=True, slots=True)
class RingSettings(WindowSettings):
    """Settings of the ring difference filter."""

    inner: int = setting(2, "Inner radius", "of the ring", minimum=1, maximum=15, unit="px")
    outer: int = setting(4, "Outer radius", "of the ring", minimum=2, maximum=16, unit="px")


@dataclass(frozen=True, slots=True)
class DirectionalSettings(WindowSettings):
    """Settings of the dilated directional Laplacian."""

    dilations: int = setting(
        4, "Dilations", "largest distance of the second differences", minimum=1, maximum=8, unit="px"
    )


@dataclass(frozen=True, slots=True)
class WaveletSettings(WindowSettings):
    """Settings of the wavelet energy."""

    levels: int = setting(3, "Levels", "octaves of detail that count", minimum=1, maximum=5)


@dataclass(frozen=True, slots=True)
class TftSettings(DefaultSettings):
    """Settings of the 3-D time-frequency method."""

    scales: int = setting(
        4, "Scales", "octaves of detail that have a view each; more see coarser texture", minimum=1, maximum=5
    )


PEAK_BLUR = 1.25
"""Slices that "smoothed" peaks are smoothed by: half the error of three points on rendered relief, with
curves of any width (0.6 to 2 slices standard deviation)."""


class Survey(Protocol):
    """One pass of a classical method over an aligned stack: its depth, and the noise of its measure."""

    def __call__(
        self,
        stack: FocalStack,
        consumers: Sequence[Consumer],
        volume: MeasureVolume | None,
        pool: ThreadPoolExecutor,
        report: Report,
        gains: Sequence[float],
    ) -> tuple[DepthMap, NoiseLevel]: ...


def _classical(
    survey_of: Callable[[Any], Survey], stack: FocalStack, settings: EstimateSettings, report: Report
) -> DepthResult:
    """Run a classical method: align, one pass over the frames with its peaks, smoothing, fusion."""
    if settings.device not in ("auto", "cpu"):
        raise SettingsError(f"{settings.method} runs on the CPU, not on {settings.device}. Choose cpu or auto.")
    if settings.weights is not None:
        networks = ", ".join(card.name for card in shipped_cards())
        raise SettingsError(
            f"{settings.method} is no network and takes no weights. Leave them out, or choose one of {networks}."
        )
    begin = time.monotonic()
    options: DepthSettings = settings.options
    survey = survey_of(options)
    stack, alignment = align(stack, settings.align, part(report, 0.0, 0.25))
    fuser = Fuser(stack.shape, stack.source.channels, stack.source.dtype, stack.n)
    examiner = SweepExaminer(stack, alignment)
    needed = settings.keep_volume or options.layer != "strongest"
    volume = MeasureVolume((stack.n, *stack.shape), settings.scratch) if needed else None
    gains = [motion.gain for motion in alignment.motions]
    try:
        told = part(report, 0.25, 0.96)
        depth = _depth_map(
            survey,
            options.smooth,
            stack,
            (fuser.add, examiner.add),
            volume,
            settings.threads,
            gains,
            told,
            options.layer,
        )
        if volume is not None and not settings.keep_volume:
            volume.close()
            volume = None
        if options.fill:
            depth = DepthMap(fill_voids(depth.index, depth.confidence), depth.confidence)
        report(Progress(0.96, "fusing"))
        picture = fuser.finish(depth.index, depth.confidence)
        sweep = examiner.report(depth.index, depth.confidence)
        seconds = time.monotonic() - begin
        inputs = input_hashes(stack.source, part(report, 0.98, 1.0))
    except BaseException:
        if volume is not None:
            volume.close()
        raise
    coordinate = np.interp(depth.index, np.arange(stack.n), stack.coordinate)
    result = compose(stack, alignment, settings, coordinate, depth.confidence, picture, volume, sweep, seconds, inputs)
    report(Progress(1.0, "done"))
    return result


def _depth_map(
    survey: Survey,
    smoothing: float,
    stack: FocalStack,
    consumers: Sequence[Consumer],
    volume: MeasureVolume | None,
    threads: int,
    gains: Sequence[float],
    report: Report,
    layer: str = "strongest",
) -> DepthMap:
    """Return slice indices and confidence (H, W) of an aligned stack by one pass, NaN where nothing is known.

    ``consumers`` see each frame, ``volume`` receives the measures and is settled. ``smoothing`` in pixels, 0 for none;
    ``threads`` of 0 means all cores; ``gains`` are those of the alignment; another ``layer`` than the strongest needs
    the volume.
    """
    with ThreadPoolExecutor(threads or os.cpu_count() or 1, "measure") as pool:
        measured = 0.96 if layer == "strongest" else 0.8
        depth, noise = survey(stack, consumers, volume, pool, part(report, 0.0, measured), gains)
        if volume is not None:
            volume.settle(noise.typical, noise.scatter[0] * noise.typical)
            if layer != "strongest":
                from_last = (layer == "nearest") == (stack.near.value == "high")
                depth = take_layer(depth, volume, from_last, part(report, measured, 0.96))
        if smoothing:
            report(Progress(0.96, "smoothing"))
            depth = smooth(depth, smoothing, pool)
    if stack.void is not None:
        depth.confidence[stack.void] = 0
    depth.index[depth.confidence == 0] = np.nan
    return depth


def _peak_blur(options: DepthSettings) -> float:
    return PEAK_BLUR if options.peak == "smoothed" else 0.0


def _measured(recipe_of: Callable[[Any], Recipe], options: DepthSettings) -> Survey:
    """Return a survey with one measure of sharpness; refuses settings that contradict each other."""
    recipe = recipe_of(options)

    def survey(
        stack: FocalStack,
        consumers: Sequence[Consumer],
        volume: MeasureVolume | None,
        pool: ThreadPoolExecutor,
        report: Report,
        gains: Sequence[float],
    ) -> tuple[DepthMap, NoiseLevel]:
        seen = scan(stack, recipe, consumers, volume, pool, part(report, 0.0, 0.95), gains)
        report(Progress(0.95, "finding the peaks"))
        return settle(seen, _peak_blur(options), pool), seen.noise

    return survey


def _time_frequency(options: TftSettings) -> Survey:
    """Return a survey by the views of a time-frequency transform."""
    return partial(tft.survey, options.scales, _peak_blur(options))


def _default(options: DefaultSettings) -> Recipe:
    """Gradient energy in a Gaussian window of 2 pixels, and wider ones where that shows too little."""
    sigma, halo = 2.0, 6

    def measure(grey: Grey) -> Grey:
        return cv2.GaussianBlur(focus.gradient_energy(grey), (2 * halo + 1,) * 2, sigma)  # type: ignore[return-value]

    return Recipe(measure, halo + 1, 2, coarse=True)


default_peaks = partial(_depth_map, _measured(_default, DefaultSettings()), DefaultSettings().smooth)
"""`_depth_map` by the default method, for networks that take its exact peaks."""


def _windowed(measure: Callable[[Grey], Grey], window: int, halo: int, power: int) -> Recipe:
    return Recipe(measure, window // 2 + halo, power)


def _sml(o: SmlSettings) -> Recipe:
    return _windowed(partial(focus.modified_laplacian, window=o.window, step=o.step), o.window, o.step, 1)


def _tenengrad(o: WindowSettings) -> Recipe:
    return _windowed(partial(focus.tenengrad, window=o.window), o.window, 1, 2)


def _variance(o: WindowSettings) -> Recipe:
    window = max(o.window, 3)  # one pixel does not vary
    return _windowed(partial(focus.grey_variance, window=window), window, window // 2, 2)


def _rdf(o: RingSettings) -> Recipe:
    if o.inner >= o.outer:
        raise SettingsError(
            f"the ring's inner radius is {o.inner} px, its outer radius {o.outer} px; make the outer the larger."
        )
    return _windowed(
        partial(focus.ring_difference, window=o.window, inner=o.inner, outer=o.outer), o.window, o.outer, 1
    )


def _ddl(o: DirectionalSettings) -> Recipe:
    return _windowed(
        partial(focus.directional_laplacian, window=o.window, dilations=o.dilations), o.window, o.dilations, 1
    )


def _wavelet(o: WaveletSettings) -> Recipe:
    return _windowed(
        partial(focus.wavelet_energy, window=o.window, levels=o.levels), o.window, 2 * (2**o.levels - 1), 2
    )


def measured_card(
    name: str, title: str, source: str, good_at: str, kind: type, recipe_of: Callable[[Any], Recipe]
) -> MethodCard:
    """Return the card of a method with one measure of sharpness, which ``recipe_of`` makes of its settings."""
    return MethodCard(name, title, source, good_at, kind, partial(_classical, partial(_measured, recipe_of)))


def classical_methods() -> list[MethodCard]:
    """Return a card for each classical method, the default first."""
    return [
        measured_card(
            "default",
            "Default",
            "gradient energy in three windows, weighed by their noise",
            "everything; start here",
            DefaultSettings,
            _default,
        ),
        measured_card(
            "sml",
            "Modified Laplacian",
            "Nayar & Nakagawa 1994",
            "fine, strong texture, little noise",
            SmlSettings,
            _sml,
        ),
        measured_card(
            "tenengrad", "Tenengrad", "Krotkov 1987", "the plain reference; noisy frames", WindowSettings, _tenengrad
        ),
        measured_card(
            "variance",
            "Grey-level variance",
            "Krotkov 1987",
            "very noisy frames with coarse texture",
            WindowSettings,
            _variance,
        ),
        measured_card(
            "rdf",
            "Ring difference filter",
            "Jeon et al. 2020",
            "soft optics: texture several pixels wide",
            RingSettings,
            _rdf,
        ),
        measured_card(
            "ddl",
            "Directional Laplacian",
            "Ashfaq & Mahmood 2026",
            "texture of mixed size and direction",
            DirectionalSettings,
            _ddl,
        ),
        measured_card(
            "wavelet",
            "Wavelet energy",
            "Yang & Nelson 2003",
            "mixed fine and coarse texture",
            WaveletSettings,
            _wavelet,
        ),
        MethodCard(
            "tft",
            "3D-TFT-like",
            "after Yan et al. 2023",
            "faint and mixed texture, noise; labels to adapt a network by",
            TftSettings,
            partial(_classical, _time_frequency),
        ),
    ]
