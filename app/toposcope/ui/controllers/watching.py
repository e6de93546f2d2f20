"""Watching a folder: looks in the background, one after another, and what they found into the watch window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Signal

from toposcope.core.advising import SweepAdvice
from toposcope.core.growing import SharpnessCurve
from toposcope.core.jobs import Report
from toposcope.core.pictures import display_range, to_display
from toposcope.core.source import OpenOptions
from toposcope.core.stack import MIN_FRAMES, Plane
from toposcope.core.watching import FolderWatch, Left, News
from toposcope.ui.controllers.opening import problem
from toposcope.ui.pyramid import Picture
from toposcope.ui.rendering import thumbnail
from toposcope.ui.resolve import place_text
from toposcope.ui.session import Message, Offer
from toposcope.ui.views.sweep_widgets import THUMBNAIL_SIDE
from toposcope.ui.views.watch_view import WatchDialog, WatchRow, WatchState
from toposcope.ui.workers import LatestRunner

LOOK_MS = 500
"""Pause between two looks, in milliseconds."""

MOST_TOLD = 6
"""Lines of the message above the pictures; older ones go."""


class FolderWatcher(Protocol):
    """Makes a `FolderWatch`."""

    def __call__(self, folder: Path, taken: Callable[[str, Plane], object]) -> FolderWatch: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What one look found, ready to be shown. ``curve`` and ``depth`` are None where nothing changed.

    ``advice`` is None while slices come, ``step_um`` what was asked for when the look began; ``placed`` tells that it
    looked for no new slices.
    """

    news: News
    placed: bool
    rows: tuple[WatchRow, ...]
    thumbnails: dict[str, Picture]
    newest: Picture | None
    depth: NDArray[np.float32] | None
    curve: SharpnessCurve | None
    unit_symbol: str
    status: str
    newest_s: float
    ended: str | None
    following: bool
    options: OpenOptions
    step_um: float
    takes_step: bool
    advice: SweepAdvice | None


@dataclass(slots=True, eq=False)
class _Task:
    """One watched folder. Only the worker touches ``watch``; ``used`` asks it to go on with the next sweep.

    ``step_um`` is the step that counts where nothing else tells positions, 0 for none.
    """

    folder: Path
    step_um: float
    watch: FolderWatch | None = None
    fresh: dict[str, Plane] = field(default_factory=dict)
    limits: tuple[float, float] | None = None
    used: bool = False

    def take(self, name: str, plane: Plane) -> None:
        """Keep a slice until the look is over."""
        self.fresh[name] = plane


class WatchingController(QObject):
    """Watches one folder at a time."""

    openRequested = Signal(object, object)  # folder, OpenOptions

    def __init__(self, dialog: WatchDialog, watch_folder: FolderWatcher, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._dialog, self._watch_folder = dialog, watch_folder
        self._task: _Task | None = None
        self._ended: str | None = None
        self._options: OpenOptions | None = None
        self._step_um = 0.0  # that the newest answer goes by
        self._use_asked = False
        self._notes: list[str] = []  # that stand in the message
        self._closed: set[Left] = set()  # files that cannot be read, of whom the user has closed the message
        self._seen: _Seen | None = None  # at the last look for slices
        self.state = WatchState()
        self.runner = LatestRunner("watch", self)
        self.runner.returned.connect(self._on_seen)
        self.runner.failed.connect(self._on_failed)
        self._timer = QTimer(self, singleShot=True, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)
        dialog.useRequested.connect(self.use)
        dialog.stopRequested.connect(self._on_stop)
        dialog.stepEdited.connect(self.set_step)
        dialog.messageClosed.connect(self._on_message_closed)
        dialog.offerChosen.connect(lambda offer: self.use())

    def start(self, folder: Path) -> None:
        """Begin to watch ``folder``; what was watched before is let go."""
        self.stop()
        self._task, self._options = _Task(folder, self.state.step_um), None
        self._forget()
        self._dialog.clear()
        self.state = WatchState(folder, watching=True, status="Looking at the folder …", step_um=self.state.step_um)
        self._set()
        self._look()

    def stop(self) -> None:
        """Watch no longer; what was seen stays in view."""
        self._timer.stop()
        self.runner.drop()
        self._use_asked = False
        if self.state.watching:
            message = self.state.message
            if message is not None and self._seen is not None:
                message = self._message(self._seen, watching=False)
            count = self.state.count if self.state.rows else "No slice has come."
            self._set(watching=False, status=f"Stopped. {count}", waiting=0, message=message)

    def set_step(self, step_um: float) -> None:
        """Put slices whose positions nothing else tells at such steps; 0 counts them."""
        self._set(step_um=step_um)
        task = self._task
        if task is None:
            return
        task.step_um = step_um
        if not self.state.watching:
            self._place()
        elif not self.runner.busy:  # a look is never broken off: what it took in would be shown by none
            self._timer.stop()
            self._look()

    def use(self) -> None:
        """Open the slices so far as a stack, and go on only where another sweep has begun."""
        task, following, options = self._task, self.state.following, self._options
        if task is None or options is None or self.state.n < MIN_FRAMES:
            return
        if self._step_um != task.step_um:  # an answer that knows the new step is on its way
            self._use_asked = True
            return
        self.stop()
        self.openRequested.emit(task.folder, options)
        if following:
            task.used, self._options = True, None
            self._forget()
            self._dialog.clear()
            self._set(watching=True, following=False, rows=(), message=None, advice=None)
            self._look()

    def shutdown(self) -> None:
        """Stop the thread."""
        self._timer.stop()
        self.runner.shutdown()

    def _forget(self) -> None:
        """Have nothing told yet."""
        self._ended, self._seen, self._notes = None, None, []
        self._closed.clear()

    def _look(self) -> None:
        task = self._task
        if task is not None:
            self.runner.start(lambda report: look(task, self._watch_folder, report))

    def _place(self) -> None:
        """Let what is there be placed and judged anew, without a look at the folder."""
        task = self._task
        if task is not None and task.watch is not None:
            self.runner.start(lambda report: look(task, self._watch_folder, report, placed=True))

    def _on_stop(self) -> None:
        if self.state.watching:
            self.stop()
            self._place()  # the sweep has ended: now there is advice

    def _on_seen(self, seen: _Seen) -> None:
        self._options, self._step_um = seen.options, seen.step_um
        self._dialog.add_thumbnails(seen.thumbnails)
        if seen.newest is not None:
            self._dialog.show_newest(seen.newest)
        if seen.curve is not None and seen.depth is not None:
            self._dialog.show_depth(seen.depth, seen.unit_symbol)
            self._dialog.show_curve(seen.curve, seen.unit_symbol)
        self._set(rows=seen.rows, takes_step=seen.takes_step, advice=seen.advice)
        if not seen.placed:
            self._tell(seen)
            self._timer.start()
        if self._use_asked and self._task is not None and self._step_um == self._task.step_um:
            self.use()

    def _tell(self, seen: _Seen) -> None:
        """Say how the sweep goes, and what happened."""
        ago = f", newest {_ago(seen.newest_s)} ago" if seen.rows else ""
        count, _, rest = f"{seen.status[:1].upper()}{seen.status[1:]}".partition("; ")
        self._notes = [*self._notes, *seen.news.notes][-MOST_TOLD:]
        message = self._message(seen) if self._has_more_to_say(seen) else None
        self._ended, self._seen = seen.ended, seen
        self._set(
            status=f"{count}{ago}{'; ' if rest else ''}{rest}",
            count=f"{count}.",
            waiting=len(seen.news.waiting),
            following=seen.following,
            problem=seen.news.problem,
            message=message,
        )

    def _has_more_to_say(self, seen: _Seen) -> bool:
        """Whether a message stands or must: one that was closed stays closed until there is more to say."""
        news, before = seen.news, self._seen
        broken = set(news.broken).difference(() if before is None else before.news.broken)
        changed = seen.ended != self._ended or news.problem != self.state.problem
        return self.state.message is not None or changed or bool(broken or news.notes)

    def _message(self, seen: _Seen, watching: bool = True) -> Message | None:
        """Return what stands above the pictures: files that cannot be read are tried again while ``watching`` only."""
        news = seen.news
        if news.problem is not None:
            return Message(f"{news.problem} Waiting for it to come back." if watching else news.problem, "warning")
        ended = [] if seen.ended is None else [f"{'' if seen.following else 'The sweep looks complete: '}{seen.ended}"]
        offers = (Offer("Compute depth", "run"),) if ended and len(seen.rows) >= MIN_FRAMES else ()
        outlook = "It is tried again." if watching else "It is left out."
        broken = [f"{one.name} {one.why}. {outlook}" for one in news.broken if one not in self._closed]
        lines = [*ended, *self._notes, *broken[:MOST_TOLD]]
        if len(broken) > MOST_TOLD:
            lines.append(f"{len(broken) - MOST_TOLD} more files cannot be read.")
        return Message("\n".join(lines), "info", offers=offers) if lines else None

    def _on_message_closed(self) -> None:
        self._notes = []
        if self._seen is not None:
            self._closed.update(self._seen.news.broken)
        self._set(message=None)

    def _on_failed(self, error: Exception) -> None:
        self._use_asked = False
        self.stop()
        self._set(message=replace(problem(error), offers=()))

    def _set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._dialog.set_state(self.state)


def look(task: _Task, watch_folder: FolderWatcher, report: Report, placed: bool = False) -> _Seen:
    """Look at the folder once, and make pictures of what is new; or only place what is there, where ``placed``."""
    if task.watch is None:
        task.watch = watch_folder(task.folder, task.take)
    watch = task.watch
    if task.used:
        watch.next_sweep()
        task.used = False
        task.fresh.clear()
    step_um = task.step_um  # the window may change it meanwhile
    watch.set_step(step_um or None)
    news = watch.place() if placed else watch.look(report)
    ended = watch.ended()
    thumbnails, newest = {}, None
    for name, plane in task.fresh.items():
        task.limits = task.limits or display_range(plane)
        thumbnails[name] = thumbnail(plane, task.limits, THUMBNAIL_SIDE)[0]
        if name == watch.newest:
            newest = to_display(plane, *task.limits)
    task.fresh.clear()
    # what a look took in before it was broken off by Stop is shown, too
    growing, changed = watch.growing, (news.changed or placed) and watch.n > 0
    symbol = watch.unit_symbol
    rows = tuple(
        WatchRow(name, place_text(z, symbol)) for name, z in zip(watch.names, watch.positions.tolist(), strict=True)
    )
    return _Seen(
        news,
        placed,
        rows,
        thumbnails,
        newest,
        growing.depth() if changed else None,
        growing.sharpness() if changed else None,
        symbol,
        watch.status(),
        watch.newest_s,
        ended,
        watch.following is not None,
        watch.stack_options(),
        step_um,
        watch.takes_step,
        watch.advice() if placed or ended is not None or watch.is_quiet else None,
    )


def _ago(seconds: float) -> str:
    """Write a time that has passed: ``3 s``, ``4 min``, ``2 h``."""
    if seconds < 120:
        return f"{math.floor(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
