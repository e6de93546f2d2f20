"""Pictures of the window for the README: `python tests/screenshots.py [FOLDER]`, on any screen or under Xvfb.

Each is taken from the real window on the sample stack, and written as an optimised PNG.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from PIL import Image
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

from toposcope import cli
from toposcope.core.resources import sample_path
from toposcope.core.surface import Area
from toposcope.ui import theme
from toposcope.ui.app import make_application
from toposcope.ui.main_window import MainWindow
from toposcope.ui.preferences import Preferences
from toposcope.ui.session import State

SIZE: Final = (1480, 920)
BATCH_SCENES: Final = ("dome", "step", "plane", "photograph")
LARGEST: Final = 400_000
"""Bytes of one picture at most."""


def take_all(folder: Path, stack: Path) -> list[Path]:
    """Write all pictures into ``folder`` and return their paths."""
    with tempfile.TemporaryDirectory() as private:
        os.environ["TOPOSCOPE_ADAPTED"] = str(Path(private) / "adapted")  # nobody's own networks, either
        settings = QSettings(str(Path(private) / "settings.ini"), QSettings.Format.IniFormat)
        window = MainWindow(preferences=Preferences(settings))
        theme.apply("dark")
        window.resize(*SIZE)
        window.show()
        _rest()
        try:
            return _take(window, folder, stack, Path(private))
        finally:
            window.close()


def _take(window: MainWindow, folder: Path, stack: Path, private: Path) -> list[Path]:
    session, written = window.session, []

    def shoot(name: str) -> None:
        _until(lambda: not any(runner.busy for runner in window.pictures.runners.values()))
        _rest()
        path = folder / f"{name}.png"
        window.grab().save(str(path))
        shrink(path)
        written.append(path)

    shoot("start")
    window.open(stack)
    _until(lambda: "depth" in session.state.jobs and session.state.jobs["depth"].progress.fraction > 0)
    path = folder / "running.png"
    window.grab().save(str(path))
    shrink(path)
    written.append(path)
    _until(lambda: _is_full(session.state))
    height, width = session.state.stack.shape if session.state.stack else (0, 0)
    session.set(message=None)
    window.export_panel.set_folder(Path("~/sample-depth"))  # nobody's own folders in public pictures
    for row, column in ((0.5, 0.5), (0.25, 0.3), (0.7, 0.75)):
        window.pins.add(int(row * height), int(column * width))
    _until(lambda: len(window.pins.curves) == 3)
    _until(lambda: not window.surfaces.runner.busy)
    shoot("depth")
    session.set(mode="slice")
    shoot("slice")
    for mode in ("all_in_focus", "confidence", "peaks", "sweep"):
        window.docks["sweep" if mode == "sweep" else "method"].raise_()
        session.set(mode=mode)
        shoot(mode)
    window.docks["method"].raise_()
    window.estimating.run_method("light")
    _until(lambda: len(session.state.full_runs) == 2 and not session.state.jobs, 600.0)
    for mode in ("compare", "difference"):
        session.set(mode=mode)
        _until(lambda: not window.pins.runner.busy)
        shoot(mode)
    window.undo.undo()  # back to the first result
    session.set(mode="depth")
    pins = session.state.pins
    session.set(pins=())
    _measure(window, height, width)
    shoot("measure")
    window.measuring.remove_all()
    session.set(pins=pins)
    window.docks["curves"].raise_()
    window.docks["export"].raise_()
    window.set_theme("light")
    shoot("light")
    window.set_theme("dark")
    written.append(_take_capture(window, folder, private))
    written.append(_take_batch(window, folder, private))
    adapt(window, stack)
    shoot("adapt")
    window.adapting.cancel()
    _until(lambda: not session.state.adapt.busy)
    window.docks["method"].raise_()
    (private / "holiday.png").write_bytes(b"a text file that is called .png")
    window.open(private / "holiday.png")
    _until(lambda: session.state.message is not None)
    shoot("error")
    return written


def _measure(window: MainWindow, height: int, width: int) -> None:
    """Draw two lines, an area and a step over the sample."""
    window.actions_by_name["measure"].trigger()
    for tool, start, end in (
        ("line", (0.5, 0.17), (0.5, 0.83)),
        ("line", (0.2, 0.28), (0.85, 0.42)),
        ("area", (0.17, 0.17), (0.84, 0.84)),
        ("step", (0.46, 0.785), (0.54, 0.8)),
        ("step", (0.46, 0.822), (0.54, 0.833)),
    ):
        ends = [(row * height, column * width) for row, column in (start, end)]
        window.session.set(tool=tool)
        if tool == "line":
            window._on_line_drawn(*ends)
        else:
            window.measuring.add_area(Area.of_corners(*ends))
    _until(lambda: not window.measuring.runner.busy)


def _take_capture(window: MainWindow, folder: Path, private: Path) -> Path:
    """Sweep the simulated microscope over a part of its surface, so that the advisor has something to say."""
    controller, dialog = window.show_capture(), window.capture_dialog
    dialog.resize(*SIZE)
    controller.connect_microscope()
    _until(lambda: controller.state.connection is not None)
    controller.choose_path(private / "scan.ome.tif")
    dialog.planEdited.emit({"bottom_um": 8.0, "top_um": 26.0, "step_um": 2.0})
    dialog.regionChosen.emit((2, 2))
    controller.start()
    _until(lambda: not controller.state.running)
    controller.move_to(14.5)
    _until(lambda: controller.state.curve is not None and 14.5 in controller.state.curve.z)
    _rest()
    path = folder / "capture.png"
    dialog.grab().save(str(path))
    shrink(path)
    dialog.close()
    return path


def _take_batch(window: MainWindow, folder: Path, private: Path) -> Path:
    """Compute a few rendered parts, a frame of one of which is damaged."""
    parts = private / "parts"
    for number, scene in enumerate(BATCH_SCENES, 1):
        cli.main(["simulate", "-o", str(parts / f"part_{number:02d}"), "--scene", scene, "--format", "png", "--quiet"])
    min((parts / "part_02").glob("*.png")).write_bytes(b"no picture")
    batch, dialog = window.show_batch(), window.batch_dialog
    dialog.resize(1100, 640)
    batch.add([parts])
    _until(lambda: len(batch.state.rows) == len(BATCH_SCENES) and not batch.state.looking)
    batch.start()
    _until(lambda: not batch.state.busy)
    _rest()
    path = folder / "batch.png"
    dialog.grab().save(str(path))
    shrink(path)
    dialog.close()
    return path


def adapt(window: MainWindow, stack: Path) -> None:
    """Adapt the light network to ``stack`` until there is something to see of it."""
    session = window.session
    settings = replace(session.state.adapt.settings, base="light")
    session.set(adapt=replace(session.state.adapt, settings=settings, name="my microscope"))
    window.show_adapt()
    window.adapting.add([stack])
    _until(lambda: all(entry.facts for entry in session.state.adapt.stacks))
    window.adapting.start()
    _until(lambda: len(window.adapt.curves.losses) > 45, 600.0)
    window.adapting.pause()
    _until(lambda: not session.state.adapt.looking and window.adapt.picture_shown() != (False, False))
    session.set(message=None)


def shrink(path: Path) -> None:
    """Write a PNG again as small as it goes; with 256 colours if it is too large otherwise."""
    picture = Image.open(path).convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        picture.quantize(256, kmeans=4, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def _is_full(state: State) -> bool:
    return state.run is not None and state.run.reduction == 1 and not state.jobs


def _until(done: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        QApplication.processEvents()
        time.sleep(0.005)
        if time.monotonic() > deadline:
            raise TimeoutError("the window did not get as far as it should")


def _rest(seconds: float = 0.6) -> None:
    """Let the window draw itself."""
    deadline = time.monotonic() + seconds
    _until(lambda: time.monotonic() > deadline)


if __name__ == "__main__":
    make_application()
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "resources" / "screenshots"
    target.mkdir(parents=True, exist_ok=True)
    source = Path(sys.argv[2]) if len(sys.argv) > 2 else sample_path()
    for one in take_all(target, source):
        sys.stdout.write(f"{one} {one.stat().st_size // 1024} KB\n")
