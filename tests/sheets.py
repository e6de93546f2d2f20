"""Sheets of pictures side by side, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from toposcope.core.pictures import Picture

TILE: Final = 300
TITLE: Final = 24
GAP: Final = 6


def sheet(titles: Sequence[str], lines: Sequence[Sequence[Picture]]) -> Picture:
    """Return lines of RGB pictures, each picture below its title and `TILE` pixels wide."""
    heights = [round(TILE * line[0].shape[0] / line[0].shape[1]) for line in lines]
    size = (len(titles) * (TILE + GAP) - GAP, TITLE + sum(heights) + GAP * (len(heights) - 1))
    canvas = Image.new("RGB", size, "white")
    draw, top = ImageDraw.Draw(canvas), TITLE
    for column, title in enumerate(titles):
        draw.text((column * (TILE + GAP), 3), title, "black", ImageFont.load_default(15))
    for line, height in zip(lines, heights, strict=True):
        for column, picture in enumerate(line):
            small = cv2.resize(picture, (TILE, height), interpolation=cv2.INTER_AREA)
            canvas.paste(Image.fromarray(small), (column * (TILE + GAP), top))
        top += height + GAP
    return np.asarray(canvas)
