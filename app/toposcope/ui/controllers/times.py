"""Time series: another time point of the file that is open, and all of them as a batch.

::

    slider moved ──> the stack of that time is opened ──> its stored result, else its depth is computed
    all times    ──> a folder is asked for ──> one result a time point, and a table ──> the slider shows them
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject

from toposcope.core.calibration import UNIT_SYMBOLS
from toposcope.core.editing import edited_stack, worked_stack
from toposcope.core.export import read_result
from toposcope.core.jobs import Progress, Report
from toposcope.core.result import DepthResult
from toposcope.core.series import Estimate, Series, TimeRow, estimate_times, finished_times
from toposcope.core.stack import FocalStack
from toposcope.core.words import number
from toposcope.errors import StackError
from toposcope.ui.controllers.estimating import EstimatingController
from toposcope.ui.controllers.exporting import proposed_folder
from toposcope.ui.controllers.opening import OpeningController, problem
from toposcope.ui.session import Inputs, Job, Message, Session, State
from toposcope.ui.workers import LatestRunner

AskFolder = Callable[[Path], Path | None]
MOST_TOLD = 3
"""Failures that are told one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """A time point that was opened, with its stored result if there is one, and what that was made with."""

    time: int
    stack: FocalStack
    result: DepthResult | None
    inputs: Inputs | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Where the results of a batch are, what they were made with, and of which file they are."""

    folder: Path
    inputs: Inputs
    of: tuple[Any, ...]


class TimesController(QObject):
    """Shows the time points of a file and does all of them. ``ask_folder`` lets the user choose, given a proposal."""

    def __init__(
        self,
        session: Session,
        opening: OpeningController,
        estimating: EstimatingController,
        estimate: Estimate,
        ask_folder: AskFolder,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._opening, self._estimating = session, opening, estimating
        self._estimate, self._ask_folder = estimate, ask_folder
        self._batch: _Batch | None = None
        # of the last batch that is done, as far as it is: another one may run already
        self._folders: dict[int, Path] = {}
        self._inputs: Inputs | None = None
        self.runner = LatestRunner("time", self)
        self.runner.returned.connect(self._on_opened)
        self.runner.failed.connect(self._on_not_opened)
        self.batch = LatestRunner("all-times", self)
        self.batch.returned.connect(self._on_done)
        self.batch.failed.connect(self._on_failed)
        self.batch.cancelled.connect(self._on_stopped)
        self.batch.progressed.connect(lambda progress: session.set_job("times", Job("All times", progress)))
        session.changed.connect(self._on_changed)

    def show(self, time: int) -> None:
        """Look at another time point; times beyond the ends mean the ends."""
        stack = self._session.state.opened
        part = stack.part("time") if stack is not None else None
        if stack is None or part is None or stack.reopen is None:
            return
        time = min(max(time, 0), len(part.options) - 1)
        if time == part.chosen:
            self.runner.drop()
            return
        reopen, folder, inputs = stack.reopen, self._folders.get(time), self._inputs

        def work(report: Report) -> _Shown:
            other = reopen({"time": time}, report)
            return _Shown(time, other, None if folder is None else _stored(folder), inputs)

        self.runner.follow(work)

    def step(self, by: int) -> None:
        """Look at the time point so many further on."""
        stack = self._session.state.opened
        part = stack.part("time") if stack is not None else None
        if part is not None:
            self.show(part.chosen + by)

    def run(self) -> None:
        """Let the user choose a folder, and do all time points into it."""
        state = self._session.state
        stack = state.opened
        if stack is None or stack.part("time") is None:
            return
        folder = self._ask_folder(proposed_folder(stack.path, stack.name).with_name(f"{stack.name}-times"))
        if folder is None:
            return
        batch = _Batch(folder, state.inputs, _identity(stack))
        self._batch, estimate = batch, self._estimate
        self._session.set(message=None)
        self._session.set_job("times", Job("All times", Progress(0.0)))

        def work(report: Report) -> Series:
            inputs = batch.inputs
            return estimate_times(
                stack,
                inputs.settings,
                batch.folder,
                report,
                prepare=lambda one: worked_stack(edited_stack(one, inputs.edit), inputs.skipped),
                also=_also(inputs),
                estimate=estimate,
            )

        self.batch.start(work)

    def cancel(self) -> None:
        """Stop the batch; results that are done stay."""
        self.batch.cancel()

    def _on_changed(self, before: State, now: State) -> None:
        if now.opened is before.opened:
            return
        if now.opened is None or before.opened is None or _identity(now.opened) != _identity(before.opened):
            self.runner.drop()
            if self.batch.busy:
                self.batch.drop()
                self._session.set_job("times", None)
            self._batch, self._folders, self._inputs = None, {}, None
            if now.times_done:
                self._session.set(times_done=frozenset())

    def _on_opened(self, shown: _Shown) -> None:
        run = None
        if shown.result is not None and shown.inputs is not None:
            run = self._estimating.adopted(shown.result, shown.inputs)
        self._opening.show_time(shown.stack, shown.time, run)

    def _on_not_opened(self, error: Exception) -> None:
        self._session.set(message=problem(error))

    def _on_done(self, series: Series) -> None:
        self._session.set_job("times", None)
        self._found({row.time: row.folder for row in series.rows if row.folder is not None})
        self._session.set(message=_told(series))

    def _on_stopped(self) -> None:
        self._session.set_job("times", None)
        stack, batch = self._session.state.opened, self._batch
        if stack is None or batch is None:
            return
        self._found(finished_times(stack, batch.inputs.settings, batch.folder, also=_also(batch.inputs)))
        done = len(self._folders)
        count = f"{done} time point{'s are' if done != 1 else ' is'} done"
        text = f"Stopped; {count}. The same command goes on with the rest."
        self._session.set(message=Message(text, "info"))

    def _on_failed(self, error: Exception) -> None:
        self._session.set_job("times", None)
        self._session.set(message=problem(error))

    def _found(self, folders: dict[int, Path]) -> None:
        self._folders, self._inputs = folders, None if self._batch is None else self._batch.inputs
        self._session.set(times_done=frozenset(folders))


def _identity(stack: FocalStack) -> tuple[Any, ...]:
    """Return what all time points of a file have in common."""
    return stack.path, tuple((part.name, part.chosen) for part in stack.parts if part.name != "time")


def _also(inputs: Inputs) -> str:
    """Return what results depend on beside file and settings."""
    return f"{inputs.edit} without {sorted(inputs.skipped)}"


def _stored(folder: Path) -> DepthResult | None:
    """Return the result in a folder, None where it is gone: then it is computed."""
    try:
        return read_result(folder)
    except StackError:
        return None


def _told(series: Series) -> Message:
    """Say what came of a batch."""
    where = f"The results and the table {series.table.name} are in {series.table.parent}."
    if not series.failed:
        return Message(f"All {len(series.rows)} time points are done. {where}{_range(series.rows)}", "info")
    told = "\n".join(f"{row.label}: {row.problem}" for row in series.failed[:MOST_TOLD])
    more = len(series.failed) - MOST_TOLD
    rest = f"\nand {more} more, see the table." if more > 0 else ""
    done = len(series.rows) - len(series.failed)
    return Message(f"{done} of {len(series.rows)} time points are done. {where}\n{told}{rest}", "warning")


def _range(rows: tuple[TimeRow, ...]) -> str:
    """Say how the middle of the depth moves over the series."""
    medians = [row.median for row in rows if row.median is not None]
    if not medians:
        return ""
    unit = UNIT_SYMBOLS[rows[0].unit] if rows[0].unit in UNIT_SYMBOLS else rows[0].unit
    first, last = number(medians[0]), number(medians[-1])
    moves = f"stays at {last}" if first == last else f"goes from {first} to {last}"
    return f" The median depth {moves} {unit}."
