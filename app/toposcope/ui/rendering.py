"""From frames and maps to pictures for the screen. Pure functions that run in a worker thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.compare import COLOURS, Difference
from toposcope.core.pictures import VOID, colour_map, colour_table, display_range, to_display
from toposcope.core.result import DepthResult
from toposcope.core.stack import Plane
from toposcope.core.sweep import Lack
from toposcope.ui.pyramid import Picture, Pyramid, make_pyramid
from toposcope.ui.session import LayerKind

COLOUR_MAPS: Final[dict[str, str]] = {
    "viridis": "Viridis",
    "batlow": "Batlow",
    "cividis": "Cividis",
    "magma": "Magma",
    "turbo": "Turbo",
    "gray": "Grey",
}
"""Perceptually even maps first; turbo shows fine steps but has no even lightness."""

LACK_TITLES: Final[dict[Lack, str]] = {
    "cut_low": "Peak at the first slice",
    "cut_high": "Peak at the last slice",
    "coarse_step": "Step too coarse",
    "idle_slices": "Slices that add nothing",
    "over_exposed": "Over-exposed",
    "motion": "Motion",
    "textureless": "No texture",
}
LACK_COLOURS: Final[dict[Lack, tuple[int, int, int]]] = {
    "cut_low": (86, 180, 233),
    "cut_high": (230, 159, 0),
    "coarse_step": (0, 158, 115),
    "idle_slices": (150, 150, 150),
    "over_exposed": (240, 228, 66),
    "motion": (204, 121, 167),
    "textureless": (110, 100, 200),
}
LIMIT_REACH: Final = 2.0
"""How far the colours of a difference can be stretched, in multiples of their automatic limit."""
Legend = tuple[tuple[str, tuple[int, int, int]], ...]

PEAK_LEGEND: Final[Legend] = (
    ("No peak", VOID),
    ("One peak", (53, 124, 148)),
    ("Two peaks", (240, 200, 80)),
    ("Three or more", (213, 94, 40)),
)
SWEEP_LEGEND: Final[Legend] = (
    ("Nothing is lacking", VOID),
    *((LACK_TITLES[lack], LACK_COLOURS[lack]) for lack in get_args(Lack)),  # in the order of the codes
)


NOTHING_KNOWN: Final[Legend] = (("Void everywhere: no value is known", VOID),)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """The colours of a map of numbers.

    ``low`` and ``high`` are the colour limits, ``least`` and ``most`` the range of the values;
    ``histogram`` (B,) shares of the values from ``least`` to ``most``; ``lut`` (256, 3) uint8.
    ``centred`` where 0 has to stay in the middle.
    """

    low: float
    high: float
    least: float
    most: float
    histogram: NDArray[np.float32]
    lut: NDArray[np.uint8]
    unit: str
    centred: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A picture ready to be shown, with its colour scale or its legend where it has one, and what it comes to."""

    pyramid: Pyramid
    scale: Scale | None = None
    legend: Legend = ()
    statistics: str = ""


def render_frame(plane: Plane, limits: tuple[float, float], shape: tuple[int, int] | None = None) -> Rendered:
    """Return a frame with ``limits`` as black and white; ``shape`` is the full size of a reduced one."""
    return Rendered(make_pyramid(to_display(plane, *limits), shape))


def render_fused(result: DepthResult, shape: tuple[int, int]) -> Rendered:
    """Return the all-in-focus picture."""
    return render_frame(result.all_in_focus, display_range(result.all_in_focus), shape)


def render_values(
    values: NDArray[np.float32],
    shape: tuple[int, int],
    map_name: str,
    limits: tuple[float, float] | None,
    unit: str,
    span: tuple[float, float] | None = None,
    beside: NDArray[np.float32] | None = None,
) -> Rendered:
    """Return (H, W) numbers in colours, NaN in `VOID`.

    Without ``limits`` the colours span 99 % of the values, so that a few wild pixels do not eat
    the colour map. ``span`` fixes the range of values, where it is known beforehand. ``beside`` are
    values that are seen next to these: the scale suits both.
    """
    sample = np.concatenate([_sample(values), _sample(beside)]) if beside is not None else _sample(values)
    if sample.size == 0 and span is None:  # a scale would be made up
        return Rendered(make_pyramid(colour_map(values, map_name, 0.0, 1.0), shape), legend=NOTHING_KNOWN)
    least, most, low, high = _ranges(sample, span)
    if limits is not None:
        low, high = limits
    picture = colour_map(values, map_name, low, high)
    scale = Scale(low, high, least, most, _shares(sample, least, most), colour_table(map_name), unit)
    return Rendered(make_pyramid(picture, shape), scale)


def render_difference(
    difference: Difference, shape: tuple[int, int], limits: tuple[float, float] | None = None, every: int = 1
) -> Rendered:
    """Return a difference in colours around 0, with its statistics; ``every`` as in `render_result`."""
    values = difference.values[::every, ::every]
    high = limits[1] if limits is not None else difference.limit
    sample = _sample(values)
    # wild pixels would leave the colours a sliver of the bar
    most = max(high, min(float(np.abs(sample).max(initial=0)), LIMIT_REACH * difference.limit))
    scale = Scale(
        -high,
        high,
        -most,
        most,
        _shares(sample, -most, most),
        colour_table(COLOURS),
        difference.unit_symbol,
        centred=True,
    )
    picture = colour_map(values, COLOURS, -high, high)
    return Rendered(make_pyramid(picture, shape), scale, statistics=difference.text)


def _sample(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the known ones of every second value both ways; of all where these are void."""
    thinned = values[::2, ::2]
    known: NDArray[np.float32] = thinned[np.isfinite(thinned)]
    return known if known.size else values[np.isfinite(values)]


def _shares(sample: NDArray[np.float32], least: float, most: float) -> NDArray[np.float32]:
    histogram, _ = np.histogram(sample, bins=64, range=(least, most))
    shares: NDArray[np.float32] = (histogram / max(1, histogram.sum())).astype(np.float32)
    return shares


def _ranges(sample: NDArray[np.float32], span: tuple[float, float] | None) -> tuple[float, float, float, float]:
    """Return least, most, and the automatic colour limits low, high; all apart."""
    if span is not None:
        return *span, *span
    least, low, high, most = (float(v) for v in np.percentile(sample, (0, 0.5, 99.5, 100)))
    if most <= least:
        return least - 0.5, least + 0.5, least - 0.5, least + 0.5
    return (least, most, low, high) if high > low else (least, most, least, most)


def render_codes(codes: NDArray[np.uint8], legend: Legend, shape: tuple[int, int], under: Picture | None) -> Rendered:
    """Return (H, W) codes in the colours of ``legend``; codes beyond it take its last colour.

    The legend that comes with the picture holds the codes that occur.

    ``under`` (grey or colour, same size) shines through, so that one sees what the colours lie on.
    """
    lut = np.array([colour for _, colour in legend], dtype=np.uint8)
    picture = lut[np.minimum(codes, len(legend) - 1)]
    if under is not None:
        grey = under if under.ndim == 2 else np.asarray(cv2.cvtColor(under, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        picture = np.asarray(cv2.addWeighted(picture, 0.62, cv2.merge([grey, grey, grey]), 0.38, 0), dtype=np.uint8)
    there = np.bincount(np.minimum(codes, len(legend) - 1).ravel(), minlength=len(legend)) > 0
    return Rendered(
        make_pyramid(picture, shape), legend=tuple(e for e, is_there in zip(legend, there, strict=True) if is_there)
    )


def render_result(
    result: DepthResult,
    kind: LayerKind,
    shape: tuple[int, int],
    map_name: str,
    limits: tuple[float, float] | None,
    peaks: NDArray[np.uint8] | None = None,
    every: int = 1,
    beside: DepthResult | None = None,
) -> Rendered:
    """Return one picture of a result, standing for a picture of ``shape`` (H, W).

    ``peaks`` (H, W) are the peak counts, needed for the kind ``peaks`` only. ``every`` above 1 takes
    only every so many-th pixel of depth and confidence: a sketch while colours are being chosen.
    ``beside`` is a result whose depth is seen next to this one's, in the same colours.
    """
    if kind == "all_in_focus":
        return render_fused(result, shape)
    if kind == "depth":
        other = beside.depth[::every, ::every] if beside is not None else None
        return render_values(result.depth[::every, ::every], shape, map_name, limits, result.unit_symbol, beside=other)
    if kind == "confidence":
        return render_values(result.confidence[::every, ::every], shape, map_name, limits, "", span=(0.0, 1.0))
    under = to_display(result.all_in_focus, *display_range(result.all_in_focus))
    if kind == "peaks":
        if peaks is None:
            raise ValueError("the peaks map needs the peak counts")
        return render_codes(_fit(peaks, result.shape), PEAK_LEGEND, shape, under)
    if result.sweep.map is None:
        raise ValueError("the map of the sweep was not kept")
    return render_codes(_fit(result.sweep.map, result.shape), SWEEP_LEGEND, shape, under)


def _fit(codes: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return codes at ``shape``; maps may be held at reduced size."""
    if codes.shape == shape:
        return codes
    return np.asarray(cv2.resize(codes, shape[::-1], interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def thumbnail(plane: Plane, limits: tuple[float, float], side: int = 96) -> tuple[Picture, float]:
    """Return a frame at ``side`` px as (h, w, 3) uint8, and how sharp it is (any scale, at least 0).

    The sharpness is the energy of the Laplacian over the energy of the brightness, so that
    uneven exposure does not count as focus.
    """
    picture = to_display(plane, *limits)
    grey = picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    response = cv2.Laplacian(grey, cv2.CV_32F)
    sharpness = float(np.mean(np.square(response)) / max(1.0, float(np.mean(np.square(grey, dtype=np.float32)))))
    scale = side / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return (np.repeat(small[..., None], 3, axis=2) if small.ndim == 2 else small), sharpness
