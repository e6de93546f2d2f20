"""The film strip: one row a frame, with thumbnail, position, sharpness and a box to leave it out.

Rows are cheap: thumbnails are asked for when they come into view, so thousands of frames scroll.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from PySide6.QtCore import (
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from toposcope.ui import theme
from toposcope.ui.images import image_of
from toposcope.ui.pyramid import Picture
from toposcope.ui.resolve import FrameRow
from toposcope.ui.session import Subject

Index = QModelIndex | QPersistentModelIndex
THUMBNAIL: Final = QSize(72, 54)
ROW: Final = 64
SHARPNESS: Final = Qt.ItemDataRole.UserRole + 1
POSITION: Final = Qt.ItemDataRole.UserRole + 2
CURRENT: Final = Qt.ItemDataRole.UserRole + 3


class QFrameListModel(QAbstractListModel):
    """The frames, their thumbnails and sharpness where known."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: tuple[FrameRow, ...] = ()
        self.thumbnails: dict[int, QImage] = {}
        self.sharpness: dict[int, float] = {}
        self.current = 0

    def set_rows(self, rows: tuple[FrameRow, ...]) -> None:
        """Replace the frames; thumbnails stay while the names stay."""
        if [row.name for row in rows] != [row.name for row in self.rows]:
            self.beginResetModel()
            self.rows, self.thumbnails, self.sharpness = rows, {}, {}
            self.endResetModel()
        else:
            self.rows = rows
            self._tell(0, len(rows) - 1)

    def set_thumbnails(self, pictures: dict[int, tuple[Picture, float]]) -> None:
        """Take thumbnails (h, w, 3) and sharpness of some frames."""
        for i, (picture, sharpness) in pictures.items():
            self.thumbnails[i] = image_of(picture)
            self.sharpness[i] = sharpness
        self._tell(0, len(self.rows) - 1)  # all bars are relative to the sharpest frame

    def forget_thumbnails(self) -> None:
        """Drop all thumbnails: they belong to another stack."""
        self.thumbnails, self.sharpness = {}, {}
        self._tell(0, len(self.rows) - 1)

    def set_current(self, index: int) -> None:
        """Mark the frame that is looked at."""
        before, self.current = self.current, index
        for i in (before, index):
            self._tell(i, i)

    def _tell(self, first: int, last: int) -> None:
        if 0 <= first <= last < len(self.rows):
            self.dataChanged.emit(self.index(first), self.index(last))

    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        i = index.row()
        row = self.rows[i]
        if role == Qt.ItemDataRole.DisplayRole:
            return row.name
        if role == POSITION:
            return row.position
        if role == Qt.ItemDataRole.DecorationRole:
            return self.thumbnails.get(i)
        if role == Qt.ItemDataRole.CheckStateRole:
            return Qt.CheckState.Unchecked if row.skipped else Qt.CheckState.Checked
        if role == SHARPNESS:
            most = max(self.sharpness.values(), default=0.0)
            return self.sharpness[i] / most if most > 0 and i in self.sharpness else None
        if role == CURRENT:
            return i == self.current
        if role == Qt.ItemDataRole.ToolTipRole:
            used = "left out" if row.skipped else "used"
            return f"{row.name}\n{row.position}, {used}\nSpace, or the box, leaves the frame out or takes it in"
        return None


class _Delegate(QStyledItemDelegate):
    """Paints a row."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(160, ROW)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        c = theme.colours()
        rect: QRect = option.rect
        painter.save()
        used = index.data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked
        if index.data(CURRENT):
            ground = QColor(c.accent)
            ground.setAlpha(60)
            painter.fillRect(rect, ground)
            painter.fillRect(QRect(rect.left(), rect.top(), 3, rect.height()), QColor(c.accent))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(c.button))
        painter.setOpacity(1.0 if used else 0.4)
        self._paint_thumbnail(painter, rect, index.data(Qt.ItemDataRole.DecorationRole))
        left, right = rect.left() + THUMBNAIL.width() + 16, rect.right() - 28
        metrics = option.fontMetrics
        painter.setPen(QColor(c.text))
        name = metrics.elidedText(index.data(), Qt.TextElideMode.ElideMiddle, right - left)
        painter.drawText(left, rect.top() + 20, name)
        painter.setPen(QColor(c.muted))
        painter.drawText(left, rect.top() + 37, index.data(POSITION))
        sharpness = index.data(SHARPNESS)
        bar = QRect(left, rect.top() + 46, right - left, 5)
        painter.fillRect(bar, QColor(c.grid))
        if sharpness is not None:
            painter.fillRect(QRect(bar.left(), bar.top(), round(bar.width() * sharpness), 5), QColor(c.accent))
        painter.setOpacity(1.0)
        self._paint_box(painter, check_box(rect), used)
        painter.restore()

    def _paint_box(self, painter: QPainter, box: QRect, used: bool) -> None:
        c = theme.colours()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(c.muted), 1))
        painter.setBrush(QColor(c.base))
        painter.drawRoundedRect(box.adjusted(1, 1, -2, -2), 2, 2)
        if used:
            painter.setPen(QPen(QColor(c.text), 2))
            x, y = box.left(), box.top()
            painter.drawPolyline([QPoint(x + 4, y + 8), QPoint(x + 7, y + 11), QPoint(x + 11, y + 4)])

    def _paint_thumbnail(self, painter: QPainter, rect: QRect, image: QImage | None) -> None:
        c = theme.colours()
        frame = QRect(rect.left() + 8, rect.top() + (ROW - THUMBNAIL.height()) // 2, 72, 54)
        painter.fillRect(frame, QColor(c.base))
        if image is None:
            painter.setPen(QPen(QColor(c.grid), 1))
            painter.drawRect(frame.adjusted(0, 0, -1, -1))
            return
        size = image.size().scaled(frame.size(), Qt.AspectRatioMode.KeepAspectRatio)
        target = QRect(frame.topLeft(), size)
        target.moveCenter(frame.center())
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(target, image)

    def editorEvent(self, event: QEvent, model: Any, option: QStyleOptionViewItem, index: Index) -> bool:
        strip = option.widget
        if (
            isinstance(event, QMouseEvent)
            and event.type() == QEvent.Type.MouseButtonRelease
            and check_box(option.rect).adjusted(-6, -10, 6, 10).contains(event.position().toPoint())
            and isinstance(strip, FilmStrip)
        ):
            strip.toggle(index.row())
            return True
        return False


def check_box(row: QRect) -> QRect:
    """Return where the box of a row lies."""
    return QRect(row.right() - 22, row.top() + 9, 16, 16)


HEIGHT_MAP_TEXT: Final = "A height map has no slices."
STORED_TEXT: Final = "A result is stored without its slices."
_EMPTY_TEXTS: Final[dict[Subject, str]] = {"height map": HEIGHT_MAP_TEXT, "result": STORED_TEXT}


class FilmStrip(QListView):
    """All frames of the stack; shows which one is looked at."""

    frameRequested = Signal(int)
    skipRequested = Signal(int, bool)  # frame, whether it is to be left out
    thumbnailsRequested = Signal(object)  # list of frames in view that have none

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._empty_text = ""
        self.frames = QFrameListModel(self)
        self.setModel(self.frames)
        self.setItemDelegate(_Delegate(self))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setMinimumWidth(190)
        self._timer = QTimer(self, singleShot=True, interval=60)
        self._timer.timeout.connect(self._ask_for_thumbnails)
        self.verticalScrollBar().valueChanged.connect(lambda _: self._timer.start())
        self.frames.modelReset.connect(self._timer.start)
        self.clicked.connect(lambda index: self.frameRequested.emit(index.row()))

    def sizeHint(self) -> QSize:
        return QSize(240, 420)

    def set_frames(self, rows: Sequence[FrameRow], subject: Subject = "stack") -> None:
        """Show these frames; a height map or a result has none, and the strip says so."""
        self.frames.set_rows(tuple(rows))
        self._empty_text = _EMPTY_TEXTS.get(subject, "")
        self.viewport().update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._empty_text and not self.frames.rows:
            painter = QPainter(self.viewport())
            painter.setPen(QColor(theme.colours().muted))
            room = self.viewport().rect().adjusted(16, 16, -16, -16)
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._empty_text)
            painter.end()

    def set_current(self, index: int) -> None:
        """Mark the frame that is looked at and bring it into view."""
        self.frames.set_current(index)
        if 0 <= index < len(self.frames.rows):
            self.setCurrentIndex(self.frames.index(index))
            self.scrollTo(self.frames.index(index))

    def set_thumbnails(self, pictures: dict[int, tuple[Picture, float]]) -> None:
        """Take thumbnails that were asked for."""
        self.frames.set_thumbnails(pictures)

    def forget_thumbnails(self) -> None:
        """Drop all thumbnails and ask for those in view again."""
        self.frames.forget_thumbnails()
        self._timer.start()

    def toggle(self, index: int) -> None:
        """Ask to leave a frame out, or to take it in again."""
        self.skipRequested.emit(index, not self.frames.rows[index].skipped)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        row = self.currentIndex().row()
        if event.key() == Qt.Key.Key_Space and row >= 0:
            self.toggle(row)
        elif event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and row >= 0:
            step = 1 if event.key() == Qt.Key.Key_Down else -1
            self.frameRequested.emit(min(max(row + step, 0), len(self.frames.rows) - 1))
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._timer.start()

    def _ask_for_thumbnails(self) -> None:
        first = self.indexAt(self.viewport().rect().topLeft()).row()
        last = self.indexAt(self.viewport().rect().bottomLeft()).row()
        if first < 0:
            return
        last = len(self.frames.rows) - 1 if last < 0 else last
        missing = [i for i in range(first, last + 1) if i not in self.frames.thumbnails]
        if missing:
            self.thumbnailsRequested.emit(missing)
