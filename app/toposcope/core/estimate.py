"""The one door: from a stack to its depth, by any method."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope import __version__
from toposcope.core import align as align_module
from toposcope.core import focus
from toposcope.core import sweep as sweep_module
from toposcope.core.align import AlignMode
from toposcope.core.calibration import to_positions
from toposcope.core.fuse import Fuser
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.peak import Codes, PeakTracker
from toposcope.core.result import DepthResult, Provenance
from toposcope.core.settings import checked, setting
from toposcope.core.stack import FocalStack, Plane, to_grey
from toposcope.core.sweep import SweepReport
from toposcope.core.volume import MeasureVolume
from toposcope.errors import SettingsError

Grey = NDArray[np.float32]


class _NoExaminer:
    def __init__(self, stack: FocalStack, alignment: Any) -> None:
        self._shape = stack.shape

    def add(self, i: int, plane: Plane, measure: Grey) -> None: ...

    def report(self, index: Grey, confidence: Grey) -> SweepReport:
        return SweepReport((), np.zeros(self._shape, dtype=np.uint8))


# stand-ins until alignment and sweep advice are there
align: Any = getattr(align_module, "align", lambda stack, mode, report: (stack, None))
SweepExaminer: Any = getattr(sweep_module, "SweepExaminer", _NoExaminer)


@dataclass(frozen=True, slots=True)
class EstimateSettings:
    """What to estimate with.

    ``options`` is the method's own settings dataclass, None for its defaults. ``keep_volume`` keeps
    the focus volume for inspection (on disk, under ``scratch``, when it is large). ``threads`` of
    0 means as many as the machine has cores.
    """

    method: str = "default"
    options: Any = None
    align: AlignMode = "auto"
    keep_volume: bool = False
    scratch: Path | None = None
    threads: int = 0


@dataclass(frozen=True, slots=True)
class MethodCard:
    """One method, as the command line, the window's form and the README's table see it.

    ``settings`` is a frozen dataclass; its fields carry ``metadata`` with ``label``, ``help``,
    ``min``, ``max``, ``step``, ``unit`` or ``choices``, from which forms and options are made.
    """

    name: str
    title: str
    source: str
    good_at: str
    settings: type
    run: Callable[[FocalStack, EstimateSettings, Report], DepthResult] = field(repr=False)


def estimate(stack: FocalStack, settings: EstimateSettings | None = None, report: Report = silent) -> DepthResult:
    """Return the depth of ``stack`` by the method that ``settings`` name.

    >>> result = estimate(open_stack("scan_07"))                               # doctest: +SKIP
    >>> result = estimate(stack, EstimateSettings("sml", keep_volume=True))    # doctest: +SKIP
    >>> result.depth[120, 340], result.unit, result.confidence[120, 340]       # doctest: +SKIP

    Raises
    ------
    SettingsError
        If the method or one of its settings is unknown or out of range.
    FrameError
        If a frame cannot be read.
    OutputError
        If ``keep_volume`` needs a scratch file and there is no room for it.
    """
    settings = settings or EstimateSettings()
    card = METHODS.get(settings.method)
    if card is None:
        raise SettingsError(f"there is no method {settings.method!r}; known are {', '.join(METHODS)}.")
    if settings.align not in ("auto", "none"):
        raise SettingsError(f"align is {settings.align!r}; choose auto or none.")
    if settings.threads < 0:
        raise SettingsError(f"threads is {settings.threads}; give 0 (all cores) or more.")
    return card.run(stack, replace(settings, options=checked(card.settings, settings.options)), report)


@dataclass(frozen=True, slots=True)
class WindowSettings:
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
    """Modified Laplacian."""

    step: int = setting(1, "Step", "distance of the points of the second difference", minimum=1, maximum=9, unit="px")


@dataclass(frozen=True, slots=True)
class RingSettings(WindowSettings):
    """Ring difference filter."""

    inner: int = setting(2, "Inner radius", "of the ring", minimum=1, maximum=15, unit="px")
    outer: int = setting(4, "Outer radius", "of the ring", minimum=2, maximum=16, unit="px")


@dataclass(frozen=True, slots=True)
class DirectionalSettings(WindowSettings):
    """Dilated directional Laplacian."""

    dilations: int = setting(
        4, "Dilations", "largest distance of the second differences", minimum=1, maximum=8, unit="px"
    )


@dataclass(frozen=True, slots=True)
class WaveletSettings(WindowSettings):
    """Wavelet energy."""

    levels: int = setting(3, "Levels", "octaves of detail that count", minimum=1, maximum=5)


@dataclass(frozen=True, slots=True)
class DefaultSettings:
    """The default method has nothing that must be touched."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a classical method measures a frame.

    ``halo`` is the number of rows above and below that have a say in the measure of a row.
    """

    measure: Callable[[Grey], Grey]
    halo: int


BAND_ROWS = 128  # few enough that the planes of a band stay in the cache between steps


def _scan(
    stack: FocalStack,
    recipe: Recipe,
    tracker: PeakTracker,
    consumers: list[Callable[[int, Plane, Grey], object]],
    volume: MeasureVolume | None,
    threads: int,
    report: Report,
) -> None:
    """Read each frame once, measure it once and hand it to all who need it.

    The next frame is read while this one is measured.
    """
    height, width = stack.shape
    measure = np.empty((height, width), dtype=np.float32)
    bands = [slice(top, min(top + BAND_ROWS, height)) for top in range(0, height, BAND_ROWS)]

    def take(i: int, plane: Plane, rows: slice) -> Codes:
        top, bottom = max(rows.start - recipe.halo, 0), min(rows.stop + recipe.halo, height)
        measure[rows] = recipe.measure(to_grey(plane[top:bottom]))[rows.start - top : rows.stop - top]
        return tracker.add(i, measure[rows], rows)

    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as reader:
        coming = reader.submit(stack.read, 0)
        for i in range(stack.n):
            report(Progress(i / stack.n, f"measuring slice {i + 1} of {stack.n}"))
            plane = coming.result()
            if i + 1 < stack.n:
                coming = reader.submit(stack.read, i + 1)
            codes = list(pool.map(partial(take, i, plane), bands))
            if volume is not None:
                volume.add(i, np.concatenate(codes), measure)
            for consumer in consumers:
                consumer(i, plane, measure)


def _classical(
    recipe_of: Callable[[Any], Recipe], stack: FocalStack, settings: EstimateSettings, report: Report
) -> DepthResult:
    """Run a classical method: align, one pass over the frames, peaks, fusion."""
    begin = time.monotonic()
    stack, alignment = align(stack, settings.align, part(report, 0.0, 0.25))
    tracker = PeakTracker(stack.shape, stack.coordinate)
    fuser = Fuser(stack.shape, stack.source.channels, stack.source.dtype, stack.n)
    examiner = SweepExaminer(stack, alignment)
    volume = MeasureVolume((stack.n, *stack.shape), settings.scratch) if settings.keep_volume else None
    try:
        _scan(
            stack,
            recipe_of(settings.options),
            tracker,
            [fuser.add, examiner.add],
            volume,
            settings.threads or os.cpu_count() or 1,
            part(report, 0.25, 0.9),
        )
        peaks = tracker.fit()
        confidence = np.clip(1 - peaks.mean / np.maximum(peaks.height, 1e-12), 0, 1).astype(np.float32)
        valid = np.isfinite(peaks.coordinate)
        if stack.void is not None:
            valid &= ~stack.void
        coordinate = np.where(valid, peaks.coordinate, np.float32(np.nan))
        confidence[~valid] = 0
        if volume is not None:
            volume.settle(float(np.median(peaks.mean[::4, ::4])) * 0.1, float(np.median(peaks.mean[::4, ::4])) * 0.01)
        report(Progress(0.95, "fusing"))
        index = np.interp(coordinate, stack.coordinate, np.arange(stack.n)).astype(np.float32)
        picture = fuser.finish(index, confidence)
        sweep = examiner.report(index, confidence)
    except BaseException:
        if volume is not None:
            volume.close()
        raise
    reference = alignment.reference if alignment is not None else stack.n // 2
    result = DepthResult(
        depth=to_positions(coordinate, stack.positions.value, stack.unit, stack.kind.value).astype(np.float32),
        confidence=confidence,
        valid=valid,
        all_in_focus=picture,
        tags=stack.source.tags(reference),
        positions=stack.positions,
        unit=stack.unit,
        kind=stack.kind,
        near=stack.near,
        pixel_um=stack.pixel_um,
        alignment=alignment,
        volume=volume,
        sweep=sweep,
        provenance=Provenance(
            version=__version__,
            method=settings.method,
            settings={**asdict(settings.options), "align": settings.align},
            source=str(stack.path or stack.name),
            frames=tuple(stack.source.names),
            seconds=time.monotonic() - begin,
            inputs={},
        ),
    )
    report(Progress(1.0, "done"))
    return result


def _gaussian_tenengrad(options: DefaultSettings) -> Recipe:
    def measure(grey: Grey) -> Grey:
        return cv2.GaussianBlur(focus.gradient_energy(grey), (13, 13), 2.0)  # type: ignore[return-value]

    return Recipe(measure, 7)


def _card(
    name: str, title: str, source: str, good_at: str, kind: type, recipe_of: Callable[[Any], Recipe]
) -> MethodCard:
    return MethodCard(name, title, source, good_at, kind, partial(_classical, recipe_of))


METHODS: Mapping[str, MethodCard] = {
    card.name: card
    for card in (
        _card(
            "default",
            "Default",
            "Toposcope",
            "everything; start here",
            DefaultSettings,
            _gaussian_tenengrad,
        ),
        _card(
            "sml",
            "Modified Laplacian",
            "Nayar & Nakagawa 1994",
            "fine, strong texture at low noise",
            SmlSettings,
            lambda o: Recipe(partial(focus.modified_laplacian, window=o.window, step=o.step), o.window // 2 + o.step),
        ),
        _card(
            "tenengrad",
            "Tenengrad",
            "Krotkov 1987",
            "a good plain reference; noisy frames",
            WindowSettings,
            lambda o: Recipe(partial(focus.tenengrad, window=o.window), o.window // 2 + 1),
        ),
        _card(
            "variance",
            "Grey-level variance",
            "Krotkov 1987",
            "very noisy frames, coarse texture",
            WindowSettings,
            lambda o: Recipe(partial(focus.grey_variance, window=o.window), 2 * (o.window // 2)),
        ),
        _card(
            "rdf",
            "Ring difference filter",
            "Jeon et al. 2020",
            "noisy frames and soft optics: texture several pixels wide",
            RingSettings,
            lambda o: Recipe(
                partial(focus.ring_difference, window=o.window, inner=o.inner, outer=o.outer), o.window // 2 + o.outer
            ),
        ),
        _card(
            "ddl",
            "Directional Laplacian",
            "Ashfaq & Mahmood 2026",
            "texture of mixed size and direction",
            DirectionalSettings,
            lambda o: Recipe(
                partial(focus.directional_laplacian, window=o.window, dilations=o.dilations),
                o.window // 2 + o.dilations,
            ),
        ),
        _card(
            "wavelet",
            "Wavelet energy",
            "Yang & Nelson 2003",
            "mixed fine and coarse texture",
            WaveletSettings,
            lambda o: Recipe(
                partial(focus.wavelet_energy, window=o.window, levels=o.levels), o.window // 2 + 2 * (2**o.levels - 1)
            ),
        ),
    )
}
