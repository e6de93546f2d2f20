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

from toposcope.core.growing import SharpnessCurve
from toposcope.core.jobs import Report
from toposcope.core.source import OpenOptions
from toposcope.core.stack import MIN_FRAMES, Plane
from toposcope.core.watching import FolderWatch, News
from toposcope.ui.controllers.opening import problem
from toposcope.ui.pyramid import Picture, display_range, to_display
from toposcope.ui.rendering import thumbnail
from toposcope.ui.resolve import place_text
from toposcope.ui.session import Message, Offer
from toposcope.ui.views.watch_view import WatchDialog, WatchRow, WatchState
from toposcope.ui.workers import LatestRunner

LOOK_MS = 500
"""Pause between two looks, in milliseconds."""

_SIDE = 144


class FolderWatcher(Protocol):
    """Makes a `FolderWatch`."""

    def __call__(self, folder: Path, taken: Callable[[str, Plane], object]) -> FolderWatch: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What one look found, ready to be shown. ``curve`` and ``depth`` are None where nothing changed."""

    news: News
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


@dataclass(slots=True, eq=False)
class _Task:
    """One watched folder. Only the worker touches ``watch``; ``used`` asks it to go on with the next sweep."""

    folder: Path
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
        self.state = WatchState()
        self.runner = LatestRunner("watch", self)
        self.runner.returned.connect(self._on_seen)
        self.runner.failed.connect(self._on_failed)
        self._timer = QTimer(self, singleShot=True, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)
        dialog.useRequested.connect(self.use)
        dialog.stopRequested.connect(self.stop)
        dialog.messageClosed.connect(lambda: self._set(message=None))
        dialog.offerChosen.connect(lambda offer: self.use())

    def start(self, folder: Path) -> None:
        """Begin to watch ``folder``; what was watched before is let go."""
        self.stop()
        self._task, self._ended, self._options = _Task(folder), None, None
        self._dialog.clear()
        self.state = WatchState(folder=folder, watching=True, status="Looking at the folder …")
        self._set()
        self._look()

    def stop(self) -> None:
        """Watch no longer; what was seen stays in view."""
        self._timer.stop()
        self.runner.drop()
        if self.state.watching:
            self._set(watching=False, status=f"Stopped. {self.state.count}")

    def use(self) -> None:
        """Open the slices so far as a stack, and go on only where another sweep has begun."""
        task, following, options = self._task, self.state.following, self._options
        if task is None or options is None or self.state.n < MIN_FRAMES:
            return
        self.stop()
        self.openRequested.emit(task.folder, options)
        if following:
            task.used, self._options = True, None
            self._ended = None
            self._dialog.clear()
            self._set(watching=True, following=False, n=0, rows=(), message=None)
            self._look()

    def shutdown(self) -> None:
        """Stop the thread."""
        self._timer.stop()
        self.runner.shutdown()

    def _look(self) -> None:
        task = self._task
        if task is not None:
            self.runner.start(lambda report: look(task, self._watch_folder, report))

    def _on_seen(self, seen: _Seen) -> None:
        if not self.state.watching:
            return
        message = self.state.message
        if seen.ended is not None and seen.ended != self._ended:
            offers = (Offer("Compute depth", "run"),) if len(seen.rows) >= MIN_FRAMES else ()
            begins = "" if seen.following else "The sweep looks complete: "
            message = Message(f"{begins}{seen.ended}", "info", offers=offers)
        elif seen.news.problem is not None:
            message = Message(seen.news.problem, "warning")
        elif seen.news.notes:
            message = Message("\n".join(seen.news.notes), "info")
        elif message is not None and message.text == self.state.problem:
            message = None  # the folder is back
        self._ended, self._options = seen.ended, seen.options
        ago = f", newest {_ago(seen.newest_s)} ago" if seen.rows else ""
        count, _, rest = seen.status.partition("; ")
        self._dialog.add_thumbnails(seen.thumbnails)
        if seen.newest is not None:
            self._dialog.show_newest(seen.newest)
        if seen.curve is not None and seen.depth is not None:
            self._dialog.show_depth(seen.depth, seen.unit_symbol)
            self._dialog.show_curve(seen.curve, seen.unit_symbol)
        self._set(
            rows=seen.rows,
            n=len(seen.rows),
            status=f"{count[:1].upper()}{count[1:]}{ago}{'; ' if rest else ''}{rest}",
            count=f"{count[:1].upper()}{count[1:]}.",
            waiting=len(seen.news.waiting),
            following=seen.following,
            problem=seen.news.problem,
            message=message,
        )
        self._timer.start()

    def _on_failed(self, error: Exception) -> None:
        self._set(watching=False, status=f"Stopped. {self.state.count}", message=replace(problem(error), offers=()))

    def _set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._dialog.set_state(self.state)


def look(task: _Task, watch_folder: FolderWatcher, report: Report) -> _Seen:
    """Look at the folder once, and make pictures of what is new."""
    if task.watch is None:
        task.watch = watch_folder(task.folder, task.take)
    watch = task.watch
    if task.used:
        watch.next_sweep()
        task.used = False
    task.fresh.clear()
    news = watch.look(report)
    thumbnails, newest = {}, None
    for name, plane in task.fresh.items():
        task.limits = task.limits or display_range(plane)
        thumbnails[name] = thumbnail(plane, task.limits, _SIDE)[0]
        if name == watch.newest:
            newest = to_display(plane, *task.limits)
    task.fresh.clear()
    growing, changed = watch.growing, news.changed and watch.n > 0
    symbol = watch.unit_symbol
    rows = tuple(
        WatchRow(name, place_text(z, symbol)) for name, z in zip(watch.names, watch.positions.tolist(), strict=True)
    )
    return _Seen(
        news,
        rows,
        thumbnails,
        newest,
        growing.depth() if changed else None,
        growing.sharpness() if changed else None,
        symbol,
        watch.status(),
        watch.newest_s,
        watch.ended(),
        watch.following is not None,
        watch.stack_options(),
    )


def _ago(seconds: float) -> str:
    """Write a time that has passed: ``3 s``, ``4 min``, ``2 h``."""
    if seconds < 120:
        return f"{math.floor(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
