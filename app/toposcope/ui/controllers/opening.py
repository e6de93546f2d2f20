"""Opening a stack: in the background, with questions, ways out and recent files."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol, get_args

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from toposcope.core.editing import CalibrationEdit, edited_stack, worked_stack
from toposcope.core.estimate import EstimateSettings
from toposcope.core.export import read_result, stack_of
from toposcope.core.height_map import METHOD, HeightMap, as_result, described, is_height_map, read_height_map
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.marks import Marks
from toposcope.core.project import Project, check_alone, check_there, is_project, read_project
from toposcope.core.result import DepthResult
from toposcope.core.source import Choice, ChoiceNeeded, OpenOptions, preview
from toposcope.core.stack import FocalStack
from toposcope.errors import FrameError, IsResultError, MissingStackError, SettingsError, ToposcopeError
from toposcope.ui.controllers.looking import Looker, Previewer
from toposcope.ui.preferences import Preferences
from toposcope.ui.project_state import project_of
from toposcope.ui.resolve import stored_facts
from toposcope.ui.session import MODES, Job, LayerKind, Message, Offer, Origin, Run, Session, State, StoredResult
from toposcope.ui.workers import LatestRunner

Paths = Path | tuple[Path, ...]
NOTHING_LAID: Final[Mapping[str, Any]] = MappingProxyType({})
Ask = Callable[[str, Sequence[Choice], Mapping[str, int], Looker], Mapping[str, int] | None]
"""Puts a file's questions, given what is chosen in the beginning and who looks at what is chosen."""


class Opener(Protocol):
    """The engine's `open_stack`."""

    def __call__(self, path: Path | Sequence[Path], options: OpenOptions, report: Report) -> FocalStack: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Heights:
    """A height map that was read, the same as a result, and what it is in words."""

    height_map: HeightMap
    result: DepthResult
    facts: str


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """A stored result that was read, its stack if that is still there, and what it is in words."""

    stored: StoredResult
    result: DepthResult
    stack: Path | None
    facts: str


_Read = FocalStack | _Heights | _Stored


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A project that was read, and what it is about.

    ``path`` is its file and ``saved`` what that holds, both None for work that was never saved; ``settings`` is how to
    estimate, None with a ``trouble`` where its method is not there.
    """

    read: _Read
    project: Project
    path: Path | None
    saved: Project | None
    settings: EstimateSettings | None
    trouble: str


class OpeningController(QObject):
    """Opens what the user points at: stacks, height maps, stored results and projects.

    ``ask`` puts the file's questions and returns answers, or None.
    ``sample`` is the stack that comes with the program: it needs no place among recent files.
    """

    def __init__(
        self,
        session: Session,
        undo: QUndoStack,
        preferences: Preferences,
        open_stack: Opener,
        ask: Ask,
        sample: Path | None = None,
        parent: QObject | None = None,
        look: Previewer = preview,
    ) -> None:
        super().__init__(parent)
        self._sample, self._preview = sample, look
        self._session, self._undo, self._preferences = session, undo, preferences
        self._open_stack, self._ask = open_stack, ask
        self._wanted: tuple[Paths, OpenOptions] | None = None
        self._instead: Path | None = None  # where the frames of the project lie now
        self._parts: Mapping[str, str] = {}
        self._reloading = False
        self._alone = 0  # height maps and stored results that were opened
        self.looking = LatestRunner("look", self)
        self.runner = LatestRunner("open", self)
        self.runner.returned.connect(self._on_opened)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(lambda: session.set_job("open", None))
        self.runner.progressed.connect(self._on_progressed)

    def open(
        self, paths: Sequence[Path] | Path, options: OpenOptions | None = None, parts: Mapping[str, str] | None = None
    ) -> None:
        """Open a folder, a file or several files.

        ``parts`` says which channel, time and position of a file is meant, as the provenance of a result does.
        """
        wanted: Paths = paths if isinstance(paths, Path) else tuple(paths)
        if isinstance(wanted, tuple):
            if not wanted:
                return
            wanted = wanted[0] if len(wanted) == 1 else wanted
        options = options or OpenOptions()
        self._wanted, self._parts, self._reloading, self._instead = (wanted, options), parts or {}, False, None
        self._begin()

    def open_found(self, where: Path) -> None:
        """Open the project that was wanted last once more, with its frames where they lie now."""
        if self._wanted is not None:
            self._instead = where
            self._begin()

    def _begin(self) -> None:
        """Open what is wanted, in the background."""
        if self._wanted is None:
            return
        (wanted, options), instead = self._wanted, self._instead
        self._session.set(message=None)
        self._session.set_job("open", Job("Opening", Progress(0.0, _name(wanted))))
        target = wanted if isinstance(wanted, Path) else list(wanted)

        work_folder = self._preferences.work_folder

        def work(report: Report) -> _Read | Work:
            if isinstance(target, Path) and is_project(target):
                return self._read_project(target, options, instead, report, target.parent == work_folder)
            check_alone([target] if isinstance(target, Path) else target)
            return self._read(target, options, report)

        self.runner.start(work)

    def _read(self, target: Path | list[Path], options: OpenOptions, report: Report) -> _Read:
        if isinstance(target, Path) and is_height_map(target):
            return _read_heights(target, report)
        try:
            return self._open_stack(target, options, report)
        except IsResultError as found:
            return _read_stored(found.folder)

    def _read_project(
        self, path: Path, options: OpenOptions, instead: Path | None, report: Report, is_kept: bool
    ) -> Work:
        """Read a project, saved or ``is_kept`` for the user, and what it is about."""
        project = read_project(path)
        named = project.file if is_kept else path
        saved = saved_in(named) if is_kept else project
        if instead is not None:
            several = len(project.paths) > 1
            paths = tuple(instead.parent / one.name if several else instead for one in project.paths)
            project = replace(project, paths=paths)
        check_there(project, path.name if named is None else named.name)
        project = project.read_by(options)
        settings, trouble = settings_of(project)
        read = self._read(project.target, project.reading, report)
        return Work(read, project, named, saved, settings, trouble)

    def retry(self, **changes: Any) -> None:
        """Open what was wanted last once more, with changed options."""
        if self._wanted is not None:
            paths, options = self._wanted
            self._wanted, self._reloading = (paths, replace(options, **changes)), False
            self._begin()

    def reload(self) -> None:
        """Read what is open once more; pins and what was typed stay where the pictures still have their size."""
        self.retry()
        self._reloading = self._wanted is not None

    def skip_frame(self, name: str) -> None:
        """Open what was wanted last without the frame ``name``."""
        if self._wanted is not None:
            self.retry(skip=(*self._wanted[1].skip, name))

    def skip_all(self) -> None:
        """Open what was wanted last without any frame that cannot be read; the stack's notes name them."""
        self.retry(skip_broken=True)

    def choose_other(self) -> None:
        """Let the user choose another position, channel or time point of the file that is open."""
        stack = self._session.state.opened
        if stack is None or not stack.parts or self._wanted is None:
            return
        choices = [Choice(part.name, part.label, part.options) for part in stack.parts]
        text = f"{stack.name} holds several stacks. Which one?"
        nothing: dict[str, int | None] = {part.name: None for part in stack.parts}
        self._put(text, choices, {part.name: part.chosen for part in stack.parts}, nothing)

    def _put(
        self, text: str, choices: Sequence[Choice], start: Mapping[str, int], changes: Mapping[str, int | None]
    ) -> None:
        """Put the questions of what was wanted last, with ``changes`` of its options, and open what is chosen."""
        if self._wanted is None:
            return
        paths, options = self._wanted
        target = paths if isinstance(paths, Path) else list(paths)
        looker = Looker(self._preview, target, options.choosing(changes), self.looking, self)
        try:
            answers = self._ask(text, choices, start, looker)
        finally:
            looker.stop()
            looker.deleteLater()
        if answers is not None and dict(answers) != dict(start):
            self.retry(**{**changes, **answers})

    def show_time(self, stack: FocalStack, time: int, run: Run | None) -> None:
        """Go over to another time point of the open file, with its result if there is one; the rest stays."""
        before = self._session.state
        if before.opened is None or self._wanted is None:
            stack.close()
            return
        paths, options = self._wanted
        self._wanted = paths, options.choosing({"time": time})
        origin = before.origin and Origin(before.origin.paths, self._wanted[1])
        edit, message = before.edit, None
        try:
            edited = edited_stack(stack, edit)
        except ToposcopeError as error:  # such as positions that were typed in for another number of frames
            edit, edited, message = CalibrationEdit(), stack, problem(error)
        self._session.set(
            opened=stack,
            stack=edited,
            origin=origin,
            edit=edit,
            skipped=frozenset(i for i in before.skipped if i < stack.n),
            runs=(run,) if run is not None else (),
            shown_run=run.number if run is not None else None,
            pair=(run.number, run.number) if run is not None else (0, 0),
            cursor=None,
            slice_index=min(before.slice_index, stack.n - 1),
            message=message,
        )
        _release(before)

    def close(self) -> None:
        """Close the stack and go back to the start page."""
        self._replace(None)

    def _on_progressed(self, progress: Progress) -> None:
        self._session.set_job("open", Job("Opening", progress))

    def _on_opened(self, found: _Read | Work) -> None:
        self._session.set_job("open", None)
        work = found if isinstance(found, Work) else None
        stack = found.read if isinstance(found, Work) else found
        if work is not None:  # from now on it is about what the project named
            paths = work.project.paths
            self._wanted, self._instead = (paths if len(paths) > 1 else paths[0], work.project.reading), None
        again = work or self._read_again(stack)
        laid, complaints = laid_over(again, self._session.state) if again is not None else ({}, [])
        if isinstance(stack, _Heights):
            self._show_heights(stack, laid)
        elif isinstance(stack, _Stored):
            self._show_stored(stack, laid)
        else:
            self._show_stack(stack, laid)
        if work is not None and work.path is not None:
            self._preferences.add_recent(work.path)
        if complaints:
            self._session.set(message=Message("\n".join(complaints), "warning"))

    def _read_again(self, stack: _Read) -> Work | None:
        """Return what was done on a stack that was read once more, where its pictures still have their size."""
        state = self._session.state
        done = project_of(state) if self._reloading and isinstance(stack, FocalStack) else None
        if done is None or not isinstance(stack, FocalStack) or stack.shape != state.shape:
            return None
        return Work(stack, done, state.project, state.saved, state.settings, "")

    def _show_stack(self, stack: FocalStack, laid: Mapping[str, Any]) -> None:
        """Begin anew with a stack, and with what a project lays over it."""
        self._replace(stack, laid=laid)
        if stack.path is not None and stack.path == self._sample:
            return
        if stack.path is not None:
            self._preferences.add_recent(stack.path)
        if stack.notes:
            self._session.set(message=Message("\n".join(stack.notes), "info"))

    def _show_heights(self, read: _Heights, laid: Mapping[str, Any]) -> None:
        """Begin anew with a height map: its heights are the only result."""
        inputs = replace(self._session.state.inputs, edit=CalibrationEdit(), skipped=frozenset())
        inputs = replace(inputs, settings=replace(inputs.settings, method=METHOD, options=None))
        title = f"1  {read.height_map.name}"
        run = Run(self._number_alone(), title, read.result, inputs, facts=read.facts, measured=True)
        self._replace(None, read.height_map, run, laid)
        if read.height_map.path is not None:
            self._preferences.add_recent(read.height_map.path)
        if read.height_map.notes:
            self._session.set(message=Message(note_lines(read.height_map), "info"))

    def _show_stored(self, read: _Stored, laid: Mapping[str, Any]) -> None:
        """Begin anew with a stored result, and offer its stack."""
        inputs = replace(self._session.state.inputs, edit=CalibrationEdit(), skipped=frozenset())
        run = Run(self._number_alone(), f"1  {read.stored.name}", read.result, inputs, facts=read.facts, stored=True)
        self._replace(None, read.stored, run, laid)
        self._preferences.add_recent(read.stored.path)
        if read.stack is not None:
            offer = Offer("Open its stack", "open_made_from", (read.stack, dict(read.result.provenance.parts)))
            self._session.say("This result is stored without slices and focus curves.", "info", offer)

    def _number_alone(self) -> int:
        """Return a number for what is open without a stack.

        Below 0: it is that of no computed result, nor of what was open before, whose pictures may still be shown.
        """
        self._alone += 1
        return -self._alone

    def _replace(
        self,
        stack: FocalStack | None,
        alone: HeightMap | StoredResult | None = None,
        run: Run | None = None,
        laid: Mapping[str, Any] = NOTHING_LAID,
    ) -> None:
        """Begin anew with ``stack``, with what is open ``alone`` as ``run``, or with nothing; the rest is closed.

        ``laid`` are fields of the state that a project brings along: all at once, so that its depth is computed once.
        """
        before = self._session.state
        self._undo.clear()
        shape = stack.shape if stack is not None else run.result.shape if run is not None else None
        stay = self._reloading and shape == before.shape
        anew: dict[str, Any] = {
            "opened": stack,
            "stack": stack,
            "height_map": alone if isinstance(alone, HeightMap) else None,
            "stored": alone if isinstance(alone, StoredResult) else None,
            "origin": self._origin() if shape is not None else None,
            "project": before.project if stay else None,
            "saved": before.saved if stay else None,
            "edit": CalibrationEdit(),
            "skipped": frozenset(),
            "runs": (run,) if run is not None else (),
            "shown_run": run.number if run is not None else None,
            "pins": before.pins if stay else (),
            "chosen_pin": before.chosen_pin if stay else None,
            "tool": before.tool if stay else "pin",
            "marks": before.marks if stay else Marks(),
            "cursor": None,
            "ranges": {},
            "mode": before.mode if stay else "slice" if run is None else "depth",
            "channel": None,
            "compared": None if alone is not None else before.compared,
            "slice_index": stack.n // 2 if stack else 0,
            "message": None,
        }
        self._session.set(**{**anew, **laid})
        _release(before)

    def _origin(self) -> Origin | None:
        if self._wanted is None:
            return None
        paths, options = self._wanted
        return Origin((paths,) if isinstance(paths, Path) else paths, options)

    def _on_failed(self, error: Exception) -> None:
        self._session.set_job("open", None)
        if isinstance(error, ChoiceNeeded):
            told = {
                one.name: one.options.index(self._parts[one.name])
                for one in error.choices
                if self._parts.get(one.name) in one.options
            }
            if len(told) == len(error.choices):
                self.retry(**told)
                return
            what = str(error).partition("; choose")[0]  # the dialog shows the rest
            self._put(f"{what}. Which one?", error.choices, {}, {})
            return
        again = Offer("Try again", "retry")
        if isinstance(error, MissingStackError):
            found = Offer("Say where it lies …", "find_stack", error.path)
            self._session.set(message=problem(error, [found, again]))
            return
        is_frame = isinstance(error, FrameError)
        message = problem(error, [Offer("Skip all that cannot be read", "skip_all"), again] if is_frame else [again])
        # not of the stack that is still open, whose frames may be called the same
        offers = [replace(one, action="open_without") if one.action == "skip_frame" else one for one in message.offers]
        message = replace(message, offers=tuple(offers))
        if self._wanted is not None and isinstance(error, FrameError) and error.name == _name(self._wanted[0]):
            # without its only file there is nothing to go on with
            message = replace(message, offers=(again,))
        self._session.set(message=message)


def saved_in(path: Path | None) -> Project | None:
    """Return what a project file holds, None where there is none any more, or it is damaged."""
    try:
        return read_project(path) if path is not None else None
    except ToposcopeError:
        return None


def read_in(state: State) -> _Read | None:
    """Return what is open as it was read, None where that is nothing."""
    if state.height_map is not None and state.runs:
        return _Heights(state.height_map, state.runs[0].result, "")
    if state.stored is not None and state.runs:
        return _Stored(state.stored, state.runs[0].result, None, "")
    return state.opened


def settings_of(project: Project) -> tuple[EstimateSettings | None, str]:
    """Return how a project estimates; None, and why, where its method or a setting of it does not exist here."""
    try:
        return project.settings(keep_volume=True), ""
    except SettingsError as error:
        return None, str(error)


def laid_over(work: Work, state: State) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of the state that a project brings along, and sentences about what of it does not fit."""
    project, read, complaints = work.project, work.read, []
    shape = read.shape if isinstance(read, FocalStack) else read.result.shape
    view = project.view
    pins = tuple(pin for pin in project.pins if pin.row < shape[0] and pin.column < shape[1])
    if len(pins) < len(project.pins):
        complaints.append("The picture was larger: pins of the project that lie outside of it are left out.")
    laid: dict[str, Any] = {
        "project": work.path,
        "saved": work.saved,
        "pins": pins,
        "chosen_pin": pins[-1].number if pins else None,
        "marks": project.marks,
        "profile_width": project.profile_width,
        "surface": project.surface,
        "colour_map": view.colour_map,
        "ranges": {kind: limits for kind, limits in view.ranges.items() if kind in get_args(LayerKind)},
        # of two results that were compared, a project brings one back
        "mode": view.mode if view.mode in MODES and view.mode not in ("compare", "difference") else "depth",
    }
    if not isinstance(read, FocalStack):
        return laid, complaints
    laid["slice_index"] = min(max(view.slice_index, 0), read.n - 1)
    calibrated, edit = read, project.edit_of(read)
    try:
        calibrated = edited_stack(read, edit)
        laid |= {"stack": calibrated, "edit": edit}
    except ToposcopeError as error:  # such as positions of another number of frames
        complaints.append(f"{_sentence(str(error))} What the files say is taken instead.")
    laid["skipped"] = project.skipped(calibrated)
    try:
        worked_stack(calibrated, laid["skipped"])
    except ToposcopeError as error:
        complaints.append(f"{_sentence(str(error))} None is left out now.")
        laid["skipped"] = frozenset()
    if work.settings is not None:
        laid["settings"] = replace(work.settings, keep_volume=state.settings.keep_volume)
    else:
        complaints.append(f"{_sentence(work.trouble)} The method of before is taken instead.")
    return laid, complaints


def note_lines(height_map: HeightMap) -> str:
    """Return the notes of a height map as sentences, one a line."""
    return "\n".join(f"{note[:1].upper()}{note[1:]}." for note in height_map.notes)


def _read_heights(path: Path, report: Report) -> _Heights:
    height_map = read_height_map(path, part(report, 0.0, 0.7))
    result = as_result(height_map, part(report, 0.7, 1.0))
    rows, _ = described(height_map)
    facts = [f"{name}: {text}" for name, text in rows if name not in ("height map", "note")]
    return _Heights(height_map, result, "\n".join(line[0].upper() + line[1:] for line in facts))


def _read_stored(folder: Path) -> _Stored:
    result = read_result(folder)
    return _Stored(StoredResult(folder), result, stack_of(result, folder), stored_facts(result))


def _release(before: State) -> None:
    """Give back what a stack and its results hold that are no longer shown."""
    for run in before.runs:
        if run.result.volume is not None:
            run.result.volume.close()
    if before.opened is not None:
        before.opened.close()


def problem(error: Exception, offers: Sequence[Offer] = ()) -> Message:
    """Return what to tell the user about an exception: its sentence if it is one of ours."""
    if isinstance(error, FrameError):
        offers = (Offer("Skip it and go on", "skip_frame", error.name), *offers)
    if isinstance(error, ToposcopeError):
        return Message(_sentence(str(error)), "error", offers=tuple(offers))
    details = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError):
        return Message(
            "There is not enough memory for this. Close other programs, or use smaller frames.",
            "error",
            details,
            tuple(offers),
        )
    return Message(
        f"Something went wrong that should not ({type(error).__name__}: {error}). "
        "Your files are untouched. Please report it with the details.",
        "error",
        details,
        tuple(offers),
    )


def _sentence(text: str) -> str:
    """Begin with a capital, unless the first word may be a file's name."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first in _BEGINNINGS else text


_BEGINNINGS = frozenset(
    {"a", "align", "an", "camera", "folders", "give", "it", "no", "only", "the", "there", "this", "threads", "to"}
)


def _name(paths: Paths) -> str:
    return paths.name if isinstance(paths, Path) else f"{len(paths)} files"
