"""A height map, or a stored result, beside what is open: read, laid over it and compared, in the background."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject

from toposcope.core.compare import objection
from toposcope.core.export import read_result
from toposcope.core.height_map import HeightMap, Level, Mirror, Place, mirrored, on_result, read_height_map
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.result import RESULT_NAME, DepthResult
from toposcope.errors import StackError
from toposcope.ui.controllers.estimating import EstimatingController
from toposcope.ui.controllers.opening import note_lines, problem
from toposcope.ui.resolve import reference_run, stored_facts
from toposcope.ui.session import Job, Offer, Session, State
from toposcope.ui.workers import LatestRunner

JOB = "heights"


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """A height map on the pixels of the result with the number ``reference``, and how it came there."""

    height_map: HeightMap
    result: DepthResult
    text: str
    reference: int


@dataclass(frozen=True, slots=True, eq=False)
class _Beside:
    """A stored result that fits the result with the number ``reference``."""

    result: DepthResult
    name: str
    facts: str
    reference: int


class HeightsController(QObject):
    """Lays the height map or the stored result that the user chooses over what is shown, and shows the difference."""

    def __init__(self, session: Session, estimating: EstimatingController, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._estimating = session, estimating
        self._path: Path | None = None  # of the height map that was asked for last
        self.runner = LatestRunner(JOB, self)
        self.runner.returned.connect(self._on_returned)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(lambda: session.set_job(JOB, None))
        self.runner.progressed.connect(self._on_progressed)
        session.changed.connect(self._on_changed)

    def compare(self, path: Path, level: Level = "plane", place: Place = "auto", mirror: Mirror = "none") -> None:
        """Compare the result that is shown with the heights in ``path``, as A less B."""
        run, opened = reference_run(self._session.state), self._session.state.height_map
        if run is None:
            return
        self._path = path
        self._session.set(message=None)
        self._session.set_job(JOB, Job("Height map", Progress(0.0, path.name)))

        def work(report: Report) -> _Laid:
            height_map = mirrored(read_height_map(path, part(report, 0.0, 0.3)), mirror)
            span = opened.range_um if opened is not None else None
            zero_um = span[0] if span is not None else 0.0  # shown heights count from the lowest
            laid, text = on_result(height_map, run.result, level, place, part(report, 0.3, 1.0), zero_um)
            return _Laid(height_map, laid, text, run.number)

        self.runner.start(work)

    def compare_stored(self, path: Path) -> None:
        """Compare the result that is shown with the stored one at ``path``, as A less B, pixel by pixel."""
        run = reference_run(self._session.state)
        if run is None:
            return
        self._path = None
        self._session.set(message=None)
        self._session.set_job(JOB, Job("Stored result", Progress(0.0, path.name)))

        def work(report: Report) -> _Beside:
            result = read_result(path)
            if (error := objection(run.result, result)) is not None:
                raise error
            name = path.parent.name if path.name == RESULT_NAME else path.name
            return _Beside(result, name, stored_facts(result), run.number)

        self.runner.start(work)

    def cancel(self) -> None:
        """Stop reading and laying over."""
        self.runner.cancel()

    def _on_changed(self, before: State, now: State) -> None:
        if now.subject is not before.subject:  # its place was among the results of another stack
            self.runner.drop()
            self._session.set_job(JOB, None)

    def _on_progressed(self, progress: Progress) -> None:
        self._session.set_job(JOB, Job("Height map", progress))

    def _on_returned(self, laid: _Laid | _Beside) -> None:
        self._session.set_job(JOB, None)
        if isinstance(laid, _Beside):
            self._estimating.take(laid.result, laid.name, laid.facts, laid.reference, stored=True)
            return
        height_map = laid.height_map
        facts = [f"Measured by {height_map.instrument or height_map.format}", *height_map.notes, laid.text]
        text = "\n".join(line[0].upper() + line[1:] for line in facts)
        self._estimating.take(laid.result, height_map.name, text, laid.reference)
        self._session.say("\n".join([f"{height_map.name} {laid.text}.", note_lines(height_map)]).rstrip())

    def _on_failed(self, error: Exception) -> None:
        self._session.set_job(JOB, None)
        # where turn or place may be wrong, the dialog that asks for them is one click away
        again = isinstance(error, StackError) and bool(error.option) and self._path is not None
        offers = [Offer("Turn or place it …", "lay_over", self._path)] if again else []
        self._session.set(message=problem(error, offers))
