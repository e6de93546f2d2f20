"""All commands of the window in one table: menu, text, icon and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QKeySequence

from toposcope.ui import theme


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``picture`` commands have keys that count only while the picture has the focus."""

    name: str
    menu: str
    text: str
    keys: tuple[str, ...] = ()
    icon: str = ""
    tip: str = ""
    checkable: bool = False
    picture: bool = False


SEPARATOR: Final = "-"
COMPARE_MENU: Final = "Co&mpare"
MEASURE_MENU: Final = "Mea&sure"
ADAPT_MENU: Final = "&Adapt"
ADAPT_START: Final = "&Start adapting"
RUN_OTHER: Final = "Run an&other method"

COMMANDS: Final[tuple[Command | str, ...]] = (
    Command(
        "open_folder",
        "&File",
        "&Open folder …",
        ("Ctrl+O",),
        "folder-open",
        "Open a folder of images",
    ),
    Command(
        "open_files",
        "&File",
        "Open &files …",
        ("Ctrl+Shift+O",),
        "image",
        "Open a TIFF, several images or a height map",
    ),
    Command("open_sample", "&File", "Open the &sample", (), "sparkle"),
    Command(
        "capture", "&File", "Capt&ure …", ("Ctrl+K",), "camera", "Take a stack with a microscope, or a simulated one"
    ),
    Command(
        "watch",
        "&File",
        "&Watch folder …",
        ("Ctrl+Alt+W",),
        "eye",
        "See the depth grow while a microscope writes slices into a folder",
    ),
    Command(
        "save_project",
        "&File",
        "Sa&ve project",
        ("Ctrl+S",),
        "floppy-disk",
        "What is open, calibration, method, pins, lines: to go on with later",
    ),
    Command("save_project_as", "&File", "Save pro&ject as …", ("Ctrl+Shift+S",), "floppy-disk"),
    Command("reopen", "&File", "&Reload", ("F5",), "arrow-clockwise", "Read the files again"),
    Command(
        "other_part",
        "&File",
        "O&ther position, channel or time …",
        ("Ctrl+T",),
        "stack",
        "Open another stack of the same file",
    ),
    Command("close_stack", "&File", "&Close the stack", ("Ctrl+W",), "x"),
    SEPARATOR,
    Command("export", "&File", "&Export …", ("Ctrl+E",), "export", "Write depth, pictures and surfaces"),
    Command("save_picture", "&File", "Save &picture as …", ("Ctrl+Shift+E",), "image", "With its legend"),
    Command(
        "save_numbers",
        "&File",
        "Save the &difference as …",
        ("Ctrl+Alt+E",),
        "floppy-disk",
        "A − B as numbers, a 32-bit TIFF",
    ),
    Command(
        "save_channels", "&File", "Save all cha&nnels as …", (), "stack", "Their all-in-focus pictures, one OME-TIFF"
    ),
    SEPARATOR,
    Command("quit", "&File", "&Quit", ("Ctrl+Q",), "sign-out"),
    Command("copy_picture", "&Edit", "&Copy the picture", ("Ctrl+C",), "copy", picture=True),
    Command("copy_pins", "&Edit", "Copy the pins as &numbers", ("Ctrl+Shift+C",), "table", "For a spreadsheet"),
    Command("copy_advice", "&Edit", "Copy the sweep &advice", (), "clipboard-text"),
    Command(
        "copy_command",
        "&Edit",
        "Copy as command &line",
        (),
        "terminal-window",
        "What computes this depth without the window, for a script",
    ),
    SEPARATOR,
    Command(
        "remove_chosen",
        "&Edit",
        "&Remove what is chosen",
        ("Delete",),
        "trash",
        "The pin, line or area that was touched last",
        picture=True,
    ),
    Command("remove_pins", "&Edit", "Remove &all pins", ("Ctrl+Shift+Delete",)),
    Command("mode_slice", "&View", "&Slice", ("Ctrl+1",), checkable=True),
    Command("mode_all_in_focus", "&View", "&All in focus", ("Ctrl+2",), checkable=True),
    Command("mode_depth", "&View", "&Depth", ("Ctrl+3",), checkable=True),
    Command("mode_confidence", "&View", "&Confidence", ("Ctrl+4",), checkable=True),
    Command("mode_peaks", "&View", "Number of &peaks", ("Ctrl+5",), checkable=True),
    Command("mode_sweep", "&View", "What the s&weep lacks", ("Ctrl+6",), checkable=True),
    Command("mode_compare", "&View", "Compare A | &B", ("Ctrl+7",), checkable=True),
    Command("mode_difference", "&View", "Difference A − B", ("Ctrl+8",), checkable=True),
    SEPARATOR,
    Command("next_slice", "&View", "&Next slice", ("Right", "Ctrl+Right"), "caret-right", picture=True),
    Command("previous_slice", "&View", "Pre&vious slice", ("Left", "Ctrl+Left"), "caret-left", picture=True),
    Command("first_slice", "&View", "First slice", ("Home",), picture=True),
    Command("last_slice", "&View", "Last slice", ("End",), picture=True),
    Command("next_time", "&View", "Next &time point", ("PgDown",), picture=True),
    Command("previous_time", "&View", "Previous t&ime point", ("PgUp",), picture=True),
    Command("aligned", "&View", "Sho&w slices aligned", ("Ctrl+L",), checkable=True, tip="Off: as they were taken"),
    SEPARATOR,
    Command("zoom_in", "&View", "Zoom &in", ("Ctrl++", "Ctrl+="), "magnifying-glass-plus"),
    Command("zoom_out", "&View", "Zoom &out", ("Ctrl+-",), "magnifying-glass-minus"),
    Command("zoom_fit", "&View", "&Fit the picture", ("Ctrl+0", "F"), "corners-out", picture=True),
    Command("zoom_pixels", "&View", "One to one", ("Ctrl+Alt+0",), "frame-corners"),
    SEPARATOR,
    Command("full_screen", "&View", "F&ull screen", ("F11",), "monitor", checkable=True),
    Command("reset_layout", "&View", "Panels as they &come", ()),
    Command(
        "run",
        "&Compute",
        "&Compute depth",
        ("Ctrl+R",),
        "play",
        "With the settings of the method panel",
    ),
    Command("cancel", "&Compute", "&Stop", ("Esc",), "stop-circle"),
    SEPARATOR,
    Command("run_other", "&Compute", RUN_OTHER, ("Ctrl+Shift+R",), "play", "One that no result is of yet, to compare"),
    SEPARATOR,
    Command(
        "batch",
        "&Compute",
        "&Batch …",
        ("Ctrl+B",),
        "queue",
        "Depth of many stacks, each into a folder of its own, with a table",
    ),
    Command(
        "like",
        "&Compute",
        "Set up &like …",
        (),
        "copy",
        "Method, calibration and filters of a project or of a stored result",
    ),
    Command("all_times", "&Compute", "All &times …", (), "clock", "Depth of every time point, into a folder"),
    SEPARATOR,
    Command("automatic", "&Compute", "&Again after each change", (), checkable=True),
    Command(
        "compare_heights",
        COMPARE_MENU,
        "With a &height map …",
        ("Ctrl+Shift+H",),
        "ruler",
        "The heights of an instrument, such as X3P or GWY, against the result that is shown",
    ),
    Command(
        "compare_stored",
        COMPARE_MENU,
        "With a stored &result …",
        (),
        "folder-open",
        "A result of the same frames that was exported before, against the one that is shown",
    ),
    SEPARATOR,
    Command("next_a", COMPARE_MENU, "Next result as &A", ("Ctrl+Shift+A",)),
    Command("next_b", COMPARE_MENU, "Next result as &B", ("Ctrl+Shift+B",)),
    Command("swap_sides", COMPARE_MENU, "&Swap A and B", ("Ctrl+Shift+X",), "swap"),
    Command("next_show", COMPARE_MENU, "Next &pictures", ("Ctrl+Shift+P",), tip="Depth, confidence, ... of A and of B"),
    SEPARATOR,
    Command("line_left", COMPARE_MENU, "Line to the &left", ("Shift+Left",), "caret-left", picture=True),
    Command("line_right", COMPARE_MENU, "Line to the &right", ("Shift+Right",), "caret-right", picture=True),
    Command("line_middle", COMPARE_MENU, "Line to the &middle", ("Shift+Home",), picture=True),
    Command("measure", MEASURE_MENU, "&Measure the surface", ("Ctrl+M",), "ruler", "Levelling, filters and parameters"),
    SEPARATOR,
    Command(
        "draw_line",
        MEASURE_MENU,
        "Draw a profile &line",
        ("Ctrl+Shift+L",),
        "line-segment",
        "Drag over the picture; Shift keeps to 45°",
    ),
    Command(
        "draw_area",
        MEASURE_MENU,
        "Draw the &area",
        ("Ctrl+Shift+M",),
        "selection",
        "That the parameters are of; drag from corner to corner",
    ),
    Command(
        "draw_step",
        MEASURE_MENU,
        "Draw the areas of a &step",
        ("Ctrl+Alt+S",),
        "arrow-line-up",
        "Two areas: how much higher the second lies",
    ),
    SEPARATOR,
    Command("measure_whole", MEASURE_MENU, "Measure the &whole picture", (), "frame-corners"),
    Command("remove_marks", MEASURE_MENU, "&Remove all lines and areas", (), "trash"),
    SEPARATOR,
    Command("copy_measured", MEASURE_MENU, "&Copy the parameters", (), "copy", "For a spreadsheet"),
    Command("copy_profiles", MEASURE_MENU, "Copy the &profiles as numbers", (), "table", "For a spreadsheet"),
    Command(
        "save_measured",
        MEASURE_MENU,
        "Sa&ve what is measured …",
        (),
        "floppy-disk",
        "Parameters, profiles and the prepared surface, into a folder",
    ),
    Command(
        "save_report",
        MEASURE_MENU,
        "Save a &report …",
        ("Ctrl+Alt+R",),
        "file-text",
        "What was measured and how, pictures and numbers: a PDF or HTML file to hand on",
    ),
    Command("adapt", ADAPT_MENU, "&Adapt a network", ("Ctrl+Shift+T",), "graduation-cap", "To your own instrument"),
    SEPARATOR,
    Command("adapt_folder", ADAPT_MENU, "Learn from a &folder …", (), "folder-plus"),
    Command("adapt_files", ADAPT_MENU, "Learn from &files …", (), "file-plus"),
    Command("adapt_open_stack", ADAPT_MENU, "Learn from the &open stack", (), "stack"),
    Command("adapt_look", ADAPT_MENU, "&Look at the labels", (), "eye", "What the network would learn"),
    SEPARATOR,
    Command("adapt_start", ADAPT_MENU, ADAPT_START, ("Ctrl+Alt+T",), "play", "Or pause, or go on"),
    Command("adapt_cancel", ADAPT_MENU, "&Cancel adapting", (), "stop-circle", "What was done is kept"),
    SEPARATOR,
    Command("adapt_bring_in", ADAPT_MENU, "&Bring in a network …", (), "download-simple", "One that somebody shares"),
    Command("guide", "&Help", "&Guide", ("F1",), "book-open", "How to use Toposcope"),
    Command("shortcuts", "&Help", "&Keyboard shortcuts", ("Ctrl+/",), "keyboard"),
    SEPARATOR,
    Command("about", "&Help", "&About Toposcope", (), "info"),
)


def make_actions(parent: QObject) -> dict[str, QAction]:
    """Return an action for each command."""
    actions: dict[str, QAction] = {}
    for command in COMMANDS:
        if isinstance(command, str):
            continue
        action = QAction(command.text, parent)
        action.setObjectName(command.name)
        action.setShortcuts([QKeySequence(key) for key in command.keys])
        action.setCheckable(command.checkable)
        tip = command.tip or command.text.replace("&", "")
        action.setToolTip(f"{tip} ({command.keys[0]})" if command.keys else tip)
        actions[command.name] = action
    set_icons(actions)
    return actions


def set_icons(actions: dict[str, QAction]) -> None:
    """Give the actions icons in the colours of the theme."""
    for command in COMMANDS:
        if not isinstance(command, str) and command.icon:
            actions[command.name].setIcon(theme.icon(command.icon))


def menus() -> dict[str, list[str]]:
    """Return the names of the commands of each menu, in order, separators included."""
    result: dict[str, list[str]] = {}
    title = ""
    for command in COMMANDS:
        if isinstance(command, str):
            result[title].append(SEPARATOR)
        else:
            title = command.menu
            result.setdefault(title, []).append(command.name)
    return result


def commands(names: Sequence[str] | None = None) -> list[Command]:
    """Return the commands, all or those named."""
    return [c for c in COMMANDS if not isinstance(c, str) and (names is None or c.name in names)]
