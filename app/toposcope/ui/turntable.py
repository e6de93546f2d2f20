"""One turn of the 3D view as an animated GIF, made beside the user's work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import QObject, QTimer, Signal

from toposcope.core.jobs import Cancelled, Progress, Report
from toposcope.errors import ToposcopeError

Draw = Callable[[float], NDArray[np.uint8]]
"""Draws the view after a turn by so many degrees: (H, W, 4) RGBA."""

FRAME_MS: Final = 60


class Turntable(QObject):
    """A GIF in the making.

    Each frame is drawn in its own turn of the event loop, because OpenGL belongs to the window's
    thread; the file is encoded in a thread of its own, beside its place, and then renamed.
    """

    finished = Signal(object)  # the path that was written
    failed = Signal(str)  # why not, for the user
    cancelled = Signal()

    def __init__(self, draw: Draw, path: Path, frames: int, report: Report, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._draw, self._path, self._frames, self._report = draw, path, frames, report
        self._pictures: list[Image.Image] = []
        self._timer = QTimer(self, interval=0)
        self._timer.timeout.connect(self._step)
        self._encoded: list[Exception | None] = []

    def start(self) -> None:
        """Begin; nothing is drawn before the event loop runs."""
        self._timer.start()

    def _step(self) -> None:
        try:
            if self._encoded:
                self._timer.stop()
                error = self._encoded[0]
                if error is not None:
                    raise error
                self.finished.emit(self._path)
                return
            drawn = len(self._pictures)
            self._report(Progress(0.9 * drawn / self._frames, f"turntable, frame {min(drawn + 1, self._frames)}"))
            if drawn < self._frames:
                picture = self._draw(360.0 * drawn / self._frames)
                self._pictures.append(Image.fromarray(np.ascontiguousarray(picture[..., :3])))
                if len(self._pictures) == self._frames:
                    self._timer.setInterval(30)
                    threading.Thread(target=self._encode, name="turntable").start()
        except Cancelled:
            self._timer.stop()
            self.cancelled.emit()
        except (OSError, ToposcopeError) as error:
            self._timer.stop()
            self.failed.emit(f"{self._path} could not be written: {error}. Choose another place.")

    def _encode(self) -> None:
        try:
            write_gif(self._pictures, self._path)
            self._encoded.append(None)
        except Exception as error:  # noqa: BLE001  a thread hands everything over; `_step` answers
            self._encoded.append(error)


def write_gif(pictures: list[Image.Image], path: Path, frame_ms: int = FRAME_MS) -> None:
    """Write ``pictures``, RGB and of one size, as an endless GIF with one palette for all.

    One palette keeps colours from flickering from frame to frame.

    Raises
    ------
    OSError
        If it cannot be written there.
    """
    some = pictures[:: max(1, len(pictures) // 6)]
    strip = Image.fromarray(np.concatenate([np.asarray(picture) for picture in some]))
    palette = strip.quantize(256, method=Image.Quantize.MEDIANCUT)
    first, *others = (picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures)
    write_beside(
        path,
        lambda beside: first.save(beside, format="GIF", save_all=True, append_images=others, duration=frame_ms, loop=0),
    )


def write_beside(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` write a file beside ``path`` and rename it, so that there is never half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
