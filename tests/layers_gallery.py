"""Surfaces that are seen through each other: `python tests/layers_gallery.py SHEET.png`.

A rendered ground under a half transparent film: a slice between them, the depth by the strongest, nearest and farthest
peaks in one colour scale, and the thickness between the two.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

import scenes
from sheets import sheet
from toposcope.core.estimate import EstimateSettings, estimate, find_method
from toposcope.core.layers import LAYERS
from toposcope.core.pictures import Picture, colour_map

TITLES = ("slice between the two", *LAYERS, "nearest less farthest")


def pictures() -> list[Picture]:
    """Return the pictures below `TITLES`."""
    scene = scenes.film(size=400, n=21, noise=0.01, blur_px=1.0, seed=71)
    stack = scene.stack
    depths = []
    for layer in LAYERS:
        options = find_method("default").checked({"layer": layer})
        depths.append(estimate(stack, EstimateSettings("default", options, align="none")).depth)
    low, high = float(stack.positions.value[0]), float(stack.positions.value[-1])
    between = np.repeat(np.asarray(stack.read(stack.n // 2)).reshape(*stack.shape, 1), 3, axis=2)
    thickness = colour_map(depths[1] - depths[2], low=0.0, high=high - low)
    return [between, *(colour_map(depth, low=low, high=high) for depth in depths), thickness]


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path)
    cv2.imwrite(str(parser.parse_args().sheet), sheet(TITLES, [pictures()])[..., ::-1])


if __name__ == "__main__":
    main()
