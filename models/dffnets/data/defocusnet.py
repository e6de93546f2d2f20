"""DefocusNet's ``fs_6``, also called FoD500: 500 path-traced stacks of five frames with exact depth.

Camera: thin lens of 2.9 mm at f/1, sensor 3.1 mm on 256 px, true lens sampling in Blender. Depth to 3 m.

Layout: one folder of ``000000_...All.tif`` (256 x 256 RGB, five a scene, sorted by name) and
``000000Dpt.exr`` (half floats, metres); the first six digits number the scene. The first 400 train, the
rest tests (README of the authors; DFV). Depth from Focus in the Wild moves them into the folders ``train``
and ``test``, which is read as well.

Depth from Focus in the Wild trains where the truth is below 2 m, and tests between 0.1 and 1.5 m, which is
`Sample.in_sweep`.

Source: Maximov et al., "Focus on Defocus", CVPR 2020.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from dffnets.data.files import need_folder, need_samples, need_split, read_map, read_pictures
from dffnets.data.sample import DataError, Mask, Sample, Samples, masked

TITLE: Final = "DefocusNet fs_6"
SPLITS: Final = ("train", "test")
FOCUS_M: Final = (0.1, 0.15, 0.3, 0.7, 1.5)
FIRST_OF_TEST: Final = 400


def open_defocusnet(root: Path, split: str) -> Samples:
    """Open a split; distances in metres, known where finite and above 0.

    ``root`` is ``fs_6``, whole or divided into ``train`` and ``test``.
    """
    need_split(TITLE, split, SPLITS)
    holds = "000000_...All.tif and 000000Dpt.exr"
    folder = need_folder(root, TITLE, holds)
    divided = (folder / split).is_dir()
    folder = folder / split if divided else folder
    names = sorted({path.name[:6] for path in folder.glob("*Dpt.exr") if path.name[:6].isdigit()})
    if not divided:
        names = [name for name in names if (int(name) < FIRST_OF_TEST) == (split == "train")]
    need_samples(names, TITLE, folder, f"{holds} of the {split} scenes")
    return Samples(names, partial(_read, folder, names))


def _read(folder: Path, names: list[str], index: int) -> Sample:
    name = names[index]
    pictures = sorted(folder.glob(f"{name}*All.tif"))
    if len(pictures) != len(FOCUS_M):
        raise DataError(
            f"{TITLE}: scene {name} in {folder} has {len(pictures)} frames; needed are {len(FOCUS_M)}. Unpack it again."
        )
    depth = read_map(next(folder.glob(f"{name}*Dpt.exr")))
    valid: Mask = np.isfinite(depth) & (depth > 0)
    return Sample(name, read_pictures(pictures, TITLE), np.array(FOCUS_M), masked(depth, valid), valid, "camera", "m")
