"""The panel that adapts a network: stacks, a look at their labels, curves, and the networks that came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from toposcope.core.adapted import LONGEST_TITLE, SUFFIX
from toposcope.core.tuning import TuneOptions
from toposcope.ui import theme
from toposcope.ui.adapt_state import PAIRS, AdaptView
from toposcope.ui.dropping import dropped_paths
from toposcope.ui.forms import SettingsForm
from toposcope.ui.pyramid import Pyramid
from toposcope.ui.views.adapt_curves import AdaptCurves
from toposcope.ui.views.canvas import Canvas

PICTURE_HEIGHT: Final = 240
LIST_HEIGHT: Final = 112
ROW_HEIGHT: Final = 36
EMPTY: Final = "Drop folders here, or add them below. Three stacks will do, twenty are better."


class AdaptPanel(QWidget):
    """Asks for everything by signals; shows an `AdaptView`, pictures and curves."""

    stacksAdded = Signal(object)  # paths as they were dropped
    folderWanted = Signal()
    filesWanted = Signal()
    openStackWanted = Signal()
    stacksRemoved = Signal(object)  # indices
    stackChosen = Signal(int)
    lookRequested = Signal()
    stopLookingRequested = Signal()
    pairRequested = Signal(object)  # Pair
    splitMoved = Signal(float)
    settingsEdited = Signal(object)  # TuneSettings
    nameEdited = Signal(str)
    startRequested = Signal()
    pauseRequested = Signal()
    cancelRequested = Signal()
    useRequested = Signal(str)  # key
    renameRequested = Signal(str)
    exportRequested = Signal(str)
    removeRequested = Signal(str)
    bringInRequested = Signal()
    filesBroughtIn = Signal(object)  # paths of weights that were dropped
    goOnRequested = Signal(str)  # key of a plan
    discardRequested = Signal(str)

    def __init__(self, bases: Mapping[str, str], labellers: Mapping[str, str], parent: QWidget | None = None) -> None:
        """``bases`` and ``labellers`` are titles of networks and of methods by name."""
        super().__init__(parent)
        self.setAcceptDrops(True)
        self._view: AdaptView | None = None
        self._unfinished = QVBoxLayout()
        self._list = QListWidget()
        self._list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._empty = _text(EMPTY, "muted")
        self._buttons: dict[str, tuple[QToolButton, str]] = {}
        self._look = QPushButton("  Look at the labels")
        self._canvas = Canvas()
        self._canvas.setFixedHeight(PICTURE_HEIGHT)
        self._pair = QComboBox()
        self._pair.setToolTip("What is seen left and right of the line")
        self._pair.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._pair.setMinimumContentsLength(12)
        self._caption = _text("", "muted")
        self._base, self._labels = _combo(bases), _combo(labellers)
        self._base.setToolTip("The network that learns")
        self._labels.setToolTip("The method that tells it what the depth is, where it is sure")
        self._align = _combo({"auto": "Automatic", "learned": "Learned", "none": "None"})
        self._name = QLineEdit()
        self._name.setMaxLength(LONGEST_TITLE)
        self._name.setToolTip("What the adapted network will be called")
        self._more = QToolButton()
        self._more.setText("More settings")
        self._more.setCheckable(True)
        self._more.setAutoRaise(True)
        self._more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._form = SettingsForm(TuneOptions)
        self._adding, self._further, self._how = QWidget(), QWidget(), QWidget()
        self._start = QPushButton()
        self._cancel = QPushButton("  Cancel")
        self._cancel.setToolTip("Stop after this step; what was done is kept, and can go on later")
        self._why_not = _text("", "muted")
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._doing, self._left = _text("", "muted"), QLabel()
        self.curves = AdaptCurves()
        self._notes = _text("", "warning")
        self._outcome = _text("")
        self._use = QPushButton("  Use it")
        self._use.setToolTip("Choose the adapted network as the method")
        self._networks = QListWidget()
        self._networks.setFixedHeight(76)
        self._networks.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._none = _text("None yet. A file that somebody shares can be dropped here.", "muted")
        self._build()
        self._connect()
        self.apply_theme()

    # building

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 10)
        layout.setSpacing(6)
        layout.addLayout(self._unfinished)
        layout.addWidget(_heading("Stacks to learn from"))
        layout.addWidget(self._empty)
        layout.addWidget(self._list)
        row = QHBoxLayout()
        row.setSpacing(2)
        for name, text, tip in (
            ("folder-plus", "Folder …", "Add a folder of frames, or one that holds several such folders"),
            ("file-plus", "Files …", "Add stacks that are single files, such as TIFF"),
            ("stack", "Open one", "Add the stack that is open in this window"),
            ("trash", "", "Take the chosen stacks out of the list; their files stay"),
        ):
            row.addWidget(self._tool(name, text, tip))
        row.addStretch(1)
        adding = QVBoxLayout(self._adding)
        adding.setContentsMargins(0, 0, 0, 0)
        adding.addLayout(row)
        adding.addWidget(self._look)
        layout.addWidget(self._adding)
        layout.addWidget(self._canvas)
        below = QHBoxLayout()
        below.addWidget(self._caption, 1)
        below.addWidget(self._pair)
        layout.addLayout(below)
        how = QVBoxLayout(self._how)
        how.setContentsMargins(0, 0, 0, 0)
        how.addWidget(_heading("How"))
        form = _form()
        form.addRow("Network", self._base)
        form.addRow("Labels by", self._labels)
        form.addRow("Name", self._name)
        how.addLayout(form)
        how.addWidget(self._more)
        further = QVBoxLayout(self._further)
        further.setContentsMargins(0, 0, 0, 0)
        further.addWidget(self._form)
        align = _form()
        align.addRow("Alignment", self._align)
        further.addLayout(align)
        self._further.setVisible(False)
        how.addWidget(self._further)
        layout.addWidget(self._how)
        row = QHBoxLayout()
        row.addWidget(self._start, 1)
        row.addWidget(self._cancel)
        layout.addLayout(row)
        layout.addWidget(self._why_not)
        layout.addWidget(self._bar)
        row = QHBoxLayout()
        row.addWidget(self._doing, 1)
        row.addWidget(self._left)
        layout.addLayout(row)
        for widget in (self._outcome, self._use, self._notes, self.curves):
            layout.addWidget(widget)
        row = QHBoxLayout()
        row.addWidget(_heading("Adapted networks"), 1)
        row.addWidget(self._tool("download-simple", "Bring in …", "Take in a file that somebody shares"))
        layout.addLayout(row)
        layout.addWidget(self._none)
        layout.addWidget(self._networks)
        row = QHBoxLayout()
        row.setSpacing(2)
        for name, text, tip in (
            ("play", "Use", "Choose it as the method"),
            ("pencil-simple", "Rename …", "Call it by another name (F2)"),
            ("export", "Export …", "Write it as a file of some kilobytes, to share it"),
            ("trash ", "", "Remove it (Delete); Undo brings it back"),
        ):
            row.addWidget(self._tool(name, text, tip))
        row.addStretch(1)
        layout.addLayout(row)
        layout.addStretch(1)

    def _tool(self, icon: str, text: str, tip: str) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setToolTip(tip)
        # words alone: with icons beside them a row is wider than a narrow dock
        button.setAutoRaise(not text)
        if text:
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self._buttons[text or icon] = button, icon.strip()
        return button

    def _button(self, name: str) -> QToolButton:
        return self._buttons[name][0]

    def _connect(self) -> None:
        self._button("Folder …").clicked.connect(self.folderWanted)
        self._button("Files …").clicked.connect(self.filesWanted)
        self._button("Open one").clicked.connect(self.openStackWanted)
        self._button("trash").clicked.connect(self.remove_chosen)
        self._list.currentRowChanged.connect(lambda row: self.stackChosen.emit(row) if row >= 0 else None)
        self._look.clicked.connect(self._on_look)
        self._pair.activated.connect(lambda _: self.pairRequested.emit(self._pair.currentData()))
        self._canvas.splitMoved.connect(self.splitMoved)
        for box in (self._base, self._labels, self._align):
            box.activated.connect(lambda _: self._on_edited())
        self._form.changed.connect(lambda _: self._on_edited())
        self._name.textEdited.connect(self.nameEdited)
        self._more.toggled.connect(self._on_more)
        self._start.clicked.connect(self._on_start)
        self._cancel.clicked.connect(self.cancelRequested)
        self._use.clicked.connect(self._on_use)
        self._networks.itemSelectionChanged.connect(self._show_network_buttons)
        self._networks.itemDoubleClicked.connect(lambda _: self._emit(self.useRequested))
        for name, signal in (
            ("Use", self.useRequested),
            ("Rename …", self.renameRequested),
            ("Export …", self.exportRequested),
            ("trash ", self.removeRequested),
        ):
            self._button(name).clicked.connect(lambda _=False, s=signal: self._emit(s))
        self._button("Bring in …").clicked.connect(self.bringInRequested)

    # showing

    def apply_theme(self) -> None:
        """Take icons and colours of the theme."""
        for button, icon in self._buttons.values():
            button.setIcon(theme.icon(icon))
        c = theme.colours()
        self._cancel.setIcon(theme.icon("stop-circle", c.error))
        self._use.setIcon(theme.icon("check-circle", c.good))
        self._canvas.apply_theme()
        self.curves.apply_theme()
        self._on_more(self._more.isChecked())
        view, self._view = self._view, None
        if view is not None:
            self.set_view(view)

    def set_view(self, now: AdaptView) -> None:
        """Show this."""
        before, self._view = self._view, now

        def differs(*names: str) -> bool:
            return before is None or any(getattr(before, name) != getattr(now, name) for name in names)

        if differs("unfinished"):
            self._show_unfinished()
        if differs("stacks", "chosen"):
            self._show_stacks(before is None or before.stacks != now.stacks)
        if differs("settings", "name", "editable"):
            self._show_settings()
        if differs("networks"):
            self._show_networks()
        if differs("pair", "pairs"):
            self._show_pairs()
        if differs("split"):
            self._canvas.set_split_at(now.split)
        if differs("outcome", "notes"):
            self._show_outcome()
        self._canvas.setVisible(now.has_picture)
        self._pair.setVisible(now.has_picture and len(now.pairs) > 1)
        self._caption.setText(now.caption)
        self._caption.setVisible(bool(now.caption))
        if differs("can_stop_looking"):
            self._show_look_button()
        self._look.setEnabled(now.can_look or now.can_stop_looking)
        self._button("Open one").setEnabled(now.editable and now.open_stack is not None)
        self._button("trash").setEnabled(now.editable and bool(now.stacks))
        for name in ("Folder …", "Files …"):
            self._button(name).setEnabled(now.editable)
        self._show_progress()
        begins = before is not None and before.phase == "idle"
        pushed = before is not None and now.has_picture and not before.has_picture  # down, by the picture above it
        if now.phase == "running" and (begins or pushed):
            QTimer.singleShot(0, self, self._reveal_progress)

    def _reveal_progress(self) -> None:
        """Scroll to where progress and curves are."""
        area = self.parent()
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parent()
        if area is not None:
            self.adjustSize()
            area.ensureWidgetVisible(self._doing)

    def set_pictures(self, left: Pyramid | None, right: Pyramid | None) -> None:
        """Show two pictures with a line between them, or one, or none."""
        self._canvas.set_picture("left", left or right)
        self._canvas.set_picture("right", right)
        pair = self._view.pair if self._view else ("labels", "base")
        first, _, second = PAIRS[pair].partition(" | ")
        self._canvas.set_split(left is not None and right is not None, (first, second))

    def picture_shown(self) -> tuple[bool, bool]:
        """Whether there is a picture left and right of the line."""
        return self._canvas.picture("left") is not None, self._canvas.picture("right") is not None

    def _show_stacks(self, anew: bool) -> None:
        assert self._view is not None  # noqa: S101  set_view has set it
        view, c = self._view, theme.colours()
        with QSignalBlocker(self._list):
            if anew:
                chosen = {index.row() for index in self._list.selectedIndexes()}
                same = self._list.count() == len(view.stacks) and self._list.currentRow() == view.chosen
                self._list.clear()
                for line in view.stacks:
                    item = QListWidgetItem(f"{line.name}\n{line.facts}")
                    item.setToolTip(line.tip)
                    item.setIcon(theme.icon("warning", c.warning) if line.warns else theme.icon("stack", c.muted))
                    if line.warns:
                        item.setForeground(QColor(c.warning))
                    self._list.addItem(item)
                self._list.setCurrentRow(view.chosen)
                for row in chosen if same else ():
                    self._list.item(row).setSelected(True)
            elif self._list.currentRow() != view.chosen:
                self._list.setCurrentRow(view.chosen)
        self._list.setFixedHeight(min(LIST_HEIGHT, ROW_HEIGHT * len(view.stacks) + 6))
        self._list.setVisible(bool(view.stacks))
        self._empty.setVisible(not view.stacks)

    def _show_look_button(self) -> None:
        assert self._view is not None  # noqa: S101
        on = self._view.can_stop_looking
        self._look.setText("  Stop looking" if on else "  Look at the labels")
        self._look.setIcon(theme.icon("stop-circle", theme.colours().error) if on else theme.icon("eye"))
        self._look.setToolTip(
            "Make no more labels; those that are made stay"
            if on
            else "Label the stacks now, to see what the network would learn. They are not made twice"
        )

    def _show_settings(self) -> None:
        assert self._view is not None  # noqa: S101
        settings = self._view.settings
        for box, value in ((self._base, settings.base), (self._labels, settings.labels), (self._align, settings.align)):
            box.setCurrentIndex(box.findData(value))
        self._form.set_value(settings.options)
        if self._name.text() != self._view.name:
            self._name.setText(self._view.name)
        # while it works nothing of this can change: the room is for picture and curves
        self._how.setVisible(self._view.editable)
        self._adding.setVisible(self._view.editable)

    def _show_pairs(self) -> None:
        assert self._view is not None  # noqa: S101
        self._pair.clear()
        for pair in self._view.pairs:
            self._pair.addItem(PAIRS[pair], pair)
        self._pair.setCurrentIndex(
            self._view.pairs.index(self._view.pair) if self._view.pair in self._view.pairs else 0
        )

    def _show_progress(self) -> None:
        assert self._view is not None  # noqa: S101
        view, c = self._view, theme.colours()
        text, icon, tip = {
            "idle": ("  Start adapting", theme.icon("play", c.good), "Learn from the stacks in the background"),
            "running": ("  Pause", theme.icon("pause", c.warning), "Wait after this step, and give the cores back"),
            "paused": ("  Go on", theme.icon("play", c.good), "Go on where it was paused"),
            "stopping": ("  Stopping", theme.icon("pause", c.disabled), ""),
        }[view.phase]
        self._start.setText(text)
        self._start.setIcon(icon)
        self._start.setToolTip(tip)
        busy = view.phase != "idle"
        self._start.setEnabled(view.can_start or view.phase in ("running", "paused"))
        self._cancel.setVisible(busy)
        self._cancel.setEnabled(view.phase in ("running", "paused"))
        self._why_not.setText(view.why_not)
        self._why_not.setVisible(not busy and bool(view.why_not) and bool(view.stacks))
        for widget in (self._bar, self._doing, self._left):
            widget.setVisible(busy)
        self._bar.setRange(0, 0 if view.fraction <= 0 and view.phase == "running" else 1000)
        self._bar.setValue(round(1000 * view.fraction))
        self._doing.setText(view.doing[:1].upper() + view.doing[1:])
        self._left.setText(view.left)
        self.curves.setVisible(bool(self.curves.checks or self.curves.losses))

    def set_curves(
        self, checks: Sequence[tuple[float, float]], losses: Sequence[tuple[float, float]], steps: int
    ) -> None:
        """Show the curves; see `AdaptCurves.set_curves`."""
        self.curves.set_curves(checks, losses, steps)
        self.curves.setVisible(bool(checks or losses))

    def _show_outcome(self) -> None:
        assert self._view is not None  # noqa: S101
        outcome, notes = self._view.outcome, self._view.notes
        self._outcome.setVisible(outcome is not None)
        self._use.setVisible(outcome is not None and bool(outcome.key))
        if outcome is not None:
            c = theme.colours()
            colour = {"good": c.good, "warning": c.warning, "error": c.error}[outcome.level]
            # Qt draws one side of a label's border only where the others are named, too
            self._outcome.setStyleSheet(f"border: none; border-left: 3px solid {colour}; padding: 4px 0 4px 8px;")
            self._outcome.setText(outcome.text[:1].upper() + outcome.text[1:])
        text = "\n".join(note for note in notes if outcome is None or note not in outcome.text)
        self._notes.setText(text)
        self._notes.setVisible(bool(text))

    def _show_networks(self) -> None:
        assert self._view is not None  # noqa: S101
        c, key = theme.colours(), self.network()
        with QSignalBlocker(self._networks):
            self._networks.clear()
            for line in self._view.networks:
                item = QListWidgetItem(line.title)
                item.setData(Qt.ItemDataRole.UserRole, line.key)
                item.setToolTip(line.tip)
                if not line.usable:
                    item.setIcon(theme.icon("warning", c.warning))
                    item.setForeground(QColor(c.warning))
                self._networks.addItem(item)
                if line.key == key:
                    self._networks.setCurrentItem(item)
            if self._networks.currentRow() < 0 and self._networks.count():
                self._networks.setCurrentRow(0)
        self._networks.setVisible(bool(self._view.networks))
        self._none.setVisible(not self._view.networks)
        self._show_network_buttons()

    def _show_network_buttons(self) -> None:
        lines = {line.key: line for line in self._view.networks} if self._view else {}
        line = lines.get(self.network() or "")
        for name in ("Rename …", "Export …", "trash "):
            self._button(name).setEnabled(line is not None)
        self._button("Use").setEnabled(line is not None and line.usable)

    def _show_unfinished(self) -> None:
        assert self._view is not None  # noqa: S101
        while (item := self._unfinished.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()  # a question may be open still, which puts off what comes later
                widget.deleteLater()
        for line in self._view.unfinished:
            frame = QFrame()
            frame.setFrameShape(QFrame.Shape.StyledPanel)
            column = QVBoxLayout(frame)
            column.setContentsMargins(8, 6, 8, 6)
            column.addWidget(_text(line.text))
            row = QHBoxLayout()
            go_on, discard = QPushButton(theme.icon("play", theme.colours().good), "  Go on"), QPushButton("Discard …")
            go_on.clicked.connect(lambda _=False, key=line.key: self.goOnRequested.emit(key))
            discard.clicked.connect(lambda _=False, key=line.key: self.discardRequested.emit(key))
            for button in (go_on, discard):
                button.setEnabled(line.can_go_on)
                row.addWidget(button)
            row.addStretch(1)
            column.addLayout(row)
            self._unfinished.addWidget(frame)

    # asking

    def network(self) -> str | None:
        """Return the key of the chosen adapted network."""
        item = self._networks.currentItem()
        return None if item is None else str(item.data(Qt.ItemDataRole.UserRole))

    def remove_chosen(self) -> None:
        """Ask to take the chosen stacks out."""
        rows = sorted(index.row() for index in self._list.selectedIndexes())
        if rows and self._view is not None and self._view.editable:
            self.stacksRemoved.emit(tuple(rows))

    def _emit(self, signal: Any) -> None:
        if (key := self.network()) is not None:
            signal.emit(key)

    def _on_start(self) -> None:
        if self._view is not None:
            (self.startRequested if self._view.phase == "idle" else self.pauseRequested).emit()

    def _on_look(self) -> None:
        if self._view is not None:
            (self.stopLookingRequested if self._view.can_stop_looking else self.lookRequested).emit()

    def _on_use(self) -> None:
        if self._view is not None and self._view.outcome is not None:
            self.useRequested.emit(self._view.outcome.key)

    def _on_more(self, on: bool) -> None:
        self._further.setVisible(on)
        self._more.setIcon(theme.icon("caret-down" if on else "caret-right"))

    def _on_edited(self) -> None:
        if self._view is not None:
            settings = replace(
                self._view.settings,
                base=self._base.currentData(),
                labels=self._labels.currentData(),
                align=self._align.currentData(),
                options=self._form.value(),
            )
            self.settingsEdited.emit(settings)

    def keyPressEvent(self, event: Any) -> None:
        in_stacks, in_networks = self._list.hasFocus(), self._networks.hasFocus()
        if event.key() == Qt.Key.Key_Delete and in_stacks:
            self.remove_chosen()
        elif event.key() == Qt.Key.Key_Delete and in_networks:
            self._emit(self.removeRequested)
        elif event.key() == Qt.Key.Key_F2 and in_networks:
            self._emit(self.renameRequested)
        else:
            super().keyPressEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        dropped_paths(event)

    def dropEvent(self, event: QDropEvent) -> None:
        paths = dropped_paths(event)
        weights = [path for path in paths if path.suffix.lower() == SUFFIX]
        stacks = [path for path in paths if path not in weights]
        if weights:
            self.filesBroughtIn.emit(tuple(weights))
        if stacks:
            self.stacksAdded.emit(tuple(stacks))


def _text(text: str, role: str = "") -> QLabel:
    """Return a wrapping label whose text can be selected."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    if role:
        label.setProperty("role", role)
    return label


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", "heading")
    return label


def _combo(choices: Mapping[str, str]) -> QComboBox:
    box = QComboBox()
    for name, title in choices.items():
        box.addItem(title, name)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    return box


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form
