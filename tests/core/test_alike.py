"""Stacks calibrated like others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from toposcope.core.alike import Calibrating, edit_like, typed_like
from toposcope.core.calibration import Sourced
from toposcope.core.editing import CalibrationEdit, edited_stack
from toposcope.core.marks import Line, Marks
from toposcope.core.source import OpenOptions
from toposcope.core.stack import FocalStack
from toposcope.core.surface import Area
from window_fakes import make_stack


def unknown(n: int = 5) -> FocalStack:
    """Return a stack whose files tell nothing."""
    stack = make_stack(n)
    guess: Any = Sourced(np.arange(float(n)), "frame order", True)
    kind, near = (replace(one, guessed=True) for one in (stack.kind, stack.near))
    return replace(stack, positions=guess, unit="index", kind=kind, near=near, pixel_um=None)  # type: ignore[arg-type]


TOLD = OpenOptions(z_step=3.0, unit="um", kind="microscope", near="low", pixel_um=0.25)


def test_what_was_typed_holds_for_all() -> None:
    for stack in (make_stack(), unknown()):
        edit = edit_like(stack, Calibrating(typed=TOLD))
        assert edit == CalibrationEdit((0.0, 3.0, 6.0, 9.0, 12.0), "um", "microscope", "low", 0.25)
        assert edited_stack(stack, edit).positions.origin == "typed in"


def test_what_files_told_counts_only_where_a_stack_tells_nothing() -> None:
    assert edit_like(make_stack(), Calibrating(told=TOLD)) == CalibrationEdit(kind="microscope")
    assert edit_like(unknown(), Calibrating(told=TOLD)).positions == (0.0, 3.0, 6.0, 9.0, 12.0)
    both = edit_like(unknown(), Calibrating(OpenOptions(pixel_um=2.0), TOLD))
    assert (both.pixel_um, both.unit) == (2.0, "um")


def test_what_was_typed_over_a_stack_is_typed_over_others() -> None:
    for edit in (CalibrationEdit((4.0, 6.0, 8.0), "um", "camera", "high", 0.5), CalibrationEdit((9.0, 7.0, 5.0), "mm")):
        again = edit_like(unknown(4), typed_like(edit))
        assert np.diff(again.positions or ()).tolist() == [np.diff(edit.positions or ())[0]] * 3
        assert (again.unit, again.kind, again.near, again.pixel_um) == (edit.unit, edit.kind, edit.near, edit.pixel_um)
    uneven = CalibrationEdit((0.0, 1.0, 3.0), "um")
    assert edit_like(unknown(3), typed_like(uneven)) == uneven
    assert edit_like(unknown(4), typed_like(uneven)) == CalibrationEdit()


def test_positions_of_another_number_of_frames_are_left_out() -> None:
    uneven = Calibrating(typed=OpenOptions(positions=(0.0, 1.0, 3.0), unit="mm", pixel_um=2.0))
    assert edit_like(unknown(5), uneven) == CalibrationEdit(pixel_um=2.0)
    assert edit_like(unknown(3), uneven).positions == (0.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("marks", "fits"),
    [
        (Marks(), True),
        (Marks((Line(1, (0.0, 0.0), (47.0, 63.0), 0),), Area(0, 0, 48, 64)), True),
        (Marks((Line(1, (0.0, 0.0), (47.5, 63.0), 0),)), False),
        (Marks(area=Area(0, 0, 49, 64)), False),
        (Marks(step=(Area(0, 0, 2, 2), Area(-1, 0, 2, 2))), False),
    ],
)
def test_marks_that_lie_within_a_picture(marks: Marks, fits: bool) -> None:
    assert marks.fit((48, 64)) is fits
