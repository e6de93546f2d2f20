"""Stacks whose depth is known: where they lie, and how their truth is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from toposcope.core.calibration import (
    MICROMETRES,
    UNIT_SYMBOLS,
    Floats,
    Kind,
    Sourced,
    Unit,
    focus_coordinate,
    to_positions,
)
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import MIN_FRAMES, ArraySource, FocalStack
from toposcope.errors import SettingsError, StackError

if TYPE_CHECKING:
    from dffnets.data import Samples
    from dffnets.synthetic.validation import HeldOut

Map = NDArray[np.floating]
TruthUnit = Literal["stack", "slices", "um", "mm", "m"]


@dataclass(frozen=True, slots=True)
class TruthFile:
    """A file of true depth that lies beside the frames.

    ``name`` a TIFF, .npy, .pfm or .png of (H, W) numbers, NaN where unknown (in a .png 0, unless it holds slices), with
    ``{stack}`` for the name of the stack; it may be the path to another folder. ``unit`` whether they are positions in
    the unit of the stack or in another length, or slices, counted from 0 at the lowest position, with fractions.
    """

    name: str
    unit: TruthUnit = "stack"


TRUTH_FILES: Final = (TruthFile("true_depth.tif"), TruthFile("gt_slice_index.tif", "slices"))
"""What is looked for unless a name is given; the first is what `toposcope.core.simulate` writes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One stack whose depth is known.

    ``groups`` are the rows of the table that it is averaged in; ``symbol`` the unit of its positions, for
    reading. ``open`` returns the stack, in other processes too, so it must be picklable; ``truth`` returns
    its depth (H, W) in positions of the stack, NaN where unknown. Both are called within ``ready()``,
    which puts in place what has to be made first, and may raise `StackError`.
    """

    name: str
    groups: tuple[str, ...]
    symbol: str
    open: Callable[[], FocalStack]
    truth: Callable[[], Map]
    ready: Callable[[], AbstractContextManager[None]] = nullcontext


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
    name, file = _name(path), truth_file(path, truth)
    beside = _folder(path) / file.name
    opened = partial(_open, path, file.name)
    stack = opened()
    try:
        n, unit, kind, positions = stack.n, stack.unit, stack.kind.value, stack.positions.value
        _check_unit(beside, file.unit, unit)
        shape = _truth_shape(beside)
        if shape != stack.shape:
            raise StackError(
                f"{beside} has {_size(shape)} pixels, the frames have {_size(stack.shape)}; "
                "the truth must have one value for each pixel of a frame."
            )
    finally:
        stack.close()
    kept = even_slices(n, subset)
    read = partial(read_map, beside, file.unit, positions, unit, kind)
    return Case(name, (group,), UNIT_SYMBOLS[unit], partial(_open, path, file.name, kept), read)


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
    return None if subset >= n else _evenly(n, subset)


def _evenly(n: int, count: int) -> tuple[int, ...]:
    """Return ``count`` of the numbers below ``n``, evenly from first to last."""
    return tuple(int(i) for i in np.linspace(0, n - 1, count).round())


def _name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.name.split(".")[0]


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def truth_file(path: Path, wanted: TruthFile | None = None) -> TruthFile:
    """Return the file of the true depth of the stack at ``path``, by its way from the folder of the frames.

    Raises
    ------
    StackError
        If there is none.
    """
    folder = _folder(path)
    looked_for = TRUTH_FILES if wanted is None else (replace(wanted, name=wanted.name.replace("{stack}", _name(path))),)
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
        if path.suffix.lower() in _PICTURES:
            return _picture(path).shape
        with tifffile.TiffFile(path) as file:
            return tuple(file.series[0].shape)
    except (OSError, ValueError, IndexError, tifffile.TiffFileError) as error:
        raise StackError(
            f"{path} cannot be read as depth ({error}). Give a TIFF, .npy, .pfm or .png file with one number a pixel."
        ) from error


def _check_unit(path: Path, given: TruthUnit, unit: Unit) -> None:
    if given in MICROMETRES and unit not in MICROMETRES:
        raise StackError(
            f"{path} is in {UNIT_SYMBOLS[cast('Unit', given)]}, but its frames have slice numbers for positions. "
            "Put a stack.json with positions and their unit beside the frames."
        )


def read_map(path: Path, given: TruthUnit, positions: Floats, unit: Unit, kind: Kind) -> Map:
    """Return the depth (H, W) in a file in the unit of the stack that has these ``positions``, NaN where not known.

    Raises
    ------
    StackError
        If the file is no depth map, or no length joins its unit and that of the stack.
    """
    _check_unit(path, given, unit)
    if len(_truth_shape(path)) != 2:
        raise StackError(f"{path} has {_size(_truth_shape(path))} numbers; a depth map has one for each pixel.")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        found = np.load(path, allow_pickle=False)
    else:
        found = _picture(path) if suffix in _PICTURES else tifffile.imread(path)
    values: Map = found.astype(np.float64)
    if suffix == ".png" and given != "slices":
        values[values == 0] = np.nan
    if given == "stack":
        return values
    if given != "slices":
        return values * (MICROMETRES[given] / MICROMETRES[unit])
    places = (np.arange(len(positions)), focus_coordinate(positions, unit, kind))
    inside = (values >= 0) & (values <= len(positions) - 1)
    coordinate = np.where(inside, np.interp(np.where(inside, values, 0), *places), np.nan)
    return to_positions(coordinate, positions, unit, kind)


_PICTURES: Final = (".pfm", ".png")


def _picture(path: Path) -> Map:
    """Return the numbers of a portable float map, or of a PNG, as they are; raises ValueError where it is none."""
    found = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED) if path.stat().st_size else None
    if found is None:
        raise ValueError("it is damaged, or no such picture")
    return found.astype(np.float64)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape[::-1])


def rendered_cases(
    count: int,
    folder: Path,
    subset: int | None = None,
    report: Report = silent,
    which: HeldOut = "validation",
) -> list[Case]:
    """Return the first ``count`` stacks of the built-in validation or test set, which no training sees.

    They are rendered now, into ``folder``, which must stay until the evaluation is over. With ``subset``
    the same scenes are rendered with so many slices each; all that is drawn after the scene (spacing,
    blur of a step, noise) is drawn anew. Positions and depth run from 0 to 1 over the sweep.

    Raises
    ------
    SettingsError
        If ``count`` is 0, or fewer than 3 slices are wanted.
    """
    if count < 1:
        raise SettingsError("0 rendered stacks were asked for; give 1 or more.")
    even_slices(MIN_FRAMES, subset)
    from dffnets.synthetic.validation import held_out_stack

    cases = []
    for k in range(count):
        report(Progress(k / count, f"rendering stack {k + 1} of {count}"))
        rendered = held_out_stack(which, k, subset)
        file = folder / f"{which}_{k:03d}_{rendered.kind}.npz"
        positions = rendered.positions.numpy().astype(np.float64)
        _write_arrays(file, rendered.frames.numpy(), positions, rendered.depth.float().numpy(), "um", "microscope")
        groups = (which, f"{which}/{rendered.kind}")
        cases.append(
            Case(file.stem, groups, "shares of the range", partial(_open_arrays, file), partial(_read_array, file))
        )
    return cases


def data_set_cases(
    name: str, root: Path, split: str, folder: Path, subset: int | None = None, at_most: int | None = None
) -> list[Case]:
    """Return the stacks of a split of a public data set; see `dffnets.data` for names, layouts and splits.

    They are read when they are needed, one at a time, by way of ``folder``, which must stay until the
    evaluation is over: readers load torch, which must not count as memory of a method.

    Parameters
    ----------
    at_most : take so many stacks only, evenly from first to last

    Raises
    ------
    SettingsError
        If there is no such data set, ``at_most`` is 0, or fewer than 3 slices are wanted.
    StackError
        If its files are missing; the text says where they come from.
    """
    from dffnets.data import CARDS, DataError

    if name not in CARDS:
        raise SettingsError(f"there is no data set {name!r}; known are {', '.join(CARDS)}.")
    if at_most is not None and at_most < 1:
        raise SettingsError(f"{at_most} stacks of {name} were asked for; give 1 or more.")
    even_slices(MIN_FRAMES, subset)  # now, rather than for every stack and method
    try:
        samples = CARDS[name].open(root, split)
        unit = samples[0].unit
    except DataError as error:
        raise StackError(str(error)) from error
    kept = _evenly(len(samples), min(at_most or len(samples), len(samples)))
    symbol = {"um": UNIT_SYMBOLS["um"], "unknown": "the unit of the data set"}.get(unit, unit)
    cases = []
    for k in kept:
        file = folder / f"{name}_{k:05d}.npz"
        label = f"{name}/{samples.names[k]}"
        opened, truth = partial(_open_arrays, file, subset), partial(_read_array, file)
        cases.append(Case(label, (f"{name} {split}",), symbol, opened, truth, partial(_sample_ready, samples, k, file)))
    return cases


@contextmanager
def _sample_ready(samples: Samples, k: int, file: Path) -> Iterator[None]:
    """Keep one sample of a data set as a file for as long as it is worked on."""
    from dffnets.data import DataError

    try:
        sample = samples[k]
    except DataError as error:
        raise StackError(str(error)) from error
    # disparities blur evenly as they stand, as slices do
    kind: Kind = "microscope" if sample.kind == "microscope" else "camera"
    unit: Unit = "index" if sample.kind == "disparity" else "um" if sample.kind == "microscope" else "m"
    _write_arrays(file, sample.frames, sample.positions, sample.depth, unit, kind)
    try:
        yield
    finally:
        file.unlink()


def _write_arrays(file: Path, frames: NDArray[np.uint8], positions: Floats, depth: Map, unit: Unit, kind: Kind) -> None:
    np.savez(file, frames=frames, positions=positions, depth=depth, unit=unit, kind=kind)


def _open_arrays(file: Path, subset: int | None = None) -> FocalStack:
    with np.load(file, allow_pickle=False) as arrays:
        unit, kind = cast("Unit", str(arrays["unit"])), cast("Kind", str(arrays["kind"]))
        positions, source = Sourced(arrays["positions"], "data"), ArraySource(arrays["frames"])
    stack = FocalStack.create(source, positions, unit, Sourced(kind, "data"), name=file.stem)
    kept = even_slices(stack.n, subset)
    return stack if kept is None else stack.subset(kept)


def _read_array(file: Path) -> Map:
    with np.load(file, allow_pickle=False) as arrays:
        depth: Map = arrays["depth"]
        return depth
