"""Saving the 3D view: as a picture of any size, and as a turntable."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QFileDialog, QProgressDialog

from toposcope.core.jobs import CancelToken, Progress
from toposcope.errors import OutputError
from toposcope.ui.controllers.opening import problem
from toposcope.ui.session import Message, Session
from toposcope.ui.turntable import write_beside
from toposcope.ui.views.surface_dialogs import SurfacePictureDialog, TurntableDialog
from toposcope.ui.views.surface_view import SurfaceView


class SurfacePicturesController(QObject):
    """Answers the camera and the film button of the 3D view."""

    def __init__(self, session: Session, view: SurfaceView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._view = session, view
        view.screenshotRequested.connect(self.ask_for_picture)
        view.turntableRequested.connect(self.ask_for_turntable)

    def ask_for_picture(self) -> None:
        """Ask for size and file, then save the view."""
        dialog = SurfacePictureDialog(self._view.canvas_size, self._view)
        if dialog.exec():
            name, _ = QFileDialog.getSaveFileName(self._view, dialog.windowTitle(), "surface.png", "PNG (*.png)")
            if name:
                self.save_picture(Path(name), dialog.size_px, dialog.transparent_box.isChecked())
        dialog.deleteLater()

    def ask_for_turntable(self) -> None:
        """Ask for size and file, then start the turn."""
        dialog = TurntableDialog(self._view.canvas_size, self._view)
        if dialog.exec():
            name, _ = QFileDialog.getSaveFileName(self._view, dialog.windowTitle(), "surface.gif", "GIF (*.gif)")
            if name:
                self.save_turntable(Path(name), dialog.frames_box.value(), dialog.size_px)
        dialog.deleteLater()

    def save_picture(self, path: Path, size: tuple[int, int], transparent: bool) -> None:
        """Write the view as PNG, and say where."""
        path = path if path.suffix else path.with_suffix(".png")
        picture = Image.fromarray(self._view.screenshot(*size, transparent))
        try:
            write_beside(path, lambda beside: picture.save(beside, format="PNG"))
        except OSError as error:
            self._fail(path, str(error))
        else:
            self._session.set(message=Message(f"The 3D view was saved as {path}."))

    def save_turntable(self, path: Path, frames: int, size: tuple[int, int]) -> None:
        """Start writing the turntable, with a small dialog that shows how far it is."""
        path = path if path.suffix else path.with_suffix(".gif")
        token = CancelToken()
        dialog = QProgressDialog("Turning the surface…", "Cancel", 0, 100, self._view)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAutoReset(False)
        dialog.setMinimumDuration(500)
        dialog.canceled.connect(token.cancel)

        def show(progress: Progress) -> None:
            if not token.is_cancelled:
                dialog.setValue(round(100 * progress.fraction))

        turntable = self._view.turntable(path, frames, size, token.guard(show))
        turntable.finished.connect(lambda written: self._session.set(message=Message(f"Saved {written}.")))
        turntable.failed.connect(lambda text: self._fail(path, text))
        for ended in (turntable.finished, turntable.failed, turntable.cancelled):
            ended.connect(dialog.close)
            ended.connect(turntable.deleteLater)

    def _fail(self, path: Path, reason: str) -> None:
        error = OutputError(f"{path} could not be written: {reason}. Choose another place.")
        self._session.set(message=problem(error))
