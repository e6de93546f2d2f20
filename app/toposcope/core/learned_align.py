"""Alignment by a network: scale and shift of all frames, measured on small pictures at once.

The network (`dffnets.alignment`) knows no rotation and no change of brightness, and tells no standard
error; `toposcope.core.align` does all three. Torch is loaded when the first stack is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.align import (
    LEAST_CORRELATION,
    STILL,
    Alignment,
    Floats,
    Motion,
    corner_motion,
    found_text,
    still_alignment,
)
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.stack import FocalStack, to_grey
from toposcope.errors import SettingsError

if TYPE_CHECKING:
    from dffnets.alignment import Predicted

LONG_SIDE: Final = 256
"""Pixels along the longer side of the pictures that are measured."""
UNSURE_PX: Final = 0.4
"""Corner motion, in pixels of the pictures that are measured, that the network may imagine."""
WORSE: Final = 0.05
"""Loss of likeness to the reference from which on the motion found is a mistake."""


def measure_learned(stack: FocalStack, report: Report = silent) -> Alignment:
    """Measure the motion of all frames by the alignment network, without warping any.

    Raises
    ------
    SettingsError
        If the network's weights are missing or damaged.
    FrameError
        If a frame cannot be read.
    """
    frames, covered = _small(stack, part(report, 0.0, 0.4))
    if min(frames.shape[1:]) < 32:
        return still_alignment(stack.n, "frames are too small to measure motion: left as they are")
    told = part(report, 0.4, 1.0)
    predicted = _predicted(frames, told)
    registered = _registered(predicted)
    return _alignment(stack, predicted.motions, registered, (frames.shape[1], frames.shape[2]), covered)


def _small(stack: FocalStack, report: Report) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Return grey frames (N, h, w), sides multiples of 8, and how many pixels (H, W) of the full frame they show."""
    longest = max(stack.shape)
    scale = next((s for s in (8, 4, 2) if longest >= s * LONG_SIDE), 1)
    whole = [side // scale for side in stack.shape]  # blocks that reach beyond the frame are left out
    shrink = min(1.0, LONG_SIDE / max(whole))
    height, width = (max(8, round(side * shrink / 8) * 8) for side in whole)
    frames = np.empty((stack.n, height, width), np.float32)
    for i in range(stack.n):
        report(Progress(i / stack.n, f"reading {stack.source.names[i]}"))
        grey = to_grey(stack.read(i, scale=scale))[: whole[0], : whole[1]]
        frames[i] = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return frames, (whole[0] * scale, whole[1] * scale)


def _predicted(frames: NDArray[np.float32], report: Report) -> Predicted:
    from dffnets.alignment import load, predict
    from dffnets.shipped import WeightsError

    try:
        network = load()
    except WeightsError as error:
        raise SettingsError(str(error)) from error
    return predict(
        network, frames, on_progress=lambda share: report(Progress(share, "aligning by the alignment network"))
    )


def _registered(predicted: Predicted) -> NDArray[np.bool_]:
    """Return (N,) bool: frames that resemble the reference once they are moved back, and not less than before."""
    alike = predicted.likeness > LEAST_CORRELATION
    registered: NDArray[np.bool_] = alike & (predicted.likeness > predicted.before - WORSE)
    registered[predicted.reference] = True
    return registered


def _alignment(
    stack: FocalStack, motions: Floats, registered: NDArray[np.bool_], small: tuple[int, int], covered: tuple[int, int]
) -> Alignment:
    """Turn motions (N, 3) of ``small`` pictures into those of the full frames, against the smallest field of view."""
    to_full = np.array([covered[1] / small[1], covered[0] / small[0]])
    known = np.flatnonzero(registered)
    followed = np.column_stack([np.interp(np.arange(stack.n), known, values[known]) for values in motions.T])
    # the larger its scale, the less a frame sees; of those that see as much as far as one can tell, the middle one
    tie = UNSURE_PX / (float(np.hypot(*small)) / 2)
    equals = known[followed[known, 0] >= followed[known, 0].max() * (1 - tie)]
    reference = int(equals[np.argmin(np.abs(equals - stack.n // 2))])
    scale = followed[:, 0] / followed[reference, 0]
    shift = (followed[:, 1:] - scale[:, None] * followed[reference, 1:]) * to_full
    off = np.array([corner_motion(complex(s), complex(*move), covered) for s, move in zip(scale, shift, strict=True)])
    most = float(off[known].max())
    moves = most > UNSURE_PX * float(to_full.max())
    middle = np.array([(covered[1] - 1) / 2, (covered[0] - 1) / 2])
    found = []
    for i in range(stack.n):
        matrix = np.column_stack([scale[i] * np.eye(2), (1 - scale[i]) * middle + shift[i]])
        found.append(Motion(matrix if moves and i != reference else STILL, 1.0, bool(registered[i])))
    text = found_text(stack, tuple(found), reference, moves, max(most, UNSURE_PX * float(to_full.max())))
    return Alignment(tuple(found), reference, moves, f"by the alignment network, {text}")
