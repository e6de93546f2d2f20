"""Colours, palettes and icons: dark and light, on Qt's Fusion style.

>>> theme.apply("dark")                          # once, after the QApplication is made
>>> theme.colours().accent                       # what views draw with
'#4a9eff'
>>> action.setIcon(theme.icon("folder-open"))    # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import pyqtgraph as pg
import qtawesome
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon, QPalette
from PySide6.QtWidgets import QApplication, QToolBar, QToolButton

from toposcope.core.resources import resource_path

ThemeName = Literal["dark", "light"]
TAB_PADDING: Final = 5
"""Pixels on either side of the title of a panel's tab: five of them stand side by side in a small window."""
THEMES: Final[tuple[ThemeName, ...]] = get_args(ThemeName)


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of one theme as ``#rrggbb``.

    ``window`` is the ground of panels, ``base`` of pictures, plots and entry fields; ``muted`` is
    for secondary text, ``accent`` for what is chosen or active. ``pins`` are eight colours that
    stay apart for colour-blind eyes (after Okabe & Ito, "Color Universal Design", 2008, lightened
    or darkened for the ground).
    """

    name: ThemeName
    window: str
    base: str
    alternate: str
    button: str
    border: str
    text: str
    muted: str
    disabled: str
    accent: str
    accent_text: str
    grid: str
    good: str
    warning: str
    error: str
    pins: tuple[str, ...]

    @property
    def is_dark(self) -> bool:
        """Whether text is lighter than its ground."""
        return self.name == "dark"


DARK: Final = Colours(
    name="dark",
    window="#24262b",
    base="#191b1f",
    alternate="#1f2126",
    button="#30333a",
    border="#3c4048",
    text="#dfe3e8",
    muted="#98a1ac",
    disabled="#666d77",
    accent="#4a9eff",
    accent_text="#08131f",
    grid="#3a3f47",
    good="#4cc38a",
    warning="#f2b84b",
    error="#ff6b66",
    pins=("#56b4e9", "#f0a93a", "#2fc79c", "#f0e442", "#ff7a45", "#e08fc0", "#9b8cff", "#d5d9de"),
)

LIGHT: Final = Colours(
    name="light",
    window="#f3f4f6",
    base="#ffffff",
    alternate="#f7f8fa",
    button="#e7e9ed",
    border="#c6cbd2",
    text="#1f2429",
    muted="#5b6570",
    disabled="#9aa2ac",
    accent="#1668d6",
    accent_text="#ffffff",
    grid="#d5d9df",
    good="#1a7f4f",
    warning="#9a6200",
    error="#c5302b",
    pins=("#0072b2", "#c47a00", "#00805c", "#9a8b00", "#c84a00", "#b5487f", "#5a49c8", "#444b54"),
)

PALETTES: Final[dict[ThemeName, Colours]] = {"dark": DARK, "light": LIGHT}


def colours() -> Colours:
    """Return the colours of the theme that the application wears now (dark before it has one)."""
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        return DARK
    return DARK if app.palette().color(QPalette.ColorRole.Window).lightness() < 128 else LIGHT


def apply(name: ThemeName) -> None:
    """Dress the application, and what pyqtgraph draws from now on, in theme ``name``.

    A plain Linux desktop ignores Qt's colour scheme request, so the palette is our own.
    """
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        raise RuntimeError("theme.apply needs a QApplication")
    c = PALETTES[name]
    app.setStyle("Fusion")
    app.styleHints().setColorScheme(Qt.ColorScheme.Dark if c.is_dark else Qt.ColorScheme.Light)
    app.setPalette(palette(c))
    app.setStyleSheet(_style_sheet(c))
    pg.setConfigOptions(imageAxisOrder="row-major", antialias=True, background=c.base, foreground=c.text)


def palette(c: Colours) -> QPalette:
    """Return the Qt palette of a theme."""
    role = QPalette.ColorRole
    result = QPalette()
    for key, colour in {
        role.Window: c.window,
        role.WindowText: c.text,
        role.Base: c.base,
        role.AlternateBase: c.alternate,
        role.Text: c.text,
        role.Button: c.button,
        role.ButtonText: c.text,
        role.BrightText: c.error,
        role.ToolTipBase: c.button,
        role.ToolTipText: c.text,
        role.PlaceholderText: c.muted,
        role.Light: c.border,
        role.Midlight: c.button,
        role.Mid: c.border,
        role.Dark: c.base,
        role.Shadow: "#000000",
        role.Link: c.accent,
        role.LinkVisited: c.accent,
        role.Accent: c.accent,
        role.Highlight: c.accent,
        role.HighlightedText: c.accent_text,
    }.items():
        result.setColor(key, QColor(colour))
    for key in (role.WindowText, role.Text, role.ButtonText, role.ToolTipText):
        result.setColor(QPalette.ColorGroup.Disabled, key, QColor(c.disabled))
    result.setColor(QPalette.ColorGroup.Disabled, role.Highlight, QColor(c.border))
    return result


def icon(name: str, colour: str | None = None) -> QIcon:
    """Return the Phosphor icon ``name`` (``"folder-open"``) in the theme's text colour, or ``colour``."""
    c = colours()
    result: QIcon = qtawesome.icon(f"ph.{name}", color=colour or c.text, color_disabled=c.disabled)
    return result


def dress_tool_bar(bar: QToolBar) -> None:
    """Draw what opens the tools that have no room in the theme's colour: Qt draws it black."""
    more = bar.findChild(QToolButton, "qt_toolbar_ext_button")
    if isinstance(more, QToolButton):
        more.setIcon(icon("caret-double-right"))


def _style_sheet(c: Colours) -> str:
    """Return the few rules that a palette cannot say."""
    # Fusion frames its boxes in a shade of the window, which nobody sees on a dark ground
    boxes = "QCheckBox::indicator, QListView::indicator, QMenu::indicator"
    check = resource_path("icons", f"check_{c.name}.svg").as_posix()
    checked = ", ".join(f"{box}:checked" for box in boxes.split(", "))
    return f"""
    {boxes} {{ width: 13px; height: 13px; background: {c.base}; border: 1px solid {c.muted}; border-radius: 2px; }}
    {checked} {{ image: url("{check}"); }}
    QToolTip {{ color: {c.text}; background: {c.button}; border: 1px solid {c.border}; padding: 3px; }}
    QMainWindow::separator {{ background: {c.window}; width: 5px; height: 5px; }}
    QMainWindow::separator:hover {{ background: {c.accent}; }}
    QDockWidget::title {{ background: {c.window}; padding: 5px 8px; text-align: left; }}
    QTabBar::tab {{ background: {c.window}; color: {c.muted}; border: none; border-top: 2px solid {c.border};
        padding: 4px {TAB_PADDING}px 5px {TAB_PADDING}px; }}
    QTabBar::tab:hover {{ color: {c.text}; }}
    QTabBar::tab:selected {{ background: {c.button}; color: {c.text}; border-top: 2px solid {c.accent}; }}
    QStatusBar::item {{ border: none; }}
    QLabel[role="muted"] {{ color: {c.muted}; }}
    QLabel[role="heading"] {{ font-weight: 600; }}
    QLabel[role="warning"] {{ color: {c.warning}; }}
    QLabel[role="error"] {{ color: {c.error}; }}
    """
