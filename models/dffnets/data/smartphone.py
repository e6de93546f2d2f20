"""Smartphone: real focal stacks of a phone with depth from five cameras, of "Learning to Autofocus".

A rig of five phones took 49 frames of each scene. Depth from Focus in the Wild uses the central phone: 355
scenes train and 47 test, cropped to the middle two thirds.

Layout, below ``train1`` to ``train7`` and ``test``:
``scaled_images/<scene>/<0..48>/result_scaled_image_center.jpg`` (504 x 378, 0 is the farthest focus),
``merged_depth/<scene>/result_merged_depth_center.png`` (8 bit: x = value / 255 means
100 * 0.2 / (100 - (100 - 0.2) x) metres, so 0.2 m at 0 and 100 m at 255),
``merged_conf/<scene>/result_merged_conf_center.exr`` (confidence, cut at 1).

The frames are not registered: a nearer focus shows a smaller field. ``register`` scales them about the centre
to the nearest one's field by the thin lens of 4.44 mm, the first step of Depth from Focus in the Wild; the
truth stays as published.

Source: Herrmann et al., "Learning to Autofocus", CVPR 2020; protocol: Won & Jeon, "Learning Depth from Focus
in the Wild", ECCV 2022.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from dffnets.data.files import need_file, need_folder, need_samples, need_split, read_map, read_pictures
from dffnets.data.sample import Bytes, DataError, Positions, Sample, Samples, masked

TITLE: Final = "Smartphone"
SPLITS: Final = ("train", "test")
FOLDERS: Final = {"train": tuple(f"train{k}" for k in range(1, 8)), "test": ("test",)}
FOCUS_MM: Final = (
    *(3910.92, 2289.27, 1508.71, 1185.83, 935.91, 801.09, 700.37, 605.39, 546.23, 486.87, 447.99, 407.40, 379.91),
    *(350.41, 329.95, 307.54, 291.72, 274.13, 261.53, 247.35, 237.08, 225.41, 216.88, 207.10, 198.18, 191.60),
    *(183.96, 178.29, 171.69, 165.57, 160.99, 155.61, 150.59, 146.81, 142.35, 138.98, 134.99, 131.23, 127.69),
    *(124.99, 121.77, 118.73, 116.40, 113.63, 110.99, 108.47, 106.54, 104.23, 102.01),
)
"""Focus distance of each of the 49 frames, from the data set's own description."""
NEAR_M, FAR_M = 0.2, 100.0
FOCAL_M: Final = 4.44e-3


def open_smartphone(root: Path, split: str, frames: int = 10, crop: bool = True, register: bool = False) -> Samples:
    """Open a split; distances in metres, known where the confidence is above 0.

    Parameters
    ----------
    frames : how many of the 49 to read, evenly by number and with both ends, 2 to 49
    crop : keep the middle two thirds of rows and columns, 336 x 252, as published figures do
    register : scale the frames to the field of the nearest focus
    """
    need_split(TITLE, split, SPLITS)
    if not 2 <= frames <= len(FOCUS_MM):
        raise DataError(f"{TITLE}: {frames} frames were asked for; a stack has {len(FOCUS_MM)}. Choose 2 to 49.")
    holds = f"the folders {', '.join(FOLDERS[split])} with scaled_images, merged_depth and merged_conf"
    need_folder(root, TITLE, holds)
    scenes = sorted(
        (scene for part in FOLDERS[split] for scene in (root / part / "scaled_images").glob("*") if scene.is_dir()),
        key=lambda scene: (scene.parent.parent.name, scene.name),
    )
    need_samples([scene.name for scene in scenes], TITLE, root, holds)
    names = [f"{scene.parent.parent.name}/{scene.name}" for scene in scenes]
    numbers = [int(k) for k in np.rint(np.linspace(0, len(FOCUS_MM) - 1, frames))]
    return Samples(names, partial(_read, root, names, numbers, crop, register))


def _read(root: Path, names: list[str], numbers: list[int], crop: bool, register: bool, index: int) -> Sample:
    part, scene = names[index].split("/", 1)
    images = root / part / "scaled_images" / scene
    paths = [
        need_file(images / str(k) / "result_scaled_image_center.jpg", TITLE, f"frame {k} of 0 to 48") for k in numbers
    ]
    depth_path = root / part / "merged_depth" / scene / "result_merged_depth_center.png"
    trust_path = root / part / "merged_conf" / scene / "result_merged_conf_center.exr"
    coded = read_map(need_file(depth_path, TITLE, "the depth of this scene")).astype(np.float64) / 255
    trust = np.clip(read_map(need_file(trust_path, TITLE, "the confidence of this scene")), 0, 1)
    depth = FAR_M * NEAR_M / (FAR_M - (FAR_M - NEAR_M) * coded)
    positions = np.array([FOCUS_MM[k] for k in numbers]) * 1e-3
    frames = read_pictures(paths, TITLE)
    if register:
        frames = to_one_field(frames, positions)
    if crop:
        height, width = frames.shape[1:3]
        rows, columns = slice(height // 6, height - height // 6), slice(width // 6, width - width // 6)
        frames, depth, trust = frames[:, rows, columns], depth[rows, columns], trust[rows, columns]
    valid = np.isfinite(trust) & (trust > 0)
    trust = np.where(valid, trust, 0).astype(np.float32)
    return Sample(
        names[index], np.ascontiguousarray(frames), positions, masked(depth, valid), valid, "camera", "m", trust
    )


def fields(positions: Positions) -> Positions:
    """Return (N,) the field of view at each focus over the smallest: 1/f - 1/d, divided by its least."""
    inverse: Positions = 1 / FOCAL_M - 1 / positions
    relative: Positions = inverse / inverse.min()
    return relative


def to_one_field(frames: Bytes, positions: Positions) -> Bytes:
    """Return frames (N, H, W, 3) scaled about the centre, so that all show the smallest field among them."""
    height, width = frames.shape[1:3]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    scaled = [
        cv2.warpAffine(
            frame,
            np.column_stack([np.eye(2) * field, centre - field * centre]),
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        for frame, field in zip(frames, fields(positions), strict=True)
    ]
    return np.stack(scaled).astype(np.uint8)
