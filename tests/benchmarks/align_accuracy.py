"""Print how well alignment finds known motion: ``python tests/benchmarks/align_accuracy.py``.

Two sets, each by the classical and by the learned alignment: rendered scenes with magnification 1.2, shift 3 %
and rotation 1 degree over the sweep and noise 1 % (``--turn 0`` leaves out the rotation, which the network does
not know), and stacks as phones take them, of seeds that no training sees. Errors are those of the corners against
the reference frame, in pixels; seconds are of one CPU core, a frame. ``--write-card`` puts the figures on the card.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

import scenes
from dffnets.alignment import card
from dffnets.synthetic.phone import PHONES, as_matrices, phone_stack
from toposcope.core.align import Alignment, measure
from toposcope.core.learned_align import measure_learned
from toposcope.core.stack import ArraySource, FocalStack

SCENES = ("tilted_plane", "step", "hemisphere", "textureless_patches", "occlusion")
SEED = 900_001
"""Of the held-out stacks; trainings refuse it."""
METHODS: dict[str, Callable[[FocalStack], Alignment]] = {"classical": measure, "learned": measure_learned}

Case = tuple[str, FocalStack, NDArray[np.float64]]
"""Name, stack, and (N, 2, 3) matrices from pixel (column, row) of a common scene to that of each frame."""


def swept(size: int, n: int, turn_deg: float) -> Iterator[Case]:
    for name in SCENES:
        for blur in (1.5, 3.0):
            look = {"size": size, "n": n, "magnify": 0.2, "drift": 0.03, "noise": 0.01}
            scene = getattr(scenes, name)(turn_deg=turn_deg, blur_px=blur, **look)
            yield f"{name}, blur {blur}", scene.stack, scene.motions


def phones(count: int, size: int, n: int) -> Iterator[Case]:
    for k in range(count):
        phone = PHONES[k % len(PHONES)]
        stack = phone_stack((SEED, 7, k), n, size, phone.width_px / size, phone)
        frames = FocalStack.create(ArraySource(stack.frames.numpy()))
        yield f"{phone.name}, scene {k}", frames, as_matrices(stack.motions.numpy(), (size, size))


def corner_errors(alignment: Alignment, motions: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return (N,) root mean square errors at the corners, in pixels."""
    full = [np.vstack([matrix, [0, 0, 1]]) for matrix in motions]
    corners = np.array([(x, y, 1) for x in (0, shape[1] - 1) for y in (0, shape[0] - 1)]).T
    world = np.linalg.inv(full[alignment.reference]) @ corners
    offs = [motion.matrix @ corners - (true @ world)[:2] for motion, true in zip(alignment.motions, full, strict=True)]
    return np.array([np.sqrt(np.mean(np.sum(off**2, axis=0))) for off in offs])


def compare(title: str, cases: Iterator[Case]) -> dict[str, dict[str, float]]:
    """Print one line a case and method, and return the figures of each method over all cases."""
    print(f"\n{title}\n{'case':32} {'method':10} rms px  max px  CPU s/frame  found")
    errors: dict[str, list[NDArray[np.float64]]] = {method: [] for method in METHODS}
    seconds = dict.fromkeys(METHODS, 0.0)
    frames = 0
    for name, stack, motions in cases:
        frames += stack.n
        for method, find in METHODS.items():
            begin = time.process_time()
            alignment = find(stack)
            took = time.process_time() - begin
            error = corner_errors(alignment, motions, stack.shape)
            errors[method].append(error)
            seconds[method] += took
            rms = np.sqrt(np.mean(error**2))
            print(f"{name:32} {method:10} {rms:6.3f}  {error.max():6.3f}  {took / stack.n:11.3f}  {alignment.text}")
    figures = {}
    for method, parts in errors.items():
        error = np.concatenate(parts)
        figures[method] = {
            "corner_rms_px": round(float(np.sqrt(np.mean(error**2))), 3),
            "corner_median_px": round(float(np.median(error)), 3),
            "corner_worst_px": round(float(error.max()), 3),
            "cpu_seconds_a_frame": round(seconds[method] / frames, 4),
        }
        print(f"all: {method:10} {figures[method]}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="pixels of the swept scenes")
    parser.add_argument("--turn", type=float, default=1.0, help="rotation of the swept scenes, in degrees")
    parser.add_argument("--phones", type=int, default=12, help="stacks as phones take them")
    parser.add_argument("--write-card", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    measure_learned(next(phones(1, 64, 3))[1])  # torch and the weights are loaded once
    figures = {
        "phones": compare("phones, 8 slices of 384 px that show the whole picture", phones(options.phones, 384, 8)),
        "sweeps": compare(
            f"zoom 1.2, shift 3 %, no rotation, 9 slices of {options.size} px", swept(options.size, 9, 0.0)
        ),
    }
    if options.turn:
        title = f"zoom 1.2, shift 3 %, rotation {options.turn:g} degrees, 9 slices of {options.size} px"
        figures["sweeps_with_rotation"] = compare(title, swept(options.size, 9, options.turn))
    if options.write_card:
        path = card().path.with_suffix(".json")
        told = json.loads(path.read_text("utf-8"))
        told["figures"] = {"stacks": "rendered stacks of seed 900001; errors at the corners", **figures}
        path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
