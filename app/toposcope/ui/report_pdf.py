"""A report as PDF: laid out on pages so that nothing is cut that belongs together.

::

    Document ──> lumps (rows, lines, figures that stay together) ──> pages ──> QPdfWriter

Runs in any thread: it paints on a page, never on the screen.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QBuffer, QIODevice, QMarginsF, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QImage,
    QPageSize,
    QPainter,
    QPdfWriter,
    QPen,
    QTextLayout,
    QTextOption,
)

from toposcope import __version__
from toposcope.core.export import write_bytes
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.report import Block, Document, Figure, Items, Kept, Pair, Section, Table, Text
from toposcope.core.report.page import shown

Paper = Literal["A4", "Letter"]
PAPERS: Final[dict[Paper, QPageSize.PageSizeId]] = {
    "A4": QPageSize.PageSizeId.A4,
    "Letter": QPageSize.PageSizeId.Letter,
}
POINT: Final = 10
"""Units of a point: fonts have whole sizes in units."""
MM: Final = 72 / 25.4 * POINT
SIDE, TOP, BOTTOM = 17 * MM, 17 * MM, 21 * MM
"""Margins."""
FIGURE_MM: Final = 107
"""Most that a figure is high, so that two find room on a page."""
PLOT_WHITE: Final = 0.7
"""Share of white pixels from which a figure is a plot."""
BAND_PIXELS: Final = 450_000
OVERLAP: Final = 4
"""Rows of a picture by which each band reaches under the next one."""
SANS: Final = ["Segoe UI", "Helvetica Neue", "Arial", "Noto Sans", "Liberation Sans", "DejaVu Sans"]
MONO: Final = ["Consolas", "Menlo", "Noto Sans Mono", "DejaVu Sans Mono", "Liberation Mono"]
INK, FAINT, RULE, HAIR = (QColor(grey, grey, grey) for grey in (0, 85, 100, 204))
MARKED, GROUND = QColor(255, 243, 207), QColor(243, 243, 243)
LEAD: Final = 1.34
"""Distance of lines, of the height of the letters."""
PAD: Final = 3.2 * MM
"""Between columns."""

Draw = Callable[[QPainter, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """What is never cut: its height, and how it is drawn at a height of the page; nothing where it is but space."""

    height: float
    draw: Draw | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Lump:
    """Pieces that belong on one page, where one has room for them; ``head`` is repeated over those of the next page."""

    pieces: tuple[_Piece, ...]
    head: _Piece | None = None

    @property
    def height(self) -> float:
        return _height(self.pieces)


def _height(pieces: Sequence[_Piece]) -> float:
    """Return the height of pieces below each other, without the space at their end."""
    last = max((k for k, piece in enumerate(pieces) if piece.draw is not None), default=-1)
    return sum(piece.height for piece in pieces[: last + 1])


@dataclass(slots=True, eq=False)
class _Pages:
    """Fills pages from top to bottom."""

    room: float
    pages: list[list[tuple[float, _Piece]]] = field(default_factory=lambda: [[]])
    y: float = 0.0

    def turn(self) -> None:
        self.pages.append([])
        self.y = 0.0

    def put(self, piece: _Piece) -> None:
        if not self.y and piece.draw is None:  # no space above a page
            return
        self.pages[-1].append((self.y, piece))
        self.y += piece.height

    def add(self, lumps: Sequence[_Lump]) -> None:
        """Put lumps below each other; all of them on a new page where only that keeps them together."""
        last: _Piece | None = None
        for lump in lumps:
            if self.y and self.y + lump.height > self.room and lump.height <= self.room:
                self.turn()
                if lump.head is not None and lump.head is last:
                    self.put(lump.head)
            for piece in lump.pieces:
                if piece.draw is not None and self.y and self.y + piece.height > self.room:
                    self.turn()
                    if lump.head is not None and piece is not lump.head:
                        self.put(lump.head)
                self.put(piece)
            last = lump.head


def write_pdf(document: Document, path: Path | str, paper: Paper = "A4", report: Report = silent) -> int:
    """Write a report as PDF, whole or not at all; return how many pages it has.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    writer = QPdfWriter(buffer)
    writer.setPageSize(QPageSize(PAPERS[paper]))
    writer.setPageMargins(QMarginsF(0, 0, 0, 0))
    writer.setResolution(72 * POINT)
    writer.setTitle(shown(document.title))
    writer.setCreator(f"Toposcope {__version__}")
    width, height = float(writer.width()), float(writer.height())
    report(Progress(0.0, "pages"))
    layout = _Layout(width - 2 * SIDE)
    pages = _Pages(height - TOP - BOTTOM)
    pages.add([layout.top(document)])
    for section in document.sections:
        lumps = layout.section(section)
        tall = _height([piece for lump in lumps for piece in lump.pieces])
        if section.together and pages.y and pages.y + tall > pages.room:
            pages.turn()
        pages.add(lumps)
    painter = QPainter(writer)
    try:
        for number, page in enumerate(pages.pages):
            report(Progress(number / len(pages.pages), f"page {number + 1} of {len(pages.pages)}"))
            if number:
                writer.newPage()
            painter.save()
            painter.translate(SIDE, TOP)
            for y, piece in page:
                if piece.draw is not None:
                    piece.draw(painter, y)
            painter.translate(0, height - TOP - BOTTOM)
            layout.foot(painter, document.foot, f"{number + 1} / {len(pages.pages)}")
            painter.restore()
    finally:
        painter.end()
    report(Progress(1.0, "writing"))
    write_bytes(path, bytes(buffer.data().data()))
    return len(pages.pages)


class _Words:
    """A text broken into lines of a width, in units."""

    def __init__(self, text: str, font: QFont, width: float, colour: QColor = INK) -> None:
        self._colour = colour
        self._layout = layout = QTextLayout(shown(text).replace("\n", "\u2028"), font)
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(option)
        self._step = QFontMetricsF(font).height() * LEAD / 1.15
        layout.beginLayout()
        while (line := layout.createLine()).isValid():
            line.setLineWidth(max(width, 1.0))
            line.setPosition(QPointF(0.0, 0.0))
        layout.endLayout()

    @property
    def height(self) -> float:
        return self._layout.lineCount() * self._step

    def draw(self, painter: QPainter, x: float, y: float, right: float | None = None) -> None:
        """Draw all lines from ``x``, or so that they end at ``right``."""
        for k in range(self._layout.lineCount()):
            self.draw_line(painter, k, x, y + k * self._step, right)

    def draw_line(self, painter: QPainter, k: int, x: float, y: float, right: float | None = None) -> None:
        painter.setPen(self._colour)
        line = self._layout.lineAt(k)
        left = x if right is None else right - line.naturalTextWidth()
        line.draw(painter, QPointF(left, y + (self._step - line.height()) / 2))

    def pieces(self, x: float = 0.0, ground: tuple[float, QColor] | None = None) -> Iterator[_Piece]:
        """Return each line as a piece, on a ``ground`` of a width and colour."""

        def draw(k: int) -> Draw:
            def inner(painter: QPainter, y: float) -> None:
                if ground is not None:
                    painter.fillRect(QRectF(0.0, y, ground[0], self._step + 1), ground[1])
                self.draw_line(painter, k, x, y)

            return inner

        return (_Piece(self._step, draw(k)) for k in range(self._layout.lineCount()))


def _font(points: float, bold: bool = False, mono: bool = False) -> QFont:
    font = QFont(MONO if mono else SANS)
    font.setStyleHint(QFont.StyleHint.Monospace if mono else QFont.StyleHint.SansSerif)
    font.setPixelSize(round(points * POINT))
    font.setBold(bold)
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    return font


def _bands(png: bytes) -> tuple[list[tuple[int, QImage]], bool]:
    """Return a picture in bands, each with its first row, and whether it is a plot: mostly white.

    A plot packs small and quickly without loss; others are packed as JPEG. Qt holds up the window's thread while it
    decodes and packs: so OpenCV decodes, and Qt packs a band at a time. Each band reaches a little under the next one,
    so that no seam is seen between them. The bands are few, since viewers round the edges of each.
    """
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError("a figure of the report is no picture")
    is_plot = float((decoded.min(axis=2) == 255).mean()) > PLOT_WHITE
    rows = max(16, BAND_PIXELS // decoded.shape[1])
    tops = range(0, decoded.shape[0], rows)
    # the order of bytes that Qt packs at once
    pixels = cv2.cvtColor(decoded, cv2.COLOR_BGR2BGRA).astype(np.uint8, copy=False)
    bands = [_image(pixels[top : top + rows + OVERLAP]) for top in tops]
    return list(zip(tops, bands, strict=True)), is_plot


def _image(pixels: NDArray[np.uint8]) -> QImage:
    """Return contiguous pixels (H, W, 4), blue first, as an image with memory of its own."""
    height, width = pixels.shape[:2]
    return QImage(pixels.data, width, height, pixels.strides[0], QImage.Format.Format_RGB32).copy()


def _space(millimetres: float) -> _Piece:
    return _Piece(millimetres * MM)


def _rule(painter: QPainter, width: float, y: float, colour: QColor, thick: float) -> None:
    painter.setPen(QPen(colour, thick * POINT))
    painter.drawLine(QPointF(0.0, y), QPointF(width, y))


class _Layout:
    """Turns the blocks of a document into lumps, for a column of so many units."""

    def __init__(self, width: float) -> None:
        self._width = width
        self._text, self._small, self._head = _font(9.5), _font(8.2), _font(8.2, bold=True)
        self._bold, self._code = _font(9.5, bold=True), _font(7, mono=True)

    def top(self, document: Document) -> _Lump:
        """Return title, facts and note."""
        width = self._width
        pieces = [*_Words(document.kind, self._text, width, FAINT).pieces(), _space(0.6)]
        pieces += [*_Words(document.title, _font(18, bold=True), width).pieces(), _space(2.5)]
        names = [_Words(f"{name}", self._text, width, FAINT) for name, _ in document.facts]
        left = max((self._wide(name, self._text) for name, _ in document.facts), default=0.0) + 1.6 * PAD
        for name, (_, text) in zip(names, document.facts, strict=True):
            words = _Words(text, self._text, width - left)

            def draw(painter: QPainter, y: float, name: _Words = name, words: _Words = words) -> None:
                name.draw(painter, 0.0, y)
                words.draw(painter, left, y)

            pieces.append(_Piece(words.height, draw))
        if document.note:
            pieces.append(_space(2.5))
            pieces += _Words(document.note, self._text, width - 2 * PAD).pieces(PAD, (0.8 * MM, RULE))
        return _Lump(tuple(pieces))

    def foot(self, painter: QPainter, text: str, number: str) -> None:
        """Draw what stands below each page."""
        metrics = QFontMetricsF(self._small)
        room = self._width - metrics.horizontalAdvance(number) - PAD
        left = metrics.elidedText(shown(text), Qt.TextElideMode.ElideRight, room)
        _Words(left, self._small, self._width, FAINT).draw(painter, 0.0, 7 * MM)
        _Words(number, self._small, self._width, FAINT).draw(painter, 0.0, 7 * MM, self._width)

    def section(self, section: Section) -> list[_Lump]:
        """Return the heading and what stands below it, the first of it with the heading."""
        words = _Words(section.title, _font(11.5, bold=True), self._width)

        def draw(painter: QPainter, y: float) -> None:
            words.draw(painter, 0.0, y)
            _rule(painter, self._width, y + words.height + 0.8 * MM, INK, 1.1)

        heading = (_space(7), _Piece(words.height + 0.8 * MM, draw), _space(2.4))
        lumps = [lump for block in section.blocks for lump in self._lumps(block)]
        if not lumps:
            return [_Lump(heading)]
        first = lumps[0]
        return [_Lump((*heading, *first.pieces), first.head), *lumps[1:]]

    def _lumps(self, block: Block) -> list[_Lump]:
        if isinstance(block, Kept):
            pieces = [piece for one in block.blocks for lump in self._lumps(one) for piece in lump.pieces]
            return [_Lump(tuple(pieces))]
        if isinstance(block, Pair):
            return [self._pair(block)]
        if isinstance(block, Text):
            return [self._paragraph(block)]
        if isinstance(block, Items):
            return self._items(block)
        return [self._figure(block)] if isinstance(block, Figure) else self._table(block)

    def _paragraph(self, text: Text) -> _Lump:
        if text.kind == "command":
            font = _font(8, mono=True)
            signs = int((self._width - 2 * PAD) / self._wide("m", font))
            lines = [
                part
                for line in shown(text.text).split("\n")
                for part in textwrap.wrap(line, signs, break_on_hyphens=False) or [""]
            ]
            words = _Words("\n".join(lines), font, self._width - PAD)
            edge = _Piece(1.6 * MM, lambda p, y: p.fillRect(QRectF(0, y, self._width, 1.6 * MM + 1), GROUND))
            return _Lump((edge, *words.pieces(PAD, (self._width, GROUND)), edge, _space(2.4)))
        small = text.kind == "small"
        words = _Words(text.text, self._small if small else self._text, self._width, FAINT if small else INK)
        return _Lump((*words.pieces(), _space(2.2)))

    def _items(self, items: Items) -> list[_Lump]:
        lumps, left = [], 5.5 * MM
        for k, text in enumerate(items.items, 1):
            words = _Words(text, self._text, self._width - left)
            sign = _Words(f"{k}." if items.numbered else "•", self._text, left)
            first, *others = words.pieces(left)

            def draw(painter: QPainter, y: float, sign: _Words = sign, words: _Words = words) -> None:
                sign.draw(painter, 0.0, y, left - 1.6 * MM)
                words.draw_line(painter, 0, left, y)

            lumps.append(_Lump((_Piece(first.height, draw), *others, _space(0.9))))
        return [*lumps, _Lump((_space(1.6),))]

    def _figure(self, figure: Figure) -> _Lump:
        picture, height = self._picture(figure, 0.0, self._width)
        caption = _Words(figure.caption, self._small, self._width, FAINT)
        return _Lump((_Piece(height, picture), _space(1.0), *caption.pieces(), _space(4.2)))

    def _pair(self, pair: Pair) -> _Lump:
        width = (self._width - 6 * MM) / 2
        lefts = (0.0, width + 6 * MM)
        figures = (pair.left, pair.right)
        drawn = [self._picture(one, left, width) for one, left in zip(figures, lefts, strict=True)]
        captions = [_Words(one.caption, self._small, width, FAINT) for one in figures]

        def draw(painter: QPainter, y: float) -> None:
            for (picture, height), caption, left in zip(drawn, captions, lefts, strict=True):
                picture(painter, y)
                caption.draw(painter, left, y + height + 1.0 * MM)

        tallest = max(height + caption.height for (_, height), caption in zip(drawn, captions, strict=True))
        return _Lump((_Piece(tallest + 1.0 * MM, draw), _space(4.2)))

    def _picture(self, figure: Figure, left: float, room: float) -> tuple[Draw, float]:
        """Return how a picture is drawn from ``left`` on, in the width of ``room`` at most, and its height."""
        bands, is_plot = _bands(figure.png)
        scale = min(room / figure.width_px, FIGURE_MM * MM / figure.height_px)

        def draw(painter: QPainter, y: float) -> None:
            painter.setRenderHint(QPainter.RenderHint.LosslessImageRendering, is_plot)
            for top, band in bands:
                size = figure.width_px * scale, band.height() * scale
                painter.drawImage(QRectF(left, y + top * scale, *size), band)

        return draw, figure.height_px * scale

    def _wide(self, text: str, font: QFont) -> float:
        return QFontMetricsF(font).horizontalAdvance(shown(text))

    def _table(self, table: Table) -> list[_Lump]:
        widths = self._columns(table)
        head = self._row(table.head, widths, table.columns, "head") if any(table.head) else None
        lumps: list[_Lump] = []
        group: list[_Piece] = []
        for place, row in enumerate(table.rows):
            if len(row) == 1:
                if group:
                    lumps.append(_Lump(tuple(group), head))
                group = [self._row(row, [self._width], "t", "group")]
                continue
            piece = self._row(row, widths, table.columns, "marked" if place in table.marked else "")
            if group:
                group.append(piece)
            else:
                lumps.append(_Lump((piece,), head))
        if group:
            lumps.append(_Lump(tuple(group), head))
        if head is not None and lumps:
            lumps[0] = _Lump((head, *lumps[0].pieces), head)
        return [*lumps, _Lump((_space(3.0),))]

    def _columns(self, table: Table) -> list[float]:
        """Return the width of each column: what its texts need, and the rest to those of text."""
        rows = [row for row in table.rows if len(row) > 1]
        fonts = [self._code if kind == "c" else self._text for kind in table.columns]
        needs = []
        for k, font in enumerate(fonts):
            title = self._wide(table.head[k], self._head) if table.head else 0.0
            needs.append(max([title, *(self._wide(row[k], font) for row in rows)]) + PAD)
        widths = [
            min(max(need, 31 * MM), 48 * MM) if kind == "k" else need  # what is longer is broken
            for need, kind in zip(needs, table.columns, strict=True)
        ]
        texts = [k for k, kind in enumerate(table.columns) if kind == "t"]
        room = self._width - sum(width for k, width in enumerate(widths) if k not in texts)
        wanted = sum(needs[k] for k in texts) or 1.0
        for k in texts:
            widths[k] = max(room, 0.0) * needs[k] / wanted
        return widths

    def _row(self, row: Sequence[str], widths: Sequence[float], columns: str, kind: str) -> _Piece:
        font = {"head": self._head, "group": self._bold}.get(kind, self._text)
        colour = FAINT if kind == "head" else INK
        above = 2.6 * MM if kind == "group" else 0.85 * MM
        cells = [
            _Words(text, self._code if column == "c" and not kind else font, width - PAD + 1, colour)
            for text, width, column in zip(row, widths, columns, strict=True)
        ]
        height = above + max(cell.height for cell in cells) + 0.85 * MM

        def draw(painter: QPainter, y: float) -> None:
            if kind == "marked":
                painter.fillRect(QRectF(0.0, y, self._width, height), MARKED)
            x = 0.0
            for place, (cell, width, column) in enumerate(zip(cells, widths, columns, strict=True)):
                # a number ends where its unit begins
                gap = 1.0 * MM if columns[place + 1 : place + 2] == "u" else PAD
                end = x + width - gap if column == "n" else None
                cell.draw(painter, x, y + above, end)
                x += width
            is_thick = kind in ("head", "group")
            _rule(painter, self._width, y + height, RULE if is_thick else HAIR, 0.8 if is_thick else 0.5)

        return _Piece(height, draw)
