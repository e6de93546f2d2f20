"""Pins: set by a click, dragged, removed with undo; their focus curves follow.

While two results are compared, the curves of both are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from toposcope.core.curve import FocusCurve
from toposcope.core.jobs import Progress, Report
from toposcope.core.marks import Pin
from toposcope.core.result import DepthResult
from toposcope.ui import theme
from toposcope.ui.commands import ChangeState, push
from toposcope.ui.resolve import compared_runs, map_pixel, pin_apart, pin_facts, pin_table
from toposcope.ui.session import Run, Session, State
from toposcope.ui.views.curve_view import PinCurve, PinDepth, Side
from toposcope.ui.workers import LatestRunner

CurveReader = Callable[[DepthResult, int, int], FocusCurve]
Curves = tuple[tuple[Pin, FocusCurve], ...]


class CurveShow(Protocol):
    """The curve view, as far as it is needed here."""

    def set_curves(self, pins: Any, names: tuple[str, str] = ("", "")) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """The curve that was read for a pin, from the run of this number."""

    pin: Pin
    run: int
    curve: FocusCurve


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
        self.curves: Curves = ()  # of the result that is shown
        self._reads: tuple[_Read, ...] = ()
        self.runner = LatestRunner("curves", self)
        self.runner.returned.connect(self._on_read)
        self.runner.failed.connect(self._on_failed)
        session.changed.connect(self._on_changed)

    def add(self, row: int, column: int) -> None:
        """Set a pin."""
        state = self._session.state
        if state.shape is None:
            return
        height, width = state.shape
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
        runs, same_runs = _runs(now), _runs(now) == _runs(before)
        if now.pins == before.pins and same_runs:
            if _sides(now) != _sides(before) or now.run is not before.run or now.pixel_um != before.pixel_um:
                self._show(self._reads)
            return
        if not now.pins or not runs:
            self.runner.drop()
            self._show(())
            return
        pins, known = now.pins, self._reads
        # a dragged pin shows each curve that is ready, however quick the hand
        begin = self.runner.follow if same_runs else self.runner.start
        begin(lambda report: read_curves(runs, pins, known, self._curve_at, report))

    def _on_read(self, reads: tuple[_Read, ...]) -> None:
        there = {pin.number for pin in self._session.state.pins}
        self._show(tuple(read for read in reads if read.pin.number in there))

    def _show(self, reads: tuple[_Read, ...]) -> None:
        state, colours = self._session.state, theme.colours().pins
        sides, self._reads = _sides(state), reads
        self.curves = tuple((read.pin, read.curve) for read in reads if read.run == state.shown_run)
        letters: dict[int | None, Side] = {run.number: side for side, run in sides} or {state.shown_run: ""}
        pins = {pin.number: pin for pin in state.pins}
        shown: list[PinCurve | PinDepth] = []
        for read in reads:
            run = state.run_of(read.run)
            if run is not None and read.run in letters and read.pin.number in pins:
                colour, side = colours[read.pin.colour % len(colours)], letters[read.run]
                apart = pin_apart(state, run, pins[read.pin.number])
                shown.append(PinCurve(read.pin.number, colour, read.curve, side, apart))
        for run in state.full_runs:
            if run.number not in letters or run.result.volume is not None:
                continue
            for pin in state.pins:
                text, details = pin_facts(run, pin)
                apart = pin_apart(state, run, pin)
                details = f"{details} · {apart}" if apart else details
                colour, side = colours[pin.colour % len(colours)], letters[run.number]
                shown.append(PinDepth(pin.number, colour, text, details, side))
        order = {number: i for i, number in enumerate(pins)}
        shown.sort(key=lambda one: (order[one.pin], one.side))
        names = [f"{run.title}{'' if run.result.volume is not None else ' (no curves kept)'}" for _, run in sides]
        self._view.set_curves(shown, (names[0], names[1]) if names else ("", ""))

    def show_again(self) -> None:
        """Show the curves in the colours of a new theme."""
        self._show(self._reads)

    def _on_failed(self, error: Exception) -> None:
        self._show(())
        self._session.say(f"The focus curves cannot be read any more: {error}", "error")


def _sides(state: State) -> tuple[tuple[Side, Run], ...]:
    """Return A and B while they are compared, else nothing."""
    pair = compared_runs(state)
    return (("A", pair[0]), ("B", pair[1])) if pair else ()


def _runs(state: State) -> tuple[Run, ...]:
    """Return the runs whose curves are wanted: the one that is shown, and A and B while they are compared."""
    wanted = [state.run, *(run for _, run in _sides(state))]
    with_curves = {run.number: run for run in wanted if run is not None and run.result.volume is not None}
    return tuple(with_curves[number] for number in sorted(with_curves))


def read_curves(
    runs: tuple[Run, ...],
    pins: tuple[Pin, ...],
    known: tuple[_Read, ...],
    curve_at: CurveReader,
    report: Report,
) -> tuple[_Read, ...]:
    """Return the curve of each pin in each run; those in ``known`` are not read again."""
    there = {(read.run, read.pin.row, read.pin.column): read.curve for read in known}
    reads = []
    for pin in pins:
        for run in runs:
            report(Progress(0.0))
            curve = there.get((run.number, pin.row, pin.column))
            reads.append(_Read(pin, run.number, curve or curve_at(run.result, *map_pixel(run, pin.row, pin.column))))
    return tuple(reads)
