"""Training stacks whose geometry was measured: pictures with depth, and surfaces with heights.

A folder holds pairs NAME_rgb.png + NAME_depth.tif (float32, NaN unknown) + NAME.json, whose ``kind`` says what
the values are (``disparity`` and ``height`` grow towards the lens, ``depth`` away from it), and surfaces
NAME_height_um.tif. Shapes are taken from there; colours from the same picture, from another, or drawn.

A depth map shows only what is in front. It is therefore cut at its cliffs into bodies that float one
before the other, and behind each body the farther ones go on: a blurred edge shows what is behind it, and
nothing of a sharp foreground leaks into a blurred background. Surfaces with heights are solid downwards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dffnets.synthetic.optics import Blades
from dffnets.synthetic.random_scenes import Canvas, SceneKind, TrainingStack, expose, focus_positions, solid
from dffnets.synthetic.torus import EXPONENTS, Layer, render

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

CLIFF = 0.08
"""Neighbouring pixels whose nearness differs by more, as a share of the scene's range, belong to two bodies."""
MOST_BODIES = 5
KNOWN = 0.6
"""Least share of known pixels in what is cut out of a map."""
SCREEN_GAMMA = 2.2
"""Exponent that turns the values of pictures into light."""


class PairError(ValueError):
    """A pair or surface cannot be used; the text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A measured shape.

    ``nearness`` (H, W) grows towards the lens, linear in what blur is linear in (1/distance, or height);
    NaN where unknown. ``picture`` (H, W) linear light 0..1 of the same view, None where there is none.
    ``solid`` tells that it is a surface without anything floating before it.
    """

    name: str
    nearness: Floats
    picture: Floats | None
    solid: bool


def geometry_names(folder: Path) -> list[str]:
    """Return the names of the pairs and surfaces of a folder, sorted."""
    ends = ("_depth.tif", "_height_um.tif")
    return sorted(path.name.removesuffix(end) for end in ends for path in folder.glob(f"*{end}"))


def read_geometry(folder: Path, name: str) -> Geometry:
    """Read one pair or surface.

    Raises
    ------
    PairError
        If a file is missing, cannot be read, has another size than its picture, or is of no known kind.
    """
    surface = folder / f"{name}_height_um.tif"
    if surface.exists():
        return Geometry(name, _plane(surface), None, solid=True)
    values = _plane(folder / f"{name}_depth.tif")
    try:
        kind = json.loads((folder / f"{name}.json").read_text("utf-8"))["kind"]
    except (OSError, ValueError, KeyError) as error:
        raise PairError(f"{name}.json does not say of what kind the depth is ({error}). Give it a 'kind'.") from error
    if kind not in ("disparity", "depth", "height"):
        raise PairError(f"{name}.json says kind {kind!r}; known are disparity, depth and height.")
    picture = cv2.imread(str(folder / f"{name}_rgb.png"), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise PairError(f"{name}_rgb.png is missing or no picture. Put it beside {name}_depth.tif.")
    if picture.shape != values.shape:
        raise PairError(f"{name}_rgb.png has {picture.shape} pixels and its depth {values.shape}; they must be equal.")
    if kind == "depth":
        values = np.where(values > 0, 1 / np.where(values > 0, values, 1), np.nan).astype(np.float32)
    light = (picture.astype(np.float32) / 255) ** np.float32(SCREEN_GAMMA)
    return Geometry(name, values, light.astype(np.float32), solid=kind == "height")


def _plane(path: Path) -> Floats:
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2:
        raise PairError(f"{path.name} is missing or no plane of numbers. Give one float32 channel.")
    plane: Floats = values.astype(np.float32)
    plane[~np.isfinite(plane)] = np.nan
    return plane


def fill_voids(nearness: Floats, farther: bool) -> Floats:
    """Return ``nearness`` (H, W) without NaN.

    Along its row and its column each void lies between two known pixels. With ``farther`` it takes the
    farther one of its row, as the shadow that a foreground throws for a depth camera belongs to the
    background; else the mean of all, weighted by their nearness in pixels, which fits dropouts of a surface.

    Raises
    ------
    PairError
        If nothing is known.
    """
    known = np.isfinite(nearness)
    if not known.any():
        raise PairError("nothing of the depth is known: there is nothing to fill voids from.")
    if known.all():
        return nearness
    (left, d_left), (right, d_right) = _sideways(nearness), _sideways(nearness, flip=True)
    (up, d_up), (down, d_down) = ((v.T, d.T) for v, d in (_sideways(nearness.T), _sideways(nearness.T, flip=True)))
    values, far_away = np.stack([left, right, up, down]), np.stack([d_left, d_right, d_up, d_down])
    with np.errstate(invalid="ignore"):
        if farther:
            across, along = np.fmin(left, right), np.fmin(up, down)
            filled = np.where(np.isfinite(across), across, along)
        else:
            weight = np.where(np.isfinite(values), 1 / np.maximum(far_away, 1), 0)
            total = weight.sum(0)
            filled = (np.nan_to_num(values) * weight).sum(0) / np.where(total > 0, total, np.nan)
    filled = np.where(known, nearness, filled).astype(np.float32)
    # what sees nothing known along its row and column takes the nearest filled one
    result: Floats = filled[np.unravel_index(_nearest(np.isfinite(filled)), filled.shape)]
    return result


def _sideways(values: Floats, flip: bool = False) -> tuple[Floats, NDArray[np.intp]]:
    """Return the last known value to the left of each pixel, NaN where there is none, and its distance."""
    values = values[:, ::-1] if flip else values
    column = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(np.isfinite(values), column, -1), axis=1)
    found = np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), 1), np.nan).astype(np.float32)
    distance = column - last
    return (found[:, ::-1], distance[:, ::-1]) if flip else (found, distance)


def _nearest(known: NDArray[np.bool_]) -> Places:
    """Return (H, W) the flat index of the nearest pixel that is known."""
    labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    of_label = np.zeros(int(labels.max()) + 1, np.intp)
    of_label[labels[known]] = np.flatnonzero(known)
    nearest: Places = of_label[labels]
    return nearest


def cliffs(nearness: Floats, most: int = MOST_BODIES) -> list[float]:
    """Return the levels, ascending, at which a map (H, W) in 0..1 is cut into bodies.

    A level is good where most neighbours that it parts are a cliff apart: it then follows outlines of
    objects and does not cut slopes.
    """
    pairs = [(nearness[:, 1:], nearness[:, :-1]), (nearness[1:], nearness[:-1])]
    low = np.concatenate([np.minimum(a, b).ravel() for a, b in pairs])
    high = np.concatenate([np.maximum(a, b).ravel() for a, b in pairs])
    levels = np.linspace(0, 1, 41)[1:-1]
    chosen: list[float] = []
    while len(chosen) < most - 1:
        steep = high - low > CLIFF
        parted, steeply = (_parted(low[which], high[which], levels) for which in (slice(None), steep))
        share = steeply / np.maximum(parted, 1)
        merit = share * np.sqrt(steeply)
        equals = np.flatnonzero(merit == merit.max())
        best = int(equals[len(equals) // 2])
        if share[best] < 0.5 or steeply[best] < min(nearness.shape) / 4:
            break
        chosen.append(float(levels[best]))
        apart = (low <= chosen[-1]) & (high > chosen[-1])
        low, high = low[~apart], high[~apart]  # what one level parts need not be parted again
    return sorted(chosen)


def _parted(low: Floats, high: Floats, levels: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return how many pairs low..high each level lies between."""
    return np.searchsorted(np.sort(low), levels, "right") - np.searchsorted(np.sort(high), levels, "right")


def behind(label: NDArray[np.intp], body: int) -> Places:
    """Return (S, S) flat indices: where each pixel looks once all bodies before ``body`` are taken away.

    ``label`` (S, S), on a torus, numbers the bodies from far to near. Pixels of ``body`` and of farther
    ones keep themselves; those of nearer ones take the nearest that are kept.
    """
    size = label.shape[0]
    half = size // 2
    around = np.pad(label, half, mode="wrap")  # nearest across the edge of the torus as well
    rows, columns = np.divmod(_nearest(around <= body)[half : half + size, half : half + size], around.shape[1])
    flat: Places = ((rows - half) % size) * size + (columns - half) % size
    return flat


def floating_layers(
    nearness: Floats, colours: Sequence[Floats], own: bool, spacing: float
) -> tuple[list[Layer], NDArray[np.intp]]:
    """Return the layers of a map (S, S) in about 0..1 on a torus, cut into bodies, and each pixel's body.

    ``colours`` holds a picture (S, S) for each body, in turn; with ``own`` they are pictures of this very
    view, so that what a body hides must be invented from its surroundings. Layers lie ``spacing`` apart.
    """
    levels = cliffs((nearness - nearness.min()) / max(float(np.ptp(nearness)), 1e-6))
    cuts = nearness.min() + np.array(levels) * np.ptp(nearness)
    label = np.digitize(nearness, cuts).astype(np.intp)
    layers: list[Layer] = []
    for body in range(len(levels) + 1):
        seen = behind(label, body)
        here = label.ravel()[seen] == body
        if not here.any():
            continue
        surface = nearness.ravel()[seen]
        colour = colours[body % len(colours)]
        low, high = float(surface[here].min()), float(surface[here].max())
        layers += solid(
            torch.from_numpy(surface),
            # the hindmost body goes on behind all others, so that light always comes from somewhere
            torch.ones(label.shape) if body == 0 else torch.from_numpy(here.astype(np.float32)),
            torch.from_numpy(np.ascontiguousarray(colour.ravel()[seen] if own else colour)),
            low,
            high,
            1 + int(np.ceil((high - low) / spacing)),
        )
    return layers, label


def cut_out(geometry: Geometry, half: int, rng: np.random.Generator) -> tuple[Floats, Floats | None]:
    """Cut a square out of a geometry and scale it to ``half`` pixels: nearness without voids, and the picture.

    Raises
    ------
    PairError
        If twenty random places all show too little that is known, or nothing but one level.
    """
    height, width = geometry.nearness.shape
    longest = min(height, width)
    for _ in range(20):
        side = int(np.exp(rng.uniform(np.log(min(half, longest)), np.log(longest))))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        window = slice(top, top + side), slice(left, left + side)
        part = geometry.nearness[window]
        if np.isfinite(part).mean() < KNOWN or not np.nanmax(part) > np.nanmin(part):
            continue
        part = fill_voids(part, farther=not geometry.solid)
        # the mean of two bodies' depths would be a third body that does not exist
        how = cv2.INTER_AREA if geometry.solid else cv2.INTER_NEAREST
        nearness = np.asarray(cv2.resize(part, (half, half), interpolation=how), np.float32)
        if np.ptp(nearness) == 0:
            continue
        picture = None if geometry.picture is None else resized(geometry.picture[window], half)
        return nearness, picture
    raise PairError(f"{geometry.name} shows no square that is known well enough.")


def resized(picture: Floats, side: int) -> Floats:
    """Return a square picture with ``side`` pixels along each edge."""
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def mirrored(plane: Floats) -> Floats:
    """Return (2 h, 2 w): a plane and its mirror images, which close without a seam on the torus."""
    return np.pad(plane, ((0, plane.shape[0]), (0, plane.shape[1])), mode="symmetric")


def pair_stack(
    seed: tuple[int, ...],
    geometries: Sequence[Geometry],
    count: int | None = None,
    size: int = 128,
    pictures: Sequence[Floats] = (),
) -> TrainingStack:
    """Render one stack of a measured shape; the same ``seed`` gives the same stack.

    As `dffnets.synthetic.random_scenes.random_stack`: ``count`` slices (default 5 to 16, surfaces up to 24) of
    ``size`` pixels, even, on a torus. Colours are the shape's own, or those of another picture (of
    ``pictures``, linear light, or of another geometry), or drawn; blur is round or a polygon of 5 to 8 blades.
    """
    rng = np.random.default_rng(seed)
    canvas = Canvas(rng, size, torch.device("cpu"))
    geometry = geometries[int(rng.integers(len(geometries)))]
    nearness, picture = cut_out(geometry, size // 2, rng)
    low = canvas.uniform(-0.03, 0.35)
    high = canvas.uniform(max(low + 0.1, 0.6), 1.03)
    nearness = low + (high - low) * (nearness - nearness.min()) / float(np.ptp(nearness))
    shape = mirrored(nearness.astype(np.float32))
    own = picture is not None and canvas.chance(0.4)
    others = [*pictures, *(g.picture for g in geometries if g.picture is not None and g is not geometry)]
    if own and picture is not None:
        colours = [mirrored(_exposed(picture, canvas))]
    else:
        one_picture = bool(others) and canvas.chance(0.5)
        colours = [_drawn(canvas, others if one_picture else ()) for _ in range(1 if geometry.solid else MOST_BODIES)]
    kind: SceneKind = "micro" if geometry.solid else "macro"
    count = count or int(rng.integers(5, 25 if geometry.solid else 17))
    slope = min(canvas.log_uniform(0.45, 4.2), 44.0 / (count - 1)) * (count - 1)
    spacing = max(1 / 32, min(0.1, 1.0 / slope))  # a blur of a pixel from layer to layer
    if geometry.solid:
        field, colour = torch.from_numpy(shape), torch.from_numpy(colours[0])
        if not own and canvas.chance(0.7):
            colour = colour * canvas.shading((field - low) * canvas.uniform(5, 60))
        steps = 1 + int(np.ceil((high - low) / spacing))
        layers = solid(field, torch.ones_like(field), colour, low, high, steps)
    else:
        layers, _ = floating_layers(shape, colours, own, spacing)
    positions = focus_positions(canvas, count)
    exponent = EXPONENTS[int(rng.choice(len(EXPONENTS), p=[0.2, 0.1, 0.15, 0.15, 0.4]))]
    blades = Blades(int(rng.integers(5, 9)), float(rng.integers(2)) * 0.4) if canvas.chance(0.4) else None
    frames = expose(canvas, render(layers, positions, slope, exponent, canvas.uniform(0.25, 0.9), blades))
    depth: Tensor = torch.from_numpy(shape)
    if canvas.chance(0.5):  # near and far change places
        frames, positions, depth = frames.flip(0), 1 - positions.flip(0), 1 - depth
    return TrainingStack(frames, depth.to(torch.float16), positions, kind)


def _drawn(canvas: Canvas, pictures: Sequence[Floats]) -> Floats:
    """Return a colour (S, S) on the torus: a part of one of ``pictures``, or a drawn texture."""
    if not pictures:
        return canvas.texture().numpy()
    picture = pictures[int(canvas.random.integers(len(pictures)))]
    longest, half = min(picture.shape), canvas.size // 2
    side = int(canvas.log_uniform(min(half, longest), longest))
    top, left = (int(canvas.random.integers(extent - side + 1)) for extent in picture.shape)
    part = mirrored(_exposed(resized(picture[top : top + side, left : left + side], half), canvas))
    # its mirror axes need not be those of the shape
    return np.roll(part, tuple(canvas.random.integers(0, canvas.size, 2)), (0, 1))


def _exposed(picture: Floats, canvas: Canvas) -> Floats:
    """Return a picture as bright as a photographer might have it: most photographs' light is far below white."""
    exposed: Floats = picture * np.float32(canvas.uniform(0.25, 1.1) / max(float(np.percentile(picture, 99)), 1e-3))
    return exposed
