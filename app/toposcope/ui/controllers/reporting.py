"""Reports of what is measured, written in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from PySide6.QtCore import QObject

from toposcope.core.height_map.model import METHOD
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.report import About, measurement_report, write_report
from toposcope.core.result import RESULT_NAME
from toposcope.core.source import OpenOptions
from toposcope.core.surface import height_surface, measure, surface_of
from toposcope.ui.controllers.opening import problem
from toposcope.ui.report_pdf import Paper, write_pdf
from toposcope.ui.resolve import opened_name
from toposcope.ui.session import Job, Run, Session, State
from toposcope.ui.workers import LatestRunner

JOB: Final = "report"
PDF: Final = ".pdf"


class ReportingController(QObject):
    """Measures what is shown by the marks that are drawn, and writes a report of it."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.runner = LatestRunner(JOB, self)
        self.runner.returned.connect(self._on_written)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(lambda: session.set_job(JOB, None))
        self.runner.progressed.connect(lambda progress: session.set_job(JOB, Job("Report", progress)))

    def save(self, path: Path, about: About, paper: Paper = "A4") -> None:
        """Write a report of the shown result: PDF where the name ends so, else HTML."""
        state = self._session.state
        run = state.run
        if run is None or run.reduction > 1:
            return
        self._session.set(message=None)
        self._session.set_job(JOB, Job("Report", Progress(0.0)))
        self.runner.start(reporting(state, run, path, about, paper))

    def cancel(self) -> None:
        """Stop writing."""
        self.runner.cancel()

    def _on_written(self, path: Path) -> None:
        self._session.set_job(JOB, None)
        self._session.say(f"Wrote {path}.")

    def _on_failed(self, error: Exception) -> None:
        self._session.set_job(JOB, None)
        self._session.set(message=problem(error))


def measured_name(state: State, run: Run) -> str:
    """Return what is measured, for the title of a report: the stack and the method, or the height map."""
    if run.measured or run.result.provenance.method == METHOD:
        return run.title.partition("  ")[2] or run.title
    return f"{opened_name(state)}: {run.result.provenance.method}"


def reporting(state: State, run: Run, path: Path, about: About, paper: Paper) -> Callable[[Report], Path]:
    """Return the work that measures ``run`` as ``state`` asks, and writes the report."""
    height_map = state.shown_height_map
    source = height_map if height_map is not None else run.result
    plan = state.marks.plan(state.surface, state.profile_width)
    file = _file(state, run)

    def work(report: Report) -> Path:
        whole = height_surface(height_map, part(report, 0.0, 0.1)) if height_map else surface_of(run.result)
        found = measure(whole, plan, report=part(report, 0.1, 0.5))
        document = measurement_report(
            source,
            whole,
            found,
            about,
            measured_name(state, run),
            file,
            *_reading(state, run),
            colours=state.colour_map,
            report=part(report, 0.5, 0.9),
        )
        if path.suffix.lower() == PDF:
            write_pdf(document, path, paper, part(report, 0.9, 1.0))
        else:
            write_report(document, path)
        return path

    return work


def _file(state: State, run: Run) -> Path | None:
    """Return the file that what is shown was read from, None where it was computed."""
    if state.shown_height_map is not None:
        return state.shown_height_map.path
    return state.stored.path / RESULT_NAME if state.stored is not None and run is state.runs[0] else None


def _reading(state: State, run: Run) -> tuple[OpenOptions, tuple[Path, ...]]:
    """Return how the frames of a result were read, frames that were left out included, and from which files."""
    if state.stack is None or state.origin is None or run.stored:
        return OpenOptions(), ()
    names = state.stack.source.names
    left_out = tuple(names[i] for i in sorted(run.inputs.skipped) if i < len(names))
    reading = replace(state.origin.reading, skip=(*state.origin.reading.skip, *left_out))
    return reading, state.origin.paths
