"""Depth of real stacks by all methods, side by side: `python tests/method_gallery.py FOLDER_OF_STACKS [FOLDER]`.

Writes one sheet for each stack that FOLDER_OF_STACKS holds: the all-in-focus picture and the depth by every
method, with one colour scale. Voids stay grey. `resources/screenshots/methods.md` says what is seen in them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from toposcope.core.align import align
from toposcope.core.estimate import METHODS, EstimateSettings, estimate
from toposcope.core.pictures import Picture, colour_map, robust_range, to_picture
from toposcope.core.source import open_stack
from toposcope.core.stack import FocalStack

STACKS = {
    "pcb_button": slice(None),
    "fibre_dome": slice(None),
    "mineral_two_pass": slice(14, None),  # the first half sweeps the other way
    "ring": slice(None),
    "phone_balls": slice(None),
}
"""Stacks whose repositories allow pictures of them to be shown (MIT, Apache-2.0), and the slices to take."""
LONGEST = 1100
"""Longest side of the frames that depth is computed from."""
TILE = 420
"""Width of one picture on a sheet."""
COLUMNS = 4
TITLE = 22


def sheet(stack: FocalStack) -> Picture:
    """Return the sheet of one stack."""
    while max(stack.shape) > LONGEST:
        stack = stack.reduced(2)
    aligned, _ = align(stack)
    results = {name: estimate(aligned, EstimateSettings(name, align="none")) for name in METHODS}
    low, high = robust_range(results["default"].depth)
    tiles = [("all in focus", to_picture(results["default"].all_in_focus))]
    tiles += [(name, colour_map(result.depth, low=low, high=high)) for name, result in results.items()]
    height = round(TILE * stack.shape[0] / stack.shape[1])
    rows = -(-len(tiles) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (TILE + 8) - 8, rows * (height + TITLE + 8) - 8), "white")
    draw = ImageDraw.Draw(canvas)
    for k, (title, picture) in enumerate(tiles):
        left, top = k % COLUMNS * (TILE + 8), k // COLUMNS * (height + TITLE + 8)
        draw.text((left, top + 2), title, "black", ImageFont.load_default(15))
        small = cv2.resize(picture, (TILE, height), interpolation=cv2.INTER_AREA)
        canvas.paste(Image.fromarray(small), (left, top + TITLE))
    return np.asarray(canvas)


def main() -> None:
    """Write the sheets of the stacks that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stacks", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("resources/screenshots/methods"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, kept in STACKS.items():
        if not (options.stacks / name).is_dir():
            parser.error(f"there is no folder {options.stacks / name}.")
        stack = open_stack(options.stacks / name)
        taken = stack.subset(range(stack.n)[kept])
        Image.fromarray(sheet(taken)).save(options.folder / f"{name}.jpg", quality=82, optimize=True)
        stack.close()


if __name__ == "__main__":
    main()
