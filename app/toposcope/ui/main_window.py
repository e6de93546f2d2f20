"""The main window: lays out the views, owns the controllers, and joins them.

::

    views ──signals──> controllers ──> Session ──changed──> resolve() ──> setters of views that differ
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from PySide6.QtCore import QByteArray, QEvent, QPoint, QSize, Qt, QTimer, QUrl
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDesktopServices,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QKeySequence,
    QUndoStack,
)
from PySide6.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QInputDialog,
    QMainWindow,
    QMenu,
    QMessageBox,
    QStackedWidget,
    QTabBar,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from dffnets.shipped import shipped_cards
from toposcope.core.adapted import Adapted
from toposcope.core.alike import calibrating_like, over
from toposcope.core.command_line import depth_command, quoted
from toposcope.core.curve import FocusCurve
from toposcope.core.export import file_names
from toposcope.core.marks import Marks
from toposcope.core.report.page import SUFFIXES
from toposcope.core.result import PROJECT_SUFFIX
from toposcope.core.source import OpenOptions
from toposcope.errors import ToposcopeError
from toposcope.ui import theme
from toposcope.ui.actions import (
    ADAPT_START,
    COMPARE_MENU,
    RUN_OTHER,
    SEPARATOR,
    commands,
    make_actions,
    menus,
    set_icons,
)
from toposcope.ui.commands import push
from toposcope.ui.controllers.adapting import AdaptingController
from toposcope.ui.controllers.batch import BatchController, WhenClosed
from toposcope.ui.controllers.calibrating import CalibratingController
from toposcope.ui.controllers.capturing import CapturingController
from toposcope.ui.controllers.estimating import EstimatingController
from toposcope.ui.controllers.exporting import ExportingController, proposed_folder
from toposcope.ui.controllers.frames import FramesController
from toposcope.ui.controllers.heights import HeightsController
from toposcope.ui.controllers.likeness import LikenessController
from toposcope.ui.controllers.looking import Looker
from toposcope.ui.controllers.measuring import MeasuringController
from toposcope.ui.controllers.opening import OpeningController, problem
from toposcope.ui.controllers.pictures import PicturesController
from toposcope.ui.controllers.pins import PinsController
from toposcope.ui.controllers.projects import ProjectsController
from toposcope.ui.controllers.reporting import PDF, ReportingController, measured_name
from toposcope.ui.controllers.surface import SurfaceController
from toposcope.ui.controllers.times import TimesController
from toposcope.ui.controllers.watching import WatchingController
from toposcope.ui.dropping import dropped_paths
from toposcope.ui.engine import Engine
from toposcope.ui.file_questions import (
    CHANNELS_FILTER,
    FILE_FILTER,
    HEIGHTS_FILTER,
    LIKE_FILTER,
    NETWORK_FILTER,
    NUMBERS_FILTER,
    PICTURE_FILTER,
    PROJECT_FILTER,
    REPORT_FILTER,
    RESULT_FILTER,
    STACK_FILTER,
    FileQuestions,
)
from toposcope.ui.images import image_of
from toposcope.ui.preferences import Preferences
from toposcope.ui.project_state import is_modified
from toposcope.ui.pyramid import Picture
from toposcope.ui.report_pdf import PAPERS
from toposcope.ui.resolve import LONG_JOBS, ViewState, opened_name, reference_run, resolve, shown_kinds
from toposcope.ui.session import MODES, Kinds, Offer, Session, State, Tool
from toposcope.ui.theme import ThemeName
from toposcope.ui.views.adapt_panel import AdaptPanel
from toposcope.ui.views.batch_view import BatchDialog
from toposcope.ui.views.calibration_panel import CalibrationPanel, PositionsDialog
from toposcope.ui.views.capture_view import CaptureDialog
from toposcope.ui.views.curve_view import CurveView
from toposcope.ui.views.dialogs import AboutDialog, ShortcutsDialog
from toposcope.ui.views.export_panel import ExportPanel
from toposcope.ui.views.film_strip import FilmStrip
from toposcope.ui.views.heights_dialog import HeightsDialog
from toposcope.ui.views.measure_panel import MeasurePanel
from toposcope.ui.views.message_bar import MessageBar
from toposcope.ui.views.method_panel import MethodPanel
from toposcope.ui.views.open_dialog import OpenDialog
from toposcope.ui.views.picture_view import PictureView
from toposcope.ui.views.profile_view import ProfileView
from toposcope.ui.views.report_dialog import ReportDialog, usual_paper
from toposcope.ui.views.scrolled import scrolled
from toposcope.ui.views.start_page import StartPage
from toposcope.ui.views.status import StatusView
from toposcope.ui.views.surface_dialogs import SurfacePictureDialog, TurntableDialog
from toposcope.ui.views.surface_view import SurfaceView
from toposcope.ui.views.sweep_panel import SweepPanel
from toposcope.ui.views.watch_view import WatchDialog
from toposcope.ui.workers import LatestRunner

LINE_STEP: Final = 0.02
"""Share of the width by which a key moves the line between A and B."""
TALL_PANEL: Final = 480
"""Pixels below which a panel that has much to show asks for more room."""
NOWHERE: Final = QPoint(-10_000, -10_000)
"""Where no tab bar is ever placed."""
NOTE_MS: Final = 12_000
"""How long a note stays, in milliseconds."""
CLOSE_BATCH: Final = (
    "A batch is still running. Close Toposcope all the same? What is finished stays, and the same batch goes on later."
)
THEME_TITLES: Final[dict[ThemeName, str]] = {"dark": "&Dark", "light": "&Light"}


class MainWindow(QMainWindow):
    """Everything that the user sees. Give it an `Engine` and `Preferences` of your own to test it."""

    def __init__(self, engine: Engine | None = None, preferences: Preferences | None = None) -> None:
        super().__init__()
        self.engine = engine or Engine()
        self.preferences = preferences or Preferences()
        self.session = Session(
            State(colour_map=self.preferences.colour_map, automatic=self.preferences.automatic), self
        )
        self.undo = QUndoStack(self)
        self._questions = FileQuestions(self, self.preferences)
        # grows and shrinks in place by the networks that the user adapts
        self.methods = dict(self.engine.methods)
        self._note_timer = QTimer(self, singleShot=True, interval=NOTE_MS)
        self._note_timer.timeout.connect(lambda: self.session.set(message=None))
        self._view_state: ViewState | None = None
        self._closed = False
        self.capturing: CapturingController | None = None
        self.watching: WatchingController | None = None
        self.batch: BatchController | None = None
        self._make_views()
        self._make_controllers()
        self.actions_by_name = make_actions(self)
        self._make_docks()
        self._make_menus()
        self._connect_views()
        self.setAcceptDrops(True)
        self.setDockOptions(
            self.DockOption.AnimatedDocks | self.DockOption.AllowTabbedDocks | self.DockOption.AllowNestedDocks
        )
        self.setMinimumSize(QSize(760, 520))
        self.resize(1480, 920)
        self._default_docks = self.saveState()
        self._docks: QByteArray | None = None
        self._restore_layout()
        self.session.changed.connect(self._on_changed)
        self._show(resolve(self.session.state, self.methods))
        QTimer.singleShot(0, self, self._begin_adapting)
        self.status.set_device(self.engine.device())

    # building

    def _make_views(self) -> None:
        self.start_page = StartPage()
        self.picture = PictureView()
        self.message_bar = MessageBar()
        self.strip = FilmStrip()
        self.calibration = CalibrationPanel()
        self.method = MethodPanel(self.methods)
        networks = {card.name: card.title for card in shipped_cards()}
        labellers = {name: card.title for name, card in self.engine.methods.items()}
        self.adapt = AdaptPanel(networks, labellers)
        self.sweep = SweepPanel()
        self.export_panel = ExportPanel(self.engine.formats, self.engine.export_options, self.engine.usual_formats)
        self.curves = CurveView()
        self.surface = SurfaceView()
        self.profiles = ProfileView()
        self.measure = MeasurePanel()
        self._stack_colouring = self.surface.colouring
        self.status = StatusView()
        self.setStatusBar(self.status)
        self._pages = QStackedWidget()
        self._pages.addWidget(self.start_page)
        self._pages.addWidget(self.picture)
        centre = QWidget()
        layout = QVBoxLayout(centre)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.message_bar)
        layout.addWidget(self._pages, 1)
        self.setCentralWidget(centre)

    def _make_controllers(self) -> None:
        session, undo, engine = self.session, self.undo, self.engine
        sample: Path | None = None
        with suppress(ToposcopeError):
            sample = engine.sample_path()
        self.opening = OpeningController(
            session, undo, self.preferences, engine.open_stack, self._ask_choice, sample, self, engine.preview
        )
        self.projects = ProjectsController(session, undo, self.preferences, sample, self)
        self.projects.saved.connect(lambda path: self.status.showMessage(f"Saved {path}", 6000))
        self.frames = FramesController(session, undo, self.strip, self)
        self.pictures = PicturesController(
            session, self.picture, engine.peak_counts, engine.compare, self, engine.fuse_channel
        )
        self.pins = PinsController(session, undo, self.curves, engine.curve_at, self)
        self.surfaces = SurfaceController(session, self.surface, self)
        self.measuring = MeasuringController(session, undo, self.measure, self.profiles, self)
        self.likeness = LikenessController(session, undo, self)
        self.reporting = ReportingController(session, self)
        self.calibrating = CalibratingController(session, undo, self.calibration, self._ask_positions, self)
        self.exporting = ExportingController(
            session,
            self.export_panel,
            engine.export,
            self._pinned_curves,
            sample,
            self,
            file_names,
            lambda question: self._confirm(question),
        )
        # last, so that everybody knows of a new stack before its depth is computed
        self.estimating = EstimatingController(session, undo, engine.estimate, self.methods, self)
        self.times = TimesController(
            session, self.opening, self.estimating, engine.estimate, self._ask_times_folder, self
        )
        self.heights = HeightsController(session, self.estimating, self)
        self.adapting = AdaptingController(
            session,
            undo,
            self.adapt,
            engine.adapting,
            engine.open_stack,
            self._ask_choice,
            self._confirm,
            self._use_network,
            look=engine.preview,
            parent=self,
        )

    def _make_docks(self) -> None:
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        self.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        left, right = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
        self.docks = {
            "frames": self._dock("frames", "Frames", self.strip, left),
            "calibration": self._dock("calibration", "Calibration", scrolled(self.calibration), left),
            "curves": self._dock("curves", "Focus curves", self.curves, Qt.DockWidgetArea.BottomDockWidgetArea),
            "profiles": self._dock("profiles", "Profiles", self.profiles, Qt.DockWidgetArea.BottomDockWidgetArea),
            "surface": self._dock("surface", "Surface in 3D", self.surface, right),
            "method": self._dock("method", "Method", self.method, right),
            "sweep": self._dock("sweep", "Advice", self.sweep, right),
            "measure": self._dock("measure", "Measure", scrolled(self.measure), right),
            "export": self._dock("export", "Export", scrolled(self.export_panel), right),
            "adapt": self._dock("adapt", "Adapt", scrolled(self.adapt), right),
        }
        self.tabifyDockWidget(self.docks["method"], self.docks["sweep"])
        self.tabifyDockWidget(self.docks["sweep"], self.docks["measure"])
        self.tabifyDockWidget(self.docks["measure"], self.docks["export"])
        self.tabifyDockWidget(self.docks["export"], self.docks["adapt"])
        self.tabifyDockWidget(self.docks["curves"], self.docks["profiles"])
        self.docks["method"].raise_()
        self.docks["curves"].raise_()
        self.resizeDocks([self.docks["frames"], self.docks["surface"]], [250, 400], Qt.Orientation.Horizontal)
        self.resizeDocks([self.docks["frames"], self.docks["calibration"]], [520, 300], Qt.Orientation.Vertical)
        self.resizeDocks([self.docks["surface"], self.docks["method"]], [430, 390], Qt.Orientation.Vertical)
        self.resizeDocks([self.docks["curves"]], [250], Qt.Orientation.Vertical)

    def _dock(self, name: str, title: str, widget: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(name)
        dock.setWidget(widget)
        self.addDockWidget(area, dock)
        return dock

    def _make_menus(self) -> None:
        acts = self.actions_by_name
        undo, redo = self.undo.createUndoAction(self, "&Undo"), self.undo.createRedoAction(self, "&Redo")
        undo.setShortcut(QKeySequence("Ctrl+Z"))
        redo.setShortcuts([QKeySequence("Ctrl+Y"), QKeySequence("Ctrl+Shift+Z")])
        self._undo_actions = [undo, redo]
        self._groups: list[tuple[str, list[QAction]]] = []
        for title, names in menus().items():
            menu = self.menuBar().addMenu(title)
            group = [acts[name] for name in names if name != SEPARATOR]
            if title == "&Edit":
                menu.addActions(self._undo_actions)
                menu.addSeparator()
                group = [*self._undo_actions, *group]
            for name in names:
                if name == SEPARATOR:
                    menu.addSeparator()
                else:
                    menu.addAction(acts[name])
                if name == "open_sample":
                    self._recent_menu = menu.addMenu("Open &recent")
            if title == COMPARE_MENU:
                self._make_compare_menus(menu)
            if title == "&View":
                self._make_view_menus(menu)
            self._groups.append((title.replace("&", ""), group))
        self._recent_menu.aboutToShow.connect(self._fill_recent_menu)
        for command in commands():
            if command.picture:
                acts[command.name].setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
                self.picture.addAction(acts[command.name])
        self._tool_bar = bar = QToolBar("Tools", self)
        bar.setObjectName("tools")
        bar.setIconSize(QSize(18, 18))
        bar.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        bar.setMovable(False)
        bar.addActions([acts["open_folder"], acts["open_files"], acts["save_project"]])
        bar.addSeparator()
        bar.addActions(self._undo_actions)
        bar.addSeparator()
        bar.addActions([acts["run"], acts["export"]])
        bar.addSeparator()
        bar.addAction(acts["guide"])
        self.addToolBar(bar)
        self._connect_actions()
        self._set_icons()

    def _make_view_menus(self, menu: QMenu) -> None:
        menu.addSeparator()
        panels = menu.addMenu("&Panels")
        for dock in self.docks.values():
            panels.addAction(dock.toggleViewAction())
        themes = menu.addMenu("&Theme")
        self._themes: dict[ThemeName, QAction] = {}
        for name, title in THEME_TITLES.items():
            action = themes.addAction(title)
            action.setCheckable(True)
            action.triggered.connect(lambda _=False, n=name: self.set_theme(n))
            self._themes[name] = action

    def _make_compare_menus(self, menu: QMenu) -> None:
        """Put the choices of A, of B and of what is shown of them before the commands that step through them."""
        before = menu.actions()[0]
        for title, fill in (
            ("Result &A", lambda m: self._fill_side_menu(m, "A")),
            ("Result &B", lambda m: self._fill_side_menu(m, "B")),
            ("Sho&w", self._fill_show_menu),
        ):
            choices = QMenu(title, menu)
            choices.aboutToShow.connect(lambda m=choices, f=fill: f(m))
            menu.insertMenu(before, choices)
        menu.insertSeparator(before)

    def _fill_side_menu(self, menu: QMenu, side: str) -> None:
        menu.clear()
        comparison = resolve(self.session.state).comparison
        for row in comparison.results:
            action = menu.addAction(row.title.replace("&", "&&"))
            action.setCheckable(True)
            action.setChecked(row.number == (comparison.a if side == "A" else comparison.b))
            action.triggered.connect(lambda _=False, n=row.number: self._set_side(side, n))
        if menu.isEmpty():
            menu.addAction("No result yet").setEnabled(False)

    def _fill_show_menu(self, menu: QMenu) -> None:
        menu.clear()
        comparison = resolve(self.session.state).comparison
        for kinds, title in comparison.shows:
            action = menu.addAction(title)
            action.setCheckable(True)
            action.setChecked(kinds == comparison.show)
            action.triggered.connect(lambda _=False, k=kinds: self._show_of_sides(k))

    def _connect_actions(self) -> None:
        acts, session = self.actions_by_name, self.session
        slots: dict[str, Callable[[], object]] = {
            "open_folder": self.ask_folder,
            "open_files": self.ask_files,
            "open_sample": self.open_sample,
            "capture": self.show_capture,
            "watch": self.ask_watch,
            "save_project": self.save_project,
            "save_project_as": self.save_project_as,
            "reopen": self.opening.reload,
            "other_part": self.opening.choose_other,
            "close_stack": self.close_stack,
            "export": self._on_export,
            "save_picture": self.save_picture,
            "save_numbers": self.save_numbers,
            "save_channels": self.save_channels,
            "quit": self.close,
            "copy_picture": self.copy_picture,
            "copy_pins": lambda: self._copy(self.pins.table()),
            "copy_advice": lambda: self._copy(self.sweep.text()),
            "remove_chosen": self._remove_chosen,
            "remove_pins": self.pins.remove_all,
            "next_slice": lambda: self._step_slice(1),
            "previous_slice": lambda: self._step_slice(-1),
            "first_slice": lambda: self.show_slice(0),
            "last_slice": lambda: self.show_slice(10**9),
            "zoom_in": lambda: self.picture.canvas.zoom_by(1.5),
            "zoom_out": lambda: self.picture.canvas.zoom_by(1 / 1.5),
            "zoom_fit": self.picture.canvas.fit,
            "zoom_pixels": self.picture.canvas.zoom_to_pixels,
            "reset_layout": self._reset_layout,
            "run": self.estimating.run,
            "batch": self.show_batch,
            "copy_command": self.copy_command,
            "like": self.ask_like,
            "all_times": self.times.run,
            "next_time": lambda: self.times.step(1),
            "previous_time": lambda: self.times.step(-1),
            "run_other": self._run_other,
            "compare_heights": self.ask_heights,
            "compare_stored": self.ask_stored,
            "next_a": lambda: self._next_side("A"),
            "next_b": lambda: self._next_side("B"),
            "swap_sides": self._swap_sides,
            "next_show": self._next_show,
            "line_left": lambda: self._set_split(session.state.split - LINE_STEP),
            "line_right": lambda: self._set_split(session.state.split + LINE_STEP),
            "line_middle": lambda: self._set_split(0.5),
            "cancel": self._on_cancel,
            "measure": self._show_measure,
            "draw_line": lambda: self._draw("line"),
            "draw_area": lambda: self._draw("area"),
            "draw_step": lambda: self._draw("step"),
            "measure_whole": self.measuring.measure_whole,
            "remove_marks": self.measuring.remove_all,
            "copy_measured": lambda: self._copy(self.measuring.table()),
            "copy_profiles": lambda: self._copy(self.profiles.table()),
            "save_measured": self.save_measured,
            "save_report": self.save_report,
            "adapt": self.show_adapt,
            "adapt_folder": self.ask_adapt_folder,
            "adapt_files": self.ask_adapt_files,
            "adapt_open_stack": lambda: self._adapt(self.adapting.add_open_stack),
            "adapt_look": lambda: self._adapt(self.adapting.label),
            "adapt_start": lambda: self._adapt(self._start_adapting),
            "adapt_cancel": self.adapting.cancel,
            "adapt_bring_in": self.ask_network,
            "guide": self._show_guide,
            "shortcuts": lambda: ShortcutsDialog(self._groups, self).exec(),
            "about": lambda: AboutDialog(self.engine.device(), self).exec(),
        }
        for name, slot in slots.items():
            acts[name].triggered.connect(lambda _=False, s=slot: s())
        for mode in MODES:
            acts[f"mode_{mode}"].triggered.connect(lambda _=False, m=mode: session.set(mode=m))
        acts["aligned"].toggled.connect(lambda on: session.set(aligned=on))
        acts["automatic"].toggled.connect(self._set_automatic)
        acts["full_screen"].toggled.connect(lambda on: self.showFullScreen() if on else self.showNormal())

    def _connect_views(self) -> None:
        session, canvas = self.session, self.picture.canvas
        self.start_page.folderRequested.connect(self.ask_folder)
        self.start_page.filesRequested.connect(self.ask_files)
        self.start_page.sampleRequested.connect(self.open_sample)
        self.start_page.recentRequested.connect(self.open)
        self.start_page.lastRequested.connect(self.open_last)
        self.picture.modeRequested.connect(lambda mode: session.set(mode=mode))
        self.picture.colourMapRequested.connect(self._set_colour_map)
        self.picture.pairRequested.connect(lambda a, b: session.set(pair=(a, b)))
        self.picture.showRequested.connect(self._show_of_sides)
        self.picture.numbersRequested.connect(self.save_numbers)
        self.picture.timeRequested.connect(self.times.show)
        self.picture.allTimesRequested.connect(self.times.run)
        self.picture.channelRequested.connect(lambda k: session.set(channel=k))
        self.picture.offerChosen.connect(self._on_offer)
        canvas.splitMoved.connect(self._set_split)
        self.picture.sliceRequested.connect(self.show_slice)
        self.picture.limitsRequested.connect(self._set_limits)
        canvas.pinRequested.connect(self.pins.add)
        canvas.pinMoved.connect(self.pins.move)
        canvas.pinChosen.connect(self._on_pin_chosen)
        canvas.pinMenuRequested.connect(self._on_pin_menu)
        canvas.menuRequested.connect(self._on_picture_menu)
        canvas.cursorMoved.connect(lambda pixel: session.set(cursor=pixel))
        canvas.scrubbed.connect(self._step_slice)
        self.pictures.saved.connect(lambda path: self.status.showMessage(f"Saved {path}", 6000))
        self.pictures.copied.connect(self._on_copied)
        self.curves.sliceRequested.connect(lambda i: session.set(slice_index=self._stack_index(i), mode="slice"))
        self.curves.pinRemoveRequested.connect(self.pins.remove)
        self.surface.screenshotRequested.connect(self._ask_screenshot)
        self.surface.turntableRequested.connect(self._ask_turntable)
        self.surface.pointHovered.connect(self._on_surface_hovered)
        self.surface.pointPicked.connect(lambda row, column: self.pins.add(*self.surfaces.full_pixel(row, column)))
        self.method.settingsEdited.connect(self._set_settings)
        self.method.automaticToggled.connect(self._set_automatic)
        self.method.runRequested.connect(self.estimating.run)
        self.method.cancelRequested.connect(self.estimating.cancel)
        self.method.resultRequested.connect(lambda number: session.set(shown_run=number))
        self.method.sideRequested.connect(self._set_side)
        self._connect_measure()
        self._connect_adapt()
        self.sweep.mapRequested.connect(lambda: session.set(mode="sweep"))
        self.export_panel.openRequested.connect(_open_folder)
        self.status.cancelRequested.connect(self._on_cancel)
        self.message_bar.closeRequested.connect(lambda: session.set(message=None))
        self.message_bar.offerChosen.connect(self._on_offer)

    def _connect_measure(self) -> None:
        canvas, measuring, panel = self.picture.canvas, self.measuring, self.measure
        canvas.lineDrawn.connect(self._on_line_drawn)
        canvas.lineMoved.connect(measuring.move_line)
        canvas.lineChosen.connect(lambda number: measuring.choose(("line", number)))
        canvas.lineMenuRequested.connect(self._on_line_menu)
        canvas.areaDrawn.connect(measuring.add_area)
        canvas.areaMoved.connect(measuring.move_area)
        self.profiles.lineRemoveRequested.connect(measuring.remove_line)
        self.profiles.widthRequested.connect(measuring.widen)
        panel.settingsEdited.connect(measuring.prepare)
        panel.toolRequested.connect(measuring.use_tool)
        panel.wholeRequested.connect(measuring.measure_whole)
        panel.stepRemoveRequested.connect(measuring.remove_step)
        panel.copyRequested.connect(lambda: self._copy(measuring.table()))
        panel.saveRequested.connect(self.save_measured)
        panel.reportRequested.connect(self.save_report)
        self.docks["measure"].visibilityChanged.connect(measuring.look)

    def _connect_adapt(self) -> None:
        panel, adapting = self.adapt, self.adapting
        panel.stacksAdded.connect(adapting.add)
        panel.folderWanted.connect(self.ask_adapt_folder)
        panel.filesWanted.connect(self.ask_adapt_files)
        panel.openStackWanted.connect(adapting.add_open_stack)
        panel.stacksRemoved.connect(adapting.remove)
        panel.stackChosen.connect(adapting.choose)
        panel.lookRequested.connect(adapting.label)
        panel.stopLookingRequested.connect(adapting.stop_looking)
        panel.pairRequested.connect(adapting.show_pair)
        panel.splitMoved.connect(adapting.set_split)
        panel.settingsEdited.connect(adapting.edit)
        panel.nameEdited.connect(adapting.rename_result)
        panel.startRequested.connect(adapting.start)
        panel.pauseRequested.connect(adapting.pause)
        panel.cancelRequested.connect(adapting.cancel)
        panel.useRequested.connect(adapting.use)
        panel.renameRequested.connect(self._ask_network_name)
        panel.exportRequested.connect(self._ask_network_file)
        panel.removeRequested.connect(adapting.remove_network)
        panel.bringInRequested.connect(self.ask_network)
        panel.filesBroughtIn.connect(adapting.bring_in)
        panel.goOnRequested.connect(adapting.go_on)
        panel.discardRequested.connect(adapting.discard)

    # showing

    def _on_changed(self, before: State, now: State) -> None:
        if now.adapt.networks != before.adapt.networks:
            self._take_methods(now.adapt.networks)
        self._show(resolve(now, self.methods))

    def _show(self, now: ViewState) -> None:
        """Call the setters whose part of the view state differs from what is shown."""
        before, self._view_state = self._view_state, now

        def differs(*names: str) -> bool:
            return before is None or any(getattr(before, name) != getattr(now, name) for name in names)

        if differs("title", "modified"):
            self.setWindowTitle(now.title)
            self.setWindowModified(now.modified)
        if differs("start_page"):
            self._show_start_page(now.start_page)
        if differs("frames", "subject"):
            self.strip.set_frames(now.frames, now.subject)
        if differs("frames", "slices"):
            self.strip.set_current(now.slices.index)
            self.picture.set_slices(now.slices)
        if differs("slices", "frames", "runs", "shown_run"):
            self.curves.set_slice(self._curve_index(now.slices.index))
        if differs("calibration", "measured_pixel", "subject"):
            self.calibration.set_calibration(now.calibration, now.measured_pixel, now.subject == "stack")
        if differs("mode", "modes", "subject"):
            self.picture.set_modes(now.mode, now.modes, now.subject)
            for mode in MODES:
                self.actions_by_name[f"mode_{mode}"].setEnabled(mode in now.modes)
                self.actions_by_name[f"mode_{mode}"].setChecked(mode == now.mode)
        if differs("left", "right", "mode", "shown_run", "aligned"):
            self.pictures.set_requests(now.left, now.right)
        if differs("has_curves", "subject"):
            self.curves.set_kept(now.has_curves, now.subject)
        if differs("times"):
            self.picture.set_times(now.times)
        if differs("channels", "mode"):
            self.picture.set_channels(now.channels)
        if differs("comparison", "mode"):
            self.picture.set_comparison(now.comparison)
        if differs("pixel_um"):
            self.picture.canvas.set_pixel(now.pixel_um)
        if differs("pins", "chosen_pin"):
            self.picture.canvas.set_pins(now.pins, now.chosen_pin)
        if differs("tool"):
            self.picture.canvas.set_tool(now.tool)
            self.measure.set_tool(now.tool)
        if differs("marks", "chosen_mark", "surface_pixel_um", "left"):
            self.picture.canvas.set_marks(now.marks, now.chosen_mark)
            self.measure.set_marks(now.marks, now.surface_pixel_um)
            self.profiles.set_drawn(bool(now.marks.lines))
        if differs("profile_width"):
            self.profiles.set_width(now.profile_width)
        if differs("runs", "shown_run"):
            self.measure.set_result(_measured_result(now))
        if differs("surface"):
            self.measure.set_settings(now.surface)
        if differs("surface", "surface_pixel_um", "of_instrument"):
            fineness = None if now.of_instrument else now.surface_pixel_um
            self.measure.set_fineness(fineness, now.surface.s_um)
        if differs("readout"):
            self.status.set_readout(now.readout)
        if differs("method"):
            self.method.set_state(now.method)
            self.actions_by_name["automatic"].setChecked(now.method.automatic)
        if differs("runs", "shown_run", "kept"):
            self.method.set_runs(now.runs, now.shown_run, now.kept)
        if differs("colour_map"):
            self.picture.set_colour_map(now.colour_map)
            self.surface.set_colour_map(now.colour_map)
        if differs("sweep", "subject", "modes"):
            self.sweep.set_notes(now.sweep, now.subject, "sweep" in now.modes)
        if differs("subject", "has_curves"):
            self.export_panel.set_offered(self._offered_formats(now))
        if differs("subject"):
            # a height map has no picture; what was chosen for stacks comes back with the next one
            if now.subject == "height map":
                self._stack_colouring = self.surface.colouring
                self.surface.set_colour("height")
            else:
                self.surface.set_colour(self._stack_colouring)
        if differs("adapt"):
            self.adapt.set_view(now.adapt)
        if differs("can_export"):
            self.export_panel.set_able(now.can_export)
            self.measure.set_able(now.can_export)
        if differs("job"):
            self.status.set_job(now.job)
        if differs("message"):
            self.message_bar.set_message(now.message)
            # a note may go by itself; what went wrong or offers something stays until it is read
            if now.message is not None and now.message.level == "info" and not now.message.offers:
                self._note_timer.start()
            else:
                self._note_timer.stop()
        enabling = (
            "start_page",
            "can_save",
            "has_stack",
            "can_take_heights",
            "has_parts",
            "times",
            "can_save_channels",
            "pins",
            "marks",
            "chosen_mark",
            "can_export",
            "job",
            "runs",
            "modes",
        )
        if differs(*enabling, "aligned", "comparison", "adapt"):
            self._enable_actions(now)

    def _offered_formats(self, now: ViewState) -> Sequence[str] | None:
        """Return the formats that what is shown can be written in, None for all."""
        if now.subject == "height map":
            return self.engine.height_map_formats
        return None if now.has_curves else [card.name for card in self.engine.formats if card.needs == "depth"]

    def _enable_actions(self, now: ViewState) -> None:
        acts, opened = self.actions_by_name, not now.start_page
        for name in ("run", "like", "next_slice", "previous_slice", "first_slice", "last_slice", "aligned"):
            acts[name].setEnabled(now.has_stack)
        for name in ("reopen", "close_stack"):
            acts[name].setEnabled(opened)
        for name in ("save_project", "save_project_as"):
            acts[name].setEnabled(now.can_save)
        for name in ("zoom_in", "zoom_out", "zoom_fit", "zoom_pixels", "copy_picture", "save_picture"):
            acts[name].setEnabled(opened)
        acts["compare_heights"].setEnabled(now.can_take_heights)
        acts["compare_stored"].setEnabled(now.can_take_heights and now.subject != "height map")
        acts["next_show"].setEnabled("compare" in now.modes)
        for name in ("remove_pins", "copy_pins"):
            acts[name].setEnabled(bool(now.pins))
        acts["remove_chosen"].setEnabled(bool(now.pins) or now.chosen_mark is not None)
        acts["other_part"].setEnabled(now.has_parts)
        acts["save_channels"].setEnabled(now.can_save_channels)
        for name in ("all_times", "next_time", "previous_time"):
            acts[name].setEnabled(now.times is not None)
        acts["copy_command"].setEnabled(now.has_stack)
        acts["export"].setEnabled(now.can_export)
        acts["copy_advice"].setEnabled(bool(now.sweep))
        for name in ("draw_line", "draw_area", "draw_step", "save_measured", "save_report", "copy_measured"):
            acts[name].setEnabled(now.can_export)
        acts["measure"].setEnabled(opened)
        acts["measure_whole"].setEnabled(now.marks.area is not None)
        acts["remove_marks"].setEnabled(now.marks != Marks())
        acts["copy_profiles"].setEnabled(bool(now.marks.lines))
        acts["aligned"].setChecked(now.aligned)
        several = len(now.runs) > 1
        for name in ("next_a", "next_b", "swap_sides"):
            acts[name].setEnabled(several)
        for name in ("line_left", "line_right", "line_middle"):
            acts[name].setEnabled(now.mode == "compare")
        acts["save_numbers"].setEnabled(now.comparison.ready)
        idle, adapt = now.adapt.editable, now.adapt
        for name, able in {
            "adapt_folder": idle,
            "adapt_files": idle,
            "adapt_open_stack": idle and adapt.open_stack is not None,
            "adapt_look": adapt.can_look,
            "adapt_start": adapt.can_start or adapt.phase in ("running", "paused"),
            "adapt_cancel": adapt.phase in ("running", "paused"),
        }.items():
            acts[name].setEnabled(able)
        acts["adapt_start"].setText({"running": "&Pause", "paused": "&Go on"}.get(adapt.phase, ADAPT_START))
        acts["run_other"].setEnabled(now.comparison.other is not None)
        acts["run_other"].setText(now.comparison.other.label if now.comparison.other else RUN_OTHER)

    def _show_start_page(self, on: bool) -> None:
        """An empty window shows three ways to begin, and no empty panels."""
        if on:
            self.start_page.set_recent(self.preferences.recent)
            self.start_page.set_last(self.projects.last())
            if self._view_state is not None and self._docks is None:
                self._docks = self.saveState()
            for dock in self.docks.values():
                dock.hide()
            for tabs in self._dock_tabs():  # Qt leaves those of an arrangement that was restored before the first look
                tabs.hide()
        elif self._docks is not None:
            self._restore_docks(self._docks)
            self._docks = None
            if self.session.state.adapt.busy:
                self.show_adapt()
        self._pages.setCurrentWidget(self.start_page if on else self.picture)
        if not on:
            self.picture.canvas.setFocus()

    def _dock_tabs(self) -> list[QTabBar]:
        return self.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)

    def _restore_docks(self, state: QByteArray) -> None:
        """Arrange the panels as they were.

        Qt leaves the tab bars of before standing where they were, for ever: those that the new arrangement does not
        place again are put away.
        """
        before = self._dock_tabs()
        for bar in before:
            bar.move(NOWHERE)
        self.restoreState(state)
        if (layout := self.layout()) is not None:
            layout.activate()
        for bar in before:
            if bar.pos() == NOWHERE:
                bar.hide()

    # what the user asks for

    def open(self, paths: Path | Sequence[Path]) -> None:
        """Open a stack, a height map, a stored result or a project."""
        if self._may_leave():
            self.opening.open(paths)

    def open_sample(self) -> None:
        """Open the stack that comes with the program."""
        try:
            self.open(self.engine.sample_path())
        except ToposcopeError as error:
            self.session.set(message=problem(error))

    def open_last(self) -> None:
        """Go on with what was done last."""
        last = self.preferences.last_work
        if last is not None:
            self.open(last)

    def close_stack(self) -> None:
        """Close what is open and go back to the start page."""
        if self._may_leave():
            self.opening.close()

    def save_project(self) -> None:
        """Save the project where it lies, or ask where it shall."""
        project = self.session.state.project
        if project is None:
            self.save_project_as()
        else:
            self.projects.save(project)

    def save_project_as(self) -> None:
        """Let the user choose where to save the project."""
        path = self._ask_project()
        if path is not None:
            self.projects.save(path)

    def _ask_project(self) -> Path | None:
        state = self.session.state
        beside = state.project or (state.origin.paths[0] if state.origin is not None else Path())
        name = state.project.name if state.project is not None else _proposed_name(state, PROJECT_SUFFIX)
        folder = beside.parent if os.access(beside.parent, os.W_OK) else Path(self.preferences.folder)
        chosen, _ = QFileDialog.getSaveFileName(self, "Save the project as", str(folder / name), PROJECT_FILTER)
        if not chosen:
            return None
        path = Path(chosen)
        if path.suffix.lower() == PROJECT_SUFFIX:
            return path
        path = path.with_name(f"{path.name}{PROJECT_SUFFIX}")  # which the dialog has not asked about
        replaces = path.exists() and not self._confirm(f"{path.name} is there already. Replace it?")
        return None if replaces else path

    def _may_leave(self) -> bool:
        """Ask what becomes of the changes of an open project, if there are any; says whether to go on."""
        if not self.projects.finish():
            return False
        state = self.session.state
        if state.project is None or not is_modified(state):
            return True
        answer = self._ask_unsaved(state.project.name)
        if answer == "save":
            return self.projects.save_now(state.project)
        return answer == "discard"

    def _ask_unsaved(self, name: str) -> Literal["save", "discard", "stay"]:
        button = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self,
            "Toposcope",
            f"Save the changes of {name}?",
            button.Save | button.Discard | button.Cancel,
            button.Save,
        )
        return "save" if answer == button.Save else "discard" if answer == button.Discard else "stay"

    def _find_stack(self, gone: Path) -> None:
        """Let the user say where the frames of a project lie now."""
        title, kinds = f"Where is {gone.name} now?", f"{gone.name} ({gone.name});;All files (*)"
        found = self._questions.file(title, kinds) if gone.suffix else self._questions.folder(title)
        if found is not None:
            self.opening.open_found(found)

    def ask_folder(self) -> None:
        """Let the user choose a folder."""
        folder = self._questions.folder("Open a folder of images")
        if folder is not None:
            self.open(folder)

    def ask_files(self) -> None:
        """Let the user choose files."""
        files = self._questions.files("Open files", FILE_FILTER)
        if files:
            self.open(files)

    def ask_heights(self) -> None:
        """Let the user choose a height map to compare the shown result with."""
        path = self._questions.file("Compare with a height map", HEIGHTS_FILTER)
        if path is not None:
            self._compare_heights(path)

    def ask_like(self) -> None:
        """Let the user choose a project or a stored result to set the open stack up like."""
        path = self._questions.file("Set up like a project, or a stored result", LIKE_FILTER)
        if path is not None:
            self.likeness.take(path)

    def ask_stored(self) -> None:
        """Let the user choose a stored result to compare the shown one with."""
        path = self._questions.file("Compare with a stored result", RESULT_FILTER)
        if path is not None:
            self.heights.compare_stored(path)

    def _compare_heights(self, path: Path) -> None:
        run = reference_run(self.session.state)
        if run is None:
            return
        dialog = HeightsDialog(path.name, f"the result {run.title}" if not run.measured else run.title, self)
        if dialog.exec():
            self.heights.compare(path, dialog.level, dialog.place, dialog.mirror)
        dialog.deleteLater()

    def show_capture(self) -> CapturingController:
        """Show the window that takes stacks; it is made when it is asked for."""
        if self.capturing is None:
            self.capture_dialog = CaptureDialog(lambda: self.preferences.folder, self)
            self.capturing = CapturingController(self.capture_dialog, self.engine.connect_microscope, self)
            self.capturing.openRequested.connect(self._open_captured)
            if (known := self.preferences.microscope) is not None:
                self.capturing.choose("configuration", known)
            self.capture_dialog.sourceChosen.connect(self._remember_microscope)
            self.capture_dialog.pathChosen.connect(self._remember_folder)
        self.capture_dialog.show()
        self.capture_dialog.raise_()
        self.capture_dialog.activateWindow()
        return self.capturing

    def _remember_microscope(self, source: str, configuration: Path | None) -> None:
        self.preferences.microscope = configuration

    def _remember_folder(self, path: Path) -> None:
        self.preferences.folder = str(path.parent)

    def ask_watch(self) -> None:
        """Let the user choose a folder to watch."""
        folder = self._questions.folder("Watch a folder that slices come into")
        if folder is not None:
            self.watch(folder)

    def watch(self, folder: Path) -> WatchingController:
        """Show the window that watches a folder, and begin."""
        if self.watching is None:
            self.watch_dialog = WatchDialog(self)
            self.watching = WatchingController(self.watch_dialog, self.engine.watch_folder, self)
            self.watching.openRequested.connect(self._open_watched)
        self.watch_dialog.show()
        self.watch_dialog.raise_()
        self.watch_dialog.activateWindow()
        self.watching.start(folder)
        return self.watching

    def show_batch(self) -> BatchController:
        """Show the window for many stacks; it is made when it is asked for."""
        if self.batch is None:
            self.batch_dialog = BatchDialog(self.engine.formats, self.preferences.folder, STACK_FILTER, self)
            self.batch = BatchController(
                self.session, self.batch_dialog, self.methods, self.engine.estimate, self._ask_about_batch, self
            )
            self.batch.openRequested.connect(self._open_captured)
            self.batch.copyRequested.connect(self._copy)
            self.batch_dialog.stacksAdded.connect(lambda paths: self._remember_folder(paths[0]))
            self.batch_dialog.showFolderRequested.connect(_open_folder)
        self.batch_dialog.show()
        self.batch_dialog.raise_()
        self.batch_dialog.activateWindow()
        return self.batch

    def _ask_about_batch(self) -> WhenClosed:
        """Ask what becomes of a running batch whose window is closed."""
        box = QMessageBox(
            QMessageBox.Icon.Question,
            "Batch",
            "The batch is still running. What is finished stays in any case.",
            parent=self.batch_dialog,
        )
        go_on = box.addButton("Go on in the &background", QMessageBox.ButtonRole.AcceptRole)
        stop = box.addButton("&Stop it", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton("&Keep the window open", QMessageBox.ButtonRole.RejectRole)
        box.exec()
        clicked = box.clickedButton()
        box.deleteLater()
        return "go on" if clicked is go_on else "stop" if clicked is stop else "stay"

    def copy_command(self) -> None:
        """Copy the command line that computes the depth of the open stack by the same settings."""
        state = self.session.state
        if state.stack is None or state.origin is None:
            return
        names, reading = state.stack.source.names, state.origin.reading
        reading = replace(reading, skip=(*reading.skip, *(names[k] for k in sorted(state.skipped))))
        reading = reading.choosing({part.name: part.chosen for part in state.stack.parts})
        typed = over(calibrating_like(state.stack).typed, reading)
        output = proposed_folder(state.stack.path, state.stack.name)
        try:
            self._copy(quoted(depth_command(state.origin.paths, output, state.settings, typed)))
        except ToposcopeError as error:
            self.session.set(message=problem(error))

    def _open_watched(self, folder: Path, options: OpenOptions) -> None:
        if not self._may_leave():
            return
        self.opening.open(folder, options)
        self.raise_()
        self.activateWindow()

    def _open_captured(self, path: Path) -> None:
        self.open(path)
        self.raise_()
        self.activateWindow()

    def show_slice(self, index: int) -> None:
        """Look at a slice; indices beyond the ends mean the ends."""
        stack = self.session.state.stack
        if stack is not None:
            self.session.set(slice_index=min(max(index, 0), stack.n - 1))

    def set_theme(self, name: ThemeName) -> None:
        """Dress everything in another theme, and remember it."""
        self.preferences.theme = name
        theme.apply(name)
        for view in (
            self.start_page,
            self.picture,
            self.message_bar,
            self.method,
            self.adapt,
            self.sweep,
            self.export_panel,
            self.curves,
            self.profiles,
            self.measure,
            self.surface,
            self.status,
        ):
            view.apply_theme()
        if self.capturing is not None:
            self.capture_dialog.apply_theme()
        if self.watching is not None:
            self.watch_dialog.apply_theme()
        if self.batch is not None:
            self.batch_dialog.apply_theme()
        self._set_icons()
        # pins and lines carry colours of the theme
        self.picture.canvas.set_pins((), None)
        self.picture.canvas.set_pins(self.session.state.pins, self.session.state.chosen_pin)
        self.picture.canvas.set_marks(Marks())
        self.picture.canvas.set_marks(self.session.state.marks, self.session.state.chosen_mark)
        self.pins.show_again()
        self.measuring.show_again()
        self.surfaces.show_pins()

    def show_adapt(self) -> None:
        """Bring the panel forward that adapts a network; it needs no open stack."""
        self._bring_forward("adapt")

    def _show_measure(self) -> None:
        self._bring_forward("measure")
        self.measuring.again()

    def _bring_forward(self, name: str) -> None:
        """Show a panel that has much to show in front of those that share its place."""
        dock = self.docks[name]
        self._raise(name)
        if not dock.isFloating() and dock.height() < TALL_PANEL and self.docks["surface"].isVisible():
            # it has much to show; the surface above it can spare some room
            self.resizeDocks([self.docks["surface"], dock], [1, 2], Qt.Orientation.Vertical)

    def ask_adapt_folder(self) -> None:
        """Let the user choose a folder to learn from."""
        folder = self._questions.folder("Add a folder to learn from")
        if folder is not None:
            self._adapt(lambda: self.adapting.add([folder]))

    def ask_adapt_files(self) -> None:
        """Let the user choose files to learn from."""
        files = self._questions.files("Add stacks to learn from", STACK_FILTER)
        if files:
            self._adapt(lambda: self.adapting.add(files))

    def ask_network(self) -> None:
        """Let the user choose the file of an adapted network that somebody shares."""
        files = self._questions.files("Bring in an adapted network", NETWORK_FILTER)
        if files:
            self._adapt(lambda: self.adapting.bring_in(files))

    def _adapt(self, action: Callable[[], object]) -> None:
        self.show_adapt()
        action()

    def _begin_adapting(self) -> None:
        if not self._closed:
            self.adapting.begin()

    def _start_adapting(self) -> None:
        if self.session.state.adapt.busy:
            self.adapting.pause()
        else:
            self.adapting.start()

    def _take_methods(self, networks: Sequence[Adapted]) -> None:
        """Offer these adapted networks beside the methods that there always are."""
        self.methods.clear()
        self.methods.update(self.engine.methods)
        self.methods.update({network.key: network.card() for network in networks if network.trouble is None})
        self.method.set_methods(self.methods)
        self.method.set_state(resolve(self.session.state, self.methods).method)

    def _use_network(self, key: str) -> None:
        self.docks["method"].show()
        self.docks["method"].raise_()
        self._set_settings(replace(self.session.state.settings, method=key, options=None))

    def _ask_network_name(self, key: str) -> None:
        network = self.adapting.networks.find(key)
        name, done = QInputDialog.getText(self, "Rename the network", "Name", text=network.name)
        if done:
            self.adapting.rename(key, name)

    def _ask_network_file(self, key: str) -> None:
        network = self.adapting.networks.find(key)
        path = self._questions.place("Export the network", f"{network.name}.safetensors", NETWORK_FILTER)
        if path is not None:
            self.adapting.export(key, path)

    def _confirm(self, question: str) -> bool:
        return QMessageBox.question(self, "Toposcope", question) == QMessageBox.StandardButton.Yes

    def copy_picture(self) -> None:
        """Copy what is shown at full size, with its legend."""
        self.pictures.copy()

    def _on_copied(self, picture: Picture) -> None:
        QGuiApplication.clipboard().setImage(image_of(picture))
        self.status.showMessage(f"Copied {picture.shape[1]} × {picture.shape[0]} pixels", 4000)

    def save_picture(self) -> None:
        """Let the user choose a file for what is shown."""
        state, view = self.session.state, self._view_state
        if state.shape is None or view is None or view.left is None:
            return
        kind: str = "compare" if view.mode == "compare" else view.left.layer.kind
        kind = "heights" if kind == "depth" and state.stack is None else kind
        path = self._questions.place("Save picture as", _proposed_name(state, f"-{kind}.png"), PICTURE_FILTER)
        if path is not None:
            self.pictures.save(path)

    def save_numbers(self) -> None:
        """Let the user choose a file for the difference of A and B as numbers."""
        state, view = self.session.state, self._view_state
        if view is None or not view.comparison.ready:
            return
        path = self._questions.place("Save the difference as", _proposed_name(state, "-difference.tif"), NUMBERS_FILTER)
        if path is not None:
            self.pictures.save_numbers(path)

    def save_channels(self) -> None:
        """Let the user choose a file for the all-in-focus pictures of all channels."""
        stack = self.session.state.stack
        if stack is None:
            return
        path = self._questions.place("Save all channels as", f"{stack.name}_all_in_focus.ome.tif", CHANNELS_FILTER)
        if path is not None:
            stem = path.name.split(".ome.")[0].removesuffix(".tif").removesuffix(".tiff")
            self.pictures.save_channels(path.with_name(f"{stem}.ome.tif"))

    def _copy(self, text: str) -> None:
        if text:
            QGuiApplication.clipboard().setText(text)
            self.status.showMessage("Copied", 4000)

    def _step_slice(self, step: int) -> None:
        self.show_slice(self.session.state.slice_index + step)
        state = self.session.state
        sees_slice = state.mode == "slice" or (state.mode == "compare" and "slice" in shown_kinds(state))
        if not sees_slice:
            self.session.set(mode="slice")

    def _set_side(self, side: str, number: int) -> None:
        """Make a result A or B, and look at both together."""
        comparison = resolve(self.session.state).comparison
        pair = (number, comparison.b) if side == "A" else (comparison.a, number)
        self.session.set(pair=pair, mode=comparison.mode or "compare")

    def _next_side(self, side: str) -> None:
        comparison = resolve(self.session.state).comparison
        numbers = [row.number for row in comparison.results]
        if numbers:
            at = numbers.index(comparison.a if side == "A" else comparison.b)
            self._set_side(side, numbers[(at + 1) % len(numbers)])

    def _swap_sides(self) -> None:
        comparison = resolve(self.session.state).comparison
        self.session.set(pair=(comparison.b, comparison.a))

    def _show_of_sides(self, kinds: Kinds) -> None:
        self.session.set(compared=kinds, mode="compare")

    def _next_show(self) -> None:
        comparison = resolve(self.session.state).comparison
        shows = [kinds for kinds, _ in comparison.shows]
        if self.session.state.mode == "compare":
            self._show_of_sides(shows[(shows.index(comparison.show) + 1) % len(shows)])
        else:
            self.session.set(mode="compare")

    def _set_split(self, share: float) -> None:
        self.session.set(split=min(max(share, 0.0), 1.0))

    def _run_other(self) -> None:
        if self._view_state is not None and self._view_state.comparison.other is not None:
            self._on_offer(self._view_state.comparison.other)

    def _on_surface_hovered(self, row: int, column: int) -> None:
        self.session.set(cursor=self.surfaces.full_pixel(row, column) if row >= 0 else None)

    def _set_colour_map(self, name: str) -> None:
        self.preferences.colour_map = name
        self.session.set(colour_map=name)

    def _set_automatic(self, on: bool) -> None:
        self.preferences.automatic = on
        self.session.set(automatic=on)

    def _set_limits(self, limits: tuple[float, float] | None) -> None:
        view = self._view_state
        if view is None or view.left is None:
            return
        # in A|B the colour bar belongs to the side that has one, the left side first
        shown = [request.layer.kind for request in (view.left, view.right) if request]
        kind = next((k for k in shown if k in ("depth", "confidence", "difference")), None)
        if kind is not None:
            ranges = {key: value for key, value in self.session.state.ranges.items() if key != kind}
            if limits is not None:
                ranges[kind] = limits
            self.session.set(ranges=ranges)

    def _set_settings(self, settings: Any) -> None:
        before = self.session.state.settings
        if settings != before:
            what = "method" if settings.method != before.method else "settings"
            push(self.undo, self.session, f"change the {what}", settings=settings)

    def _stack_index(self, worked: int) -> int:
        """Return the frame of the stack for a slice of the shown result, which may leave frames out."""
        state = self.session.state
        if state.stack is None or state.run is None:
            return worked
        used = [i for i in range(state.stack.n) if i not in state.run.inputs.skipped]
        return used[min(worked, len(used) - 1)]

    def _curve_index(self, index: int) -> int:
        """Return the slice of the shown result for a frame of the stack."""
        run = self.session.state.run
        return index - sum(i < index for i in run.inputs.skipped) if run else index

    def _pinned_curves(self) -> list[FocusCurve]:
        return [curve for _, curve in self.pins.curves]

    def _on_export(self) -> None:
        self.docks["export"].show()
        self.docks["export"].raise_()
        self.export_panel.request()

    def _on_cancel(self) -> None:
        jobs = self.session.state.jobs
        if self.session.state.tool != "pin":  # what is in the hand is put down first
            self.measuring.use_tool("pin")
            return
        if self.measuring.put_back():
            return
        if not jobs and self.isFullScreen():
            self.actions_by_name["full_screen"].setChecked(False)
        if jobs and set(jobs) <= LONG_JOBS:  # what takes hours is not stopped by the way
            if "batch" in jobs and self.batch is not None:
                self.batch.cancel()
            else:
                self.adapting.cancel()
            return
        self.adapting.stop_looking()
        self.opening.runner.cancel()
        self.heights.cancel()
        self.estimating.cancel()
        self.exporting.runner.cancel()
        self.times.cancel()
        self.surfaces.cancel()
        self.measuring.cancel()
        self.reporting.cancel()
        self.pictures.cancel()

    def _on_offer(self, offer: Offer) -> None:
        self.session.set(message=None)
        if offer.action == "skip_frame":
            self._skip_frame(str(offer.value))
        elif offer.action == "open_without":
            self.opening.skip_frame(str(offer.value))
        elif offer.action == "skip_all":
            self.opening.skip_all()
        elif offer.action == "retry":
            self.opening.retry()
        elif offer.action == "run":
            self.estimating.run()
        elif offer.action == "run_method":
            self.estimating.run_method(str(offer.value))
        elif offer.action == "open":
            self.open(Path(offer.value))
        elif offer.action == "open_made_from":
            path, parts = offer.value
            if self._may_leave():
                self.opening.open(path, parts=parts)
        elif offer.action == "find_stack":
            self._find_stack(Path(offer.value))
        elif offer.action == "save_project_as":
            self.save_project_as()
        elif offer.action == "bring_back":
            self.projects.bring_back(offer.value)
        elif offer.action == "lay_over":
            self._compare_heights(Path(offer.value))
        elif offer.action == "compare_stored":
            self.ask_stored()
        elif offer.action == "as_a":
            self._set_side("A", offer.value)
        elif offer.action == "adapt_go_on":
            self._adapt(lambda: self.adapting.go_on(str(offer.value)))
        elif offer.action == "adapt_discard":
            self.adapting.discard(str(offer.value))
        elif offer.action == "adapt_use":
            self.adapting.use(str(offer.value))
        else:
            self.estimating.run_without_volume()

    def _skip_frame(self, name: str) -> None:
        """Go on without a broken frame: of the open stack, or of the one that would not open."""
        stack = self.session.state.stack
        names = tuple(stack.source.names) if stack else ()
        if stack is None or name not in names:
            self.opening.skip_frame(name)
            return
        skipped = self.session.state.skipped | {names.index(name)}
        push(self.undo, self.session, f"leave out {name}", skipped=skipped)
        self.estimating.run()

    def save_measured(self) -> None:
        """Let the user choose a folder for what is measured, and write it there."""
        beside = self.export_panel.folder()
        proposed = beside.with_name(f"{beside.name.rpartition('-')[0] or beside.name}-measured")
        title = "Folder for what is measured"
        chosen, _ = QFileDialog.getSaveFileName(
            self, title, str(proposed), options=QFileDialog.Option.DontConfirmOverwrite
        )
        if chosen:
            self.measuring.save(Path(chosen))

    def save_report(self) -> None:
        """Let the user say what a report shall say besides, and choose a file for it."""
        state = self.session.state
        if state.run is None or state.run.reduction > 1:
            return
        paper = next((one for one in PAPERS if one == self.preferences.paper), usual_paper())
        dialog = ReportDialog(measured_name(state, state.run), self.preferences.author, paper, self)
        accepted, about, paper = dialog.exec(), dialog.about, dialog.paper
        dialog.deleteLater()
        if not accepted:
            return
        self.preferences.author, self.preferences.paper = about.author, paper
        path = self._questions.place("Save the report as", _proposed_name(state, f"-report{PDF}"), REPORT_FILTER)
        if path is None:
            return
        if path.suffix.lower() not in (PDF, *SUFFIXES):
            self.session.say(f"{path.name} names no report. End it in .pdf or .html.", "error")
            return
        self.reporting.save(path, about, paper)

    def _draw(self, tool: Tool) -> None:
        """Take a tool for drawing into the hand, or put it down."""
        self.measuring.use_tool("pin" if self.session.state.tool == tool else tool)

    def _raise(self, name: str) -> None:
        """Show a panel in front of those that share its place."""
        self.docks[name].show()
        self.docks[name].raise_()

    def _on_line_drawn(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.measuring.add_line(start, end)
        self._raise("profiles")

    def _on_pin_chosen(self, number: int) -> None:
        self.pins.choose(number)
        self.measuring.choose(None)

    def _remove_chosen(self) -> None:
        """Remove what was touched last: a line, an area or a pin."""
        if self.session.state.chosen_mark is not None:
            self.measuring.remove_chosen()
        else:
            self.pins.remove()

    def _on_line_menu(self, number: int, where: Any) -> None:
        menu = QMenu(self)
        menu.addAction(theme.icon("trash"), f"Remove line {number}", lambda: self.measuring.remove_line(number))
        menu.addAction(self.actions_by_name["copy_profiles"])
        self._pop_up(menu, where)

    def _on_pin_menu(self, number: int, where: Any) -> None:
        menu = QMenu(self)
        menu.addAction(theme.icon("trash"), f"Remove pin {number}", lambda: self.pins.remove(number))
        menu.addAction(self.actions_by_name["copy_pins"])
        self._pop_up(menu, where)

    def _on_picture_menu(self, row: int, column: int, where: Any) -> None:
        menu = QMenu(self)
        if row >= 0:
            menu.addAction(theme.icon("map-pin"), "Set a pin here", lambda: self.pins.add(row, column))
            marks = self.session.state.marks
            if marks.area is not None and marks.area.holds(row, column):
                menu.addAction(self.actions_by_name["measure_whole"])
            if any(area.holds(row, column) for area in marks.step):
                menu.addAction(theme.icon("trash"), "Remove the areas of the step", self.measuring.remove_step)
            menu.addSeparator()
        names = ["copy_picture", "save_picture", "copy_pins", "zoom_fit", "zoom_pixels"]
        if self.session.state.mode == "difference":
            names.insert(2, "save_numbers")
        for name in names:
            menu.addAction(self.actions_by_name[name])
        self._pop_up(menu, where)

    def _pop_up(self, menu: QMenu, where: Any) -> None:
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(where.toPoint())

    def _show_guide(self) -> None:
        from toposcope.ui.views.help_dialog import HelpDialog

        dialog = HelpDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()

    def _ask_choice(
        self, text: str, choices: Sequence[Any], start: Mapping[str, int], looker: Looker
    ) -> Mapping[str, int] | None:
        dialog = OpenDialog(text, choices, start, self)
        dialog.lookRequested.connect(lambda answers: looker.look(answers, dialog.positions))
        looker.looked.connect(dialog.show_look)
        looker.failed.connect(dialog.show_problem)
        try:
            return dialog.chosen() if dialog.exec() else None
        finally:
            dialog.deleteLater()

    def _ask_positions(
        self, names: tuple[str, ...], values: tuple[float, ...], symbol: str
    ) -> tuple[float, ...] | None:
        dialog = PositionsDialog(names, values, symbol, self)
        return dialog.positions() if dialog.exec() else None

    def _ask_screenshot(self) -> None:
        dialog = SurfacePictureDialog(self.surface.canvas_size, self)
        path = self._questions.place(dialog.windowTitle(), "surface.png", "PNG (*.png)") if dialog.exec() else None
        if path is not None:
            self.surfaces.save_screenshot(path, *dialog.size_px, dialog.transparent_box.isChecked())
        dialog.deleteLater()

    def _ask_turntable(self) -> None:
        dialog = TurntableDialog(self.surface.canvas_size, self)
        path = self._questions.place(dialog.windowTitle(), "surface.gif", "GIF (*.gif)") if dialog.exec() else None
        if path is not None:
            self.surfaces.save_turntable(path, dialog.frames_box.value(), dialog.size_px)
        dialog.deleteLater()

    def _ask_times_folder(self, proposed: Path) -> Path | None:
        """Let the user choose where the results of all time points go."""
        chosen = QFileDialog.getSaveFileName(
            self, "Folder for the results of all times", str(proposed), options=QFileDialog.Option.DontConfirmOverwrite
        )[0]
        return Path(chosen) if chosen else None

    def _fill_recent_menu(self) -> None:
        self._recent_menu.clear()
        for path in self.preferences.recent:
            action = self._recent_menu.addAction(f"{path.name}   ({path.parent})")
            action.triggered.connect(lambda _=False, p=path: self.open(p))
        self._recent_menu.addSeparator()
        self._recent_menu.addAction("&Forget all", self._forget_recent).setEnabled(bool(self.preferences.recent))

    def _forget_recent(self) -> None:
        self.preferences.clear_recent()
        self.start_page.set_recent(())

    # window

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        dropped_paths(event)

    def dropEvent(self, event: QDropEvent) -> None:
        paths = dropped_paths(event)
        if paths:
            self.open(paths)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange and hasattr(self, "actions_by_name"):
            action = self.actions_by_name["full_screen"]
            action.blockSignals(True)
            action.setChecked(self.isFullScreen())
            action.blockSignals(False)

    def closeEvent(self, event: QCloseEvent) -> None:
        running = self.batch is not None and self.batch.state.busy
        if not self._closed and ((running and not self._confirm(CLOSE_BATCH)) or not self._may_leave()):
            event.ignore()
            return
        self.preferences.set_layout(self.saveGeometry(), self._docks or self.saveState())
        self.preferences.save()
        self.hide()  # a step of an adaptation may take some seconds to end
        self.shutdown()
        super().closeEvent(event)

    def runners(self) -> list[LatestRunner]:
        """Return all background runners."""
        controllers = (
            self.opening,
            self.likeness,
            self.projects,
            self.frames,
            self.pins,
            self.surfaces,
            self.exporting,
            self.estimating,
            self.measuring,
            self.reporting,
        )
        return [
            *(controller.runner for controller in controllers),
            self.opening.looking,
            self.projects.keeper,
            self.projects.looker,
            self.heights.runner,
            self.times.runner,
            self.times.batch,
            *self.adapting.runners(),
            self.surfaces.writer,
            self.measuring.writer,
            *self.pictures.runners.values(),
            self.pictures.ahead,
            self.pictures.writer,
        ]

    def shutdown(self) -> None:
        """Stop all background work, and give files and memory back. Nothing can be opened afterwards."""
        if self._closed:
            return
        self._closed = True
        self.projects.keep_now()
        if self.capturing is not None:
            self.capturing.shutdown()
        if self.watching is not None:
            self.watching.shutdown()
        if self.batch is not None:
            self.batch.shutdown()
        runners = self.runners()
        for runner in runners:
            runner.drop()  # all at once, so that they stop side by side
        self.adapting.release()
        for runner in runners:
            runner.shutdown()
        self.adapting.shutdown()
        self.surface.close()
        for run in self.session.state.runs:
            if run.result.volume is not None:
                run.result.volume.close()
        if self.session.state.opened is not None:
            self.session.state.opened.close()

    def _set_icons(self) -> None:
        set_icons(self.actions_by_name)
        theme.dress_tool_bar(self._tool_bar)
        self._undo_actions[0].setIcon(theme.icon("arrow-counter-clockwise"))
        self._undo_actions[1].setIcon(theme.icon("arrow-clockwise"))
        for name, action in self._themes.items():
            action.setChecked(name == theme.colours().name)

    def _restore_layout(self) -> None:
        geometry, docks = self.preferences.layout()
        if geometry is not None:
            self.restoreGeometry(geometry)
        if docks is not None:
            self.restoreState(docks)

    def _reset_layout(self) -> None:
        self.preferences.forget_layout()
        if self._docks is not None:
            self._docks = self._default_docks
        else:
            self._restore_docks(self._default_docks)


def _measured_result(now: ViewState) -> str:
    """Return which of several results is shown, and so measured; nothing where there is one only."""
    row = next((row for row in now.runs if row.number == now.shown_run), None)
    if row is None or len(now.runs) < 2:
        return ""
    return f"{row.title} ({' and '.join(row.sides)})" if row.sides else row.title


def _proposed_name(state: State, ending: str) -> str:
    """Return the name to propose for a file of what is shown."""
    title = state.stack.name if state.stack else Path(opened_name(state)).stem
    return f"{title}{ending}".replace("/", "_")


def _open_folder(folder: Path) -> None:
    with suppress(RuntimeError):
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
