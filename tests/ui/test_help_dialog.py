from __future__ import annotations

import re
from importlib.resources import files

import pytest
from PySide6.QtCore import QUrl
from PySide6.QtGui import QIcon, QKeySequence
from pytestqt.qtbot import QtBot

from toposcope.cli import build_parser
from toposcope.core.estimate import METHODS
from toposcope.core.export import FORMATS
from toposcope.ui.actions import commands
from toposcope.ui.views.help_dialog import PAGES, HelpDialog, page_text, page_title


def test_the_pages_listed_are_the_pages_shipped() -> None:
    shipped = {path.name.removesuffix(".md") for path in (files("toposcope_resources") / "help").iterdir()}
    assert shipped == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_pages(name: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page_text(name)):
        assert link.removesuffix(".md") in PAGES


def test_the_guide_names_every_method_with_its_source() -> None:
    text = page_text("methods")
    for card in METHODS.values():
        assert re.search(
            rf"\| {re.escape(card.title)}[^|]*\| {re.escape(card.source)} \| {re.escape(card.good_at)} \|", text
        )


def test_the_guide_names_every_format() -> None:
    assert set(re.findall(r"`(\w+)`(?=[^|]*\|[^|]*\|$)", page_text("export"), re.MULTILINE)) == set(FORMATS)


def test_the_guide_names_every_command() -> None:
    known = set(re.findall(r"^    (\w+)  +\w", build_parser().format_help(), re.MULTILINE))
    assert set(re.findall(r"^toposcope (\w+)", page_text("command_line"), re.MULTILINE)) == known


def test_the_guide_names_keys_that_exist() -> None:
    known = {QKeySequence(key).toString() for command in commands() for key in command.keys}
    known |= {"Ctrl+Z", "Ctrl+Shift+Z", "Shift"}
    for line in page_text("keyboard").splitlines():
        if line.startswith("| `"):
            for key in re.findall(r"`([^`]+)`", line.split("|")[1]):
                assert QKeySequence(key).toString() in known, key


def test_paths_on_the_architecture_page_exist() -> None:
    import toposcope

    program = files(toposcope)
    for path in re.findall(r"`((?:core|views|ui)/[a-z_/]+\.py)`", page_text("architecture")):
        below = f"ui/{path}" if path.startswith("views/") else path
        assert (program / below).is_file(), path


def test_every_page_can_be_read(qtbot: QtBot) -> None:
    dialog = HelpDialog()
    qtbot.addWidget(dialog)
    for name in PAGES:
        dialog.show_page(name)
        assert dialog._browser.toPlainText().startswith(page_title(page_text(name)))


def test_links_open_their_page(qtbot: QtBot) -> None:
    dialog = HelpDialog()
    qtbot.addWidget(dialog)
    dialog._on_link(QUrl("sweep.md"))
    assert dialog._browser.toPlainText().startswith("What the sweep lacks")


def test_finding_leaves_the_pages_that_hold_the_word(qtbot: QtBot) -> None:
    dialog = HelpDialog()
    qtbot.addWidget(dialog)
    dialog._find.setText("Krotkov")
    shown = [dialog._list.item(k).text() for k in range(dialog._list.count()) if not dialog._list.item(k).isHidden()]
    assert shown == ["Methods"]
    assert dialog._browser.textCursor().selectedText() == "Krotkov"
    dialog._find.setText("")
    assert not any(dialog._list.item(k).isHidden() for k in range(dialog._list.count()))


def test_pages_open_at_their_beginning(qtbot: QtBot) -> None:
    dialog = HelpDialog()
    qtbot.addWidget(dialog)
    dialog.resize(800, 400)
    dialog.show()
    bar = dialog._browser.verticalScrollBar()
    for name in ("first_stack", "methods"):
        dialog.show_page(name)
        qtbot.wait(10)
        assert bar.maximum() > 0
        assert bar.value() == 0


def test_the_icon_is_drawn(qtbot: QtBot) -> None:
    for name in ("toposcope.svg", "toposcope.png"):
        icon = QIcon(str(files("toposcope_resources") / "icons" / name))
        image = icon.pixmap(64, 64).toImage()
        assert image.pixelColor(1, 1).alpha() < 50  # round corners
        assert image.pixelColor(32, 60).alpha() == 255
