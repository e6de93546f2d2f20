"""From a data set's own unit to the coordinate in which blur is linear and networks are fed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dffnets.data.sample import DataError, Kind, Sample
from dffnets.synthetic.random_scenes import TrainingStack

OUTSIDE = -1.0
"""Coordinate of pixels without truth: training masks what lies outside 0..1."""

BEYOND = 1e-3
"""Truth beyond the sweep stays at least this far outside 0..1: half precision would round it back in."""


def linear(values: NDArray[Any], kind: Kind) -> NDArray[np.float64]:
    """Return ``values`` in the quantity in which blur grows evenly from focus.

    1 / distance for a camera, the value itself for heights and disparities.
    """
    exact = np.asarray(values, np.float64)
    if kind != "camera":
        return exact
    with np.errstate(divide="ignore"):
        return 1.0 / exact


def focus_coordinates(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return focus positions (N,) and truth (H, W) as coordinates, in the order of the sample's frames.

    With x = 1 / distance for a camera and x = value otherwise, the coordinate is
    (x - min x of the positions) / (max x - min x): 0 at one end of the sweep, 1 at the other. Larger is
    nearer to the lens. Truth beyond the sweep lies outside 0..1; unknown truth is NaN.
    """
    x = linear(sample.positions, sample.kind)
    low, span = x.min(), x.max() - x.min()
    return (x - low) / span, (linear(sample.depth, sample.kind) - low) / span


def to_training_stack(sample: Sample, least_confidence: float = 0.0) -> TrainingStack:
    """Return ``sample`` as the training loop and the evaluation take stacks.

    Frames are sorted so that positions ascend, and made grey (Rec. 601). Unlike rendered stacks, which
    are squares on a torus, these keep the picture's own (H, W), and opposite borders do not meet.

    Parameters
    ----------
    least_confidence : pixels trusted less count as unknown; without effect where the data set does not
        say how far it is to be trusted

    Raises
    ------
    DataError
        If the positions are too close for float32 to tell them apart.
    """
    positions, depth = focus_coordinates(sample)
    order = np.argsort(positions)
    ascending = positions[order].astype(np.float32)
    if not (np.diff(ascending) > 0).all():
        raise DataError(
            f"{sample.name}: focus positions {sample.positions.tolist()} {sample.unit} are too close to each other "
            "to be told apart. Leave some frames out."
        )
    known = sample.valid & np.isfinite(depth)
    if sample.confidence is not None:
        known &= sample.confidence >= least_confidence
    depth = np.where(depth < 0, np.minimum(depth, -BEYOND), depth)
    depth = np.where(depth > 1, np.maximum(depth, 1 + BEYOND), depth)
    depth = np.where(known, np.clip(depth, -1, 2), OUTSIDE)  # float16 ends at 65504, a near object may not
    grey = np.stack([cv2.cvtColor(sample.frames[k], cv2.COLOR_RGB2GRAY) for k in order])
    return TrainingStack(
        torch.from_numpy(grey.astype(np.uint8)),
        torch.from_numpy(depth.astype(np.float16)),
        torch.from_numpy(ascending),
        "micro" if sample.kind == "microscope" else "macro",
        periodic=False,
    )
