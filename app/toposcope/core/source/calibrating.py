"""Bring together what files, names, EXIF, ``stack.json`` and the user say of positions and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toposcope.core.calibration import MICROMETRES, TYPED, Floats, Kind, Side, Sourced, Unit
from toposcope.core.source.naming import positions_from_names
from toposcope.core.source.options import OpenOptions
from toposcope.core.source.sidecar import SIDECAR_NAME, PositionList, Sidecar, read_positions_file
from toposcope.core.stack import FocalStack, FrameSource
from toposcope.errors import CalibrationError


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames in reading order: ``names`` of all, and the ``places`` of those that are kept.

    ``listed`` (N,) is the place of each frame in the order in which the folder or file lists them:
    the reading order may be by time, or reversed. ``partial`` tells that more frames may follow, so that lists
    of positions may be longer.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    listed: tuple[int, ...]
    partial: bool = False

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the frames that are kept."""
        return tuple(self.names[k] for k in self.places)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `FocalStack.create` needs to know beside the frames."""

    positions: Sourced[Floats] | None
    unit: Unit
    kind: Sourced[Kind] | None
    near: Sourced[Side] | None
    pixel_um: Sourced[float] | None
    notes: tuple[str, ...]

    def of(self, source: FrameSource, name: str, path: Path | None, **more: Any) -> FocalStack:
        """Return the stack of ``source`` with this calibration; ``more`` goes to `FocalStack.create`."""
        return FocalStack.create(
            source, self.positions, self.unit, self.kind, self.near, self.pixel_um, name, path, **more
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """Positions of the kept frames; ``unit`` None where nobody stated one."""

    positions: Sourced[Floats]
    unit: Unit | None
    kind: Kind | None = None


def calibrate(
    frames: Frames,
    options: OpenOptions,
    sidecar: Sidecar,
    from_file: Sourced[Floats] | None,
    pixel_um: Sourced[float] | None,
    kind: Sourced[Kind] | None,
    distances_m: Floats | None,
    read_names: bool,
) -> Calibration:
    """Choose the positions: typed in, then ``stack.json``, the file's metadata, names, EXIF.

    ``from_file`` (N,) are heights in micrometres and ``distances_m`` (N,) distances, both of the kept
    frames. A typed unit says what positions without a unit are in; positions with a unit are
    converted to it; ``index`` leaves positions out.

    Raises
    ------
    CalibrationError
        If the number of positions does not fit, or they contradict themselves.
    """
    notes: list[str] = []
    found = _typed(frames, options) or _from_sidecar(frames, sidecar)
    if found is None and from_file is not None:
        found = _Found(from_file, "um", "microscope")
    if found is None and read_names:
        found = _from_names(frames)
    if found is None and distances_m is not None:
        if len(np.unique(distances_m)) == len(distances_m):
            found = _Found(Sourced(distances_m, "EXIF SubjectDistance"), "m", "camera")
        else:
            notes.append("EXIF distances are too coarse to tell the frames apart and are not used")
    asked = options.kind or sidecar.kind
    kind = (
        Sourced(options.kind, TYPED) if options.kind else Sourced(sidecar.kind, SIDECAR_NAME) if sidecar.kind else kind
    )
    near = Sourced(options.near, TYPED) if options.near else None
    if near is None and sidecar.near:
        near = Sourced(sidecar.near, SIDECAR_NAME)
    if options.pixel_um is not None:
        pixel_um = Sourced(options.pixel_um, TYPED)
    elif sidecar.pixel_um is not None:
        pixel_um = Sourced(sidecar.pixel_um, SIDECAR_NAME)
    if found is None or options.unit == "index":
        if options.unit not in (None, "index"):
            notes.append(f"there are no positions to show in {options.unit}; give a step or positions")
        return Calibration(None, "index", kind, near, pixel_um, tuple(notes))
    positions, unit = found.positions, found.unit
    if found.kind and (kind is None or kind.guessed):
        kind = Sourced(found.kind, positions.origin)
    elif kind is not None and kind.guessed and kind.value == "camera" and positions.value.min() <= 0:
        kind = Sourced("microscope", "guessed: no distances, since they do not all lie above 0", guessed=True)
    if unit is None:
        unit = options.unit or _guess_unit(positions.value, asked or found.kind)
        if options.unit is None:
            positions = Sourced(positions.value, f"{positions.origin}, unit guessed", guessed=True)
            notes.append(f"no unit is stated with the positions ({found.positions.origin}); {unit} is guessed")
    elif options.unit and options.unit != unit:
        if unit == "index":
            raise CalibrationError(f"positions in slices ({positions.origin}) cannot be shown in {options.unit}.")
        positions = replace(positions, value=positions.value * (MICROMETRES[unit] / MICROMETRES[options.unit]))
        unit = options.unit
    return Calibration(positions, unit, kind, near, pixel_um, tuple(notes))


def _guess_unit(values: Floats, kind: Kind | None) -> Unit:
    """Guess metres for what can be distances from a camera, micrometres else."""
    if kind is None:
        kind = "camera" if values.min() > 0 else "microscope"
    return "m" if kind == "camera" else "um"


def _typed(frames: Frames, options: OpenOptions) -> _Found | None:
    given = [options.positions is not None, options.positions_file is not None, options.z_step is not None]
    if sum(given) > 1:
        raise CalibrationError("give only one of positions, a positions file and a z step.")
    if options.positions is not None:
        return _Found(Sourced(_fitting(frames, options.positions, TYPED), TYPED), options.unit)
    if options.positions_file is not None:
        listed = read_positions_file(options.positions_file)
        values = _fitting(frames, _in_order(frames, listed, options.positions_file.name), options.positions_file.name)
        return _Found(Sourced(values, f"positions file {options.positions_file.name}"), listed.unit)
    if options.z_step is not None:
        if not np.isfinite(options.z_step) or options.z_step == 0:
            raise CalibrationError(f"the z step is {options.z_step:g}; it must be a number other than 0.")
        return _Found(Sourced(_steps(frames, options.z_step), TYPED), options.unit, "microscope")
    return None


def _from_sidecar(frames: Frames, sidecar: Sidecar) -> _Found | None:
    if sidecar.positions is not None:
        values = _fitting(frames, sidecar.positions, SIDECAR_NAME)
        if len(sidecar.positions) == len(frames.names) or frames.partial:
            # it tells each file's position, which no other reading order changes
            values = np.array([sidecar.positions[frames.listed[k]] for k in frames.places])
        else:
            values = values[np.argsort(np.argsort([frames.listed[k] for k in frames.places]))]
        return _Found(Sourced(values, SIDECAR_NAME), sidecar.unit)
    if sidecar.z_step is not None:
        return _Found(Sourced(_steps(frames, sidecar.z_step), SIDECAR_NAME), sidecar.unit, "microscope")
    return None


def _from_names(frames: Frames) -> _Found | None:
    named = positions_from_names(frames.kept)
    if named is None:
        return None
    return _Found(Sourced(named.values, "file name"), named.unit, "microscope" if named.is_z else None)


def _steps(frames: Frames, step: float) -> Floats:
    """Return equal steps in reading order; a frame that is left out leaves its gap."""
    return np.array(frames.places, dtype=np.float64) * step


def _fitting(frames: Frames, values: Sequence[float], origin: str) -> Floats:
    """Return one position for each kept frame, from as many as there are frames or kept frames."""
    if len(values) == len(frames.names) or (frames.partial and len(values) > len(frames.names)):
        return np.array([values[k] for k in frames.places], dtype=np.float64)
    if len(values) == len(frames.places):
        return np.array(values, dtype=np.float64)
    raise CalibrationError(
        f"{origin} gives {len(values)} positions, but there are {len(frames.places)} frames. "
        "Give one position for each frame."
    )


def _in_order(frames: Frames, listed: PositionList, origin: str) -> Sequence[float]:
    if listed.names is None:
        return listed.values
    by_name = dict(zip(listed.names, listed.values, strict=True))
    if len(by_name) != len(listed.names):
        raise CalibrationError(f"{origin} names a frame twice.")
    missing = [name for name in frames.kept if name not in by_name]
    if missing:
        raise CalibrationError(f"{origin} gives no position for {missing[0]}. Give one for each frame.")
    return [by_name[name] for name in frames.kept]
