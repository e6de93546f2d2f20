"""Saving projects, and keeping what was done on each stack even where nobody saved it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoStack

from toposcope.core.estimate import EstimateSettings
from toposcope.core.export import made_folder
from toposcope.core.project import Project, read_project, write_project
from toposcope.core.result import PROJECT_SUFFIX
from toposcope.errors import ToposcopeError
from toposcope.ui.commands import push
from toposcope.ui.controllers.opening import Work, laid_over, problem, read_in, saved_in, settings_of
from toposcope.ui.preferences import Preferences
from toposcope.ui.project_state import differ, is_modified, project_of
from toposcope.ui.resolve import opened_name
from toposcope.ui.session import Message, Offer, Session, State
from toposcope.ui.workers import LatestRunner

CALM_MS: Final = 2_000
"""Work is kept when nothing has changed for so long."""
KEPT: Final = 100
"""Stacks whose unsaved work is kept, the newest ones."""


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """What is saved where; ``before`` is the project's file of before."""

    project: Project
    path: Path
    before: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What was done on a stack when it was open before; ``settings`` are None, with a ``trouble``, as in `Work`.

    ``saved`` is what the file of its project holds.
    """

    project: Project
    saved: Project | None
    settings: EstimateSettings | None
    trouble: str


class ProjectsController(QObject):
    """Writes projects in the background. Nothing is kept of ``sample``, the shipped stack, unless it is saved."""

    saved = Signal(object)  # Path

    def __init__(
        self,
        session: Session,
        undo: QUndoStack,
        preferences: Preferences,
        sample: Path | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._undo, self._preferences, self._sample = session, undo, preferences, sample
        self._kept: Project | None = None
        self._saving: _Written | None = None
        self._calm = QTimer(self, singleShot=True, interval=CALM_MS)
        self._calm.timeout.connect(self._keep)
        self.runner = LatestRunner("save", self)
        self.runner.returned.connect(self._on_written)
        self.runner.failed.connect(self._on_failed)
        self.keeper = LatestRunner("keep", self)
        self.looker = LatestRunner("look for kept work", self)
        self.looker.returned.connect(self._on_found)
        session.changed.connect(self._on_changed)

    def last(self) -> str:
        """Return what was done last, and when, for users; nothing where there is no such thing.

        Only asks the disk whether the file is there; what is in it is read when it is opened.
        """
        path = self._preferences.last_work
        try:
            when = datetime.fromtimestamp(path.stat().st_mtime) if path is not None else None
        except OSError:
            when = None
        if when is None:
            return ""
        day = "" if when.date() == datetime.now().date() else f"{when:%d %B}, "
        return f"{self._preferences.last_title} ({day}{when:%H:%M})"

    def bring_back(self, kept: _Kept) -> None:
        """Lay over what is open what was done on it before; this can be undone."""
        state = self._session.state
        read = read_in(state)
        if read is None or state.origin is None or kept.project.paths != state.origin.paths:
            return
        work = Work(read, kept.project, kept.project.file, kept.saved, kept.settings, kept.trouble)
        laid, complaints = laid_over(work, state)
        push(self._undo, self._session, "bring back", **laid)
        if complaints:
            self._session.set(message=Message("\n".join(complaints), "warning"))

    def save(self, path: Path) -> None:
        """Write what is open, and all that was set and drawn, to ``path``."""
        project = project_of(self._session.state)
        if project is None:
            return
        self._saving = saving = _Written(project, path, self._session.state.project)

        def work(report: object) -> _Written:
            write_project(saving.project, saving.path)
            return saving

        self.runner.start(work)

    def save_now(self, path: Path) -> bool:
        """Write before the window goes on to something else; says whether that went well."""
        project = project_of(self._session.state)
        return project is not None and self._finish(_Written(project, path, self._session.state.project))

    def finish(self) -> bool:
        """Write what is being saved now, before the window goes on to something else; says whether that went well."""
        return self._saving is None or self._finish(self._saving)

    def _finish(self, saving: _Written) -> bool:
        self.runner.drop()
        try:
            write_project(saving.project, saving.path)
        except ToposcopeError as error:
            self._on_failed(error)
            return False
        self._on_written(saving)
        return True

    def keep_now(self) -> None:
        """Keep what was done last, before the window closes."""
        self._calm.stop()
        self._keep_of(self._session.state)

    def _keep_of(self, state: State) -> None:
        """Keep what was done before the window goes on to something else: now, since it is small."""
        work = self._work(state)
        if work is not None:
            self._write(work, self._name_last(state, work))

    def _on_changed(self, before: State, now: State) -> None:
        if now.subject is not before.subject:
            step = _step(before, now)
            going_on = project_of(now) if step != "other" else None
            if going_on is None or not going_on.contents:
                self._keep_of(before)
                if step != "time":
                    self._look(now)
        if now.subject is not None:
            self._calm.start()

    def _look(self, state: State) -> None:
        """Look whether more was done on what was just opened, when it was open before."""
        opened = project_of(state)
        if opened is None or not _is_as_opened(state):
            return
        path = self._path(opened)

        def work(report: object) -> _Kept | None:
            if not path.exists():
                return None
            try:
                project = read_project(path)
            except ToposcopeError:  # damaged, or of a newer program: there is nothing to bring back
                return None
            return _Kept(project, saved_in(project.file), *settings_of(project))

        self.looker.start(work)

    def _on_found(self, kept: _Kept | None) -> None:
        self._calm.start()  # nothing was kept meanwhile
        state = self._session.state
        now = project_of(state)
        if kept is None or now is None or not _is_as_opened(state) or kept.project.paths != now.paths:
            return
        if state.project is None:
            told = f"There was more here last time: {kept.project.contents}."
        elif kept.project.file == state.project and differ(kept.project, now):
            told = f"Last time there were changes here that were not saved: {kept.project.contents}."
        else:
            return
        offer = Offer("Bring it back", "bring_back", kept)
        message = state.message or Message("")
        text = f"{message.text}\n{told}".strip()
        self._session.set(message=replace(message, text=text, offers=(*message.offers, offer)))

    def _work(self, state: State) -> Project | None:
        """Return what is to be kept, None where that is nothing, or kept already."""
        project = project_of(state)
        if project is None or project == self._kept or project.paths == (self._sample,) or not project.contents:
            return None
        offers = state.message.offers if state.message is not None else ()
        looking = self.looker.busy or any(offer.action == "bring_back" for offer in offers)
        if looking and _is_as_opened(state):
            return None  # it would take the place of what is offered
        return project

    def _path(self, project: Project) -> Path:
        return self._preferences.work_folder / f"{project.key()}{PROJECT_SUFFIX}"

    def _keep(self) -> None:
        state = self._session.state
        work = self._work(state)
        if work is not None:
            path = self._name_last(state, work)
            self.keeper.start(lambda report: self._write(work, path))

    def _name_last(self, state: State, work: Project) -> Path:
        self._preferences.last_title = state.project.stem if state.project is not None else opened_name(state)
        self._preferences.last_work = path = self._path(work)
        return path

    def _write(self, work: Project, path: Path) -> None:
        try:
            folder = made_folder(path.parent)
            write_project(work, path)
        except ToposcopeError:
            return  # a full disk is told where something is saved
        self._kept = work
        by_age = sorted(folder.glob(f"*{PROJECT_SUFFIX}"), key=lambda one: one.stat().st_mtime)
        for old in by_age[:-KEPT]:
            old.unlink(missing_ok=True)

    def _on_written(self, written: _Written) -> None:
        if self._saving is written:
            self._saving = None
        state = self._session.state
        paths = state.origin.paths if state.origin is not None else ()
        if paths == written.project.paths and state.project == written.before:  # else another one is open by now
            self._session.set(project=written.path, saved=written.project)
        self._preferences.add_recent(written.path)
        self.saved.emit(written.path)

    def _on_failed(self, error: Exception) -> None:
        self._saving = None
        self._session.set(message=problem(error, [Offer("Save elsewhere …", "save_project_as")]))


def _step(before: State, now: State) -> Literal["time", "again", "other"]:
    """Return what was opened: another time point of the same file, the same once more, or something else."""
    if now.origin is None or before.origin is None or now.origin.paths != before.origin.paths:
        return "other"
    if now.project != before.project:
        return "other"
    return "again" if now.origin.reading.time == before.origin.reading.time else "time"


def _is_as_opened(state: State) -> bool:
    """Whether nothing was done yet on what is open."""
    project = project_of(state)
    return project is not None and not (project.contents if state.project is None else is_modified(state))
