"""The batch window: a list of stacks, where their results go, and what came of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QBrush,
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.batch import BatchRow
from toposcope.ui import theme
from toposcope.ui.batch_state import BatchState, cells
from toposcope.ui.dropping import dropped_paths
from toposcope.ui.views.elided_label import ElidedLabel
from toposcope.ui.views.export_panel import Format
from toposcope.ui.views.message_bar import MessageBar
from toposcope.ui.views.scrolled import scrolled

PANEL_WIDTH: Final = 250
TITLES: Final = ("Stack", "State", "Voids", "Time", "Depth, or what went wrong")
NUMBERS: Final = (2, 3)
"""Columns of numbers."""
WIDTHS: Final = (0, 13, 8, 10, 0)
"""Of the columns, in digits; 0 takes what room there is."""
GAP: Final = "\u2002"
"""Behind right-aligned numbers, which would touch the words of the next column."""
EMPTY: Final = "Drop folders of stacks here, or add them below"
WITH_RESULT: Final = ("result", "depth", "confidence")
"""Formats that every result has anyway."""


class BatchDialog(QDialog):
    """Shows a `BatchState` and asks for everything by signals."""

    stacksAdded = Signal(object)  # paths
    stacksRemoved = Signal(object)  # places in the list
    folderEdited = Signal(str)
    formatsEdited = Signal(object)  # tuple of names
    sharedEdited = Signal(bool)
    skipEdited = Signal(bool)
    anewEdited = Signal(bool)
    startRequested = Signal()
    cancelRequested = Signal()
    openRequested = Signal(object)  # folder of a result, or path of a stack
    showFolderRequested = Signal(object)  # Path
    copyRequested = Signal()
    messageClosed = Signal()
    closeWished = Signal()

    def __init__(
        self, formats: Sequence[Format], start_folder: str = "", file_filter: str = "", parent: QWidget | None = None
    ) -> None:
        """``start_folder`` is where file dialogs begin, ``file_filter`` what they show."""
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Batch")
        self.resize(1060, 680)
        self.setMinimumSize(QSize(760, 440))
        self.setAcceptDrops(True)
        self._state: BatchState | None = None
        self._start_folder, self._file_filter = start_folder, file_filter
        self._formats = [card for card in formats if card.needs == "depth" and card.name not in WITH_RESULT]
        self._make_widgets()
        self._lay_out()
        self._connect()
        self.apply_theme()
        self.table.setFocus()

    # building

    def _make_widgets(self) -> None:
        self.message_bar = MessageBar()
        self._count = QLabel()
        self._count.setProperty("role", "heading")
        self.table = _Table()
        self._problem = QLabel()
        self._problem.setWordWrap(True)
        self._problem.setTextFormat(Qt.TextFormat.PlainText)
        self._problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._problem.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self._add_folder = _button("Folder …", "Add a folder: a stack, or one that holds stacks")
        self._add_files = _button("Files …", "Add stacks that are files, such as TIFF, CZI or ND2")
        self._remove = _button("Remove", "Take the chosen stacks out of the list (Delete); their files stay")
        self._only_failed = QCheckBox("Only what failed")
        self._only_failed.setToolTip("Show only stacks that failed, or lack something beside their result")
        self._method = _wrapped()
        self._each = QRadioButton("As each stack tells")
        self._shared = QRadioButton("As in the main window")
        self._calibration = _wrapped("muted")
        self._list = QListWidget()
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setMinimumHeight(90)
        for card in self._formats:
            item = QListWidgetItem(card.title)
            item.setSizeHint(QSize(0, self._list.fontMetrics().height() + 6))  # room for the frame of the box
            item.setData(Qt.ItemDataRole.UserRole, card.name)
            item.setToolTip(f"{card.title}: {card.file_name}")
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Unchecked)
            self._list.addItem(item)
        self._anew = QCheckBox("Do all anew")
        self._anew.setToolTip("Also the stacks whose results are up to date from a batch before")
        self._skip = QCheckBox("Leave out broken frames")
        self._skip.setToolTip("Go on without frames that cannot be read, as long as three are left")
        self._folder = QLineEdit()
        self._folder.setPlaceholderText("Folder for the results: one folder a stack, and the table batch.csv")
        self._folder_label = QLabel("Results &in")
        self._folder_label.setBuddy(self._folder)
        self._browse = QToolButton()
        self._browse.setToolTip("Choose the folder for the results")
        self._browse.setAccessibleName("Choose the folder for the results")
        self._show = _button("Open it", "Open the folder of the results")
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._doing = ElidedLabel()
        self._copy = _button("Copy as command line", "What does the same by itself, for a script or another machine")
        self._start = QPushButton("  Start")
        self._start.setDefault(True)
        self._cancel = _button("  Cancel", "Stop; what is finished stays, and Start goes on with the rest")

    def _lay_out(self) -> None:
        adding = QHBoxLayout()
        for button in (self._add_folder, self._add_files, self._remove):
            adding.addWidget(button)
        adding.addStretch(1)
        adding.addWidget(self._only_failed)
        left = QVBoxLayout()
        left.addWidget(self.table, 1)
        left.addWidget(self._problem)
        left.addLayout(adding)
        middle = QHBoxLayout()
        middle.addLayout(left, 1)
        middle.addWidget(self._make_panel())
        where = QHBoxLayout()
        where.addWidget(self._folder_label)
        where.addWidget(self._folder, 1)
        where.addWidget(self._browse)
        where.addWidget(self._show)
        below = QHBoxLayout()
        below.addWidget(self._copy)
        below.addWidget(self._doing, 1)
        below.addWidget(self._cancel)
        below.addWidget(self._start)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.addWidget(self._count)
        layout.addWidget(self.message_bar)
        layout.addLayout(middle, 1)
        layout.addLayout(where)
        layout.addWidget(self._bar)
        layout.addLayout(below)

    def _make_panel(self) -> QWidget:
        method, calibration, formats = QGroupBox("Method"), QGroupBox("Calibration"), QGroupBox("Also written")
        method.setToolTip("As the panel Method of the main window says")
        QVBoxLayout(method).addWidget(self._method)
        column = QVBoxLayout(calibration)
        for widget in (self._each, self._shared, self._calibration):
            column.addWidget(widget)
        QVBoxLayout(formats).addWidget(self._list)
        panel = QWidget()
        column = QVBoxLayout(panel)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(method)
        column.addWidget(calibration)
        column.addWidget(formats, 1)
        column.addWidget(self._skip)
        column.addWidget(self._anew)
        self._panel = scrolled(panel)
        self._panel.setFixedWidth(PANEL_WIDTH)
        return self._panel

    def _connect(self) -> None:
        self._add_folder.clicked.connect(self.ask_folder)
        self._add_files.clicked.connect(self.ask_files)
        self._remove.clicked.connect(self.remove_chosen)
        self._only_failed.toggled.connect(lambda _: self._hide_rows())
        self._browse.clicked.connect(self.ask_results)
        self._folder.textEdited.connect(self.folderEdited)
        self._list.itemChanged.connect(lambda _: self.formatsEdited.emit(self._chosen_formats()))
        self._shared.toggled.connect(self.sharedEdited)
        self._skip.toggled.connect(self.skipEdited)
        self._anew.toggled.connect(self.anewEdited)
        self._start.clicked.connect(self.startRequested)
        self._cancel.clicked.connect(self.cancelRequested)
        self._copy.clicked.connect(self.copyRequested)
        self._show.clicked.connect(lambda: self.showFolderRequested.emit(Path(self._folder.text()).expanduser()))
        self.message_bar.closeRequested.connect(self.messageClosed)
        self.table.itemSelectionChanged.connect(self._show_problem)
        self.table.cellDoubleClicked.connect(lambda place, _: self._open(place))
        self.table.customContextMenuRequested.connect(self._show_menu)
        for keys, slot in (
            (("Delete",), self.remove_chosen),
            (("Return", "Enter"), lambda: self._open(self.table.currentRow())),
        ):
            action = QAction(self.table)
            action.setShortcuts([QKeySequence(key) for key in keys])
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            action.triggered.connect(lambda _=False, s=slot: s())
            self.table.addAction(action)

    # showing

    def set_state(self, now: BatchState) -> None:
        """Show a state; tells nobody."""
        before, self._state = self._state, now

        def differs(*names: str) -> bool:
            return before is None or any(getattr(before, name) != getattr(now, name) for name in names)

        if differs("rows", "looking"):
            self._count.setText(now.count)
        if before is None or before.rows is not now.rows or differs("index", "share"):
            self._show_rows(before)
        if differs("rows", "phase"):
            self._show_problem()
            self._hide_rows()
            self._show.setEnabled(any(row.outcome is not None for row in now.rows))
        if differs("method"):
            self._method.setText(now.method)
        if differs("calibration", "parts", "shared", "phase"):
            self._show_calibration()
        if differs("folder") and self._folder.text() != now.folder:
            with QSignalBlocker(self._folder):
                self._folder.setText(now.folder)
        for box, on in ((self._anew, now.anew), (self._skip, now.skip_broken)):
            with QSignalBlocker(box):
                box.setChecked(on)
        if differs("message"):
            self.message_bar.set_message(now.message)
        self._show_progress()
        for widget in (self._add_folder, self._add_files, self._folder, self._browse):
            widget.setEnabled(not now.busy)
        for chosen in (self._list, self._anew, self._skip):
            chosen.setEnabled(not now.busy)
        self._remove.setEnabled(not now.busy and bool(now.rows))
        self._copy.setEnabled(bool(now.rows))
        self._start.setEnabled(not now.busy and not now.why_not)
        self._start.setToolTip(now.why_not or "Compute the depth of all stacks; results that are up to date stay")
        self._cancel.setEnabled(now.phase == "running")

    def _show_rows(self, before: BatchState | None) -> None:
        now = self._state
        if now is None:
            return
        old = before.rows if before is not None else ()
        if len(old) != len(now.rows):
            self.table.clearSelection()
            self.table.setRowCount(len(now.rows))
            old = ()
        changed = {k for k, row in enumerate(now.rows) if not old or row is not old[k]}
        for index in (now.index, before.index if before is not None else None):
            if index is not None and index < len(now.rows):
                changed.add(index)
        for k in sorted(changed):
            self._fill(k, now.rows[k], now.share if k == now.index else 0.0)
        is_next = now.index is not None and (before is None or before.index != now.index)
        if is_next and not self.table.selectedItems():  # whoever looks at a row keeps it in view
            self.table.scrollTo(self.table.model().index(now.index or 0, 0))

    def _fill(self, place: int, row: BatchRow, share: float) -> None:
        c = theme.colours()
        colours = {"done": c.good, "up to date": c.muted, "failed": c.error, "running": c.accent}
        tips = ("\n".join(str(path) for path in row.item.source.paths[:1]), "", "", "", row.problem)
        for column, text in enumerate(cells(row, share)):
            item = self.table.item(place, column)
            if item is None:
                item = QTableWidgetItem()
                if column in NUMBERS:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(place, column, item)
            item.setText(f"{text}{GAP}" if column in NUMBERS else text)
            item.setToolTip(tips[column])
            colour = colours.get(row.state) if column == 1 else c.error if column == 4 and row.problem else None
            item.setForeground(QBrush(QColor(colour)) if colour else QBrush())

    def _hide_rows(self) -> None:
        """Hide what is well, if that is wished and something is not."""
        rows = self._state.rows if self._state is not None else ()
        failed = any(row.problem for row in rows)
        self._only_failed.setVisible(failed)
        only = failed and self._only_failed.isChecked()
        for place, row in enumerate(rows):
            if self.table.isRowHidden(place) != (only and not row.problem):
                self.table.setRowHidden(place, only and not row.problem)

    def _show_problem(self) -> None:
        """Tell all of what went wrong with the chosen stack."""
        now, places = self._state, self._chosen()
        row = now.rows[places[0]] if now is not None and len(places) == 1 and places[0] < len(now.rows) else None
        self._problem.setVisible(row is not None and bool(row.problem))
        self._problem.setText(f"{row.item.name}: {row.problem}" if row is not None else "")
        self._remove.setEnabled(now is not None and not now.busy and bool(now.rows))

    def _show_calibration(self) -> None:
        now = self._state
        if now is None:
            return
        with QSignalBlocker(self._shared), QSignalBlocker(self._each):
            self._shared.setChecked(now.shared)
            self._each.setChecked(not now.shared)
        self._each.setEnabled(not now.busy)
        self._shared.setEnabled(not now.busy and bool(now.calibration))
        told = now.calibration or "No calibrated stack is open there"
        self._calibration.setText(f"{told}\nOf all files: {now.parts}" if now.parts else told)

    def _show_progress(self) -> None:
        now = self._state
        if now is None:
            return
        self._bar.setVisible(now.busy)
        self._bar.setRange(0, 0 if now.progress.fraction <= 0 else 1000)
        self._bar.setValue(round(1000 * now.progress.fraction))
        words = "stopping after this step …" if now.phase == "stopping" else now.progress.text
        text = words if now.busy else now.summary
        self._doing.setText(text)
        self._doing.setToolTip(text)

    def apply_theme(self) -> None:
        """Take icons and colours of the theme."""
        c = theme.colours()
        for button, name in (
            (self._add_folder, "folder-plus"),
            (self._add_files, "file-plus"),
            (self._remove, "trash"),
            (self._browse, "folder-open"),
            (self._show, "folder-open"),
            (self._copy, "copy"),
        ):
            button.setIcon(theme.icon(name))
        self._start.setIcon(theme.icon("play", c.good))
        self._cancel.setIcon(theme.icon("stop-circle", c.error))
        self.message_bar.apply_theme()
        state, self._state = self._state, None
        if state is not None:
            self.set_state(state)

    # what the user asks for

    def ask_folder(self) -> None:
        """Let the user choose a folder of stacks."""
        chosen = QFileDialog.getExistingDirectory(self, "Add a folder of stacks", self._start_folder)
        if chosen:
            self._start_folder = str(Path(chosen).parent)
            self.stacksAdded.emit([Path(chosen)])

    def ask_files(self) -> None:
        """Let the user choose files that are stacks."""
        names, _ = QFileDialog.getOpenFileNames(self, "Add stacks", self._start_folder, self._file_filter)
        if names:
            self._start_folder = str(Path(names[0]).parent)
            self.stacksAdded.emit([Path(name) for name in names])

    def ask_results(self) -> None:
        """Let the user choose where the results go; a name that is not there yet will be made."""
        proposed = self._folder.text() or self._start_folder
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Folder for the results", proposed, options=QFileDialog.Option.DontConfirmOverwrite
        )
        if chosen:
            self.folderEdited.emit(chosen)

    def remove_chosen(self) -> None:
        """Take the chosen stacks out of the list."""
        if self._state is not None and not self._state.busy and (places := self._chosen()):
            self.stacksRemoved.emit(places)

    def _chosen(self) -> list[int]:
        return sorted({index.row() for index in self.table.selectedIndexes()})

    def _chosen_formats(self) -> tuple[str, ...]:
        items = (self._list.item(k) for k in range(self._list.count()))
        return tuple(
            item.data(Qt.ItemDataRole.UserRole) for item in items if item.checkState() == Qt.CheckState.Checked
        )

    def _row(self, place: int) -> BatchRow | None:
        rows = self._state.rows if self._state is not None else ()
        return rows[place] if 0 <= place < len(rows) else None

    def _open(self, place: int) -> None:
        """Open the result of a stack, if there is one."""
        row = self._row(place)
        if row is not None and row.outcome is not None:
            self.openRequested.emit(row.outcome.folder)

    def _show_menu(self, where: QPoint) -> None:
        row = self._row(self.table.rowAt(where.y()))
        if row is None:
            return
        place = self.table.rowAt(where.y())
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Open the result", lambda: self._open(place)).setEnabled(row.outcome is not None)
        menu.addAction("Open the stack", lambda: self.openRequested.emit(row.item.source.target))
        if row.outcome is not None:
            folder = row.outcome.folder
            menu.addAction("Show the folder of the result", lambda: self.showFolderRequested.emit(folder))
        menu.addSeparator()
        remove = menu.addAction(theme.icon("trash"), "Remove", self.remove_chosen)
        remove.setEnabled(self._state is not None and not self._state.busy)
        menu.popup(self.table.viewport().mapToGlobal(where))

    # window

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        dropped_paths(event)

    def dropEvent(self, event: QDropEvent) -> None:
        paths = dropped_paths(event)
        if paths:
            self.stacksAdded.emit(paths)

    def reject(self) -> None:
        """Close the window, by whatever way; while a batch runs somebody asks first."""
        if self._state is not None and self._state.busy:
            self.closeWished.emit()
        else:
            super().reject()


class _FromTheLeft(QStyledItemDelegate):
    """Cuts sentences at their end, where names are cut in the middle."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        option.textElideMode = Qt.TextElideMode.ElideRight


class _Table(QTableWidget):
    """The list of stacks; empty, it says how to fill it."""

    def __init__(self) -> None:
        super().__init__(0, len(TITLES))
        self.setHorizontalHeaderLabels([f"{title}{GAP}" if k in NUMBERS else title for k, title in enumerate(TITLES)])
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setAlternatingRowColors(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setTabKeyNavigation(False)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(40)
        letter = self.fontMetrics().horizontalAdvance("0")
        for column, letters in enumerate(WIDTHS):
            side = Qt.AlignmentFlag.AlignRight if column in NUMBERS else Qt.AlignmentFlag.AlignLeft
            self.horizontalHeaderItem(column).setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)  # type: ignore[union-attr]
            mode = QHeaderView.ResizeMode.Interactive if letters else QHeaderView.ResizeMode.Stretch
            header.setSectionResizeMode(column, mode)
            if letters:
                header.resizeSection(column, letters * letter)
        self.setItemDelegateForColumn(len(TITLES) - 1, _FromTheLeft(self))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.rowCount() == 0:
            painter = QPainter(self.viewport())
            painter.setPen(QColor(theme.colours().muted))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.viewport().rect().adjusted(20, 20, -20, -20), flags, EMPTY)
            painter.end()


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setAutoDefault(False)
    return button


def _wrapped(role: str = "") -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    if role:
        label.setProperty("role", role)
    return label
