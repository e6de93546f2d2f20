"""Setting up a stack like another one: as a project says, or as a stored result was made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from toposcope.core.alike import Like, edit_like, like_result, typed_like
from toposcope.core.jobs import Report
from toposcope.core.project import Project, is_project, read_project
from toposcope.errors import ToposcopeError
from toposcope.ui.commands import push
from toposcope.ui.controllers.opening import problem
from toposcope.ui.resolve import calibrated
from toposcope.ui.session import Session
from toposcope.ui.workers import LatestRunner


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """How another stack was computed, and the project that says so, if it is one."""

    name: str
    like: Like
    project: Project | None


class LikenessController(QObject):
    """Takes method, calibration and, from a project, filters, lines and areas; in one step to undo."""

    def __init__(self, session: Session, undo: QUndoStack, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._undo = session, undo
        self.runner = LatestRunner("like", self)
        self.runner.returned.connect(self._on_read)
        self.runner.failed.connect(lambda error: session.set(message=problem(error)))

    def take(self, path: Path) -> None:
        """Set up the open stack like the project or the stored result in ``path``."""

        def work(report: Report) -> _Read:
            if is_project(path):
                project = read_project(path)
                return _Read(path.stem, Like(project.settings(), typed_like(project.edit)), project)
            return _Read(path.parent.name if path.is_file() else path.name, like_result(path), None)

        self.runner.start(work)

    def _on_read(self, read: _Read) -> None:
        state = self._session.state
        if state.opened is None:
            return
        ours = state.settings
        theirs = read.like.settings
        changes: dict[str, Any] = {
            "settings": replace(
                ours, method=theirs.method, options=theirs.options, align=theirs.align, weights=theirs.weights
            )
        }
        edit = edit_like(state.opened, read.like.calibrating)
        try:
            changes |= calibrated(state, edit)
        except ToposcopeError as error:
            self._session.set(message=problem(error))
            return
        if read.project is not None:
            project = read.project
            changes |= {"surface": project.surface, "profile_width": project.profile_width}
            changes |= {"marks": project.marks} if project.marks.fit(state.opened.shape) else {}
        push(self._undo, self._session, f"set up like {read.name}", **changes)
