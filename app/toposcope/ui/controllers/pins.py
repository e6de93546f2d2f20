"""Pins: set by a click, dragged, removed with undo; their focus curves follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from toposcope.core.curve import FocusCurve
from toposcope.core.jobs import Progress, Report
from toposcope.core.result import DepthResult
from toposcope.ui import theme
from toposcope.ui.commands import ChangeState, push
from toposcope.ui.resolve import map_pixel, pin_table
from toposcope.ui.session import Pin, Run, Session, State
from toposcope.ui.workers import LatestRunner

CurveReader = Callable[[DepthResult, int, int], FocusCurve]
Curves = tuple[tuple[Pin, FocusCurve], ...]


class CurveShow(Protocol):
    """The curve view, as far as it is needed here."""

    def set_curves(self, curves: Any) -> None: ...


class PinsController(QObject):
    """Keeps the pins and their curves."""

    def __init__(
        self,
        session: Session,
        undo: QUndoStack,
        view: CurveShow,
        curve_at: CurveReader,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._undo, self._view, self._curve_at = session, undo, view, curve_at
        self._dragged: tuple[Pin, ...] | None = None
        self.curves: Curves = ()
        self.runner = LatestRunner("curves", self)
        self.runner.returned.connect(self._on_read)
        self.runner.failed.connect(self._on_failed)
        session.changed.connect(self._on_changed)

    def add(self, row: int, column: int) -> None:
        """Set a pin."""
        state = self._session.state
        if state.stack is None:
            return
        height, width = state.stack.shape
        if not (0 <= row < height and 0 <= column < width):
            return
        taken = {pin.number for pin in state.pins}
        number = next(i for i in range(1, len(taken) + 2) if i not in taken)
        pin = Pin(number, row, column, number - 1)
        push(self._undo, self._session, f"pin {number}", pins=(*state.pins, pin), chosen_pin=number)

    def move(self, number: int, row: int, column: int, finished: bool) -> None:
        """Move a pin; a whole drag is one step to undo."""
        pins = self._session.state.pins
        if self._dragged is None:
            self._dragged = pins
        moved = tuple(replace(pin, row=row, column=column) if pin.number == number else pin for pin in pins)
        self._session.set(pins=moved, chosen_pin=number)
        if finished:
            before, self._dragged = self._dragged, None
            if before != moved:
                self._undo.push(ChangeState(self._session, f"move pin {number}", {"pins": before}, {"pins": moved}))

    def choose(self, number: int | None) -> None:
        """Make a pin the chosen one."""
        self._session.set(chosen_pin=number)

    def remove(self, number: int | None = None) -> None:
        """Remove a pin, by default the chosen one, else the last."""
        state = self._session.state
        if number is None:
            number = state.chosen_pin or (state.pins[-1].number if state.pins else None)
        left = tuple(pin for pin in state.pins if pin.number != number)
        if len(left) < len(state.pins):
            chosen = left[-1].number if left else None
            push(self._undo, self._session, f"remove pin {number}", pins=left, chosen_pin=chosen)

    def remove_all(self) -> None:
        """Remove all pins."""
        if self._session.state.pins:
            push(self._undo, self._session, "remove all pins", pins=(), chosen_pin=None)

    def table(self) -> str:
        """Return what is known of the pins, for a spreadsheet."""
        return pin_table(self._session.state, self.curves)

    def _on_changed(self, before: State, now: State) -> None:
        if now.pins == before.pins and now.run is before.run:
            return
        run = now.run
        if not now.pins or run is None or run.result.volume is None:
            self.runner.drop()
            self._show(())
            return
        pins, known = now.pins, {(p.row, p.column): c for p, c in self.curves} if now.run is before.run else {}
        # a dragged pin shows each curve that is ready, however quick the hand
        begin = self.runner.follow if now.run is before.run else self.runner.start
        begin(lambda report: read_curves(run, pins, known, self._curve_at, report))

    def _on_read(self, curves: Curves) -> None:
        there = {pin.number for pin in self._session.state.pins}
        self._show(tuple((pin, curve) for pin, curve in curves if pin.number in there))

    def _show(self, curves: Curves) -> None:
        self.curves = curves
        colours = theme.colours().pins
        self._view.set_curves([(pin.number, colours[pin.colour % len(colours)], curve) for pin, curve in curves])

    def show_again(self) -> None:
        """Show the curves in the colours of a new theme."""
        self._show(self.curves)

    def _on_failed(self, error: Exception) -> None:
        self._show(())
        self._session.say(f"The focus curves cannot be read any more: {error}", "error")


def read_curves(
    run: Run,
    pins: tuple[Pin, ...],
    known: dict[tuple[int, int], FocusCurve],
    curve_at: CurveReader,
    report: Report,
) -> Curves:
    """Return the curve of each pin; those in ``known``, by pixel, are not read again."""
    curves = []
    for pin in pins:
        report(Progress(0.0))
        curve = known.get((pin.row, pin.column))
        curves.append((pin, curve or curve_at(run.result, *map_pixel(run, pin.row, pin.column))))
    return tuple(curves)
