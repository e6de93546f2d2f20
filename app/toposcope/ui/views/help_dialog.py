"""The user guide, page by page."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QTextCursor, QTextDocument
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

PAGES: Final = (
    "first_stack",
    "watching",
    "focus_curves",
    "surface",
    "calibration",
    "methods",
    "comparing",
    "evaluating",
    "heights",
    "measuring",
    "projects",
    "adapting",
    "sweep",
    "capture",
    "export",
    "batch",
    "command_line",
    "python",
    "keyboard",
    "architecture",
)
"""The pages, in reading order: file names without ``.md``."""


def page_text(name: str) -> str:
    """Return page ``name`` as Markdown."""
    return (files("toposcope_resources") / "help" / f"{name}.md").read_text(encoding="utf-8")


def page_title(text: str) -> str:
    """Return the title of a page: its first heading."""
    return next(line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("# "))


class HelpDialog(QDialog):
    """Pages on the left, text on the right, a field that finds words in all pages."""

    def __init__(self, parent: QWidget | None = None, page: str = PAGES[0]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Toposcope guide")
        self.resize(900, 640)
        self._texts = {name: page_text(name) for name in PAGES}
        self._find = QLineEdit()
        self._find.setPlaceholderText("Find in the guide")
        self._find.setClearButtonEnabled(True)
        self._find.textChanged.connect(self._on_find)
        self._list = QListWidget()
        for name, text in self._texts.items():
            item = QListWidgetItem(page_title(text))
            item.setData(Qt.ItemDataRole.UserRole, name)
            self._list.addItem(item)
        self._list.currentItemChanged.connect(self._on_page)
        self._browser = QTextBrowser()
        self._browser.setOpenLinks(False)
        self._browser.anchorClicked.connect(self._on_link)
        self._browser.document().setDocumentMargin(18)

        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._find)
        column.addWidget(self._list)
        split = QSplitter()
        split.addWidget(left)
        split.addWidget(self._browser)
        split.setSizes([220, 680])
        split.setStretchFactor(1, 1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        outer = QVBoxLayout(self)
        outer.addWidget(split, 1)
        outer.addWidget(buttons)
        self.show_page(page)

    def show_page(self, name: str) -> None:
        """Open page ``name``."""
        self._list.setCurrentRow(PAGES.index(name))

    def _on_page(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            text = self._texts[item.data(Qt.ItemDataRole.UserRole)]
            self._browser.document().setMarkdown(text, QTextDocument.MarkdownFeature.MarkdownDialectGitHub)
            self._browser.moveCursor(QTextCursor.MoveOperation.Start)  # it stands where the new text ends
            self._mark()

    def _on_link(self, link: QUrl) -> None:
        name = link.path().removesuffix(".md")
        if link.isRelative() and name in PAGES:
            self.show_page(name)
        else:
            QDesktopServices.openUrl(link)

    def _on_find(self, wanted: str) -> None:
        """Show only pages that hold the words; open the first of them."""
        first = None
        for row in range(self._list.count()):
            item = self._list.item(row)
            hidden = wanted.lower() not in self._texts[item.data(Qt.ItemDataRole.UserRole)].lower()
            item.setHidden(hidden)
            if not hidden and first is None:
                first = item
        current = self._list.currentItem()
        if first is not None and (current is None or current.isHidden()):
            self._list.setCurrentItem(first)
        self._mark()

    def _mark(self) -> None:
        """Select the first place of the sought words on the page."""
        if self._find.text():
            cursor = self._browser.document().find(self._find.text())
            if not cursor.isNull():
                self._browser.setTextCursor(cursor)
