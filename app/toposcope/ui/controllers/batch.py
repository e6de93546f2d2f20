"""A batch of stacks from the window: find them, do them in the background, show what came of each.

::

    paths added ──> looked into (runner `finding`) ──> rows ──start──> run_batch (runner `batch`) ──┬─> rows, one by one
                                                                                                    └─> progress
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from toposcope.core.alike import calibrating_like
from toposcope.core.batch import (
    Batch,
    BatchItem,
    BatchPlan,
    BatchProgress,
    BatchRow,
    plan_batch,
    run_batch,
    stack_key,
)
from toposcope.core.command_line import batch_command, quoted
from toposcope.core.jobs import Progress, Report
from toposcope.core.method import EstimateSettings, MethodCard
from toposcope.core.series import Estimate
from toposcope.core.source import ChoiceNeeded, OpenOptions
from toposcope.core.source.finding import Found, Source, each_position, find_stacks
from toposcope.errors import ToposcopeError
from toposcope.ui.batch_state import BatchState, reading_words
from toposcope.ui.controllers.opening import problem
from toposcope.ui.resolve import method_words
from toposcope.ui.session import Job, Message, Session, State
from toposcope.ui.views.batch_view import BatchDialog
from toposcope.ui.workers import LatestRunner, nicely

WhenClosed = Literal["go on", "stop", "stay"]
AskClose = Callable[[], WhenClosed]
"""Asks what to do when the batch window is closed while a batch runs."""
JOB = "batch"


@dataclass(frozen=True, slots=True)
class _Listed:
    """What was found in the paths that were added: stacks with their keys, and what was left out."""

    paths: tuple[Path, ...]
    stacks: tuple[tuple[Source, str], ...]
    left_out: tuple[str, ...]


class BatchController(QObject):
    """Runs batches and shows them in ``dialog``; method and calibration are those of the ``session``."""

    openRequested = Signal(object)  # folder of a result, or path of a stack
    copyRequested = Signal(str)
    _rowChanged = Signal(int, int, object)  # number of the batch, place, BatchRow

    def __init__(
        self,
        session: Session,
        dialog: BatchDialog,
        methods: Mapping[str, MethodCard],
        estimate: Estimate,
        ask_close: AskClose,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._dialog, self._methods = session, dialog, methods
        self._estimate, self._ask_close = estimate, ask_close
        self.state = BatchState()
        self._keys: tuple[str, ...] = ()
        self._waiting: list[Path] = []
        self._searched: dict[Path, frozenset[str]] = {}  # folders, and the keys of the stacks in them
        self._number = 0
        self.finding = LatestRunner("find-stacks", self)
        self.finding.returned.connect(self._on_found)
        self.finding.failed.connect(self._on_not_found)
        self.batch = LatestRunner("batch", self)
        self.batch.returned.connect(self._on_done)
        self.batch.failed.connect(self._on_failed)
        self.batch.cancelled.connect(self._on_stopped)
        self.batch.progressed.connect(self._on_progressed)
        self._rowChanged.connect(self._on_row)
        dialog.stacksAdded.connect(self.add)
        dialog.stacksRemoved.connect(self.remove)
        dialog.folderEdited.connect(lambda text: self._set(folder=text))
        dialog.formatsEdited.connect(lambda names: self._set(formats=names))
        dialog.sharedEdited.connect(lambda on: self._set(shared=on))
        dialog.skipEdited.connect(lambda on: self._set(skip_broken=on))
        dialog.anewEdited.connect(lambda on: self._set(anew=on))
        dialog.startRequested.connect(self.start)
        dialog.cancelRequested.connect(self.cancel)
        dialog.openRequested.connect(self.openRequested)
        dialog.copyRequested.connect(self.copy_command)
        dialog.messageClosed.connect(lambda: self._set(message=None))
        dialog.closeWished.connect(self._on_close_wished)
        session.changed.connect(self._on_session)
        self._show_session(session.state)
        dialog.set_state(self.state)

    # the list

    def add(self, paths: Sequence[Path]) -> None:
        """Add the stacks that lie in what was dropped or chosen."""
        if self.state.busy:
            self._say("While a batch is running its list stays as it is. Add others afterwards.")
            return
        self._waiting += paths
        self._set(message=None, looking=True)
        if not self.finding.busy:
            self._find_next()

    def remove(self, places: Sequence[int]) -> None:
        """Take stacks out of the list; their files and results stay."""
        if self.state.busy:
            return
        kept = [k for k in range(len(self.state.rows)) if k not in set(places)]
        self._keys = tuple(self._keys[k] for k in kept)
        self._set(rows=tuple(self.state.rows[k] for k in kept), summary="")

    def _find_next(self) -> None:
        paths, self._waiting = tuple(self._waiting), []

        def work(report: Report) -> _Listed:
            found = each_position(find_stacks(paths, report), report=report)
            return _Listed(paths, tuple((one, stack_key(one)) for one in found.sources), found.left_out)

        self.finding.start(work)

    def _on_found(self, listed: _Listed) -> None:
        rows, keys = list(self.state.rows), list(self._keys)
        for source, key in listed.stacks:
            if key not in keys:
                rows.append(BatchRow(BatchItem(source, source.name, Path())))
                keys.append(key)
        self._keys = tuple(keys)
        for path in listed.paths:
            inside = frozenset(key for source, key in listed.stacks if source.paths[0].is_relative_to(path))
            if inside:
                self._searched[path] = inside
        for source, _ in listed.stacks:
            if source.position:
                file = source.paths[0]
                self._searched[file] = frozenset(key for one, key in listed.stacks if one.paths[0] == file)
        self._set(rows=tuple(rows), looking=bool(self._waiting), message=_left_out(listed), summary="")
        if listed.stacks and not self.state.folder:
            self._set(folder=str(_proposed(listed)))
        if self._waiting:
            self._find_next()

    def _on_not_found(self, error: Exception) -> None:
        self._set(looking=bool(self._waiting), message=problem(error))
        if self._waiting:
            self._find_next()

    # doing them

    def start(self) -> None:
        """Do all stacks of the list; results that are up to date stay as they are."""
        state = self.state
        if state.busy or state.why_not:
            return
        sources = tuple(row.item.source for row in state.rows)
        folder = Path(state.folder.strip()).expanduser()
        settings, reading, named = self._settings(), self._reading(), tuple(self._named())
        self._number += 1
        number, estimate = self._number, self._estimate
        self._set(
            phase="running",
            rows=tuple(BatchRow(row.item) for row in state.rows),
            progress=Progress(0.0, "looking at what is there"),
            index=None,
            summary="",
            message=None,
        )
        self._session.set_job(JOB, Job("Batch", Progress(0.0)))

        def planned() -> BatchPlan:
            return plan_batch(
                Found(sources), folder, settings, reading, formats=state.formats, anew=state.anew, named=named
            )

        def work(report: Report) -> Batch:
            nicely()
            plan = planned()
            for place, item in enumerate(plan.items):
                self._rowChanged.emit(number, place, BatchRow(item))
            return run_batch(
                plan,
                report,
                lambda place, row: self._rowChanged.emit(number, place, row),
                estimate=estimate,
                sentence=_sentence,
            )

        self.batch.start(work)

    def cancel(self) -> None:
        """Stop the batch; results that are done stay."""
        if self.state.busy:
            self._set(phase="stopping")
            self.batch.cancel()

    def copy_command(self) -> None:
        """Offer the command line that does the same."""
        state = self.state
        paths: dict[Path, None] = {}
        for row, key in zip(state.rows, self._keys, strict=True):
            whole = next((path for path, keys in self._whole() if key in keys), None)
            if whole is None and row.item.source.position:
                self._say(f"A command does all positions of {row.item.source.paths[0].name}, and some are not here.")
                return
            paths |= dict.fromkeys(row.item.source.paths if whole is None else (whole,))
        folder = Path(state.folder.strip() or "results").expanduser()
        try:
            command = batch_command(
                list(paths), folder, self._settings(), self._reading(), state.formats, anew=state.anew
            )
        except ToposcopeError as error:
            self._set(message=problem(error))
            return
        self.copyRequested.emit(quoted(command))

    def shutdown(self) -> None:
        """Stop all background work."""
        for runner in self.runners():
            runner.shutdown()

    def runners(self) -> tuple[LatestRunner, ...]:
        """Return the background runners."""
        return self.finding, self.batch

    def _whole(self) -> list[tuple[Path, frozenset[str]]]:
        """Return the folders of which all stacks are in the list."""
        there = set(self._keys)
        return [(path, keys) for path, keys in self._searched.items() if keys <= there]

    def _named(self) -> list[Path]:
        """Return the folders in which stacks of the list were found."""
        there = set(self._keys)
        return [path for path, keys in self._searched.items() if not keys.isdisjoint(there)]

    def _settings(self) -> EstimateSettings:
        return replace(self._session.state.settings, keep_volume=False)

    def _reading(self) -> OpenOptions:
        """Return how all stacks are read, by what is open in the main window."""
        stack = self._session.state.stack
        if stack is None:
            return OpenOptions(skip_broken=self.state.skip_broken)
        # positions are stacks of their own in the list
        parts: dict[str, int | None] = {part.name: part.chosen for part in stack.parts if part.name != "series"}
        reading = calibrating_like(stack).all if self.state.shared else OpenOptions()
        return replace(reading.choosing(parts), skip_broken=self.state.skip_broken)

    # what comes back

    def _on_row(self, number: int, place: int, row: BatchRow) -> None:
        if number == self._number and place < len(self.state.rows):
            rows = self.state.rows
            self._set(rows=(*rows[:place], row, *rows[place + 1 :]), share=0.0)

    def _on_progressed(self, progress: Progress) -> None:
        if self.state.phase == "running" and isinstance(progress, BatchProgress):
            self._set(progress=progress, index=progress.index, share=progress.share)
            self._session.set_job(JOB, Job("Batch", progress))

    def _on_done(self, batch: Batch) -> None:
        where = f"The table {batch.table.name} is in {batch.table.parent}."
        counts = [
            f"{sum(row.state == state for row in batch.rows)} {state}" for state in ("done", "up to date", "failed")
        ]
        summary = f"{', '.join(one for one in counts if not one.startswith('0 '))}. {where}"
        level: Literal["info", "warning"] = "warning" if batch.failed or batch.incomplete else "info"
        message = Message(batch.table_problem, "warning") if batch.table_problem else None
        self._end(rows=batch.rows, summary=summary, message=message)
        self._session.set(message=Message(f"The batch has ended: {summary}", level))

    def _on_stopped(self) -> None:
        done = sum(row.state in ("done", "up to date") for row in self.state.rows)
        summary = f"Stopped; {done} of {len(self.state.rows)} are done. Start goes on with the rest."
        self._end(summary=summary)

    def _on_failed(self, error: Exception) -> None:
        self._end(message=problem(error))

    def _end(self, **changes: Any) -> None:
        self._session.set_job(JOB, None)
        rows = changes.pop("rows", self.state.rows)
        rows = tuple(replace(row, state="waiting") if row.state == "running" else row for row in rows)
        self._set(phase="idle", progress=Progress(0.0), index=None, share=0.0, rows=rows, **changes)
        self._show_session(self._session.state)

    def _on_close_wished(self) -> None:
        choice = self._ask_close() if self.state.busy else "go on"
        if choice == "stay":
            return
        if choice == "stop":
            self.cancel()
        self._dialog.hide()

    def _on_session(self, before: State, now: State) -> None:
        if now.settings != before.settings or now.stack is not before.stack:
            self._show_session(now)

    def _show_session(self, state: State) -> None:
        """Say what method and calibration of the main window are now; while a batch runs, what it began with stays."""
        if self.state.busy:
            return
        stack = state.stack
        calibration = "" if stack is None else reading_words(calibrating_like(stack).all)
        parts = (
            ""
            if stack is None
            else ", ".join(f"{part.label.lower()} {part.text}" for part in stack.parts if part.name != "series")
        )
        shared = self.state.shared and bool(calibration)
        method = ", ".join(method_words(state.settings, self._methods))
        self._set(method=method, calibration=calibration, parts=parts, shared=shared)

    def _say(self, text: str) -> None:
        self._set(message=Message(text, "info"))

    def _set(self, **changes: Any) -> None:
        now = replace(self.state, **changes)
        if now != self.state:
            self.state = now
            self._dialog.set_state(now)


def _sentence(error: Exception) -> str:
    """Return what went wrong with a stack, in the words of the window."""
    if isinstance(error, ChoiceNeeded):
        return f"{error} Open one such file in the window and choose there: the batch takes the same of all."
    return problem(error).text


def _left_out(listed: _Listed) -> Message | None:
    """Say what of the paths that were added is no stack."""
    if not listed.left_out:
        return None if listed.stacks else Message("No stacks were found there.", "warning")
    most = 3
    more = len(listed.left_out) - most
    told = "\n".join(listed.left_out[:most]) + (f"\nand {more} more" if more > 0 else "")
    return Message(f"Left out, for they are no stacks:\n{told}", "info" if listed.stacks else "warning")


def _proposed(listed: _Listed) -> Path:
    """Return a folder for the results beside what was added, never in it."""
    first, stack = listed.paths[0], listed.stacks[0][0].paths[0]
    above = first if stack != first and stack.is_relative_to(first) else stack.parent
    return above.with_name(f"{above.name}-depth") if above.name else Path.home() / "depth"
