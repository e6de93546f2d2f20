"""The pictures of a report: black on white, with the places that were measured drawn where they are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from toposcope.core.pictures import (
    PRINT,
    SMOOTHING,
    Bar,
    Map,
    Picture,
    averaged,
    colour_map,
    display_range,
    font_of,
    framed_picture,
    reduce_map,
    robust_range,
    tick_texts,
    ticks,
    to_display,
    to_picture,
)
from toposcope.core.report.contents import Figure
from toposcope.core.stack import Plane
from toposcope.core.surface import Area, Plan, Profile

LONGEST: Final = 1300
"""Pixels of the longer side of a map: on paper they are as fine as a laser prints grey."""
LEAST: Final = 700
"""Pixels of the longer side below which a map is enlarged, so that writing does not dwarf it."""
PLOT: Final = (1300, 400)
"""Width and height of a profile in pixels."""
BLUE: Final = (0, 90, 160)
Point = tuple[float, float]
Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Places:
    """What is drawn over a map: lines and areas, each with its sign, in pixels (row, column) of that map."""

    lines: tuple[tuple[str, Point, Point], ...] = ()
    areas: tuple[tuple[str, Area], ...] = ()


def places_of(plan: Plan, with_area: bool, corner: tuple[int, int] = (0, 0)) -> Places:
    """Return the lines and areas of a plan, in pixels of a map whose first pixel is ``corner`` of the surface."""
    down, right = corner

    def moved(point: Point) -> Point:
        return point[0] - down, point[1] - right

    lines = tuple(
        (str(number), moved(start), moved(end))
        for number, (start, end) in zip(plan.line_numbers, plan.lines, strict=True)
    )
    areas = [("", plan.area)] if with_area and plan.area is not None else []
    for names, pair in zip(step_names(plan), plan.steps, strict=True):
        areas += zip(names, pair, strict=True)
    cut = [(name, Area(a.top - down, a.left - right, a.bottom - down, a.right - right)) for name, a in areas]
    return Places(lines, tuple(cut))


def step_names(plan: Plan) -> list[tuple[str, str]]:
    """Return what the two areas of each step are called: A and B, with a number where there are several steps."""
    several = len(plan.steps) > 1
    return [(f"A{k}", f"B{k}") if several else ("A", "B") for k in range(1, len(plan.steps) + 1)]


def height_figure(z_um: Map, pixel_um: float, places: Places, colours: str, caption: str) -> Figure:
    """Draw heights (H, W) in µm, NaN in voids, with colour bar, scale bar and places."""
    low, high = robust_range(z_um)
    small = _enlarged(reduce_map(z_um, LONGEST))
    coloured = colour_map(small, colours, low, high, PRINT.void)
    bar = Bar(colours, low, high, "µm")
    return _map_figure(coloured, z_um.shape, pixel_um, places, caption, bar)


def picture_figure(picture: Plane, pixel_um: float | None, places: Places, caption: str) -> Figure:
    """Draw a photograph (H, W) or (H, W, 3) with scale bar and places."""
    shape = picture.shape[:2]
    factor = min(1.0, LONGEST / max(shape))
    size = (max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor)))
    if factor < 1:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    grey = to_display(picture, *display_range(picture))  # 12 of 16 bits would be nearly black
    return _map_figure(_enlarged(to_picture(grey)), shape, pixel_um, places, caption)


def figure(picture: Picture, caption: str) -> Figure:
    """Return a picture (H, W, 3) RGB with what it shows."""
    _, data = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])
    return Figure(data.tobytes(), picture.shape[1], picture.shape[0], caption)


def _map_figure(
    small: Picture,
    shape: tuple[int, ...],
    pixel_um: float | None,
    places: Places,
    caption: str,
    bar: Bar | None = None,
) -> Figure:
    factor = (small.shape[0] / shape[0], small.shape[1] / shape[1])
    drawn = with_places(small, places, factor)
    return figure(framed_picture(drawn, bar=bar, pixel_um=pixel_um and pixel_um / factor[1], inks=PRINT), caption)


def _enlarged(picture: NDArray[Pixel]) -> NDArray[Pixel]:
    times = -(-LEAST // max(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else picture


def with_places(picture: Picture, places: Places, factor: tuple[float, float]) -> Picture:
    """Return a picture with lines and areas drawn over it, white with a black rim: seen on all colours, and in grey.

    ``factor`` are pixels of the picture for one of the map that the places are on, down and across. A line bears its
    sign at its start, an arrow at its end; an area bears its sign in its upper left corner.
    """
    if not (places.lines or places.areas):
        return picture
    height, width = picture.shape[:2]
    k = SMOOTHING
    layer = Image.new("RGBA", (width * k, height * k), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    size = max(20, max(height, width) // 50)
    thick = max(3, size // 7) * k

    def place(row: float, column: float) -> Point:
        return column * factor[1] * k, row * factor[0] * k

    for _, area in places.areas:
        box = [place(area.top, area.left), place(area.bottom, area.right)]
        corners = [box[0], (box[1][0], box[0][1]), box[1], (box[0][0], box[1][1]), box[0]]
        _stroke(draw, corners, thick)
    for _, start, end in places.lines:
        a, b = (place(row + 0.5, column + 0.5) for row, column in (start, end))
        _stroke(draw, [a, b], thick)
        _arrow(draw, a, b, size * k * 0.9)
    limits = (width * k, height * k)
    for name, area in places.areas:
        if name:
            x, y = place(area.top, area.left)
            _sign(draw, (x + size * k * 0.8, y + size * k * 0.8), name, size, limits)
    for name, start, _ in places.lines:
        _sign(draw, place(start[0] + 0.5, start[1] + 0.5), name, size, limits)
    # whatever is not drawn on is black and clear, so that means of pixels have the weight of what they cover; by
    # OpenCV, which lets other threads go on
    small = cv2.resize(np.asarray(layer), (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    shown = picture * (1 - small[..., 3:] / 255) + small[..., :3]
    drawn: Picture = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return drawn


def _stroke(draw: ImageDraw.ImageDraw, points: Sequence[Point], thick: int) -> None:
    for colour, width in (((0, 0, 0, 255), thick + 2 * SMOOTHING), ((255, 255, 255, 255), thick)):
        draw.line(points, colour, width, joint="curve")


def _arrow(draw: ImageDraw.ImageDraw, start: Point, end: Point, size: float) -> None:
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    if length == 0:
        return
    x, y = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    size = min(size, length)
    back = end[0] - x * size, end[1] - y * size
    wings = [(back[0] - y * size * 0.5, back[1] + x * size * 0.5), (back[0] + y * size * 0.5, back[1] - x * size * 0.5)]
    draw.polygon([end, *wings], (255, 255, 255, 255), (0, 0, 0, 255), SMOOTHING)


def _sign(draw: ImageDraw.ImageDraw, at: Point, name: str, size: int, limits: tuple[int, int]) -> None:
    """Write a sign on a white disc, or a longer one on a rounded field, moved inside where it would reach out."""
    font = font_of(size * SMOOTHING)
    tall = size * SMOOTHING * 0.72
    wide = max(tall, font.getlength(name) / 2 + size * SMOOTHING * 0.3)
    x, y = (min(max(v, r + 1), limit - r - 1) for v, r, limit in zip(at, (wide, tall), limits, strict=True))
    box = [x - wide, y - tall, x + wide, y + tall]
    draw.rounded_rectangle(box, tall, (255, 255, 255, 255), (0, 0, 0, 255), SMOOTHING)
    draw.text((x, y), name, (0, 0, 0, 255), font, "mm")


def profile_picture(profile: Profile, name: str, size: tuple[int, int] = PLOT) -> Picture:
    """Draw heights over the distance along a line, with a gap where they are void; ``name`` is the line's sign."""
    k = SMOOTHING
    width, height = size
    canvas = Image.new("RGB", (width * k, height * k), PRINT.paper)
    draw = ImageDraw.Draw(canvas)
    text_px = 22
    font = font_of(text_px * k)
    known = np.isfinite(profile.z_um)
    low, high = (float(v(profile.z_um[known])) for v in (np.min, np.max)) if known.any() else (0.0, 1.0)
    room = 0.07 * (high - low) or max(abs(high) * 0.01, 1e-3)
    low, high = low - room, high + room
    far = profile.length_um or 1.0
    levels, marks = ticks(low, high, 5), ticks(0.0, far, 8)
    texts = tick_texts(levels)
    left = round(max(font.getlength(text) for text in texts) + 14 * k) if texts else 60 * k
    top, right, bottom = round(1.7 * text_px) * k, (width - 30) * k, (height - 74) * k

    def place(x: float, z: float) -> Point:
        return left + x / far * (right - left), bottom - (z - low) / (high - low) * (bottom - top)

    for level, text in zip(levels, texts, strict=True):
        y = place(0, level)[1]
        draw.line([(left, y), (right, y)], PRINT.grid, k)
        draw.text((left - 8 * k, y), text, PRINT.ink, font, "rm")
    for mark, text in zip(marks, tick_texts(marks), strict=True):
        x = place(mark, low)[0]
        draw.line([(x, top), (x, bottom)], PRINT.grid, k)
        draw.text((x, bottom + 6 * k), text, PRINT.ink, font, "ma")
    draw.rectangle([left, top, right, bottom], outline=PRINT.faint, width=k)
    draw.text((left, top - 5 * k), "height, µm", PRINT.faint, font, "ls")
    draw.text(((left + right) / 2, height * k - 6 * k), "distance, µm", PRINT.faint, font, "ms")
    _sign(draw, (right - text_px * k, top), name, text_px, (width * k, height * k))
    pairs = zip(profile.distance_um, profile.z_um, strict=True)
    for is_void, group in itertools.groupby(pairs, lambda pair: math.isnan(pair[1])):
        points = [place(float(x), float(z)) for x, z in group]
        if is_void:
            continue
        if len(points) > 1:
            draw.line(points, BLUE, 3 * k, joint="curve")
        else:
            (x, y) = points[0]
            draw.ellipse([x - 2 * k, y - 2 * k, x + 2 * k, y + 2 * k], BLUE)
    if not known.any():
        draw.text(((left + right) / 2, (top + bottom) / 2), "no height along this line", PRINT.ink, font, "mm")
    return averaged(canvas)
