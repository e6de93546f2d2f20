"""Pictures of results without a screen: maps with a colour bar, focus curves, 3D views.

All return (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import cmap
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from toposcope.core.curve import FocusCurve
from toposcope.core.stack import Plane, full_scale
from toposcope.core.words import minus, number

Picture = NDArray[np.uint8]
Map = NDArray[np.floating[Any]]
Colour = tuple[int, int, int]

PAPER: Colour = (24, 27, 32)
VOID: Colour = (52, 56, 63)
INK: Colour = (226, 230, 236)
FAINT: Colour = (126, 134, 146)
GRID: Colour = (48, 53, 61)
ACCENT: Colour = (86, 180, 233)  # blue, orange, green and pink of Okabe and Ito: told apart by all eyes
SECOND: Colour = (230, 159, 0)
FITTED: Colour = (0, 184, 138)
WARNING: Colour = (221, 134, 178)


@dataclass(frozen=True, slots=True)
class Inks:
    """The colours that a drawing is made of: its ground, voids, writing, side remarks and the lines of a grid.

    ``light`` multiplies the ground of 3D pictures at their upper and their lower edge.
    """

    paper: Colour = PAPER
    void: Colour = VOID
    ink: Colour = INK
    faint: Colour = FAINT
    grid: Colour = GRID
    light: tuple[float, float] = (1.45, 0.8)


SCREEN = Inks()
PRINT = Inks((255, 255, 255), (205, 205, 205), (0, 0, 0), (90, 90, 90), (214, 214, 214), (1.0, 1.0))
"""Black on white, for paper."""

FINEST = 2048
"""Pixels a side of the field that a 3D picture is drawn from; more would not be seen."""

SMOOTHING = 2
"""Drawings are made this much larger and averaged down, which rounds off their edges."""


@dataclass(frozen=True, slots=True)
class View:
    """From where a surface is seen, and how its heights are drawn.

    ``azimuth_deg`` turns the surface clockwise seen from above; ``elevation_deg`` is the angle of the
    eye above the plane (90: from above); ``exaggeration`` multiplies true heights, None chooses.
    """

    azimuth_deg: float = 32.0
    elevation_deg: float = 38.0
    exaggeration: float | None = None
    width: int = 1280
    height: int = 900


def robust_range(values: Map, share: float = 0.005) -> tuple[float, float]:
    """Return the range of the values without the lowest and highest ``share`` of them.

    (0, 1) when there is no finite value; never empty, so that it can be divided by.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    step = max(1, finite.size // 1_000_000)  # a sample is enough for a percentile
    low, high = (float(v) for v in np.quantile(finite[::step], (share, 1 - share)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


@lru_cache(maxsize=16)
def colour_table(name: str) -> Picture:
    """Return a colour map's 256 colours, (256, 3) uint8."""
    table: Picture = np.round(cmap.Colormap(name).lut(256)[:, :3] * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


def colour_map(
    values: Map, name: str = "viridis", low: float | None = None, high: float | None = None, void: Colour = VOID
) -> Picture:
    """Colour a map.

    Parameters
    ----------
    values : (H, W); NaN is drawn in the colour ``void``
    name : any name that the package cmap knows
    low, high : values of the first and last colour; the robust range by default
    """
    if low is None or high is None:
        first, last = robust_range(values)
        low, high = (first if low is None else low), (last if high is None else high)
    scaled = (values - low) * (255 / (high - low)) + 0.5
    known = np.isfinite(scaled)
    index = np.where(known, np.clip(scaled, 0, 255), 0).astype(np.uint8)
    picture: Picture = colour_table(name)[index]
    picture[~known] = void
    return picture


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return about ``count`` round numbers (1, 2 or 5 times a power of ten apart) within low..high."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def reduce_map(values: Map, longest: int) -> NDArray[np.float32]:
    """Return a map with at most ``longest`` pixels a side, by averages that leave NaN out.

    A pixel is NaN when less than half of its area is known.
    """
    height, width = values.shape
    factor = longest / max(height, width)
    values = values.astype(np.float32, copy=False)
    if factor >= 1:
        return values
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    known = np.isfinite(values)
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(known, values, np.float32(0)), size, interpolation=cv2.INTER_AREA)
    with np.errstate(invalid="ignore", divide="ignore"):
        reduced: NDArray[np.float32] = np.where(share >= 0.5, total / share, np.float32(np.nan))
    return reduced


def to_picture(plane: Plane) -> Picture:
    """Return a frame of any depth, grey or colour, as 8-bit RGB."""
    if plane.dtype != np.uint8:
        factor = 255 / full_scale(plane.dtype)
        plane = np.clip(plane * np.float32(factor) + 0.5, 0, 255).astype(np.uint8)
    return plane if plane.ndim == 3 else np.repeat(plane[..., None], 3, axis=2)


def display_range(plane: Plane) -> tuple[float, float]:
    """Return the values to show as black and white.

    8-bit frames are shown as they are. Deeper frames often use a part of their range only (12 of 16
    bits): they are stretched between their 0.1 and 99.9 percentiles, from zero where that is near.
    """
    if plane.dtype == np.uint8:
        return 0.0, 255.0
    low, high = (float(v) for v in np.percentile(plane[::4, ::4], (0.1, 99.9)))
    low = 0.0 if low < 0.2 * high else low
    if high <= low:
        return 0.0, full_scale(plane.dtype)
    return low, high


def to_display(plane: Plane, low: float, high: float) -> Picture:
    """Return a frame as 8 bit, ``low`` black and ``high`` white."""
    if plane.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return plane
    scaled: NDArray[Any] = cv2.convertScaleAbs(
        np.clip(plane, low, high) if low > 0 else plane, alpha=255.0 / (high - low), beta=-low * 255.0 / (high - low)
    )
    return np.asarray(scaled, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Bar:
    """A colour bar: the colour map ``name`` from ``low`` to ``high``, with ``unit`` written over it."""

    name: str
    low: float
    high: float
    unit: str


Legend = Sequence[tuple[str, Colour]]
"""What colours stand for, in words."""


def map_picture(
    values: Map,
    unit: str,
    title: str | tuple[str, str] = "",
    name: str = "viridis",
    pixel_um: float | None = None,
    longest: int = 1600,
    limits: tuple[float, float] | None = None,
    caption: str = "",
) -> Picture:
    """Draw a map with its colour bar, and a scale bar when the pixel size is known.

    Parameters
    ----------
    values : (H, W); NaN is drawn grey
    unit : written at the colour bar
    title : written above; of two, the second stands at the right edge
    pixel_um : side of a pixel of ``values`` on the object
    longest : longest side of the drawn map, in pixels
    limits : values of the first and last colour; the robust range by default
    caption : written below, in as many lines as it needs
    """
    low, high = limits or robust_range(values)
    small = reduce_map(values, longest)
    if max(small.shape) < longest // 2:  # small maps are enlarged, so that the writing does not dwarf them
        factor = longest // 2 // max(small.shape) + 1
        small = np.repeat(np.repeat(small, factor, axis=0), factor, axis=1)
    return framed_picture(
        colour_map(small, name, low, high),
        heading=[(title, "") if isinstance(title, str) else title] if title else [],
        bar=Bar(name, low, high, unit),
        caption=caption,
        pixel_um=pixel_um and pixel_um * values.shape[1] / small.shape[1],
    )


def framed_picture(
    picture: Picture,
    heading: Sequence[tuple[str, str]] = (),
    bar: Bar | None = None,
    legend: Legend = (),
    caption: str = "",
    pixel_um: float | None = None,
    inks: Inks = SCREEN,
) -> Picture:
    """Put a picture into a frame that says what is seen; its own pixels stay as they are, but for the scale bar.

    Parameters
    ----------
    picture : (H, W) or (H, W, 3)
    heading : lines above, each a text at the left edge and one at the right edge; in two lines where one is too
        short for both, and shortened where even that does not do
    bar, legend : to the right
    caption : below, in as many lines as it needs
    pixel_um : side of a pixel on the object, None for no scale bar
    inks : colours of all but the picture itself
    """
    height, width = picture.shape[:2]
    size = max(15, height // 36)
    font, gap, line = font_of(size), size, round(size * 1.6)
    heading = _lines_for(heading, width - gap, font)
    marks = ticks(bar.low, bar.high) if bar else []
    texts = tick_texts(marks)
    side = max(
        [font.getlength(text) for text in [*texts, *([bar.unit] if bar else []), *(t for t, _ in legend)]] or [0]
    )
    column = round(size * 1.4) + round(side) + 2 * gap if bar or legend else 0
    top = gap + line * len(heading)
    inner = width + (gap + column if column else 0)
    lines = _wrapped(caption, inner - gap, font) if caption else []
    rows = max(height, line * len(legend), (8 if bar else 0) * size)
    canvas = Image.new(
        "RGB", (2 * gap + inner - (gap if column else 0), top + rows + gap + line * len(lines)), inks.paper
    )
    canvas.paste(Image.fromarray(picture).convert("RGB"), (gap, top))
    draw = ImageDraw.Draw(canvas)
    for i, (first, second) in enumerate(heading):
        draw.text((gap, gap + i * line), _shortened(first, width, font), inks.ink, font)
        draw.text((gap + width, gap + i * line), _shortened(second, width, font), inks.ink, font, anchor="ra")
    for i, text in enumerate(lines):
        draw.text((gap, top + rows + size // 2 + i * line), text, inks.ink, font)
    left = gap + width + gap
    if bar:
        _draw_bar(draw, canvas, bar, list(zip(marks, texts, strict=True)), (left, top, height), font, inks.ink)
    for i, (text, colour) in enumerate(legend):
        y = top + i * line
        draw.rectangle([left, y, left + size, y + size], colour, inks.faint)
        draw.text((left + round(size * 1.6), y + size / 2), text, inks.ink, font, anchor="lm")
    if pixel_um:
        _draw_scale_bar(draw, (gap, top, width, height), pixel_um, font)
    return np.asarray(canvas)


def beside_picture(left: Picture, right: Picture, share: float) -> Picture:
    """Return ``left`` up to ``share`` (0..1) of the width and ``right`` from there on, with a line between them.

    Both (H, W) or (H, W, 3), of the same H and W. Returns (H, W, 3).
    """
    first, second = to_picture(left), to_picture(right)
    width = first.shape[1]
    at = round(min(max(share, 0.0), 1.0) * width)
    joined = np.concatenate([first[:, :at], second[:, at:]], axis=1)
    thick = max(2, width // 400)
    joined[:, max(0, at - thick // 2 - thick % 2) : at + thick // 2] = ACCENT
    return joined


def _draw_bar(
    draw: ImageDraw.ImageDraw,
    canvas: Image.Image,
    bar: Bar,
    marks: Sequence[tuple[float, str]],
    place: tuple[int, int, int],
    font: ImageFont.FreeTypeFont,
    ink: Colour,
) -> None:
    left, top, height = place
    size = round(font.size)
    width, first, last = round(size * 1.4), top + round(1.8 * size), top + height - 1
    ramp = np.linspace(255, 0, max(2, last - first)).round().astype(np.uint8)
    canvas.paste(Image.fromarray(np.repeat(colour_table(bar.name)[ramp][:, None], width, axis=1)), (left, first))
    draw.text((left, top), bar.unit, ink, font)
    for mark, text in marks:
        y = last - (mark - bar.low) / (bar.high - bar.low) * (last - first)
        draw.line([(left + width, y), (left + width + size // 3, y)], ink, max(1, size // 12))
        draw.text((left + width + size // 2, y), text, ink, font, anchor="lm")


def _lines_for(
    heading: Sequence[tuple[str, str]], room: float, font: ImageFont.FreeTypeFont
) -> Sequence[tuple[str, str]]:
    """Return the lines of a heading, those parted in two whose texts would run into each other."""
    lines: list[tuple[str, str]] = []
    for first, second in heading:
        meet = first and second and font.getlength(first) + font.getlength(second) > room
        lines += [(first, ""), ("", second)] if meet else [(first, second)]
    return lines


def _shortened(text: str, room: float, font: ImageFont.FreeTypeFont) -> str:
    """Return ``text``, or as much of its begin as fits into ``room`` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text.rstrip()}…" if text else ""


def _wrapped(text: str, room: float, font: ImageFont.FreeTypeFont) -> list[str]:
    """Return ``text`` in lines of at most ``room`` pixels, broken between words."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@lru_cache(maxsize=8)
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """Return a font that has µ, × and −, which Pillow's own has not; vispy brings one."""
    vispy = importlib.util.find_spec("vispy")  # not imported: it takes a while, and looks for a screen
    for folder in (vispy.submodule_search_locations if vispy else None) or ():
        with suppress(OSError):
            return ImageFont.truetype(Path(folder) / "util/fonts/data/OpenSans-Regular.ttf", size)
    return cast("ImageFont.FreeTypeFont", ImageFont.load_default(size))  # Pillow's wheels all have FreeType


def tick_texts(marks: list[float]) -> list[str]:
    """Return ``marks`` as texts with so many places that neighbours differ."""
    step = min((b - a for a, b in itertools.pairwise(marks)), default=1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [minus(f"{mark:.{decimals}f}") for mark in marks]


def _draw_scale_bar(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], pixel_um: float, font: ImageFont.FreeTypeFont
) -> None:
    left, top, width, height = box
    rough = width * pixel_um / 5
    power = 10.0 ** math.floor(math.log10(rough))
    length_um = max(power * m for m in (1, 2, 5) if power * m <= rough)
    text = next(
        f"{length_um / scale:g} {symbol}"
        for scale, symbol in ((1e6, "m"), (1e3, "mm"), (1, "µm"), (1e-3, "nm"))
        if length_um >= scale or symbol == "nm"
    )
    size = font.size
    x, y, length = left + size, top + height - size, length_um / pixel_um
    draw.line([(x, y), (x + length, y)], (0, 0, 0), round(size / 3) + 2)
    draw.line([(x, y), (x + length, y)], (255, 255, 255), round(size / 3))
    middle = max(x + length / 2, left + size / 3 + font.getlength(text) / 2)  # of a text wider than a short bar, too
    draw.text((middle, y - size * 0.5), text, (255, 255, 255), font, "mb", stroke_width=2, stroke_fill=(0, 0, 0))


def curve_picture(curve: FocusCurve, width: int = 1200, height: int = 560) -> Picture:
    """Draw a focus curve: probability and raw measure over position, peaks, depth and verdict."""
    k = SMOOTHING
    canvas = Image.new("RGB", (width * k, height * k), PAPER)
    draw = ImageDraw.Draw(canvas)
    font, small = font_of(19 * k), font_of(15 * k)
    left, top, right, bottom = 76 * k, 78 * k, (width - 24) * k, (height - 64) * k
    low, high = float(curve.positions[0]), float(curve.positions[-1])
    peak = max([float(curve.probability.max()), *(float(p) for p in curve.fit[:, 1]), 1e-6]) * 1.08

    def place(position: float, value: float, full: float = peak) -> tuple[float, float]:
        return left + (position - low) / (high - low) * (right - left), bottom - value / full * (bottom - top)

    draw.text((left, 14 * k), curve.verdict.text, INK, font)
    where = f"pixel at row {curve.row}, column {curve.column}"
    draw.text((left, 42 * k), where, FAINT, small)
    marks = ticks(low, high, 10)
    for mark, text in zip(marks, tick_texts(marks), strict=True):
        x = place(mark, 0)[0]
        draw.line([(x, top), (x, bottom)], GRID, k)
        draw.text((x, bottom + 8 * k), text, FAINT, small, "ma")
    levels = ticks(0, peak, 4)
    for level, text in zip(levels, tick_texts(levels), strict=True):
        y = place(low, level)[1]
        draw.line([(left, y), (right, y)], GRID, k)
        draw.text((left - 8 * k, y), text, FAINT, small, "rm")
    draw.text(((left + right) / 2, (height - 12) * k), f"focus position, {curve.unit_symbol}", FAINT, small, "ms")

    points = [place(float(x), float(p)) for x, p in zip(curve.positions, curve.probability, strict=True)]
    draw.polygon([(points[0][0], bottom), *points, (points[-1][0], bottom)], _mix(ACCENT, PAPER, 0.28))
    if curve.measure is not None and float(curve.measure.max()) > 0:
        full = float(curve.measure.max()) * 1.08
        raw = [place(float(x), float(m), full) for x, m in zip(curve.positions, curve.measure, strict=True)]
        _dashed(draw, raw, SECOND, 2 * k, 7 * k)
    draw.line(points, ACCENT, 3 * k, joint="curve")
    for x, y in points:
        draw.ellipse([x - 4 * k, y - 4 * k, x + 4 * k, y + 4 * k], ACCENT)
    if len(curve.fit) > 1:
        draw.line([place(float(x), float(p)) for x, p in curve.fit if low <= x <= high], FITTED, 3 * k, joint="curve")
    for other in curve.peaks[1:]:
        x, y = place(other.position, float(curve.probability[other.slice_index]))
        draw.polygon([(x, y - 8 * k), (x - 7 * k, y - 20 * k), (x + 7 * k, y - 20 * k)], WARNING)
    if math.isfinite(curve.depth):
        x = place(curve.depth, 0)[0]
        draw.line([(x, top), (x, bottom)], INK, 2 * k)
        anchor = "lm" if x < (left + right) / 2 else "rm"
        text = f"depth {number(curve.depth)} {curve.unit_symbol}"
        draw.text((x + (8 if anchor == "lm" else -8) * k, top + 10 * k), text, INK, small, anchor)
    entries = [("probability", ACCENT)]
    entries += [("fitted peak", FITTED)] if len(curve.fit) > 1 else []
    entries += [("focus measure, own scale", SECOND)] if curve.measure is not None else []
    entries += [("another peak", WARNING)] if len(curve.peaks) > 1 else []
    x = float(right)
    for text, colour in reversed(entries):
        x -= small.getlength(text)
        draw.text((x, 42 * k), text, colour, small)
        x -= 22 * k
    return averaged(canvas)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: ``values`` over ``places``, in their order; values that are not finite are left out."""

    name: str
    places: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One field of a plot, with an axis of its own from 0 upwards, up to four lines, and what they show."""

    title: str
    lines: tuple[Line, ...]


def plot_picture(panels: Sequence[Panel], across: str, width: int = 1200, panel_height: int = 360) -> Picture:
    """Draw panels below each other over a common axis, which ``across`` names with its unit."""
    k = SMOOTHING
    canvas = Image.new("RGB", (width * k, (panel_height * len(panels) + 56) * k), PAPER)
    draw = ImageDraw.Draw(canvas)
    small = font_of(15 * k)
    left, right = 76 * k, (width - 24) * k
    places = [float(x) for panel in panels for line in panel.lines for x in line.places]
    low, high = (min(places), max(places)) if places else (0.0, 1.0)
    high = high if high > low else low + 1
    for nth, panel in enumerate(panels):
        top, bottom = (nth * panel_height + 52) * k, ((nth + 1) * panel_height) * k
        values = [float(v) for line in panel.lines for v in line.values if math.isfinite(v)]
        peak = max([*values, 0.0]) * 1.08 or 1.0

        def place(x: float, y: float, top: int = top, bottom: int = bottom, peak: float = peak) -> tuple[float, float]:
            return left + (x - low) / (high - low) * (right - left), bottom - y / peak * (bottom - top)

        draw.text((left, top - 38 * k), panel.title, INK, font_of(19 * k))
        for marks, is_down in ((ticks(low, high, 10), False), (ticks(0, peak, 4), True)):
            for mark, text in zip(marks, tick_texts(marks), strict=True):
                x, y = place(low, mark) if is_down else place(mark, 0)
                draw.line([(left, y), (right, y)] if is_down else [(x, top), (x, bottom)], GRID, k)
                if is_down:
                    draw.text((left - 8 * k, y), text, FAINT, small, "rm")
                elif nth == len(panels) - 1:
                    draw.text((x, bottom + 8 * k), text, FAINT, small, "ma")
        at = float(right)
        for line, colour in reversed([*zip(panel.lines, (ACCENT, SECOND, FITTED, WARNING), strict=False)]):
            known = [(x, y) for x, y in zip(line.places, line.values, strict=True) if math.isfinite(y)]
            points = [place(float(x), float(y)) for x, y in known]
            if len(points) > 1:
                draw.line(points, colour, 3 * k, joint="curve")
            for x, y in points if len(points) < 40 else points[-1:]:
                draw.ellipse([x - 4 * k, y - 4 * k, x + 4 * k, y + 4 * k], colour)
            if len(panel.lines) > 1:
                at -= small.getlength(line.name)
                draw.text((at, top - 34 * k), line.name, colour, small)
                at -= 22 * k
    draw.text(((left + right) / 2, canvas.height - 12 * k), across, FAINT, small, "ms")
    return averaged(canvas)


def _resized(picture: Picture, width: int, height: int) -> Picture:
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _mix(front: Colour, back: Colour, share: float) -> Colour:
    red, green, blue = (round(share * f + (1 - share) * b) for f, b in zip(front, back, strict=True))
    return red, green, blue


def _dashed(
    draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: Colour, width: int, dash: float
) -> None:
    walked = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        t = 0.0
        while t < length:
            step = min(length - t, dash - walked % dash)
            if int(walked // dash) % 2 == 0:
                a, b = t / length, (t + step) / length
                draw.line(
                    [(x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0))], colour, width
                )
            t, walked = t + step, walked + step + 1e-9


def averaged(canvas: Image.Image) -> Picture:
    """Return a drawing that was made `SMOOTHING` times too large at its size, its edges rounded off."""
    return _resized(np.asarray(canvas), canvas.width // SMOOTHING, canvas.height // SMOOTHING)


def surface_picture(
    heights: Map, texture: Plane | None, pixel: float | None, unit: str, view: View | None = None
) -> Picture:
    """Draw a surface in 3D, as `surface_drawing` does, with its relief and exaggeration written into the picture."""
    view = view or View()
    drawn, text = surface_drawing(heights, texture, pixel, unit, view)
    picture = Image.fromarray(drawn)
    size = max(14, view.height // 50)
    ImageDraw.Draw(picture).text((size, view.height - size), text, FAINT, font_of(size), "ls")
    return np.asarray(picture)


def surface_drawing(
    heights: Map,
    texture: Plane | None,
    pixel: float | None,
    unit: str,
    view: View | None = None,
    name: str = "viridis",
    inks: Inks = SCREEN,
) -> tuple[Picture, str]:
    """Draw a surface in 3D, lit, with voids as holes, in parallel projection; say how high it is drawn, too.

    Parameters
    ----------
    heights : (H, W), growing towards the eye, in ``unit``; NaN is a hole
    texture : (H, W) or (H, W, 3) of any depth, or None to colour by height
    pixel : side of a pixel in the unit of ``heights``, None where unknown: then the relief is drawn
        a quarter as high as the surface is wide
    name : colour map of the heights
    inks : colours of the ground
    """
    view = view or View()
    fine = reduce_map(heights, FINEST)
    low, high = robust_range(fine, 0.001)
    margin = 0.25 * (high - low)  # stray spikes would hide the rest
    fine = np.clip(fine, low - margin, high + margin)
    pixel = pixel and pixel * heights.shape[1] / fine.shape[1]
    relief, exaggeration = _relief(fine, low, high, pixel, view.exaggeration)
    projection = _Projection.fit(fine.shape, float(np.nanmax(relief, initial=0)), view)
    colours = colour_map(fine, name, low, high) if texture is None else to_picture(texture)
    if colours.shape[:2] != fine.shape:
        colours = _resized(colours, fine.shape[1], fine.shape[0])
    canvas = projection.draw(relief, _lit(relief, colours, view), view, inks)
    text = f"relief {number(high - low)} {unit}"
    text += f", heights drawn × {number(exaggeration, 3)}" if pixel else ", not to scale: the pixel size is unknown"
    return _resized(canvas, view.width, view.height), text


def _relief(
    heights: NDArray[np.float32], low: float, high: float, pixel: float | None, exaggeration: float | None
) -> tuple[NDArray[np.float32], float]:
    """Return heights in pixels as they are drawn, from 0, and how many times too high that is."""
    side = max(heights.shape)
    true = 1.0 / pixel if pixel else side / (4 * (high - low))
    if exaggeration is None:
        share = (high - low) * true / side
        exaggeration = 1.0
        if not 0.08 <= share <= 0.6:  # neither a flat sheet nor a wall
            wanted = (0.2 if share < 0.08 else 0.6) / share
            power = 10.0 ** math.floor(math.log10(wanted))
            exaggeration = max(power * m for m in (1, 2, 5) if power * m <= wanted)
    drawn: NDArray[np.float32] = (heights - np.nanmin(heights, initial=high)) * np.float32(true * exaggeration)
    return drawn, exaggeration


def _lit(relief: NDArray[np.float32], colours: Picture, view: View) -> NDArray[np.float32]:
    """Return the colours of a relief (H, W) under a lamp at the upper left, (H, W, 3) linear light."""
    known = np.isfinite(relief)
    level = float(np.median(relief[known])) if known.any() else 0.0
    filled = np.where(known, relief, np.float32(level))
    smooth = cv2.GaussianBlur(filled, (0, 0), 1.0)  # noise of a pixel is no shape
    slope_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    slope_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    length = np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    rise = math.radians(view.elevation_deg)
    lamp = _in_field((-0.55, -0.30, 0.78), view)
    eye = np.array((0.0, math.cos(rise), math.sin(rise)))
    half = _in_field(tuple(np.array((-0.55, -0.30, 0.78)) + eye), view)

    def towards(direction: NDArray[np.float64]) -> NDArray[np.float32]:
        x, y, z = (np.float32(v) for v in direction)
        cosine: NDArray[np.float32] = np.maximum(0, (z - x * slope_x - y * slope_y) / length)
        return cosine

    radius = max(2.0, max(relief.shape) / 60)
    hollow = np.maximum(0, cv2.GaussianBlur(filled, (0, 0), radius) - filled) / radius
    diffuse = (0.30 + 0.85 * towards(lamp)) / (1 + 1.5 * hollow)
    gloss = 0.10 * towards(half) ** 40
    linear = (np.arange(256, dtype=np.float32) / 255) ** 2.2
    lit: NDArray[np.float32] = linear[colours] * diffuse[..., None] + gloss[..., None]
    return lit


def _in_field(direction: tuple[float, ...], view: View) -> NDArray[np.float64]:
    """Turn a direction (right, towards the eye, up) of the turned field into the field's (x, y, z)."""
    turn = math.radians(view.azimuth_deg)
    x, y, z = np.asarray(direction) / np.linalg.norm(direction)
    return np.array((math.cos(turn) * x + math.sin(turn) * y, -math.sin(turn) * x + math.cos(turn) * y, z))


def first_hits(lift: NDArray[np.float32], screen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Find what an eye that looks along the columns of a field sees at each height of the screen.

    Parameters
    ----------
    lift : (R, C) screen height of the surface, row 0 nearest to the eye, linear between rows; NaN in holes
    screen : (S,) screen heights

    Returns
    -------
    (S, C) the first row, with its fraction, at which the surface reaches that height from below, so
    that all before it is lower; NaN where there is none, or where it is the rim of a hole or the
    field's near edge.
    """
    rows, columns = lift.shape
    top = np.maximum.accumulate(np.where(np.isfinite(lift), lift, -np.inf), axis=0)
    seen = np.full((len(screen), columns), np.nan, np.float32)
    for column in range(columns):
        row = np.clip(np.searchsorted(top[:, column], screen, side="left"), 1, rows - 1)
        before, after = lift[row - 1, column], lift[row, column]
        inside = (before < screen) & (screen <= after)  # False beside NaN
        with np.errstate(invalid="ignore", divide="ignore"):
            exact = row - 1 + (screen - before) / (after - before)
        seen[inside, column] = exact[inside]
    return seen


@dataclass(frozen=True, slots=True, eq=False)
class _Projection:
    """Parallel projection of a field that is turned so that the eye looks along its columns.

    Row r of the turned field, counted from the nearest, is seen at screen height
    ``r sin(elevation) + z cos(elevation)``. Whatever is not higher than all that lies before it is
    hidden: the first row where the running maximum reaches a screen height is what is seen there.
    """

    matrix: NDArray[np.float64]  # (2, 3) from (x, y) of the field to (x, y) of the turned field
    scale: float
    rows: int
    columns: int
    rise: float  # radians
    bottom: float  # screen height of the base's nearest point, in pixels from the lower edge

    @classmethod
    def fit(cls, shape: tuple[int, ...], highest: float, view: View) -> _Projection:
        """Return the projection in which a field of ``shape`` and ``highest`` relief fills the picture."""
        rows, columns = shape
        turn, rise = math.radians(view.azimuth_deg), math.radians(view.elevation_deg)
        wide = abs(columns * math.cos(turn)) + abs(rows * math.sin(turn))
        deep = abs(columns * math.sin(turn)) + abs(rows * math.cos(turn))
        tall = deep * math.sin(rise) + (highest + _BASE * max(shape)) * math.cos(rise)
        scale = SMOOTHING * min(view.width * 0.94 / wide, view.height * 0.88 / tall)
        matrix = np.zeros((2, 3))
        matrix[:, :2] = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * scale
        size = np.ceil([wide * scale, deep * scale])
        matrix[:, 2] = (size - 1) / 2 - matrix[:, :2] @ [(columns - 1) / 2, (rows - 1) / 2]
        bottom = (SMOOTHING * view.height - tall * scale) / 2
        return cls(matrix, scale, int(size[1]), int(size[0]), rise, bottom)

    def draw(self, relief: NDArray[np.float32], light: NDArray[np.float32], view: View, inks: Inks) -> Picture:
        """Return the picture, `SMOOTHING` times too large, of a relief that has the given colours of light."""
        canvas = _backdrop(SMOOTHING * view.height, SMOOTHING * view.width, inks)
        left = (canvas.shape[1] - self.columns) // 2
        part = canvas[:, left : left + self.columns]
        seen, base = self._first_rows(relief, canvas.shape[0])
        face = self._base_colours(base)
        part[:] = np.where(base[..., None], face, part)
        hit = np.isfinite(seen)
        x = np.broadcast_to(np.arange(self.columns, dtype=np.float32), seen.shape)
        y = self.rows - 1 - np.where(hit, seen, np.float32(0))
        back = cv2.invertAffineTransform(self.matrix).astype(np.float32)
        u, v = (back[k, 0] * x + back[k, 1] * y + back[k, 2] for k in (0, 1))
        colours = cv2.remap(light, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shown = (np.clip(colours, 0, 1) ** np.float32(1 / 2.2) * 255 + 0.5).astype(np.uint8)
        part[hit] = shown[hit]
        return canvas

    def _first_rows(self, relief: NDArray[np.float32], height: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the turned row, from the nearest, that each screen pixel shows (NaN: none), and where the base is."""
        turned = cv2.warpAffine(
            relief, self.matrix, (self.columns, self.rows), flags=cv2.INTER_LINEAR, borderValue=math.nan
        )[::-1]
        known = np.isfinite(turned)
        foot = np.arange(self.rows, dtype=np.float32) * math.sin(self.rise)
        thickness = _BASE * max(relief.shape) * self.scale * math.cos(self.rise)
        lift = foot[:, None] + turned * (self.scale * math.cos(self.rise)) + thickness
        screen = np.arange(height - 1, -1, -1, dtype=np.float32) - self.bottom
        ground = cv2.warpAffine(np.ones_like(relief), self.matrix, (self.columns, self.rows), flags=cv2.INTER_NEAREST)
        rim, near = np.argmax(ground[::-1] > 0, axis=0), np.argmax(known, axis=0)
        is_edge_known = known.any(axis=0) & (near <= rim + _RIM * self.scale)
        edge = np.where(is_edge_known, lift[near, np.arange(self.columns)], foot[rim] + thickness)
        base = (screen[:, None] >= foot[rim]) & (screen[:, None] <= edge) & ground.any(axis=0)
        return first_hits(lift, screen), base

    def _base_colours(self, base: NDArray[np.bool_]) -> Picture:
        """Return (1, C, 3) colours of the base's two near faces: one in the light, one in the shade."""
        lowest = np.where(base.any(axis=0), base.shape[0] - np.argmax(base[::-1], axis=0), 0)
        is_left = np.arange(self.columns) <= np.argmax(lowest)  # of the nearest corner
        shades: Picture = np.where(is_left[None, :, None], (66, 70, 78), (44, 48, 55)).astype(np.uint8)
        return shades


_BASE = 0.03
"""Thickness of the base that a surface is drawn on, as a share of its longer side."""

_RIM = 4
"""Pixels of the field that may be unknown between its edge and a surface that its base still reaches up to."""


def _backdrop(height: int, width: int, inks: Inks) -> Picture:
    ramp = np.linspace(*inks.light, height)[:, None, None]
    return np.broadcast_to(np.clip(np.array(inks.paper) * ramp, 0, 255), (height, width, 3)).astype(np.uint8)
