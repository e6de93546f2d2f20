"""Depth: a preview at once, then the full result, in the background.

::

    stack opened ──> preview (reduced) ──> full ──> shown, kept in the history
    input changed ─(a moment later, when automatic)─> full, or the kept result of these inputs
    run asked for ──> full
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QUndoStack

from toposcope.core.compare import objection
from toposcope.core.editing import worked_stack
from toposcope.core.estimate import EstimateSettings, MethodCard
from toposcope.core.height_map import METHOD
from toposcope.core.jobs import Progress, Report
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack
from toposcope.errors import OutputError, ToposcopeError
from toposcope.ui.commands import push
from toposcope.ui.controllers.opening import problem
from toposcope.ui.resolve import kept_runs, preview_reduction, run_facts, run_title
from toposcope.ui.session import Inputs, Job, Offer, Run, Session, State
from toposcope.ui.workers import LatestRunner

Estimator = Callable[[FocalStack, EstimateSettings, Report], DepthResult]
CALM_MS = 600
"""Wait after a change, in milliseconds, for the next one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    result: DepthResult
    inputs: Inputs
    reduction: int
    facts: str


class EstimatingController(QObject):
    """Runs the estimation and keeps its results."""

    def __init__(
        self,
        session: Session,
        undo: QUndoStack,
        estimate: Estimator,
        methods: Mapping[str, MethodCard],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._undo, self._estimate, self._methods = session, undo, estimate, methods
        self._numbers = 0
        self._full = 0
        self._preview = False
        self._calm = QTimer(self, singleShot=True, interval=CALM_MS)
        self._calm.timeout.connect(self.run)
        self.runner = LatestRunner("depth", self)
        self.runner.returned.connect(self._on_returned)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(lambda: session.set_job("depth", None))
        self.runner.progressed.connect(self._on_progressed)
        session.changed.connect(self._on_changed)

    def run(self) -> None:
        """Compute the depth with the settings of the session."""
        self._calm.stop()
        state = self._session.state
        if state.stack is None:
            return
        try:
            stack = worked_stack(state.stack, state.skipped)
        except ToposcopeError as error:
            self._session.set(message=problem(error))
            return
        reduction = preview_reduction(stack) if not state.runs else 1
        self._start(stack, state.inputs, reduction)

    def adopted(self, result: DepthResult, inputs: Inputs) -> Run:
        """Return a stored result as the first of a stack's history."""
        self._numbers += 1
        facts = f"{run_facts(result)}\nStored result; compute it again for its focus curves"
        return Run(self._numbers, run_title(inputs, self._methods, 1), result, inputs, 1, facts)

    def take(self, result: DepthResult, title: str, facts: str, reference: int, stored: bool = False) -> None:
        """Put heights that an instrument measured, or a ``stored`` result, beside the results, as B.

        ``reference`` is the number of A.
        """
        state = self._session.state
        self._numbers += 1
        self._full += 1
        inputs = replace(state.inputs, settings=replace(state.settings, method=METHOD, options=None))
        run = Run(
            self._numbers, f"{self._full}  {title}", result, inputs, facts=facts, measured=not stored, stored=stored
        )
        kept = kept_runs(state.runs, run, reference)
        is_shown = any(old.number == state.shown_run for old in kept)
        self._session.set(
            runs=kept,
            shown_run=state.shown_run if is_shown else reference,
            pair=(reference, run.number),
            mode="difference",
        )
        _close(state.runs, kept)

    def run_method(self, name: str) -> None:
        """Compute the depth by another method with its defaults; its choice can be undone."""
        settings = replace(self._session.state.settings, method=name, options=None)
        if settings != self._session.state.settings:
            push(self._undo, self._session, "change the method", settings=settings)
        self.run()

    def cancel(self) -> None:
        """Stop the computation; what is shown stays."""
        self._calm.stop()
        self.runner.cancel()

    def _start(self, stack: FocalStack, inputs: Inputs, reduction: int) -> None:
        self._preview = reduction > 1
        self._session.set_job("depth", Job(self._title(), Progress(0.0)))

        def work(report: Report) -> _Answer:
            result = self._estimate(stack.reduced(reduction), inputs.settings, report)
            return _Answer(result, inputs, reduction, run_facts(result, reduction))

        self.runner.start(work)

    def _title(self) -> str:
        return "Preview" if self._preview else "Depth"

    def _on_changed(self, before: State, now: State) -> None:
        if now.subject is not before.subject:
            self._full = len(now.runs)
            self._calm.stop()
            self.runner.drop()
            self._session.set_job("depth", None)
            if now.run is None:  # a time point of a series may bring its result along
                self.run()
        elif now.inputs != before.inputs and now.automatic:
            # undone, or back to what was tried before: the result of it is still there
            kept = next((run for run in reversed(now.full_runs) if run.inputs == now.inputs), None)
            if kept is None:
                self._calm.start()
            else:
                self.cancel()
                self._session.set(shown_run=kept.number)
        elif now.automatic and not before.automatic and now.run is not None and now.run.inputs != now.inputs:
            self._calm.start()

    def _on_progressed(self, progress: Progress) -> None:
        self._session.set_job("depth", Job(self._title(), progress))

    def _on_returned(self, answer: _Answer) -> None:
        state = self._session.state
        self._numbers += 1
        self._full += answer.reduction == 1
        title = run_title(answer.inputs, self._methods, self._full)
        run = Run(self._numbers, title, answer.result, answer.inputs, answer.reduction, answer.facts)
        reference = _reference(state, answer.result)
        kept = kept_runs(state.runs, run, reference)
        self._session.set_job("depth", None)
        # the first result comes into view by itself, unless the user looks at something else
        first = not state.runs and state.mode == "slice"
        self._session.set(
            runs=kept,
            shown_run=run.number,
            mode="depth" if first else state.mode,
            # A stays what it is measured against, B is the newest
            pair=(reference or run.number, run.number) if run.reduction == 1 else state.pair,
        )
        _close(state.runs, kept)
        if answer.reduction > 1 and state.stack is not None:
            inputs = self._session.state.inputs
            self._start(worked_stack(state.stack, inputs.skipped), inputs, 1)

    def _on_failed(self, error: Exception) -> None:
        self._session.set_job("depth", None)
        offers = [Offer("Try again", "run")]
        if isinstance(error, OutputError) and self._session.state.settings.keep_volume:
            offers.append(Offer("Compute without focus curves", "without_volume"))
        self._session.set(message=problem(error, offers))

    def run_without_volume(self) -> None:
        """Compute with nothing kept on disk: no focus curves, no peaks map."""
        self._session.set(settings=replace(self._session.state.settings, keep_volume=False), message=None)
        self.run()


def _reference(state: State, result: DepthResult) -> int:
    """Return the number of the run that a new ``result`` is compared with, 0 for none.

    It is A, else what is shown; where the result cannot be compared with it, as in another unit, the newest with which
    it can.
    """
    full = {run.number: run for run in state.full_runs}
    wanted = [n for n in (state.pair[0], state.shown_run) if n is not None and n in full]
    fitting = (n for n in (*wanted, *reversed(full)) if objection(full[n].result, result) is None)
    return next(fitting, wanted[0] if wanted else 0)


def _close(before: Sequence[Run], kept: Sequence[Run]) -> None:
    """Give back the focus curves of results that are no longer kept."""
    for old in before:
        if old not in kept and old.result.volume is not None:
            old.result.volume.close()
