"""Export of the shown result, in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject

from toposcope.core.curve import FocusCurve
from toposcope.core.height_map import HeightMap
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.result import DepthResult
from toposcope.errors import CalibrationError, OutputError, ToposcopeError
from toposcope.ui.controllers.opening import problem
from toposcope.ui.session import Job, Session, State
from toposcope.ui.views.export_panel import ExportPanel
from toposcope.ui.workers import LatestRunner

Exporter = Callable[[DepthResult | HeightMap, str, Path, Sequence[FocusCurve], Any, Report], Sequence[Path]]
"""Writes one format into a folder, with the curves of the pins where it takes them; returns the files."""

Names = Callable[[str, DepthResult], Sequence[str]]
"""What the files of a format are called."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What an export came to: the files, and by format why others are not there."""

    paths: list[Path]
    failed: dict[str, ToposcopeError]


class ExportingController(QObject):
    """Writes what the export panel asks for.

    ``curves`` gives the curves of the pins now. Nothing is proposed beside ``sample``, the shipped stack. ``names``
    says what files of a format are called; ``confirm`` is asked before files that were there before are replaced.
    """

    def __init__(
        self,
        session: Session,
        panel: ExportPanel,
        export: Exporter,
        curves: Callable[[], Sequence[FocusCurve]],
        sample: Path | None = None,
        parent: QObject | None = None,
        names: Names = lambda name, result: (),
        confirm: Callable[[str], bool] = lambda question: True,
    ) -> None:
        super().__init__(parent)
        self._sample, self._names, self._confirm = sample, names, confirm
        self._ours: set[Path] = set()  # what was written of what is open: written anew without a question
        self._session, self._panel, self._export, self._curves = session, panel, export, curves
        self.runner = LatestRunner("export", self)
        self.runner.returned.connect(self._on_written)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(lambda: session.set_job("export", None))
        self.runner.progressed.connect(self._on_progressed)
        panel.exportRequested.connect(self.export)
        session.changed.connect(self._on_changed)

    def export(self, formats: Sequence[str], folder: Path, options: Any = None) -> None:
        """Write the shown result in these formats; of an open height map, what its file holds."""
        run = self._session.state.run
        if run is None or not formats:
            return
        if not self._may_replace([path for name in formats for path in self._names(name, run.result)], folder):
            return
        result, curves = self._session.state.shown_height_map or run.result, tuple(self._curves())
        self._session.set(message=None)
        self._session.set_job("export", Job("Export", Progress(0.0)))

        def work(report: Report) -> _Written:
            written: list[Path] = []
            failed: dict[str, ToposcopeError] = {}
            for i, name in enumerate(formats):
                steps = part(report, i / len(formats), (i + 1) / len(formats))
                steps(Progress(0.0, name))
                try:
                    written += self._export(result, name, folder, curves, options, steps)
                except (OutputError, CalibrationError) as error:  # such as no pixel size: the others may do
                    failed[name] = error
            return _Written(written, failed)

        self.runner.start(work)

    def _may_replace(self, names: Sequence[str], folder: Path) -> bool:
        """Ask about files of the same names that are not from what is open, if there are any."""
        paths = [folder / name for name in dict.fromkeys(names)]
        there = [path.name for path in paths if path not in self._ours and path.exists()]
        if not there:
            return True
        few = f"{', '.join(there[:3])}{' and others' if len(there) > 3 else ''}"
        return self._confirm(f"{folder} holds {few} already. Replace {'it' if len(there) == 1 else 'them'}?")

    def _on_changed(self, before: State, now: State) -> None:
        if now.subject is not before.subject:
            self._ours.clear()
        if now.opened is not before.opened and now.opened is not None:
            path = None if now.opened.path == self._sample else now.opened.path
            self._panel.set_folder(proposed_folder(path, now.opened.name))
        elif now.height_map is not before.height_map and now.height_map is not None:
            self._panel.set_folder(proposed_folder(now.height_map.path, now.height_map.name, "converted"))
        elif now.stored is not before.stored and now.stored is not None:
            self._panel.set_folder(proposed_folder(now.stored.path, now.stored.name, "export"))

    def _on_progressed(self, progress: Progress) -> None:
        self._session.set_job("export", Job("Export", progress))

    def _on_written(self, answer: _Written) -> None:
        self._session.set_job("export", None)
        if answer.paths:
            self._ours.update(answer.paths)
            self._panel.set_written(answer.paths)
        if answer.failed:
            names, error = list(answer.failed), next(iter(answer.failed.values()))
            message = problem(error)
            if answer.paths:
                message = replace(message, text=f"{message.text} Not written: {', '.join(names)}; all others are.")
            self._session.set(message=message)

    def _on_failed(self, error: Exception) -> None:
        self._session.set_job("export", None)
        self._session.set(message=problem(error))


def proposed_folder(path: Path | None, name: str, what: str = "depth") -> Path:
    """Return where results of a stack go by default: beside it, never into it."""
    home = Path.home()
    beside = path.parent if path is not None else home
    return beside / f"{path.stem if path is not None else name}-{what}"
