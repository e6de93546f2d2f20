"""DDFF 12-Scene: 720 light fields of a Lytro camera in twelve rooms, refocused; truth from an RGB-D sensor.

Three splits of the same data go by one name in the literature, and their figures must not be compared:

* ``train``, ``val``: the official ``ddff-dataset-trainval.h5``, random crops of six rooms; both parts show
  the same rooms;
* ``test``: the official ``ddff-dataset-test.h5``, 120 whole stacks of six other rooms, truth withheld;
* ``dfv-train``, ``dfv-val``: whole stacks, four rooms against two (Yang et al., CVPR 2022). Read from the
  file that DFV's ``pack_to_h5.py`` writes, or refocused here from the official light fields.

Where sources contradict: focus disparities follow the official toolbox (the disparities of 0.5 m and 7 m),
not DFV's rounded 0.28 to 0.02 px. The toolbox, DFV and AiFDepthNet agree on the calibration below. The official files
are read as BGR, since AiFDepthNet turns the channels round before it writes pictures of them; DFV's
own file, which holds floating-point numbers, is RGB by its packer.

Layout of the light fields: ``LightField/train/<room>/LF_0001.npy``, (9, 9, 383, 552, 3) uint8 RGB, and
``DepthRegistered/train/<room>/DEPTH_0001.png``, uint16 millimetres, 0 where unknown.

Source: Hazirbas et al., "Deep Depth From Focus", ACCV 2018.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from dffnets.data.files import (
    hdf5_dataset,
    need_file,
    need_folder,
    need_samples,
    need_split,
    open_hdf5,
    read_map,
    to_bytes,
)
from dffnets.data.refocus import refocus
from dffnets.data.sample import Bytes, DataError, Depth, Positions, Sample, Samples, masked

TITLE: Final = "DDFF 12-Scene"
SPLITS: Final = ("train", "val", "test", "dfv-train", "dfv-val")
ROOMS: Final = {
    "dfv-train": ("socialcorner", "studentlab", "seminaroom", "kitchen"),
    "dfv-val": ("glassroom", "office41"),
}
FILES: Final = {
    "train": "ddff-dataset-trainval.h5",
    "val": "ddff-dataset-trainval.h5",
    "test": "ddff-dataset-test.h5",
    "dfv-train": "my_ddff_trainVal.h5",
    "dfv-val": "my_ddff_trainVal.h5",
}

FOCAL_PX: Final = 521.4052
"""Focal length of a view, in its pixels."""
BASELINE_M: Final = 1982.0250823695178 / 7317.020641763665 * 1e-3
"""Distance between neighbouring views: K2 / f of the calibration ``IntParamLF.mat``, 0.27088 mm."""


def disparity_px(depth_m: float) -> float:
    """Return the disparity between neighbouring views at a distance, in pixels."""
    return BASELINE_M * FOCAL_PX / depth_m


def focus_disparities(count: int = 10) -> Positions:
    """Return (N,) the focus of the stacks: from the disparity of 0.5 m down to that of 7 m, evenly."""
    return np.linspace(disparity_px(0.5), disparity_px(7.0), count)


def open_ddff12(root: Path, split: str) -> Samples:
    """Open a split; disparities in px of a view (0.2825 at 0.5 m to 0.0202 at 7 m), unknown where 0.

    ``root`` is the folder of the HDF5 file or the file itself, or, for DFV's splits, the folder that holds
    ``LightField`` and ``DepthRegistered``. Refocusing one light field takes some seconds.
    """
    need_split(TITLE, split, SPLITS)
    path = root if root.is_file() else need_folder(root, TITLE, FILES[split]) / FILES[split]
    if path.is_file():
        return _open_packed(path, split)
    if split in ROOMS and (root / "LightField").is_dir():
        return _open_light_fields(root, split)
    instead = ", nor the folder LightField beside it" if split in ROOMS else ""
    raise DataError(f"{TITLE}: there is no file {path}{instead}. Check the path, or download it.")


def _open_packed(path: Path, split: str) -> Samples:
    part = split.removeprefix("dfv-")
    with open_hdf5(path) as file:
        stacks = hdf5_dataset(file, path, f"stack_{part}")
        if part != "test" and (stacks.dtype == np.uint8) == (split in ROOMS):
            found, other = ("official", part) if split in ROOMS else ("DFV's", f"dfv-{part}")
            raise DataError(
                f"{TITLE}: {path} is the {found} file by its type, {stacks.dtype}, but the split asked for is "
                f"{split!r}. Ask for {other!r}, or give the other file."
            )
        names = [f"{split} {k:04d}" for k in range(len(stacks))]
    return Samples(names, partial(_read_packed, path, split))


def _read_packed(path: Path, split: str, index: int) -> Sample:
    part = split.removeprefix("dfv-")
    with open_hdf5(path) as file:
        stored = hdf5_dataset(file, path, f"stack_{part}")[index]
        if part == "test" and f"disp_{part}" not in file:  # withheld
            disparity = np.zeros(stored.shape[1:3], np.float32)
        else:
            disparity = np.squeeze(hdf5_dataset(file, path, f"disp_{part}")[index]).astype(np.float32)
    frames = to_bytes(stored)
    return _sample(f"{split} {index:04d}", frames if split in ROOMS else _reversed(frames), disparity)


def _reversed(frames: Bytes) -> Bytes:
    return np.ascontiguousarray(frames[..., ::-1])


def _sample(name: str, frames: Bytes, disparity: Depth) -> Sample:
    valid = np.isfinite(disparity) & (disparity > 0)
    return Sample(name, frames, focus_disparities(len(frames)), masked(disparity, valid), valid, "disparity", "px")


def _open_light_fields(root: Path, split: str) -> Samples:
    fields = []
    for room in ROOMS[split]:
        folder = need_folder(root / "LightField" / "train" / room, TITLE, "light fields LF_0001.npy and following")
        fields += sorted(folder.glob("LF_*.npy"))
    need_samples([field.name for field in fields], TITLE, root, "light fields LF_0001.npy and following")
    return Samples([f"{f.parent.name}/{f.stem.removeprefix('LF_')}" for f in fields], partial(_refocused, root, fields))


def _refocused(root: Path, fields: list[Path], index: int) -> Sample:
    path = fields[index]
    room, number = path.parent.name, path.stem.removeprefix("LF_")
    depth_path = need_file(
        root / "DepthRegistered" / "train" / room / f"DEPTH_{number}.png", TITLE, f"the depth of {path.name}"
    )
    metres = read_map(depth_path).astype(np.float64) / 1000
    try:
        views = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{TITLE}: {path} is not a NumPy file that can be read ({error}). Download it again."
        ) from error
    if views.ndim != 5 or views.shape[4] != 3:
        raise DataError(f"{TITLE}: {path} is {views.shape}; needed are views (9, 9, H, W, 3). Download it again.")
    disparity = np.where(metres > 0, BASELINE_M * FOCAL_PX / np.where(metres > 0, metres, 1), 0).astype(np.float32)
    return _sample(f"{room}/{number}", refocus(np.asarray(views), focus_disparities()), disparity)
