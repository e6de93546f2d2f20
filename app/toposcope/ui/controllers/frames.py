"""The film strip: thumbnails in the background, those in view first."""

from __future__ import annotations

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from toposcope.core.jobs import Progress, Report
from toposcope.core.pictures import display_range
from toposcope.core.stack import FocalStack
from toposcope.errors import ToposcopeError
from toposcope.ui.commands import push
from toposcope.ui.pyramid import Picture
from toposcope.ui.rendering import thumbnail
from toposcope.ui.session import Session, State
from toposcope.ui.views.film_strip import FilmStrip
from toposcope.ui.workers import LatestRunner

CHUNK = 6
"""Thumbnails made before the wishes are looked at again."""
ALL_UNASKED = 300
"""Stacks up to this many frames get all their thumbnails, in view or not."""
SIDE = 144

Thumbnails = dict[int, tuple[Picture, float]]


class FramesController(QObject):
    """Fills the film strip and takes its wishes."""

    def __init__(self, session: Session, undo: QUndoStack, strip: FilmStrip, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._undo, self._strip = session, undo, strip
        self._done: set[int] = set()
        self._wanted: list[int] = []
        self.runner = LatestRunner("thumbnails", self)
        self.runner.returned.connect(self._on_made)
        strip.thumbnailsRequested.connect(self._on_requested)
        strip.skipRequested.connect(self._on_skip_requested)
        strip.frameRequested.connect(lambda i: session.set(slice_index=i, mode="slice"))
        session.changed.connect(self._on_changed)

    def _on_changed(self, before: State, now: State) -> None:
        if now.opened is before.opened:
            return
        self.runner.drop()
        self._done, self._wanted = set(), []
        self._strip.forget_thumbnails()
        if now.stack is not None:
            self._start_next()

    def _on_requested(self, frames: list[int]) -> None:
        self._wanted = [i for i in frames if i not in self._done]
        if not self.runner.busy:
            self._start_next()

    def _on_skip_requested(self, index: int, skip: bool) -> None:
        skipped = self._session.state.skipped
        changed = skipped | {index} if skip else skipped - {index}
        name = self._session.state.stack.source.names[index] if self._session.state.stack else ""
        push(self._undo, self._session, f"{'leave out' if skip else 'take in'} {name}", skipped=changed)

    def _start_next(self) -> None:
        stack = self._session.state.stack
        if stack is None:
            return
        wanted = [i for i in self._wanted if i not in self._done and i < stack.n]
        if not wanted and stack.n <= ALL_UNASKED:
            wanted = [i for i in range(stack.n) if i not in self._done]
        chunk = wanted[:CHUNK]
        if chunk:
            self.runner.start(lambda report: make_thumbnails(stack, chunk, report))

    def _on_made(self, pictures: Thumbnails) -> None:
        self._done.update(pictures)
        self._strip.set_thumbnails(pictures)
        self._start_next()


def make_thumbnails(stack: FocalStack, frames: list[int], report: Report) -> Thumbnails:
    """Return thumbnail and sharpness of some frames; a frame that cannot be read becomes a dark square."""
    scale = max(s for s in (1, 2, 4, 8) if s == 1 or max(stack.shape) / s >= SIDE)
    pictures: Thumbnails = {}
    for i in frames:
        report(Progress(0.0))
        try:
            plane = stack.read(i, scale=scale)
        except ToposcopeError:
            pictures[i] = broken_thumbnail(), 0.0  # the run that needs the frame will tell
            continue
        pictures[i] = thumbnail(plane, display_range(plane), SIDE)
    return pictures


def broken_thumbnail() -> Picture:
    """Return what stands for a frame that cannot be read."""
    import cv2
    import numpy as np

    picture: Picture = np.full((54, 72, 3), 34, dtype=np.uint8)
    cv2.line(picture, (24, 15), (48, 39), (200, 80, 76), 2, cv2.LINE_AA)
    cv2.line(picture, (48, 15), (24, 39), (200, 80, 76), 2, cv2.LINE_AA)
    return picture
