"""The capture window's story: connect, look, choose a range, sweep, open what was taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import QObject, Signal

from toposcope.core.capture import (
    Microscope,
    PlaneStore,
    begin_sweep,
    sharpest_z,
    slices_folder,
    target_path,
)
from toposcope.core.jobs import Progress
from toposcope.errors import ToposcopeError
from toposcope.ui.capture_state import CaptureState, Source, resolve_capture
from toposcope.ui.controllers.opening import problem
from toposcope.ui.microscope_runner import Connection, LivePicture, MicroscopeRunner, SliceTaken, Swept
from toposcope.ui.session import Message
from toposcope.ui.views.capture_view import CaptureDialog


class Connector(Protocol):
    """Makes a microscope: the simulated one, or the one that a Micro-Manager configuration file describes."""

    def __call__(self, configuration: Path | None) -> Microscope: ...


class CapturingController(QObject):
    """Joins the capture window to the microscope's thread. Its state is its own: a capture needs no stack."""

    openRequested = Signal(object)  # Path of what was captured

    def __init__(self, dialog: CaptureDialog, connect: Connector, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._dialog, self._connect = dialog, connect
        self.state = CaptureState()
        self._closed = False
        self._exposures_asked = 0  # that the camera has not answered yet
        self._exposed_ms = self.state.exposure_ms  # what it answered last
        self.runner = MicroscopeRunner(self)
        self._join_runner()
        self._join_dialog()
        self._show()

    def _join_runner(self) -> None:
        runner = self.runner
        runner.connected.connect(self._on_connected)
        runner.failed.connect(self._on_failed)
        runner.pictured.connect(self._on_pictured)
        runner.moved.connect(lambda z_um: self._set(z_um=z_um))
        runner.exposed.connect(self._on_exposed)
        runner.progressed.connect(self._on_progressed)
        runner.sliceTaken.connect(self._on_slice_taken)
        runner.swept.connect(self._on_swept)

    def _join_dialog(self) -> None:
        dialog = self._dialog
        dialog.sourceChosen.connect(lambda source, path: self._set(source=source, configuration=path))
        dialog.connectRequested.connect(self.connect_microscope)
        dialog.liveToggled.connect(self.set_live)
        dialog.moveRequested.connect(self.move_to)
        dialog.moveByRequested.connect(self.move_by)
        dialog.sharpestRequested.connect(self.go_to_sharpest)
        dialog.exposureEdited.connect(self.set_exposure)
        dialog.planEdited.connect(lambda changes: self._set(**changes))
        dialog.endRequested.connect(self.set_end)
        dialog.stepRequested.connect(self.propose_step)
        dialog.pathChosen.connect(self.choose_path)
        dialog.startRequested.connect(self.start)
        dialog.resumeRequested.connect(self.resume)
        dialog.pauseRequested.connect(self.pause)
        dialog.abortRequested.connect(self.runner.abort)
        dialog.applyRequested.connect(self.apply_proposal)
        dialog.openRequested.connect(lambda: self._open(self.state.result))
        dialog.openUnfinishedRequested.connect(lambda: self._open(self.state.unfinished))
        dialog.regionChosen.connect(lambda region: self._set(region=region))
        dialog.curveForgotten.connect(self._forget_curve)
        dialog.closeRefused.connect(self._on_close_refused)
        dialog.messageClosed.connect(lambda: self._set(message=None))

    # what the user does

    def choose(self, source: Source, configuration: Path | None = None) -> None:
        """Choose which microscope `connect_microscope` connects."""
        self._set(source=source, configuration=configuration)

    def connect_microscope(self) -> None:
        """Connect the chosen microscope, and look through it."""
        state = self.state
        if state.source == "configuration" and state.configuration is None:
            self._set(message=Message("Choose the configuration file of Micro-Manager first.", "warning"))
            return
        configuration = state.configuration if state.source == "configuration" else None
        self._set(connecting=True, connection=None, live=False, message=None, curve=None, z_um=math.nan)
        self.runner.set_live(False)
        self.runner.connect_to(lambda: self._connect(configuration))

    def set_live(self, on: bool) -> None:
        """Show pictures while nothing else is to be done."""
        self._set(live=on)
        self.runner.set_live(on)

    def move_to(self, z_um: float) -> None:
        """Move the stage, within its limits."""
        connection = self.state.connection
        if connection is None or self.state.running:
            return
        if connection.limits_um is not None:
            z_um = min(max(z_um, connection.limits_um[0]), connection.limits_um[1])
        self.runner.move_to(z_um)

    def move_by(self, distance_um: float) -> None:
        """Move the stage from where it is."""
        if math.isfinite(self.state.z_um):
            self.move_to(self.state.z_um + distance_um)

    def go_to_sharpest(self) -> None:
        """Move to where the picture, or the chosen region, was sharpest so far."""
        z_um = None if self.state.curve is None else sharpest_z(self.state.curve, self.state.region)
        if z_um is not None:
            self.move_to(z_um)

    def set_exposure(self, exposure_ms: float) -> None:
        """Expose so long; a sweep that is begun at once does so, too."""
        self._exposures_asked += 1
        self._set(exposure_ms=exposure_ms)
        self.runner.set_exposure(exposure_ms)

    def set_end(self, end: str) -> None:
        """Make the place of the stage the top or the bottom of the sweep."""
        if math.isfinite(self.state.z_um):
            z_um = round(self.state.z_um, 2)
            self._set(**({"top_um": z_um} if end == "top" else {"bottom_um": z_um}))

    def propose_step(self) -> None:
        """Take half the depth of field as the step."""
        try:
            step = self.state.optics().proposed_step_um
        except ToposcopeError as error:
            self._set(message=problem(error))
            return
        if step is None:
            self._set(
                message=Message("Type the numerical aperture of the objective: the step follows from it.", "info")
            )
        else:
            self._set(step_um=step)

    def choose_path(self, path: Path) -> None:
        """Choose the OME-TIFF that the sweep becomes; a sweep of that name which was not ended can go on."""
        try:
            path = target_path(path)
        except ToposcopeError as error:
            self._set(message=problem(error))
            return
        unfinished = unfinished_folder(path)
        message = None
        if unfinished is not None:
            text = f"{unfinished.name} holds a sweep that was not ended. Go on with it, or choose another name."
            message = Message(text, "info")
        elif path.exists():
            taken, path = path, next_name(path)
            message = Message(f"{taken.name} is there already; the sweep will be called {path.name}.", "info")
        self._set(path=path, unfinished=unfinished, message=message)

    def start(self) -> None:
        """Begin the sweep that is planned."""
        state = self.state
        if state.path is None or state.running or state.connection is None:
            return
        try:
            plan, optics, path = state.plan(), state.optics(), state.path
        except ToposcopeError as error:
            self._set(message=problem(error))
            return
        self._begin(lambda microscope: begin_sweep(microscope, plan, path, optics))

    def resume(self) -> None:
        """Go on with the sweep that was not ended."""
        path = self.state.path
        if path is not None and not self.state.running:
            self._begin(lambda microscope: PlaneStore.open(path))

    def _begin(self, begin: Callable[[Microscope], PlaneStore]) -> None:
        self._dialog.clear_film()
        self._set(
            running=True,
            paused=False,
            progress=Progress(0.0, "starting"),
            taken=0,
            message=None,
            proposal=None,
            complete=None,
            curve=None,
        )
        self.runner.sweep(begin)

    def pause(self) -> None:
        """Hold the sweep, or let it go on."""
        if self.state.running:
            paused = not self.state.paused
            self.runner.pause(paused)
            self._set(paused=paused)

    def apply_proposal(self) -> None:
        """Fill in the plan that the advisor proposes."""
        if self.state.proposal is None:
            return
        plan = self.state.proposal.plan
        self._set(bottom_um=plan.bottom_um, top_um=plan.top_um, step_um=plan.step_um, proposal=None)
        if plan.exposure_ms is not None and plan.exposure_ms != self.state.exposure_ms:
            self.set_exposure(plan.exposure_ms)

    def _forget_curve(self) -> None:
        self.runner.forget_curve()
        self._set(curve=None)

    def _on_close_refused(self) -> None:
        self._set(message=Message("The sweep is running. Abort it first, or wait until it is done.", "info"))

    def _open(self, path: Path | None) -> None:
        if path is not None:
            self.openRequested.emit(path)

    # what the microscope answers

    def _on_connected(self, connection: Connection) -> None:
        optics, self._exposed_ms = connection.optics, connection.exposure_ms
        changes: dict[str, Any] = {"na": optics.na or 0.0, "pixel_um": optics.pixel_um or 0.0}
        if self.state.step_um <= 0:
            changes["step_um"] = optics.proposed_step_um or 1.0
        if self.state.top_um <= self.state.bottom_um:
            # a range around where the stage is, to begin with
            half = 5 * changes.get("step_um", self.state.step_um)
            changes |= {"bottom_um": round(connection.z_um - half, 2), "top_um": round(connection.z_um + half, 2)}
        self._set(
            connecting=False,
            connection=connection,
            z_um=connection.z_um,
            exposure_ms=connection.exposure_ms,
            message=None,
            **changes,
        )
        self.set_live(True)

    def _on_exposed(self, exposure_ms: float) -> None:
        self._exposed_ms = exposure_ms
        self._exposures_asked -= 1
        # answers to earlier wishes must not undo what was typed since
        self._set(curve=None, **({} if self._exposures_asked else {"exposure_ms": exposure_ms}))

    def _on_failed(self, what: str, error: Exception) -> None:
        changes: dict[str, Any] = {"connecting": False}
        if what == "exposure":
            self._exposures_asked -= 1
            changes |= {} if self._exposures_asked else {"exposure_ms": self._exposed_ms}
        if what in ("live", "sweep"):
            changes |= {"live": self.state.live and what != "live"}
        if what == "sweep":
            changes |= {"running": False, "paused": False, "progress": None, **self._kept()}
        message = problem(error)
        message = replace(message, text=message.text[:1].upper() + message.text[1:], offers=())
        self._set(message=message, **changes)

    def _kept(self) -> dict[str, Any]:
        """Return what the folder of slices changes in the state: what is in it can be opened, and gone on with."""
        path = self.state.path
        unfinished = None if path is None else unfinished_folder(path)
        return {"unfinished": unfinished} | ({"result": unfinished} if self.state.taken else {})

    def _on_pictured(self, live: LivePicture) -> None:
        if self._closed:  # answers that were under way
            return
        if not self.state.running:
            self._dialog.show_live(live.picture, live.saturated, self.state.region)
            self._set(z_um=live.z_um, curve=live.curve)
        self.runner.shown()

    def _on_progressed(self, progress: Progress) -> None:
        if self.state.running:
            self._set(progress=progress)

    def _on_slice_taken(self, taken: SliceTaken) -> None:
        if self._closed:
            return
        self._dialog.show_slice(taken.picture, taken.z_um, taken.saturated, taken.depth, self.state.region)
        self._set(z_um=taken.z_um, taken=self.state.taken + 1, curve=taken.curve, complete=taken.complete)

    def _on_swept(self, swept: Swept) -> None:
        outcome = swept.outcome
        text = " ".join((outcome.text[:1].upper() + outcome.text[1:], *outcome.notes))
        level: Any = {"done": "info", "aborted": "info", "fault": "error"}[outcome.ended]
        if outcome.ended == "done" and outcome.notes:
            level = "warning"
        path = self.state.path
        self._set(
            running=False,
            paused=False,
            progress=None,
            complete=None,
            path=path if outcome.path is None or path is None else next_name(path),  # the next one takes no place
            message=Message(text, level),
            proposal=swept.proposal,
            result=outcome.path or (outcome.folder if outcome.taken else self.state.result),
            unfinished=outcome.folder if outcome.path is None and outcome.taken else None,
        )

    def _set(self, **changes: Any) -> None:
        if self._closed:
            return
        self.state = replace(self.state, **changes)
        self._show()

    def _show(self) -> None:
        self._dialog.set_state(self.state, resolve_capture(self.state))

    def shutdown(self) -> None:
        """Stop the sweep, bring the stage back and let the microscope go."""
        self._closed = True
        self.runner.shutdown()


def unfinished_folder(path: Path) -> Path | None:
    """Return the folder of slices of the sweep called ``path`` that was not ended, None if there is none."""
    folder = slices_folder(path)
    return folder if any(folder.glob("slice_*.tif")) else None


def next_name(path: Path) -> Path:
    """Return the name of the next sweep beside ``path``: ``scan.ome.tif``, ``scan-2.ome.tif``, ``scan-3.ome.tif``."""
    stem = slices_folder(path).stem
    suffix = path.name[len(stem) :]
    base, dash, number = stem.rpartition("-")
    count = 2
    if dash and number.isdecimal():
        stem, count = base, int(number) + 1
    while True:
        found = path.with_name(f"{stem}-{count}{suffix}")
        if not found.exists() and not slices_folder(found).exists():
            return found
        count += 1
