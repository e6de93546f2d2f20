"""NYU Depth v2, labelled part: 1449 pictures of rooms with filled-in Kinect depth, rendered into focal stacks.

Files: ``nyu_depth_v2_labeled.mat``, an HDF5 file with ``images`` (1449, 3, 640, 480) uint8 and ``depths``
(1449, 640, 480) metres, both stored column by column; and ``splits.mat`` with the official ``trainNdxs``
(795) and ``testNdxs`` (654), counted from 1.

There is no official focal stack. HybridDepth and DualFocus focus evenly between the least and the greatest
depth of each picture: the positions then tell the truth's range, and their errors cannot be had in practice.
Here focus lists are fixed for all pictures (`FOCUS_M`), and results are not to be compared with theirs. The
camera is theirs and DEReD's, 50 mm at f/8 on 12 um pixels. Pixels are blurred by `dffnets.synthetic`, with occlusion.

Source: Silberman et al., "Indoor Segmentation and Support Inference from RGBD Images", ECCV 2012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from dffnets.data.files import hdf5_dataset, need_file, need_split, open_hdf5
from dffnets.data.sample import Bytes, DataError, Depth, Mask, Sample, Samples, masked
from dffnets.synthetic import Scene, Sensor, Solid, ThinLens, render_stack

TITLE: Final = "NYU Depth v2"
SPLITS: Final = ("train", "test", "all")
FILE: Final = "nyu_depth_v2_labeled.mat"
INDICES: Final = {"train": "trainNdxs", "test": "testNdxs"}

FOCUS_M: Final[Mapping[str, tuple[float, ...]]] = {
    "dioptres": tuple(float(1 / x) for x in np.linspace(1 / 0.5, 1 / 10, 10)),
    "dered": (1.0, 1.5, 2.5, 4.0, 6.0),
    "ddfs": (2.0, 4.0, 8.0),
}
"""Fixed focus lists: ten even steps of 1/distance from 0.5 to 10 m; that of DEReD; that of DDFS."""

ROWS, COLUMNS = slice(44, 471), slice(40, 601)
"""Where the toolbox's projection mask has depth; the rest is white border or made up."""
RANGE_M: Final = (1e-3, 10.0)
"""Depths in between are truth; the sensor answers 10 m for what it does not reach."""
GAMMA: Final = 2.2
MARGIN: Final = 32
"""Pixels mirrored round the picture, from which blur reaches in."""


@dataclass(frozen=True, slots=True)
class Camera:
    """The lens and the pixel that frames are rendered with."""

    focal_mm: float = 50.0
    f_number: float = 8.0
    pitch_um: float = 12.0


def open_nyu(
    root: Path, split: str, focus_m: str | Sequence[float] = "dioptres", camera: Camera | None = None
) -> Samples:
    """Open a split; frames are rendered as they are asked for, in some ten seconds each stack.

    Distances in metres, known between 0.001 and 10 m.

    Parameters
    ----------
    root : folder of ``nyu_depth_v2_labeled.mat`` and, but for ``all``, ``splits.mat``
    focus_m : a name of `FOCUS_M`, or distances in metres
    camera : by default 50 mm, f/8, 12 um
    """
    need_split(TITLE, split, SPLITS)
    if isinstance(focus_m, str) and focus_m not in FOCUS_M:
        raise DataError(f"{TITLE}: there is no focus list {focus_m!r}; choose {', '.join(FOCUS_M)}, or give distances.")
    positions = FOCUS_M[focus_m] if isinstance(focus_m, str) else tuple(float(x) for x in focus_m)
    camera = camera or Camera()
    if not positions or min(positions) * 1000 <= camera.focal_mm:
        raise DataError(f"{TITLE}: focus distances {positions} m must lie beyond the lens's {camera.focal_mm} mm.")
    path = need_file(root / FILE, TITLE, "the labelled part of the data set")
    with open_hdf5(path) as file:
        count = len(hdf5_dataset(file, path, "images"))
    indices = list(range(count)) if split == "all" else _split(root, split, count)
    return Samples([f"{k + 1:04d}" for k in indices], partial(_read, path, indices, positions, camera))


def _split(root: Path, split: str, count: int) -> list[int]:
    """Return the pictures of a split, counted from 0."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = need_file(root / "splits.mat", TITLE, "the official split; 'all' does without")
    try:
        numbers = np.asarray(loadmat(path)[INDICES[split]], np.int64).reshape(-1)
    except (KeyError, NotImplementedError, MatReadError, ValueError) as error:  # scipy does not read MATLAB 7.3
        raise DataError(f"{TITLE}: {path} holds no {INDICES[split]} ({error}). Download it again.") from error
    if numbers.min() < 1 or numbers.max() > count:
        raise DataError(
            f"{TITLE}: {path} names pictures {numbers.min()} to {numbers.max()}, but there are {count}. "
            "Check that both files belong to the labelled part."
        )
    return [int(k) - 1 for k in numbers]


def _read(path: Path, indices: list[int], positions: tuple[float, ...], camera: Camera, index: int) -> Sample:
    with open_hdf5(path) as file:
        picture = np.asarray(hdf5_dataset(file, path, "images")[indices[index]]).transpose(
            2, 1, 0
        )  # (3, W, H) -> (H, W, 3)
        depth = np.asarray(hdf5_dataset(file, path, "depths")[indices[index]], np.float32).T  # (W, H) -> (H, W)
    picture, depth = picture[ROWS, COLUMNS], depth[ROWS, COLUMNS]
    valid: Mask = np.isfinite(depth) & (depth > RANGE_M[0]) & (depth < RANGE_M[1])
    frames = render(picture, np.where(valid, depth, RANGE_M[1]).astype(np.float32), positions, camera)
    return Sample(f"{indices[index] + 1:04d}", frames, np.array(positions), masked(depth, valid), valid, "camera", "m")


def render(picture: Bytes, depth_m: Depth, focus_m: Sequence[float], camera: Camera) -> Bytes:
    """Return the focal stack (N, H, W, 3) of a sharp picture (H, W, 3) with a depth (H, W) in metres.

    Light is blurred linearly: values count as light ** (1 / 2.2), before and after.
    """
    wide = ((MARGIN, MARGIN), (MARGIN, MARGIN))
    light = (picture.astype(np.float32) / 255) ** np.float32(GAMMA)
    solid = Solid(np.pad(depth_m * np.float32(1000), wide, "symmetric"), np.pad(light, (*wide, (0, 0)), "symmetric"))
    lens = ThinLens(camera.focal_mm, camera.f_number, camera.pitch_um, far_mm=1000 * max(focus_m))
    positions_mm = np.asarray(focus_m, np.float64) * 1000
    rendered = render_stack(
        Scene((solid,), MARGIN, towards_lens=-1), lens, positions_mm, Sensor(full_well=np.inf, gamma=GAMMA)
    )
    return rendered.frames.astype(np.uint8)
