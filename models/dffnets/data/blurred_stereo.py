"""FlyingThings3D_FS and Middlebury_FS: stereo pictures blurred by their disparity, 15 frames a stack.

AiFDepthNet rendered both with the layered renderer of Barron et al. 2015 and gives them away as archives. Each
archive has a list of text lines, one a sample: the paths of the 15 frames in the order of focus, perhaps the
all-in-focus picture, and last the path of the disparity map. The paths are those of the machine that wrote
the list; they are looked for below the list's own folders.

* FlyingThings3D_FS: ``train/flyingthings3d_FS_path.txt`` (1000 samples) and ``val/...`` (100), 540 x 960,
  focus at 15 disparities evenly from 10 to 100 px;
* Middlebury_FS: ``focal_stack/Middlebury_path.txt`` (15 samples, all for testing), focus evenly from 10 to 60 px.

Source: Wang et al., "Bridging Unsupervised and Supervised Depth from Focus via All-in-Focus Supervision",
ICCV 2021; pictures: Mayer et al., CVPR 2016, and Scharstein et al., GCPR 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from dffnets.data.files import need_file, need_samples, need_split, read_map, read_pictures
from dffnets.data.sample import DataError, Mask, Sample, Samples, masked

FRAMES: Final = 15


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive: the list of each split, and the disparities of its first and last frame in px."""

    title: str
    lists: dict[str, str]
    sweep: tuple[float, float]


FLYING_THINGS: Final = Archive(
    "FlyingThings3D_FS",
    {"train": "train/flyingthings3d_FS_path.txt", "val": "val/flyingthings3d_FS_path.txt"},
    (10.0, 100.0),
)
MIDDLEBURY: Final = Archive("Middlebury_FS", {"test": "focal_stack/Middlebury_path.txt"}, (10.0, 60.0))


def open_flying_things(root: Path, split: str) -> Samples:
    """Open FlyingThings3D_FS; disparities in px, known where finite and above 0. ``root`` holds ``train``, ``val``."""
    return _open(FLYING_THINGS, root, split)


def open_middlebury(root: Path, split: str) -> Samples:
    """Open Middlebury_FS; disparities in px, known where finite and above 0. ``root`` holds ``focal_stack``."""
    return _open(MIDDLEBURY, root, split)


def _open(archive: Archive, root: Path, split: str) -> Samples:
    need_split(archive.title, split, tuple(archive.lists))
    listed = need_file(root / archive.lists[split], archive.title, "the list of samples")
    lines = [line.split() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    need_samples([line[0] for line in lines], archive.title, listed, "one sample a line")
    for number, line in enumerate(lines, 1):
        if len(line) <= FRAMES:
            raise DataError(
                f"{archive.title}: line {number} of {listed} names {len(line)} files; needed are {FRAMES} frames "
                "and a disparity map. Unpack the archive again."
            )
    names = [_name(line) for line in lines]
    return Samples(names, partial(_read, archive, listed, lines, names))


def _name(line: list[str]) -> str:
    """Return the folder of the disparity map, which is called like the scene."""
    path = PurePosixPath(line[-1].replace("\\", "/"))
    return path.parent.name or path.stem


def _read(archive: Archive, listed: Path, lines: list[list[str]], names: list[str], index: int) -> Sample:
    paths = [_find(archive, listed, written) for written in (*lines[index][:FRAMES], lines[index][-1])]
    disparity = read_map(paths[-1])
    valid: Mask = np.isfinite(disparity) & (disparity > 0)
    return Sample(
        names[index],
        read_pictures(paths[:-1], archive.title),
        np.linspace(*archive.sweep, FRAMES),
        masked(disparity, valid),
        valid,
        "disparity",
        "px",
    )


def _find(archive: Archive, listed: Path, written: str) -> Path:
    """Return the file that a list names, by as much of the end of its path as exists here."""
    parts = PurePosixPath(written.replace("\\", "/")).parts
    for folder in (listed.parent, listed.parent.parent, listed.parent.parent.parent):
        for k in range(len(parts)):
            path = folder.joinpath(*parts[k:])
            # an absolute part would lead out of the folder, to whatever lies there on this machine
            if not PurePosixPath(parts[k]).is_absolute() and path.is_file():
                return path
    raise DataError(
        f"{archive.title}: {written}, named in {listed}, is not below {listed.parent.parent}. Unpack the archive again."
    )
