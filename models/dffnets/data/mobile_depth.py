"""Mobile Depth: eleven hand-held focal stacks of a phone, aligned, with calibrated focus; no true depth.

Two archives unpack below one folder, whatever their outer folders are called:

* the aligned stacks, ``Aligned/Figure1/keyboard/a00.jpg`` and following, in the order of the sweep;
* photographs, calibration and results, of which ``calibration/<scene>/calibrated.txt`` is read: a line
  ``focus aperture`` for each frame, then the focal length. The scale of these lengths is unknown.

Four scenes have another name in the calibration (`CALIBRATION`). The distances of ``metals`` run the other way than its
frames: AiFDepthNet reverses them, DFV negates them, others leave them. Reversed here, since only that
keeps distances positive and in order.

Source: Suwajanakorn, Hernandez & Seitz, "Depth from Focus with Your Mobile Phone", CVPR 2015.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from dffnets.data.files import need_folder, need_samples, need_split, read_pictures
from dffnets.data.sample import DataError, Positions, Sample, Samples

TITLE: Final = "Mobile Depth"
SPLITS: Final = ("test",)
SCENES: Final = (
    *("balls", "bottles", "fruits", "keyboard", "largemotion", "metals", "plants", "smallmotion"),
    *("telephone", "window", "zeromotion"),
)
CALIBRATION: Final = {"largemotion": "GTLarge", "metals": "metal", "smallmotion": "GTSmall", "zeromotion": "GT"}


def open_mobile_depth(root: Path, split: str = "test") -> Samples:
    """Open all scenes that have a calibration; distances in an unknown unit, no pixel with truth.

    ``root`` is the folder below which both archives were unpacked.
    """
    need_split(TITLE, split, SPLITS)
    holds = "the aligned stacks (Aligned/Figure1/keyboard/a00.jpg ...) and calibration/keyboard/calibrated.txt ..."
    need_folder(root, TITLE, holds)
    calibrations = {path.parent.name: path for path in sorted(root.rglob("calibrated.txt"))}
    stacks: dict[str, Path] = {}
    for path in sorted(root.rglob("a*.jpg")):
        if path.stem[1:].isdigit():
            stacks.setdefault(path.parent.name, path.parent)
    scenes: list[tuple[str, Path, Path]] = []
    for name in SCENES:
        calibration = calibrations.get(CALIBRATION.get(name, name), calibrations.get(name))
        if name in stacks and calibration is not None:
            scenes.append((name, stacks[name], calibration))
    names = [name for name, _, _ in scenes]
    need_samples(names, TITLE, root, holds)
    return Samples(names, partial(_read, scenes))


def _read(scenes: list[tuple[str, Path, Path]], index: int) -> Sample:
    name, stack, calibration = scenes[index]
    paths = [path for path in stack.glob("a*.jpg") if path.stem[1:].isdigit()]
    positions = read_calibration(calibration)
    if name == "metals":
        positions = positions[::-1].copy()
    frames = read_pictures(sorted(paths, key=lambda path: int(path.stem[1:])), TITLE)
    unknown = np.full(frames.shape[1:3], np.nan, np.float32)
    return Sample(name, frames, positions, unknown, np.zeros(unknown.shape, np.bool_), "camera", "unknown")


def read_calibration(path: Path) -> Positions:
    """Return (N,) the focus distance of each frame from ``calibrated.txt``, in its own unit."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        return np.array([float(line[0]) for line in lines[:-1]])
    except ValueError as error:
        raise DataError(
            f"{TITLE}: {path} should hold 'focus aperture' lines and a focal length ({error}). Unpack it again."
        ) from error
