"""The 3D view: prepared in the background, pins and picking tied to the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer

from toposcope.core.export import write_image
from toposcope.core.jobs import CancelToken, Progress, Report
from toposcope.core.pictures import display_range, to_display
from toposcope.errors import MissingPartError
from toposcope.ui import theme
from toposcope.ui.controllers.opening import problem
from toposcope.ui.session import Job, Run, Session, State
from toposcope.ui.views.surface_data import PreparedSurface, prepare_surface
from toposcope.ui.views.surface_view import SurfaceView
from toposcope.ui.workers import LatestRunner

PIN_MS: Final = 150
"""Moved pins are drawn on the surface so often; software OpenGL needs 70 to 600 ms for one picture."""


class SurfaceController(QObject):
    """Shows the surface of the current result."""

    def __init__(self, session: Session, view: SurfaceView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._view = session, view
        self._run: Run | None = None
        self.runner = LatestRunner("surface", self)
        self.runner.returned.connect(self._on_prepared)
        self.runner.failed.connect(lambda error: session.set(message=problem(error)))
        self.writer = LatestRunner("screenshot", self)
        self.writer.returned.connect(self._on_written)
        self.writer.failed.connect(lambda error: session.set(message=problem(error)))
        self._token = CancelToken()
        self._pins_moved = False
        self._pins_rest = QTimer(self, singleShot=True, interval=PIN_MS)
        self._pins_rest.timeout.connect(self._on_pins_rested)
        session.changed.connect(self._on_changed)

    def _on_changed(self, before: State, now: State) -> None:
        run = now.run
        if run is not before.run:
            if run is None:
                self.runner.drop()
                self._view.set_prepared(None)
            elif self._view.problem is None:
                self.runner.start(lambda report: prepared(run, report))
        if run is not before.run:
            self.show_pins()
        elif now.pins != before.pins:
            self._follow_pins()

    def _follow_pins(self) -> None:
        """Show moved pins at once, then at most every `PIN_MS`: drawing the surface takes its time."""
        if self._pins_rest.isActive():
            self._pins_moved = True
            return
        self._pins_moved = False
        self.show_pins()
        self._pins_rest.start()

    def _on_pins_rested(self) -> None:
        if self._pins_moved:
            self._follow_pins()

    def show_pins(self) -> None:
        """Put the pins on the surface."""
        state, colours = self._session.state, theme.colours().pins
        run = state.run
        if run is None:
            self._view.set_pins([])
            return
        self._view.set_pins(
            [
                (p.number, p.row // run.reduction, p.column // run.reduction, colours[p.colour % len(colours)])
                for p in state.pins
            ]
        )

    def full_pixel(self, row: int, column: int) -> tuple[int, int]:
        """Return the pixel of the full-size picture for a picked pixel of the shown map."""
        run, shape = self._session.state.run, self._session.state.shape
        if run is None or shape is None:
            return row, column
        k = run.reduction
        return min(row * k + k // 2, shape[0] - 1), min(column * k + k // 2, shape[1] - 1)

    def save_screenshot(self, path: Path, width: int = 2400, height: int = 1600, transparent: bool = False) -> None:
        """Write the view as a picture, larger than it is on the screen; a ``transparent`` ground needs a PNG."""
        if transparent and path.suffix.lower() != ".png":
            text = f"{path.name} cannot hold a transparent ground. End the name in .png, or choose a solid ground."
            self._session.say(text, "error")
            return
        try:
            picture = self._view.screenshot(width, height, transparent)
        except MissingPartError as error:
            self._session.set(message=problem(error))
            return

        def write(report: Report) -> Path:
            write_image(np.ascontiguousarray(picture if transparent else picture[..., :3]), path)
            return path

        self.writer.start(write)

    def save_turntable(self, path: Path, frames: int = 72, size: tuple[int, int] = (640, 480)) -> None:
        """Write one turn of the surface as a GIF; it is drawn beside the user's work."""
        self._token = CancelToken()
        report = self._token.guard(lambda progress: self._session.set_job("turntable", Job("Turntable", progress)))
        try:
            turntable = self._view.turntable(path, frames, size, report)
        except MissingPartError as error:
            self._session.set(message=problem(error))
            return
        turntable.finished.connect(self._on_written)
        turntable.failed.connect(lambda text: self._end_turntable(text))
        turntable.cancelled.connect(lambda: self._end_turntable(""))

    def cancel(self) -> None:
        """Stop the turntable."""
        self._token.cancel()

    def _end_turntable(self, trouble: str) -> None:
        self._session.set_job("turntable", None)
        if trouble:
            self._session.say(trouble, "error")

    def _on_written(self, path: Path) -> None:
        self._end_turntable("")
        self._session.say(f"Wrote {path}.")

    def _on_prepared(self, surface: PreparedSurface) -> None:
        self._view.set_prepared(surface)
        self.show_pins()


def prepared(run: Run, report: Report) -> PreparedSurface:
    """Return the surface of a run, ready for upload."""
    result = run.result
    report(Progress(0.0))
    fused = to_display(result.all_in_focus, *display_range(result.all_in_focus))
    texture: NDArray[np.uint8] = np.repeat(fused[..., None], 3, axis=2) if fused.ndim == 2 else fused
    heights = result.heights()
    report(Progress(0.5))
    return prepare_surface(heights, texture, result.pixel_pitch, result.unit_symbol, confidence=result.confidence)
