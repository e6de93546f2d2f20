"""What a user lays over a stack that was read: calibration typed in, and frames left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toposcope.core.calibration import MICROMETRES, TYPED, Kind, Side, Sourced, Unit
from toposcope.core.source import OpenOptions
from toposcope.core.stack import FocalStack


@dataclass(frozen=True, slots=True)
class CalibrationEdit:
    """What the user typed over the calibration of the file; None leaves a value as it was read.

    ``positions`` (N,) in ``unit``; ``pixel_um`` 0 means: not known.
    """

    positions: tuple[float, ...] | None = None
    unit: Unit | None = None
    kind: Kind | None = None
    near: Side | None = None
    pixel_um: float | None = None


def without(edit: CalibrationEdit, wished: OpenOptions) -> CalibrationEdit:
    """Return what was typed before without what ``wished`` says anew; positions go with their unit.

    A unit of length alone, in which typed positions shall be told, takes none of them away: see `in_unit`.
    """
    places = (wished.positions, wished.positions_file, wished.z_step)
    if any(one is not None for one in places) or wished.unit == "index":
        edit = replace(edit, positions=None, unit=None)
    said = {name: None for name in ("kind", "near", "pixel_um") if getattr(wished, name) is not None}
    return replace(edit, **said)


def in_unit(stack: FocalStack, unit: Unit) -> FocalStack:
    """Return a stack with its positions told in another unit of length; where it knew none they count in that unit."""
    if stack.unit not in MICROMETRES:
        return edited_stack(stack, CalibrationEdit(unit=unit))
    values = stack.positions.value * (MICROMETRES[stack.unit] / MICROMETRES[unit])
    return replace(stack, positions=replace(stack.positions, value=values), unit=unit)


def edited_stack(opened: FocalStack, edit: CalibrationEdit) -> FocalStack:
    """Return ``opened`` with what the user typed.

    Raises
    ------
    CalibrationError
        If the typed values contradict themselves.
    """
    if edit == CalibrationEdit():
        return opened
    pixel = opened.pixel_um
    if edit.pixel_um is not None:
        pixel = Sourced(edit.pixel_um, TYPED) if edit.pixel_um > 0 else None
    positions = opened.positions
    if edit.positions is not None:
        positions = Sourced(np.asarray(edit.positions, dtype=np.float64), TYPED)
    # what was guessed from the unit is guessed again for another unit
    kind = None if opened.kind.guessed and edit.unit else opened.kind
    near = None if opened.near.guessed or edit.kind else opened.near
    stack = FocalStack.create(
        opened.source,
        positions,
        edit.unit or opened.unit,
        Sourced(edit.kind, TYPED) if edit.kind else kind,
        Sourced(edit.near, TYPED) if edit.near else near,
        pixel,
        opened.name,
        opened.path,
        opened.notes,
        opened.objective,
        opened.parts,
    )
    return replace(stack, void=opened.void, reopen=opened.reopen)


def worked_stack(stack: FocalStack, skipped: frozenset[int]) -> FocalStack:
    """Return the stack that a run works on: without the skipped frames.

    Raises
    ------
    StackError
        If too few frames are left.
    """
    return stack.subset([i for i in range(stack.n) if i not in skipped]) if skipped else stack
