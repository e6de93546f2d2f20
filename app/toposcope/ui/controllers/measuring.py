"""Measuring the surface of the shown result, in the background.

::

    run, settings, marks ──> prepared surface ──> parameters (while their panel is seen), profiles, step
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from PySide6.QtCore import QObject
from PySide6.QtGui import QUndoStack

from toposcope.core.height_map import HeightMap
from toposcope.core.jobs import Progress, Report, part
from toposcope.core.marks import Line, Mark, Marks
from toposcope.core.surface import (
    Area,
    Parameter,
    Step,
    Surface,
    SurfaceSettings,
    areal_parameters,
    height_surface,
    measure,
    measured_facts,
    prepared,
    profile_on,
    profile_parameters,
    step_on,
    surface_of,
    write_measurement,
)
from toposcope.errors import ToposcopeError
from toposcope.ui import theme
from toposcope.ui.commands import ChangeState, push
from toposcope.ui.controllers.opening import problem
from toposcope.ui.session import Job, Run, Session, State, Tool
from toposcope.ui.views.profile_view import LineProfile
from toposcope.ui.workers import LatestRunner

JOB: Final = "measure"
SAVING: Final = "save-measured"
STOPPED: Final = "Measuring was stopped. Measure ▸ Measure the surface (Ctrl+M) does it again."


class Panel(Protocol):
    """The measure panel, as far as it is needed here."""

    def set_parameters(self, parameters: Sequence[Parameter], operations: Sequence[str], problem: str = "") -> None: ...
    def set_step(self, step: Step | str | None) -> None: ...
    def set_current(self, current: bool) -> None: ...


class Plot(Protocol):
    """The profile view, as far as it is needed here."""

    def set_profiles(self, profiles: Sequence[LineProfile]) -> None: ...
    def set_problem(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is to be measured of which run; ``wants_parameters`` while somebody looks at them."""

    run: Run
    height_map: HeightMap | None
    settings: SurfaceSettings
    marks: Marks
    width_px: int
    wants_parameters: bool

    def same_surface(self, other: _Asked | None) -> bool:
        """Whether what is prepared for the one is what the other needs."""
        return other is not None and (self.run.number, self.settings, self.marks.area) == (
            other.run.number,
            other.settings,
            other.marks.area,
        )

    def surface(self, report: Report) -> Surface:
        """Return the heights as they are."""
        return surface_of(self.run.result) if self.height_map is None else height_surface(self.height_map, report)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was found: the prepared surface, None with a problem, and all that was measured on it."""

    asked: _Asked
    surface: Surface | None = None
    parameters: tuple[Parameter, ...] = ()
    profiles: tuple[LineProfile, ...] = ()
    step: Step | str | None = None
    problem: str = ""


class MeasuringController(QObject):
    """Keeps lines, area and step, and measures what they ask for."""

    def __init__(
        self, session: Session, undo: QUndoStack, panel: Panel, plot: Plot, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._undo, self._panel, self._plot = session, undo, panel, plot
        self._dragged: Marks | None = None  # as they were before the drag that goes on
        self._moved: Marks | None = None  # as that drag has left them
        self._looking = False
        self._asked: _Asked | None = None
        self.measured: Measured | None = None
        self.runner = LatestRunner(JOB, self)
        self.runner.returned.connect(self._on_measured)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(lambda: self._on_nothing(STOPPED))
        self.runner.progressed.connect(lambda progress: session.set_job(JOB, Job("Measuring", progress)))
        self.writer = LatestRunner(SAVING, self)
        self.writer.returned.connect(self._on_saved)
        self.writer.failed.connect(self._on_not_saved)
        self.writer.cancelled.connect(lambda: session.set_job(SAVING, None))
        self.writer.progressed.connect(lambda progress: session.set_job(SAVING, Job("Measuring", progress)))
        session.changed.connect(self._on_changed)

    # marks

    def use_tool(self, tool: Tool) -> None:
        """Choose what a drag over the picture draws."""
        self._session.set(tool=tool)

    def add_line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Add a line; the tool is put down again."""
        marks = self._session.state.marks
        taken = {line.number for line in marks.lines}
        number = next(i for i in range(1, len(taken) + 2) if i not in taken)
        line = Line(number, start, end, number - 1)
        lines = sorted((*marks.lines, line), key=lambda one: one.number)
        self._edit(f"line {number}", replace(marks, lines=tuple(lines)))
        self._session.set(tool="pin", chosen_mark=("line", number))

    def move_line(self, number: int, start: tuple[float, float], end: tuple[float, float], finished: bool) -> None:
        """Move a line; a whole drag is one step to undo."""
        marks = self._session.state.marks
        if finished:  # what was pulled out of the picture comes back to its border
            before = next((one for one in (self._dragged or marks).lines if one.number == number), None)
            if before is not None and _same_way(before, start, end):
                start, end = self._shifted_inside(start, end)
            start, end = self._inside(start), self._inside(end)
        lines = tuple(replace(one, start=start, end=end) if one.number == number else one for one in marks.lines)
        self._drag(f"move line {number}", ("line", number), replace(marks, lines=lines), finished)

    def remove_line(self, number: int) -> None:
        """Remove a line."""
        marks = self._session.state.marks
        self._edit(f"remove line {number}", replace(marks, lines=tuple(x for x in marks.lines if x.number != number)))

    def add_area(self, area: Area) -> None:
        """Take an area that was drawn: the evaluated one, or the next of a step; then the tool is put down."""
        state = self._session.state
        if state.tool == "step":
            step = (*state.marks.step, area) if len(state.marks.step) < 2 else (area,)
            self._edit(f"area {'AB'[len(step) - 1]}", replace(state.marks, step=step))
            self._session.set(tool="step" if len(step) < 2 else "pin", chosen_mark=("area", len(step)))
        else:
            self._edit("area", replace(state.marks, area=area))
            self._session.set(tool="pin", chosen_mark=("area", 0))

    def move_area(self, place: int, area: Area, finished: bool) -> None:
        """Move or resize the evaluated area (0) or one of a step (1, 2); a whole drag is one step to undo."""
        marks = self._session.state.marks
        if place == 0:
            moved = replace(marks, area=area)
        else:
            moved = replace(marks, step=tuple(area if k == place - 1 else one for k, one in enumerate(marks.step)))
        self._drag("move area", ("area", place), moved, finished)

    def measure_whole(self) -> None:
        """Measure the whole picture again."""
        if self._session.state.marks.area is not None:
            self._edit("measure the whole picture", replace(self._session.state.marks, area=None))

    def remove_step(self) -> None:
        """Remove the areas of the step."""
        if self._session.state.marks.step:
            self._edit("remove the step", replace(self._session.state.marks, step=()))

    def put_back(self) -> bool:
        """Give up the drag that goes on, if there is one; says whether there was."""
        before, self._dragged = self._dragged, None
        if before is not None:
            self._session.set(marks=before)
        return before is not None

    def choose(self, mark: Mark | None) -> None:
        """Make a line or an area the chosen one."""
        self._session.set(chosen_mark=mark)

    def remove_chosen(self) -> None:
        """Remove the chosen line or area; both areas of a step go together."""
        if self._session.state.chosen_mark is None:
            return
        kind, number = self._session.state.chosen_mark
        if kind == "line":
            self.remove_line(number)
        elif number == 0:
            self.measure_whole()
        else:
            self.remove_step()

    def remove_all(self) -> None:
        """Remove all lines and areas."""
        if self._session.state.marks != Marks():
            self._edit("remove all lines and areas", Marks())

    def prepare(self, settings: SurfaceSettings) -> None:
        """Level and filter the surface in another way."""
        if settings != self._session.state.surface:
            push(self._undo, self._session, "prepare the surface", surface=settings)

    def widen(self, width_px: int) -> None:
        """Make each profile the mean of so many parallel lines."""
        if width_px != self._session.state.profile_width:
            push(self._undo, self._session, "width of the profiles", profile_width=width_px)

    def look(self, looking: bool) -> None:
        """Say whether somebody looks at the parameters, which are not found out else."""
        if looking != self._looking:
            self._looking = looking
            self._measure(self._session.state)

    def table(self) -> str:
        """Return the parameters as tab-separated text with their units and meanings, for a spreadsheet."""
        if self.measured is None or self.measured.surface is None:
            return ""
        lines = [f"# {operation}" for operation in self.measured.surface.operations]
        for one in self.measured.parameters:
            value = f"{one.value:.7g}" if math.isfinite(one.value) else ""
            lines.append(f"{one.name}\t{value}\t{one.unit}\t{one.title}")
        return "\n".join(lines) + "\n"

    def again(self) -> None:
        """Measure what could not be measured, or was stopped, once more."""
        if not self.runner.busy and (self.measured is None or self.measured.problem):
            self._asked = None
            self._measure(self._session.state)

    def cancel(self) -> None:
        """Stop measuring and saving."""
        self.runner.cancel()
        self.writer.cancel()

    def show_again(self) -> None:
        """Show what was measured in the colours of a new theme."""
        if self.measured is not None:
            self._show(self.measured)

    def _inside(self, point: tuple[float, float]) -> tuple[float, float]:
        height, width = self._session.state.shape or (1, 1)
        return min(max(point[0], 0.0), height - 1.0), min(max(point[1], 0.0), width - 1.0)

    def _shifted_inside(
        self, start: tuple[float, float], end: tuple[float, float]
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return both ends of a line moved by the same way, so that it lies in the picture where it fits."""
        far = [(self._inside(one), one) for one in (start, end)]
        row, column = (max((inside[axis] - one[axis] for inside, one in far), key=abs) for axis in (0, 1))
        return (start[0] + row, start[1] + column), (end[0] + row, end[1] + column)

    def _edit(self, text: str, marks: Marks) -> None:
        push(self._undo, self._session, text, marks=marks)

    def _drag(self, text: str, mark: Mark, marks: Marks, finished: bool) -> None:
        if self._dragged is None:
            self._dragged = self._session.state.marks
        self._moved = marks
        self._session.set(marks=marks, chosen_mark=mark)
        if finished:
            before, self._dragged = self._dragged, None
            if before != marks:
                self._undo.push(ChangeState(self._session, text, {"marks": before}, {"marks": marks}))

    # measuring

    def _on_changed(self, before: State, now: State) -> None:
        if now.subject is not before.subject:
            self.runner.drop()
            self._session.set_job(JOB, None)
            self._asked = self.measured = self._dragged = None
            self._show(None)
        if now.marks is not self._moved:  # undone, removed: what is dragged is not there any more
            self._dragged = None
        another = (now.pins, now.chosen_pin) != (before.pins, before.chosen_pin)
        if now.chosen_mark is not None and (another or not now.marks.has(now.chosen_mark)):
            self._session.set(chosen_mark=None)
        self._measure(now)

    def _measure(self, state: State) -> None:
        """Measure what is to be measured now, unless that is done or being done."""
        run = state.run if state.run is not None and state.run.reduction == 1 else None
        wanted = self._looking or bool(state.marks.lines) or len(state.marks.step) == 2
        if run is None or not wanted:
            if self._asked is not None:
                self.runner.drop()
                self._session.set_job(JOB, None)
                self._asked = None
                self._show(None)
            return
        asked = self._now(run)
        last = self._asked
        if last is not None and asked.same_surface(last):
            same = (asked.marks, asked.width_px) == (last.marks, last.width_px)
            if same and (last.wants_parameters or not asked.wants_parameters):
                return
        known, self._asked = self.measured, asked
        # a dragged line shows each profile that is ready, however quick the hand
        begin = self.runner.follow if asked.same_surface(last) else self.runner.start
        self._panel.set_current(known is not None and asked.same_surface(known.asked))
        begin(lambda report: measured(asked, known, report))

    def _now(self, run: Run) -> _Asked:
        state = self._session.state
        return _Asked(run, state.shown_height_map, state.surface, state.marks, state.profile_width, self._looking)

    def save(self, folder: Path) -> None:
        """Write parameters, profiles and the prepared surface into a folder."""
        run = self._session.state.run
        if run is None or run.reduction > 1:
            return
        asked = self._now(run)
        self._session.set(message=None)
        self._session.set_job(SAVING, Job("Measuring", Progress(0.0)))

        def work(report: Report) -> Mapping[str, Path]:
            surface = asked.surface(part(report, 0.0, 0.1))
            origin = measured_facts(asked.height_map or run.result, run.title)
            found = measure(surface, asked.marks.plan(asked.settings, asked.width_px), origin, part(report, 0.1, 0.9))
            return write_measurement(found, folder, part(report, 0.9, 1.0))

        self.writer.start(work)

    def _on_saved(self, files: Mapping[str, Path]) -> None:
        self._session.set_job(SAVING, None)
        paths = list(files.values())
        self._session.say(f"Wrote {', '.join(path.name for path in paths)} into {paths[0].parent}.")

    def _on_not_saved(self, error: Exception) -> None:
        self._session.set_job(SAVING, None)
        self._session.set(message=problem(error))

    def _on_measured(self, measured: Measured) -> None:
        self._session.set_job(JOB, None)
        self.measured = measured
        self._show(measured)

    def _show(self, measured: Measured | None) -> None:
        self._panel.set_current(True)
        if measured is None:
            self._panel.set_parameters((), ())
            self._panel.set_step(None)
            self._plot.set_problem("")
            self._plot.set_profiles(())
            return
        operations = measured.surface.operations if measured.surface is not None else ()
        self._panel.set_parameters(measured.parameters, operations, measured.problem)
        self._panel.set_step(measured.step)
        self._plot.set_problem(measured.problem)
        colours = theme.colours().pins
        lines = {line.number: line for line in measured.asked.marks.lines}
        self._plot.set_profiles(
            [one._replace(colour=colours[lines[one.line].colour % len(colours)]) for one in measured.profiles]
        )

    def _on_failed(self, error: Exception) -> None:
        message = problem(error)
        self._on_nothing(message.text)
        self._session.set(message=message)

    def _on_nothing(self, why: str) -> None:
        """Show no numbers, which would be those of something else, but why there are none."""
        self._session.set_job(JOB, None)
        if self._asked is not None:
            self.measured = Measured(self._asked, problem=why)
            self._show(self.measured)


def _same_way(line: Line, start: tuple[float, float], end: tuple[float, float]) -> bool:
    """Whether a line from ``start`` to ``end`` (row, column) is as long as ``line`` was, and points the same way."""
    return all(
        math.isclose(b - a, d - c, abs_tol=1e-6) for a, b, c, d in zip(line.start, line.end, start, end, strict=True)
    )


def measured(asked: _Asked, known: Measured | None, report: Report) -> Measured:
    """Measure what is asked for; what is ``known`` of the same surface is not found out again."""
    plan = asked.marks.plan(asked.settings, asked.width_px)
    parameters: tuple[Parameter, ...] = ()
    try:
        if known is not None and asked.same_surface(known.asked) and known.surface is not None:
            surface, parameters = known.surface, known.parameters
        else:
            raw = asked.surface(part(report, 0.0, 0.1))
            surface = prepared(raw, asked.settings, asked.marks.area, part(report, 0.1, 0.4))
        if asked.wants_parameters and not parameters:
            parameters = areal_parameters(surface, part(report, 0.4, 0.9))
    except ToposcopeError as error:
        return Measured(asked, problem=problem(error).text)
    profiles = []
    for line, ends in zip(asked.marks.lines, plan.lines, strict=True):
        report(Progress(0.9))
        profile = profile_on(surface, plan, ends)
        profiles.append(LineProfile(line.number, "", profile, profile_parameters(profile), plan.width_px))
    step: Step | str | None = None
    for pair in plan.steps:
        try:
            step = step_on(surface, plan, pair)
        except ToposcopeError as error:
            step = problem(error).text
    return Measured(asked, surface, parameters, tuple(profiles), step)
