"""What to ask before the 3D view is saved as a picture or a turntable."""

from __future__ import annotations

from PySide6.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QFormLayout, QSpinBox, QWidget


class SurfacePictureDialog(QDialog):
    """Asks for the size of a picture; the height follows the width in the shape of the view."""

    def __init__(self, view_size: tuple[int, int], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Save the 3D view as a picture")
        self._shape = view_size[1] / view_size[0]
        self.width_box = _box(64, 16384, 2400, " px")
        self.height_box = _box(64, 16384, round(2400 * self._shape), " px")
        self.transparent_box = QCheckBox("Transparent ground")
        self.width_box.valueChanged.connect(lambda width: self.height_box.setValue(round(width * self._shape)))
        form = QFormLayout(self)
        form.addRow("Width", self.width_box)
        form.addRow("Height", self.height_box)
        form.addRow("", self.transparent_box)
        form.addRow(_buttons(self))

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height that were chosen."""
        return self.width_box.value(), self.height_box.value()


class TurntableDialog(QDialog):
    """Asks for the size of a turntable and the number of its frames."""

    def __init__(self, view_size: tuple[int, int], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Save a turn around the surface")
        self._shape = view_size[1] / view_size[0]
        self.width_box = _box(64, 1920, 640, " px")
        self.frames_box = _box(8, 360, 72, "")
        form = QFormLayout(self)
        form.addRow("Width", self.width_box)
        form.addRow("Frames in a turn", self.frames_box)
        form.addRow(_buttons(self))

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height, in the shape of the view."""
        width = self.width_box.value()
        return width, max(1, round(width * self._shape))


def _box(low: int, high: int, value: int, suffix: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    box.setSuffix(suffix)
    box.setMinimumWidth(110)
    return box


def _buttons(dialog: QDialog) -> QDialogButtonBox:
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel)
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    return buttons
