"""Stacks whose depth is known: where they lie, and how their truth is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from toposcope.core.calibration import Floats, Kind, Sourced, Unit, focus_coordinate, to_positions
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import MIN_FRAMES, ArraySource, FocalStack
from toposcope.errors import SettingsError, StackError

Map = NDArray[np.floating]
TruthUnit = Literal["stack", "slices"]


@dataclass(frozen=True, slots=True)
class TruthFile:
    """A file of true depth that lies beside the frames.

    ``name`` a TIFF or .npy of (H, W) numbers, NaN where unknown; ``unit`` whether they are positions in
    the unit of the stack, or slices, counted from 0 at the lowest position, with fractions.
    """

    name: str
    unit: TruthUnit = "stack"


TRUTH_FILES: Final = (TruthFile("true_depth.tif"), TruthFile("gt_slice_index.tif", "slices"))
"""What is looked for unless a name is given; the first is what `toposcope.core.simulate` writes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One stack whose depth is known.

    ``groups`` are the rows of the table that it is averaged in. ``open`` returns the stack, ``truth``
    its depth (H, W) in positions of the stack, NaN where unknown. Both are called in other processes
    too, so they must be picklable.
    """

    name: str
    groups: tuple[str, ...]
    unit: Unit
    open: Callable[[], FocalStack]
    truth: Callable[[], Map]


def folder_case(path: Path, truth: TruthFile | None = None, subset: int | None = None, group: str = "stacks") -> Case:
    """Return the case of a stack as a user has it: a folder of frames, or a file, with the truth beside it.

    Headers are read now, frames and truth when they are needed.

    Parameters
    ----------
    truth : the file to look for; by default the first of `TRUTH_FILES` that is there
    subset : take so many slices only, evenly from first to last; all where there are no more

    Raises
    ------
    StackError, CalibrationError
        If the stack cannot be opened, or no truth that fits it lies beside it.
    """
    if not path.exists():
        raise StackError(f"{path} does not exist.")
    file = _truth_file(path, truth)
    beside = (path if path.is_dir() else path.parent) / file.name
    opened = partial(_open, path, file.name)
    stack = opened()
    try:
        n, unit, kind, positions = stack.n, stack.unit, stack.kind.value, stack.positions.value
        shape = _truth_shape(beside)
        if shape != stack.shape:
            raise StackError(
                f"{beside} has {_size(shape)} pixels, the frames have {_size(stack.shape)}; "
                "the truth must have one value for each pixel of a frame."
            )
    finally:
        stack.close()
    kept = even_slices(n, subset)
    name = path.resolve().name if path.is_dir() else path.name.split(".")[0]
    read = partial(_read_truth, beside, file.unit, positions, unit, kind)
    return Case(name, (group,), unit, partial(_open, path, file.name, kept), read)


def even_slices(n: int, subset: int | None) -> tuple[int, ...] | None:
    """Return ``subset`` of ``n`` slices, evenly from first to last; None where that is all of them.

    Raises
    ------
    SettingsError
        If fewer than 3 are wanted.
    """
    if subset is None:
        return None
    if subset < MIN_FRAMES:
        raise SettingsError(f"{subset} slices are too few; depth from focus needs at least {MIN_FRAMES}.")
    return None if subset >= n else tuple(int(i) for i in np.linspace(0, n - 1, subset).round())


def _truth_file(path: Path, wanted: TruthFile | None) -> TruthFile:
    folder = path if path.is_dir() else path.parent
    looked_for = TRUTH_FILES if wanted is None else (wanted,)
    for file in looked_for:
        if (folder / file.name).is_file():
            return file
    names = " or ".join(file.name for file in looked_for)
    raise StackError(
        f"no true depth lies beside the frames of {path}: looked for {names} in {folder}. "
        "Put it there, or name the file with --truth."
    )


def _open(path: Path, truth_name: str, kept: tuple[int, ...] | None = None) -> FocalStack:
    try:
        stack = open_stack(path, OpenOptions(skip=(truth_name,)))
    except SettingsError:  # the name alone kept it from being taken for a frame
        stack = open_stack(path)
    return stack if kept is None else stack.subset(kept)


def _truth_shape(path: Path) -> tuple[int, ...]:
    try:
        if path.suffix.lower() == ".npy":
            return tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape)
        with tifffile.TiffFile(path) as file:
            return tuple(file.series[0].shape)
    except (OSError, ValueError, IndexError, tifffile.TiffFileError) as error:
        raise StackError(
            f"{path} cannot be read as true depth ({error}). Give a TIFF or .npy file with one number a pixel."
        ) from error


def _read_truth(path: Path, given: TruthUnit, positions: Floats, unit: Unit, kind: Kind) -> Map:
    is_array = path.suffix.lower() == ".npy"
    values = (np.load(path, allow_pickle=False) if is_array else tifffile.imread(path)).astype(np.float64)
    if given == "stack":
        return values
    places = (np.arange(len(positions)), focus_coordinate(positions, unit, kind))
    inside = (values >= 0) & (values <= len(positions) - 1)
    coordinate = np.where(inside, np.interp(np.where(inside, values, 0), *places), np.nan)
    return to_positions(coordinate, positions, unit, kind)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape[::-1])


def rendered_cases(count: int, folder: Path, subset: int | None = None, report: Report = silent) -> list[Case]:
    """Return the first ``count`` stacks of the built-in validation set, which no training sees.

    They are rendered now, into ``folder``, which must stay until the evaluation is over. With ``subset``
    the same scenes are rendered with so many slices each, evenly or unevenly spaced as the set has it;
    noise is drawn anew, and the blur of one step stays what it is, so that longer sweeps blur more at
    their ends. Positions and depth run from 0 to 1 over the sweep.

    Raises
    ------
    SettingsError
        If ``count`` is 0, or fewer than 3 slices are wanted.
    """
    if count < 1:
        raise SettingsError("0 rendered stacks were asked for; give 1 or more.")
    even_slices(MIN_FRAMES, subset)
    from dffnets.synthetic.random_scenes import random_stack
    from dffnets.synthetic.validation import VALIDATION_SEED, validation_set

    cases = []
    stacks = iter(validation_set(count))
    for k in range(count):
        report(Progress(k / count, f"rendering stack {k + 1} of {count}"))
        if subset is None:
            rendered = next(stacks)
        else:
            rendered = random_stack((VALIDATION_SEED, k), ("macro", "micro")[k % 2], subset)
        file = folder / f"validation_{k:03d}_{rendered.kind}.npz"
        np.savez(
            file,
            frames=rendered.frames.numpy(),
            positions=rendered.positions.numpy().astype(np.float64),
            depth=rendered.depth.float().numpy(),
        )
        groups = ("validation", f"validation/{rendered.kind}")
        cases.append(Case(file.stem, groups, "um", partial(_open_arrays, file), partial(_read_array, file)))
    return cases


def _open_arrays(file: Path) -> FocalStack:
    with np.load(file, allow_pickle=False) as arrays:
        positions = Sourced(arrays["positions"], "rendered")
        return FocalStack.create(
            ArraySource(arrays["frames"]), positions, "um", Sourced("microscope", "rendered"), name=file.stem
        )


def _read_array(file: Path) -> Map:
    with np.load(file, allow_pickle=False) as arrays:
        depth: Map = arrays["depth"]
        return depth
