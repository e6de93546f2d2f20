"""A settings dataclass as a form, and back.

Fields describe themselves by the metadata of `toposcope.core.settings.setting`; the form never
knows a method by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)


class SettingsForm(QWidget):
    """One row for each field of a frozen settings dataclass."""

    changed = Signal(object)  # a new instance of the dataclass

    def __init__(self, kind: type, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        if not is_dataclass(kind):
            raise TypeError(f"{kind.__name__} is no dataclass")
        self._kind = kind
        self._read: dict[str, Callable[[], Any]] = {}
        self._write: dict[str, Callable[[Any], None]] = {}
        self._loading = False
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for item in fields(kind):
            editor = self._editor(item)
            if editor is None:
                continue
            label = QLabel(item.metadata.get("label") or item.name.replace("_", " ").capitalize())
            label.setBuddy(editor)
            for widget in (label, editor):
                widget.setToolTip(item.metadata.get("help", ""))
            layout.addRow(label, editor)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to set."""
        return not self._read

    def value(self) -> Any:
        """Return the settings as they stand in the form."""
        return self._kind(**{name: read() for name, read in self._read.items()})

    def set_value(self, settings: Any) -> None:
        """Show these settings; None shows the defaults."""
        settings = self._kind() if settings is None else settings
        self._loading = True
        for name, write in self._write.items():
            write(getattr(settings, name))
        self._loading = False

    def _editor(self, item: Field[Any]) -> QWidget | None:
        default = item.default if item.default is not MISSING else None
        about = item.metadata
        if about.get("choices"):
            return self._choice_editor(item.name, about["choices"], default)
        if isinstance(default, bool):
            return self._flag_editor(item.name, default)
        if isinstance(default, int):
            return self._whole_editor(item.name, about, default)
        if isinstance(default, float):
            return self._number_editor(item.name, about, default)
        if isinstance(default, str):
            return self._text_editor(item.name, default)
        return None  # left at its default: the form cannot show it

    def _choice_editor(self, name: str, choices: tuple[Any, ...], default: Any) -> QComboBox:
        box = QComboBox()
        for choice in choices:
            box.addItem(str(choice), choice)
        self._bind(name, default, box.currentData, lambda v: box.setCurrentIndex(box.findData(v)))
        box.currentIndexChanged.connect(self._on_edited)
        return box

    def _flag_editor(self, name: str, default: bool) -> QCheckBox:
        box = QCheckBox()
        self._bind(name, default, box.isChecked, box.setChecked)
        box.toggled.connect(self._on_edited)
        return box

    def _whole_editor(self, name: str, about: Any, default: int) -> QSpinBox:
        box = QSpinBox()
        low, high = about.get("min"), about.get("max")
        box.setRange(int(low) if low is not None else -1_000_000, int(high) if high is not None else 1_000_000)
        # odd windows step from odd to odd
        box.setSingleStep(int(about.get("step") or (2 if about.get("odd") else 1)))
        box.setSuffix(_suffix(about))
        box.setKeyboardTracking(False)

        def read() -> int:
            value = box.value()
            return value + 1 if about.get("odd") and value % 2 == 0 else value

        self._bind(name, default, read, box.setValue)
        box.valueChanged.connect(self._on_edited)
        return box

    def _number_editor(self, name: str, about: Any, default: float) -> QDoubleSpinBox:
        box = QDoubleSpinBox()
        step = about.get("step") or 10 ** (len(f"{abs(default):.0f}") - 2)
        box.setDecimals(max(2, len(f"{step:.6f}".rstrip("0").split(".")[1])))
        low, high = about.get("min"), about.get("max")
        box.setRange(low if low is not None else -1e9, high if high is not None else 1e9)
        box.setSingleStep(step)
        box.setSuffix(_suffix(about))
        box.setKeyboardTracking(False)
        self._bind(name, default, box.value, box.setValue)
        box.valueChanged.connect(self._on_edited)
        return box

    def _text_editor(self, name: str, default: str) -> QLineEdit:
        line = QLineEdit()
        self._bind(name, default, line.text, line.setText)
        line.editingFinished.connect(self._on_edited)
        return line

    def _bind(self, name: str, default: Any, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self._read[name], self._write[name] = read, write
        self._loading = True
        write(default)
        self._loading = False

    def _on_edited(self) -> None:
        if not self._loading:
            self.changed.emit(self.value())


def _suffix(about: Any) -> str:
    return f" {about['unit']}" if about.get("unit") else ""
