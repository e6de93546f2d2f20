"""The 4D Light Field benchmark (HCI): 9 x 9 rendered views of 28 scenes with exact disparity, refocused into stacks.

Two layouts are read:

* ``HCI_FS_trainval.h5``, which AiFDepthNet's generator writes: ``stack_train`` (n, 10, 512, 512, 3) of grey
  values 0..255, ``disp_train`` (n, 512, 512), ``name_train`` (n, 1), the same for ``val``, and
  ``focus_position_disp`` (1, 10);
* the benchmark's own folders ``additional``, ``training``, ``stratified`` and ``test``, each scene with
  ``input_Cam000.png`` to ``input_Cam080.png`` (row by row) and ``gt_disp_lowres.pfm`` of the central view,
  refocused here (`dffnets.data.refocus`).

The split is AiFDepthNet's, which Depth from Focus in the Wild, FocDepthFormer and FAD reuse: boxes, cotton,
dino and sideboard validate, the 20 others with truth train. ``test`` are the benchmark's four scenes
whose truth is withheld.

Source: Honauer et al., "A Dataset and Evaluation Methodology for Depth Estimation on 4D Light Fields",
ACCV 2016; stacks: Wang et al., "Bridging Unsupervised and Supervised Depth from Focus via All-in-Focus
Supervision", ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from dffnets.data.files import (
    hdf5_dataset,
    need_folder,
    need_samples,
    need_split,
    open_hdf5,
    read_pfm,
    read_pictures,
    to_bytes,
)
from dffnets.data.refocus import refocus
from dffnets.data.sample import Bytes, DataError, Depth, Positions, Sample, Samples, masked

TITLE: Final = "4D Light Field"
SPLITS: Final = ("train", "val", "test")
FILE: Final = "HCI_FS_trainval.h5"
VALIDATION: Final = ("boxes", "cotton", "dino", "sideboard")
CATEGORIES: Final = {
    "train": ("additional", "stratified", "training"),
    "val": ("additional", "stratified", "training"),
    "test": ("test",),
}
SIDE: Final = 9
"""Views a row and a column."""
FOCUS_PX: Final = tuple(float(x) for x in np.linspace(-2.5, 2.5, 10))


def open_light_field(root: Path, split: str, focus_px: Sequence[float] = FOCUS_PX) -> Samples:
    """Open a split; disparities in px between neighbouring views, negative behind the plane of zero disparity.

    ``root`` is the HDF5 file, its folder, or the folder of the benchmark's categories. ``focus_px`` are
    the frames to make from views; a file has its own. Refocusing 512 x 512 views takes some seconds.
    """
    need_split(TITLE, split, SPLITS)
    path = root if root.is_file() else root / FILE
    if path.is_file():
        return _open_packed(path, split)
    holds = f"{FILE}, or the folders {', '.join(CATEGORIES[split])} of scenes with input_Cam000.png and following"
    folder = need_folder(root, TITLE, holds)
    scenes = sorted(
        view.parent for category in CATEGORIES[split] for view in (folder / category).glob("*/input_Cam000.png")
    )
    if split != "test":
        scenes = [scene for scene in scenes if (scene.name in VALIDATION) == (split == "val")]
    need_samples([scene.name for scene in scenes], TITLE, folder, f"{holds}, and among them those of {split!r}")
    positions = np.asarray(focus_px, np.float64)
    return Samples([scene.name for scene in scenes], partial(_read_views, scenes, split, positions))


def _open_packed(path: Path, split: str) -> Samples:
    with open_hdf5(path) as file:
        count = len(hdf5_dataset(file, path, f"stack_{split}"))
        stored = hdf5_dataset(file, path, f"name_{split}")[:].reshape(count, -1)[:, 0]
    names = [(text.decode() if isinstance(text, bytes) else str(text)).split("/")[-1] for text in stored]
    return Samples(names, partial(_read_packed, path, split, names))


def _read_packed(path: Path, split: str, names: list[str], index: int) -> Sample:
    with open_hdf5(path) as file:
        frames = to_bytes(hdf5_dataset(file, path, f"stack_{split}")[index])
        disparity = np.squeeze(hdf5_dataset(file, path, f"disp_{split}")[index]).astype(np.float32)
        positions = hdf5_dataset(file, path, "focus_position_disp")[:].reshape(-1).astype(np.float64)
    return _sample(names[index], frames, positions, disparity)


def _read_views(scenes: list[Path], split: str, positions: Positions, index: int) -> Sample:
    scene = scenes[index]
    paths = [scene / f"input_Cam{k:03d}.png" for k in range(SIDE**2)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{TITLE}: {scene} lacks {len(missing)} of {SIDE**2} views, first {missing[0]}. Unpack it again."
        )
    views = read_pictures(paths, TITLE)
    height, width = views.shape[1:3]
    if split == "test":
        disparity = np.full((height, width), np.nan, np.float32)
    else:
        disparity = read_pfm(scene / "gt_disp_lowres.pfm")
    frames = refocus(views.reshape(SIDE, SIDE, height, width, 3), positions)
    return _sample(scene.name, frames, positions, disparity)


def _sample(name: str, frames: Bytes, positions: Positions, disparity: Depth) -> Sample:
    valid = np.isfinite(disparity)
    return Sample(name, frames, positions, masked(disparity, valid), valid, "disparity", "px")
