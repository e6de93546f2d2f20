"""The status bar: the pixel under the cursor, the device, and the running job."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QProgressBar, QSizePolicy, QStatusBar, QToolButton, QWidget

from toposcope.ui import theme
from toposcope.ui.session import Job


class StatusView(QStatusBar):
    """Tells; the only thing it asks for is to stop the job."""

    cancelRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._readout = QLabel()
        self._readout.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._readout.setContentsMargins(8, 0, 0, 0)
        self._job = QLabel()
        self._progress = QProgressBar()
        self._progress.setRange(0, 1000)
        self._progress.setFixedWidth(170)
        self._progress.setTextVisible(True)
        self._cancel = QToolButton()
        self._cancel.setAutoRaise(True)
        self._cancel.setToolTip("Stop (Esc)")
        self._cancel.clicked.connect(self.cancelRequested)
        self._device = QLabel()
        self._device.setProperty("role", "muted")
        self._device.setContentsMargins(8, 0, 8, 0)
        self._device.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.addWidget(self._readout, 1)
        for widget in (self._job, self._progress, self._cancel, self._device):
            self.addPermanentWidget(widget)
        self.set_job(None)
        self.apply_theme()

    def apply_theme(self) -> None:
        """Take icons of the theme."""
        self._cancel.setIcon(theme.icon("x-circle", theme.colours().error))

    def set_readout(self, text: str) -> None:
        """Show what is under the cursor."""
        self._readout.setText(text)

    def set_device(self, text: str) -> None:
        """Show what computes."""
        self._device.setText(text)

    def set_job(self, job: Job | None) -> None:
        """Show the running job; None when there is none."""
        for widget in (self._job, self._progress, self._cancel):
            widget.setVisible(job is not None)
        if job is None:
            return
        text = f"{job.title}: {job.progress.text}" if job.progress.text else job.title
        self._job.setText(self._job.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, 340))
        self._job.setToolTip(text)
        # no step done yet: the bar runs, so that nobody thinks it hangs
        self._progress.setRange(0, 0 if job.progress.fraction <= 0 else 1000)
        self._progress.setValue(round(1000 * job.progress.fraction))
