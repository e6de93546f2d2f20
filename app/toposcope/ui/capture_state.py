"""What the capture window knows, in one frozen value, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toposcope.core.advising import Proposal
from toposcope.core.capture import Optics, SweepPlan, slices_folder, target_path
from toposcope.core.growing import SharpnessCurve
from toposcope.core.jobs import Progress
from toposcope.core.words import number
from toposcope.errors import SettingsError
from toposcope.ui.microscope_runner import Connection
from toposcope.ui.session import Message

Source = Literal["simulated", "configuration"]


@dataclass(frozen=True, slots=True, eq=False)
class CaptureState:
    """Everything that the capture window knows. Lengths in micrometres of the stage.

    ``na`` and ``pixel_um`` 0 mean: not known. ``running`` from the request of a sweep to its end. ``result`` is the
    sweep taken last: its OME-TIFF, or the folder of its slices where it was not ended. ``unfinished`` is the folder of
    slices of a sweep with the name in ``path`` that was not ended, and can go on.
    """

    source: Source = "simulated"
    configuration: Path | None = None
    connecting: bool = False
    connection: Connection | None = None
    live: bool = False
    z_um: float = math.nan
    exposure_ms: float = 10.0
    na: float = 0.0
    pixel_um: float = 0.0
    bottom_um: float = 0.0
    top_um: float = 0.0
    step_um: float = 0.0
    settle_s: float = 0.0
    path: Path | None = None
    running: bool = False
    paused: bool = False
    progress: Progress | None = None
    taken: int = 0
    message: Message | None = None
    proposal: Proposal | None = None
    result: Path | None = None
    unfinished: Path | None = None
    curve: SharpnessCurve | None = None
    region: tuple[int, int] | None = None
    complete: str | None = None

    def optics(self) -> Optics:
        """Return what is known of the optics, with what was typed over it.

        Raises
        ------
        SettingsError
            If it cannot be.
        """
        known = self.connection.optics if self.connection else Optics()
        return Optics(
            self.na or None,
            known.magnification,
            self.pixel_um or None,
            known.refractive_index,
            known.wavelength_um,
            known.objective,
        )

    def plan(self) -> SweepPlan:
        """Return the sweep that is asked for.

        Raises
        ------
        SettingsError
            If it makes no sense, or leaves the range of the stage.
        """
        plan = SweepPlan(self.bottom_um, self.top_um, self.step_um, self.exposure_ms, settle_s=self.settle_s)
        plan.check_limits(self.connection.limits_um if self.connection else None)
        return plan


@dataclass(frozen=True, slots=True)
class CaptureView:
    """What the capture window shows and allows."""

    connection: str
    connect_label: str
    can_connect: bool
    can_use: bool
    can_start: bool
    can_go_on: bool
    can_open: bool
    can_open_unfinished: bool
    open_label: str
    plan: str
    plan_is_wrong: bool
    proposed_step: str
    pause_label: str
    status: str


def resolve_capture(state: CaptureState) -> CaptureView:
    """Return what is to be shown of a state."""
    connection = state.connection
    idle = connection is not None and not state.running
    plan_text, wrong, step = "", False, ""
    if connection is not None:
        try:
            plan = state.plan()
            seconds = plan.seconds(state.exposure_ms)
            plan_text = f"{plan.n} slices, {plan.pitch_um:.3g} µm apart, about {_time(seconds)}"
        except SettingsError as error:
            plan_text, wrong = _sentence(str(error)), True
        try:
            depth = state.optics().depth_of_field_um
            step = "" if depth is None else f"Depth of field {depth:.3g} µm: half of it is the usual step"
        except SettingsError as error:
            step = _sentence(str(error))
    name = "" if connection is None else _described(connection)
    if state.connecting:
        name = "Connecting …"
    return CaptureView(
        connection=name or "Not connected",
        connect_label="Connect" if connection is None else "Connect again",
        can_connect=not state.running and not state.connecting,
        can_use=idle,
        can_start=idle and not wrong and state.path is not None,
        can_go_on=idle and state.unfinished is not None,
        can_open=state.result is not None and not state.running,
        can_open_unfinished=not state.running and state.unfinished not in (None, state.result),
        open_label="Open the stack" if state.result is None or _is_whole(state.result) else "Open what there is",
        plan=plan_text,
        plan_is_wrong=wrong,
        proposed_step=step,
        pause_label="Go on" if state.paused else "Pause",
        status=_status(state),
    )


def _is_whole(result: Path) -> bool:
    """Whether a sweep was ended: until then the folder of its slices is what there is."""
    return slices_folder(target_path(result)) != result


def _status(state: CaptureState) -> str:
    if state.running and state.progress is not None:
        text = _sentence(state.progress.text)
        return text if state.complete is None else f"{text}. Looks complete: {state.complete}"
    return ""


def _described(connection: Connection) -> str:
    parts = [connection.name]
    if connection.optics.objective:
        parts.append(connection.optics.objective)
    if connection.limits_um is not None:
        low, high = connection.limits_um
        parts.append(f"stage {number(low)} to {number(high)} µm")
    return " · ".join(parts)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
