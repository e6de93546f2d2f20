"""A height map beside the results of a stack: read, laid over one of them and compared, in the background."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject

from toposcope.core.height_map import HeightMap, Level, Mirror, Place, mirrored, on_result, read_height_map
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.result import DepthResult
from toposcope.errors import StackError
from toposcope.ui.controllers.estimating import EstimatingController
from toposcope.ui.controllers.opening import note_lines, problem
from toposcope.ui.resolve import reference_run
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


class HeightsController(QObject):
    """Lays the height map that the user chooses over the result that is shown, and shows the difference."""

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

    def cancel(self) -> None:
        """Stop reading and laying over."""
        self.runner.cancel()

    def _on_changed(self, before: State, now: State) -> None:
        if now.subject is not before.subject:  # its place was among the results of another stack
            self.runner.drop()
            self._session.set_job(JOB, None)

    def _on_progressed(self, progress: Progress) -> None:
        self._session.set_job(JOB, Job("Height map", progress))

    def _on_returned(self, laid: _Laid) -> None:
        self._session.set_job(JOB, None)
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
