"""The export panel: what to write, and where."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from toposcope.ui import theme
from toposcope.ui.forms import SettingsForm


class Format(Protocol):
    """What the panel shows of a file format."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def file_name(self) -> str: ...
    @property
    def needs(self) -> str: ...


class ExportPanel(QWidget):
    """Chooses formats and a folder. Options are made from the settings dataclass of the exporter."""

    exportRequested = Signal(object, object, object)  # tuple of format names, folder Path, options
    openRequested = Signal(object)  # folder Path

    def __init__(
        self,
        formats: Sequence[Format],
        options: type | None = None,
        chosen: Sequence[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._list = QListWidget()
        self._list.setFrameShape(QFrame.Shape.StyledPanel)
        self._list.setMinimumHeight(120)
        self._list.setSpacing(1)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for card in formats:
            item = QListWidgetItem(card.title)
            item.setSizeHint(QSize(0, self._list.fontMetrics().height() + 6))  # room for the frame of the box
            item.setData(Qt.ItemDataRole.UserRole, card.name)
            item.setToolTip(f"{card.title}: {card.file_name}")
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if card.name in chosen else Qt.CheckState.Unchecked)
            self._list.addItem(item)
        self._options = SettingsForm(options) if options is not None else None
        self._folder = QLineEdit()
        self._folder.setPlaceholderText("Folder to write to")
        self._browse = QToolButton()
        self._browse.setToolTip("Choose a folder")
        self._export = QPushButton("  Export")
        self._export.setToolTip("Write the chosen files (Ctrl+E)")
        self._said = QLabel()
        self._said.setWordWrap(True)
        self._said.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._show = QPushButton("Open the folder")
        self._show.setVisible(False)
        self._able = False
        self._offered: frozenset[str] | None = None
        self._build()
        self.apply_theme()

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(7)
        layout.addWidget(QLabel("Files to write"))
        layout.addWidget(self._list, 1)
        if self._options is not None and not self._options.is_empty:
            layout.addWidget(self._options)
        row = QHBoxLayout()
        row.addWidget(self._folder, 1)
        row.addWidget(self._browse)
        layout.addLayout(row)
        layout.addWidget(self._export)
        layout.addWidget(self._said)
        layout.addWidget(self._show)
        self._list.itemChanged.connect(lambda _: self._check())
        self._folder.textChanged.connect(lambda _: self._check())
        self._browse.clicked.connect(self._on_browse)
        self._export.clicked.connect(self.request)
        self._show.clicked.connect(lambda: self.openRequested.emit(self.folder()))
        self._check()

    def apply_theme(self) -> None:
        """Take icons of the theme."""
        self._browse.setIcon(theme.icon("folder-open"))
        self._export.setIcon(theme.icon("export"))

    def set_able(self, able: bool) -> None:
        """Whether there is a result to export."""
        self._able = able
        self._check()

    def set_offered(self, names: Collection[str] | None) -> None:
        """Offer only these formats, None for all; the others keep their marks for later."""
        self._offered = None if names is None else frozenset(names)
        for i in range(self._list.count()):
            item = self._list.item(i)
            item.setHidden(not self._is_offered(item))
        self._check()

    def _is_offered(self, item: QListWidgetItem) -> bool:
        return self._offered is None or item.data(Qt.ItemDataRole.UserRole) in self._offered

    def set_folder(self, folder: Path) -> None:
        """Propose a folder; one that the user typed stays."""
        self._folder.setText(str(folder))
        self._said.clear()
        self._show.setVisible(False)

    def set_written(self, paths: Sequence[Path]) -> None:
        """Say what was written."""
        names = dict.fromkeys(path.name for path in paths)  # everything holds what is also a format of its own
        self._said.setText(f"Wrote {', '.join(names)}." if paths else "")
        self._show.setVisible(bool(paths))

    def folder(self) -> Path:
        """Return the folder to write to."""
        return Path(self._folder.text().strip()).expanduser()

    def formats(self) -> tuple[str, ...]:
        """Return the names of the chosen formats."""
        items = (self._list.item(i) for i in range(self._list.count()))
        return tuple(
            item.data(Qt.ItemDataRole.UserRole)
            for item in items
            if item.checkState() == Qt.CheckState.Checked and self._is_offered(item)
        )

    def set_formats(self, names: Sequence[str]) -> None:
        """Choose these formats."""
        for i in range(self._list.count()):
            item = self._list.item(i)
            on = item.data(Qt.ItemDataRole.UserRole) in names
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def options(self) -> Any:
        """Return the export options as they stand."""
        return self._options.value() if self._options is not None else None

    def request(self) -> None:
        """Ask for the export, if all that is needed is there."""
        if self._export.isEnabled():
            self._said.clear()
            self._show.setVisible(False)
            self.exportRequested.emit(self.formats(), self.folder(), self.options())

    def _check(self) -> None:
        ready = self._able and bool(self.formats()) and bool(self._folder.text().strip())
        self._export.setEnabled(ready)
        self._export.setToolTip(
            "Write the chosen files (Ctrl+E)" if ready else "Needs a full result, a format and a folder"
        )

    def _on_browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder to write to", self._folder.text())
        if chosen:
            self._folder.setText(chosen)
