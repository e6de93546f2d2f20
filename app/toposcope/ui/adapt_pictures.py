"""Pictures of labels and of what a network sees of the same stack, in the same colours. Run in a worker thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.pictures import colour_map
from toposcope.core.tuning import Labels, preview_step
from toposcope.ui.pyramid import Picture, Pyramid, make_pyramid

DIMMED: Final = 0.35
"""Brightness of the photograph where labels do not count."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Labels of a stack at the size of a preview.

    ``depth`` (h, w) focus coordinate 0..1, ``confidence`` (h, w), ``photo`` (h, w) uint8 its middle slice,
    ``shape`` (H, W) of the stack, ``limits`` the colour limits that suit the labels that count.
    """

    labels: Labels
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    photo: Picture
    shape: tuple[int, int]
    limits: tuple[float, float]


def look_of(labels: Labels, least_confidence: float) -> Look:
    """Return what there is to see of labels on disk."""
    step = preview_step(labels)
    whole = np.load(labels.folder / "depth.npy", mmap_mode="r")
    depth = np.array(whole[::step, ::step])
    confidence = np.array(np.load(labels.folder / "confidence.npy", mmap_mode="r")[::step, ::step])
    frames = np.load(labels.folder / "frames.npy", mmap_mode="r")
    plane = np.array(frames[len(frames) // 2][::step, ::step], dtype=np.float32)
    low, high = np.percentile(plane, (0.5, 99.5))
    photo = np.clip((plane - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    known = depth[(confidence >= least_confidence) & np.isfinite(depth)]
    known = known if known.size else depth[np.isfinite(depth)]
    limits = (float(np.percentile(known, 0.5)), float(np.percentile(known, 99.5))) if known.size else (0.0, 1.0)
    if limits[1] - limits[0] < 0.02:
        limits = (limits[0] - 0.01, limits[1] + 0.01)
    return Look(labels, depth, confidence, photo, whole.shape, limits)


def labels_picture(look: Look, least_confidence: float, map_name: str) -> Pyramid:
    """Return the labels that count in colours; where they do not, the photograph, dark and hatched."""
    colours = colour_map(look.depth, map_name, *look.limits)
    counts = (look.confidence >= least_confidence) & np.isfinite(look.depth)
    rows, columns = np.indices(counts.shape)
    hatch = np.where((rows + columns) % 8 < 2, np.float32(1.7), np.float32(1.0))
    dark = np.clip(look.photo * DIMMED * hatch, 0, 255).astype(np.uint8)
    picture = np.where(counts[..., None], colours, dark[..., None])
    return make_pyramid(np.ascontiguousarray(picture, dtype=np.uint8), look.shape)


def network_picture(look: Look, values: NDArray[np.float32], map_name: str) -> Pyramid:
    """Return what a network sees, in the colours of the labels."""
    return make_pyramid(colour_map(values, map_name, *look.limits), look.shape)
