"""Opening a stack: in the background, with questions, ways out and recent files."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from toposcope.core.editing import CalibrationEdit, edited_stack
from toposcope.core.export import read_result, stack_of
from toposcope.core.height_map import METHOD, HeightMap, as_result, described, is_height_map, read_height_map
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.marks import Marks
from toposcope.core.result import DepthResult
from toposcope.core.source import Choice, ChoiceNeeded, OpenOptions, preview
from toposcope.core.stack import FocalStack
from toposcope.errors import FrameError, IsResultError, ToposcopeError
from toposcope.ui.controllers.looking import Looker, Previewer
from toposcope.ui.preferences import Preferences
from toposcope.ui.resolve import stored_facts
from toposcope.ui.session import Job, Message, Offer, Run, Session, State, StoredResult
from toposcope.ui.workers import LatestRunner

Paths = Path | tuple[Path, ...]
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


class OpeningController(QObject):
    """Opens what the user points at: stacks, height maps and stored results.

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
        self._wanted, self._parts, self._reloading = (wanted, options), parts or {}, False
        self._session.set(message=None)
        self._session.set_job("open", Job("Opening", Progress(0.0, _name(wanted))))
        target = wanted if isinstance(wanted, Path) else list(wanted)

        def work(report: Report) -> FocalStack | _Heights | _Stored:
            if isinstance(target, Path) and is_height_map(target):
                return _read_heights(target, report)
            try:
                return self._open_stack(target, options, report)
            except IsResultError as found:
                return _read_stored(found.folder)

        self.runner.start(work)

    def retry(self, **changes: Any) -> None:
        """Open what was wanted last once more, with changed options."""
        if self._wanted is not None:
            paths, options = self._wanted
            self.open(paths, replace(options, **changes), self._parts)

    def reload(self) -> None:
        """Read what is open once more; pins stay where the pictures still have their size."""
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
        edit, message = before.edit, None
        try:
            edited = edited_stack(stack, edit)
        except ToposcopeError as error:  # such as positions that were typed in for another number of frames
            edit, edited, message = CalibrationEdit(), stack, problem(error)
        self._session.set(
            opened=stack,
            stack=edited,
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

    def _on_opened(self, stack: FocalStack | _Heights | _Stored) -> None:
        self._session.set_job("open", None)
        if isinstance(stack, _Heights):
            self._show_heights(stack)
            return
        if isinstance(stack, _Stored):
            self._show_stored(stack)
            return
        self._replace(stack)
        if stack.path is not None and stack.path == self._sample:
            return
        if stack.path is not None:
            self._preferences.add_recent(stack.path)
        if stack.notes:
            self._session.set(message=Message("\n".join(stack.notes), "info"))

    def _show_heights(self, read: _Heights) -> None:
        """Begin anew with a height map: its heights are the only result."""
        inputs = replace(self._session.state.inputs, edit=CalibrationEdit(), skipped=frozenset())
        inputs = replace(inputs, settings=replace(inputs.settings, method=METHOD, options=None))
        title = f"1  {read.height_map.name}"
        run = Run(self._number_alone(), title, read.result, inputs, facts=read.facts, measured=True)
        self._replace(None, read.height_map, run)
        if read.height_map.path is not None:
            self._preferences.add_recent(read.height_map.path)
        if read.height_map.notes:
            self._session.set(message=Message(note_lines(read.height_map), "info"))

    def _show_stored(self, read: _Stored) -> None:
        """Begin anew with a stored result, and offer its stack."""
        inputs = replace(self._session.state.inputs, edit=CalibrationEdit(), skipped=frozenset())
        run = Run(self._number_alone(), f"1  {read.stored.name}", read.result, inputs, facts=read.facts, stored=True)
        self._replace(None, read.stored, run)
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
        self, stack: FocalStack | None, alone: HeightMap | StoredResult | None = None, run: Run | None = None
    ) -> None:
        """Begin anew with ``stack``, with what is open ``alone`` as ``run``, or with nothing; the rest is closed."""
        before = self._session.state
        self._undo.clear()
        shape = stack.shape if stack is not None else run.result.shape if run is not None else None
        stay = self._reloading and shape == before.shape
        self._session.set(
            opened=stack,
            stack=stack,
            height_map=alone if isinstance(alone, HeightMap) else None,
            stored=alone if isinstance(alone, StoredResult) else None,
            edit=CalibrationEdit(),
            skipped=frozenset(),
            runs=(run,) if run is not None else (),
            shown_run=run.number if run is not None else None,
            pins=before.pins if stay else (),
            chosen_pin=before.chosen_pin if stay else None,
            tool=before.tool if stay else "pin",
            marks=before.marks if stay else Marks(),
            cursor=None,
            ranges={},
            mode=before.mode if stay else "slice" if run is None else "depth",
            channel=None,
            compared=None if alone is not None else before.compared,
            slice_index=stack.n // 2 if stack else 0,
            message=None,
        )
        _release(before)

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
        is_frame = isinstance(error, FrameError)
        message = problem(error, [Offer("Skip all that cannot be read", "skip_all"), again] if is_frame else [again])
        # not of the stack that is still open, whose frames may be called the same
        offers = [replace(one, action="open_without") if one.action == "skip_frame" else one for one in message.offers]
        message = replace(message, offers=tuple(offers))
        if self._wanted is not None and isinstance(error, FrameError) and error.name == _name(self._wanted[0]):
            # without its only file there is nothing to go on with
            message = replace(message, offers=(again,))
        self._session.set(message=message)


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
