"""From the state to what the views show: pure functions, no Qt.

>>> resolve(State()).start_page
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from toposcope.core.calibration import TYPED, UNIT_SYMBOLS, Floats, Kind, Side, Sourced, Unit
from toposcope.core.compare import objection
from toposcope.core.curve import FocusCurve
from toposcope.core.editing import CalibrationEdit, edited_stack
from toposcope.core.estimate import EstimateSettings, MethodCard
from toposcope.core.marks import Mark, Marks, Pin
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack
from toposcope.core.surface import SurfaceSettings
from toposcope.core.sweep import SweepNote
from toposcope.core.words import number
from toposcope.ui.adapt_state import AdaptView, adapt_view
from toposcope.ui.project_state import is_modified, project_of
from toposcope.ui.session import (
    KEPT_BYTES,
    KEPT_RUNS,
    Inputs,
    Job,
    Kinds,
    Layer,
    LayerKind,
    Message,
    Mode,
    Offer,
    Run,
    State,
    Subject,
    Tool,
)

LAYER_TITLES: Final[dict[LayerKind, str]] = {
    "slice": "Slice",
    "all_in_focus": "All in focus",
    "depth": "Depth",
    "confidence": "Confidence",
    "peaks": "Peaks",
    "sweep": "Sweep",
    "difference": "Difference",
}
SHOWS: Final[tuple[tuple[Kinds, str], ...]] = (
    (("depth", "depth"), "Depth"),
    (("confidence", "confidence"), "Confidence"),
    (("all_in_focus", "all_in_focus"), "All in focus"),
    (("sweep", "sweep"), "Sweep"),
    (("all_in_focus", "depth"), "All in focus | Depth"),
    (("all_in_focus", "confidence"), "All in focus | Confidence"),
    (("slice", "all_in_focus"), "Slice | All in focus"),
    (("slice", "depth"), "Slice | Depth"),
)
"""What can be seen side by side: of both results the same, in the same colours, or two things."""
HEIGHT_SHOWS: Final[tuple[tuple[Kinds, str], ...]] = (
    (("depth", "depth"), "Height"),
    (("all_in_focus", "all_in_focus"), "Shaded relief"),
    (("all_in_focus", "depth"), "Shaded relief | Height"),
)
"""The same of height maps, which have no slices."""
NOT_STORED: Final = frozenset({"slice", "sweep"})
"""What a stored result has no pictures of."""
FIRST_METHODS: Final = ("default", "hybrid", "light")
"""The methods that are worth a second opinion, in this order, before all others."""
LONG_JOBS: Final = frozenset({"adapt", "batch"})
"""Names of jobs that take hours, and go on beside all others."""
SINGLE: Final = 1e-6
"""Differences below this part of the depths themselves are rounding of single precision."""
NEAR_REASONS: Final[dict[Side, str]] = {
    "low": "lenses are focused nearer at low positions",
    "high": "a microscope is focused nearer to its objective at high positions",
}
"""Why a side is taken to be near where nothing tells."""


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One line of the film strip."""

    name: str
    position: str
    skipped: bool


@dataclass(frozen=True, slots=True)
class Stated:
    """A calibration value as shown: its text, where it came from and whether that is a guess."""

    text: str
    origin: str
    guessed: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration panel: what is shown, and the values that its entry fields start from."""

    positions: Stated
    step: float
    unit: Unit
    unit_stated: Stated
    kind: Sourced[Kind]
    near: Sourced[Side]
    pixel: Stated
    pixel_um: float
    values: tuple[float, ...]
    names: tuple[str, ...]
    edited: bool
    objective: Stated | None = None


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """A picture that is wanted on the screen.

    ``limits`` are the colour limits, None for automatic. ``shared`` are the runs that automatic limits
    have to suit, so that what is seen side by side has the same colours; none for the layer alone.
    """

    layer: Layer
    colour_map: str
    limits: tuple[float, float] | None
    shared: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceState:
    """The slice slider."""

    count: int
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """Whose all-in-focus picture is shown: the place ``shown`` in ``names``; ``other`` if not the stack's own."""

    names: tuple[str, ...]
    shown: int
    other: int | None


@dataclass(frozen=True, slots=True)
class TimeState:
    """The slider over the time points of a file; ``done`` of them have a stored result, this one if ``is_done``."""

    count: int
    index: int
    text: str
    done: int
    is_done: bool


@dataclass(frozen=True, slots=True)
class MethodState:
    """The method panel."""

    settings: EstimateSettings
    automatic: bool
    can_run: bool
    running: bool
    outdated: bool
    facts: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """One result in the history; ``sides`` says whether it is A, B or both."""

    number: int
    title: str
    sides: str = ""


@dataclass(frozen=True, slots=True)
class Hint:
    """A sentence in place of a picture that cannot be shown yet, and the way there."""

    text: str
    offer: Offer | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A and B: what can be chosen, what is chosen, and how it is called.

    ``mode`` is empty while something else is shown; ``ready`` tells whether A and B are two results that
    can be subtracted; ``other`` offers to run a method that has no result yet.
    """

    mode: Literal["", "compare", "difference"]
    results: tuple[RunRow, ...]
    a: int
    b: int
    shows: tuple[tuple[Kinds, str], ...]
    show: Kinds
    names: tuple[str, str]
    split: float
    hint: Hint | None
    ready: bool
    other: Offer | None


@dataclass(frozen=True, slots=True)
class ViewState:
    """All that the views show, beside pictures and curves, which arrive when they are ready."""

    title: str
    modified: bool
    can_save: bool
    start_page: bool
    frames: tuple[FrameRow, ...]
    slices: SliceState
    calibration: Calibration | None
    mode: Mode
    modes: frozenset[Mode]
    left: PictureRequest | None
    right: PictureRequest | None
    comparison: Comparison
    pixel_um: float | None
    surface_pixel_um: float | None
    of_instrument: bool
    pins: tuple[Pin, ...]
    chosen_pin: int | None
    tool: Tool
    marks: Marks
    chosen_mark: Mark | None
    profile_width: int
    surface: SurfaceSettings
    readout: str
    method: MethodState
    runs: tuple[RunRow, ...]
    kept: str
    shown_run: int | None
    colour_map: str
    aligned: bool
    sweep: tuple[SweepNote, ...] | None
    can_export: bool
    has_curves: bool
    has_parts: bool
    channels: ChannelChoice | None
    times: TimeState | None
    can_save_channels: bool
    has_stack: bool
    subject: Subject
    measured_pixel: Sourced[float] | None
    can_take_heights: bool
    job: Job | None
    message: Message | None
    adapt: AdaptView


def resolve(state: State, methods: Mapping[str, MethodCard] | None = None) -> ViewState:
    """Return what the views show in ``state``; ``methods`` are those that can be offered."""
    stack, run = state.stack, state.run
    modes = available_modes(state)
    mode: Mode = state.mode if state.mode in modes else "slice" if "slice" in modes or not modes else "depth"
    left, right = wanted_pictures(state, mode)
    return ViewState(
        title=" – ".join(name for name in (_project_name(state), opened_name(state), "Toposcope") if name),
        modified=is_modified(state),
        can_save=project_of(state) is not None,
        start_page=state.subject is None,
        frames=frame_rows(stack, state.skipped) if stack else (),
        slices=slice_state(stack, state.slice_index),
        calibration=shown_calibration(state),
        mode=mode,
        modes=modes,
        left=left,
        right=right,
        comparison=comparison(state, mode, methods or {}),
        pixel_um=state.pixel_um.value if state.pixel_um else None,
        surface_pixel_um=surface_pixel(state),
        of_instrument=run is not None and run.measured,
        pins=state.pins,
        chosen_pin=state.chosen_pin,
        tool=state.tool,
        marks=state.marks,
        chosen_mark=state.chosen_mark,
        profile_width=state.profile_width,
        surface=state.surface,
        readout=readout(state),
        method=method_state(state),
        runs=run_rows(state),
        kept=kept_text(state.full_runs),
        shown_run=state.shown_run,
        colour_map=state.colour_map,
        aligned=state.aligned,
        sweep=run.result.sweep.notes if run and run.reduction == 1 and not run.measured else None,
        can_export=run is not None and run.reduction == 1,
        has_curves=run is None or run.result.volume is not None,
        has_parts=stack is not None and bool(stack.parts),
        channels=channel_choice(state, mode),
        times=time_state(state),
        can_save_channels=channel_choice(state, "all_in_focus") is not None,
        has_stack=stack is not None,
        subject=state.subject_kind,
        measured_pixel=measured_pixel(state),
        can_take_heights=reference_run(state) is not None and "heights" not in state.jobs,
        job=shown_job(state.jobs),
        message=state.message,
        adapt=adapt_view(state.adapt, state.opened.path if state.opened else None),
    )


def surface_pixel(state: State) -> float | None:
    """Return the side of a pixel of what is measured: of the result, whatever was typed in since it was computed."""
    run = state.run if state.run is not None and state.run.reduction == 1 else None
    pixel = run.result.pixel_um if run is not None else state.pixel_um
    return pixel.value if pixel is not None else None


def measured_pixel(state: State) -> Sourced[float] | None:
    """Return the side of a pixel of the height map that is open, 0 where its file does not tell; None without one."""
    if state.height_map is None:
        return None
    return state.pixel_um or Sourced(0.0, "the file does not tell")


def _project_name(state: State) -> str:
    """Return the open project for the window's title, in which Qt puts its mark of changes for [*]."""
    return f"{state.project.stem}[*]" if state.project is not None else ""


def opened_name(state: State) -> str:
    """Return what is open, for users; empty when nothing is."""
    if state.stack is not None:
        return titled(state.stack)
    alone = state.height_map or state.stored
    return alone.name if alone is not None else ""


def reference_run(state: State) -> Run | None:
    """Return what a height map is laid over: the computed result that is shown, else the newest; or what is open."""
    if state.stack is None:
        return next(iter(state.full_runs), None)
    computed = [run for run in state.full_runs if not run.measured]
    return state.run if state.run in computed else next(reversed(computed), None)


def shown_job(jobs: Mapping[str, Job]) -> Job | None:
    """Return the job that the status bar shows: what takes seconds before what takes hours."""
    short = next((job for name, job in jobs.items() if name not in LONG_JOBS), None)
    return short or jobs.get("batch") or jobs.get("adapt")


def available_modes(state: State) -> frozenset[Mode]:
    """Return the modes that have something to show."""
    if state.height_map is not None:
        return frozenset({"depth", "compare", "difference"} if len(state.full_runs) > 1 else {"depth"})
    if state.stored is not None:
        return frozenset({"all_in_focus", "depth", "confidence", "compare", "difference"})
    if state.stack is None:
        return frozenset()
    if state.run is None:
        return frozenset({"slice", "compare", "difference"})
    modes: set[Mode] = {"slice", "all_in_focus", "depth", "confidence", "compare", "difference"}
    if state.run.result.sweep.map is not None:
        modes.add("sweep")
    if state.run.result.volume is not None:
        modes.add("peaks")
    return frozenset(modes)


def wanted_pictures(state: State, mode: Mode) -> tuple[PictureRequest | None, PictureRequest | None]:
    """Return the pictures of the left (or only) and of the right side."""
    if state.shape is None:
        return None, None
    if mode == "compare":
        first, second = paired(state)
        # depths of different units have no colours in common
        alike = first is not None and second is not None and objection(first.result, second.result) is None
        numbers = tuple(run.number for run in (first, second) if run is not None and alike)
        layers = [_layer(kind, run, state) for kind, run in zip(shown_kinds(state), (first, second), strict=True)]
        return _request(layers[0], state, numbers), _request(layers[1], state, numbers)
    if mode == "difference":
        first, second = paired(state)
        if first is None or second is None or not can_subtract(first, second):
            return None, None
        return _request(Layer("difference", first.number, second.number), state), None
    layer = _layer(mode, state.run, state)
    if layer.kind == "all_in_focus" and (choice := channel_choice(state, mode)) and choice.other is not None:
        layer = replace(layer, channel=choice.other)
    return _request(layer, state), None


def _layer(kind: LayerKind, run: Run | None, state: State) -> Layer:
    """Return the layer of this kind of ``run``; slices, and all there is without a run, are that of the slider."""
    return Layer("slice", state.slice_index) if kind == "slice" or run is None else Layer(kind, run.number)


def _request(layer: Layer, state: State, shared: tuple[int, ...] = ()) -> PictureRequest:
    return PictureRequest(layer, state.colour_map, state.ranges.get(layer.kind), shared)


def channel_choice(state: State, mode: Mode) -> ChannelChoice | None:
    """Return the choice of channels for the all-in-focus picture; None where there is none."""
    own = state.stack.part("channel") if state.stack is not None and state.stack.reopen is not None else None
    if own is None or mode != "all_in_focus" or state.run is None or state.run.reduction > 1:
        return None
    shown = own.chosen if state.channel is None else state.channel
    return ChannelChoice(own.options, shown, None if shown == own.chosen else shown)


def time_state(state: State) -> TimeState | None:
    """Return the slider over time points, None where the file holds one."""
    part = state.opened.part("time") if state.opened is not None and state.opened.reopen is not None else None
    if part is None:
        return None
    done = state.times_done
    return TimeState(len(part.options), part.chosen, part.text, len(done), part.chosen in done)


def paired(state: State) -> tuple[Run | None, Run | None]:
    """Return the runs A and B: those that were chosen, else the two newest, else twice the only one."""
    full = {run.number: run for run in state.full_runs}
    newest = list(full.values())[::-1] or ([state.run] if state.run else [])
    first, second = (full.get(number) for number in state.pair)
    second = second or next((run for run in newest if run is not first), first)
    first = first or next((run for run in newest if run is not second), second)
    return first, second


def compared_runs(state: State) -> tuple[Run, Run] | None:
    """Return A and B while they are looked at together and their depths can be, None else."""
    first, second = paired(state)
    if state.mode not in ("compare", "difference") or first is None or second is None:
        return None
    return (first, second) if can_subtract(first, second) else None


def can_subtract(first: Run, second: Run) -> bool:
    """Whether two runs are different ones whose depths belong to the same pixels and unit."""
    return first is not second and objection(first.result, second.result) is None


def shown_kinds(state: State) -> Kinds:
    """Return what is shown of A and B: what the user chose, else the depth of two runs or two pictures of one."""
    if state.compared is not None:
        return state.compared
    return ("depth", "depth") if len(state.full_runs) > 1 else ("all_in_focus", "depth")


def comparison(state: State, mode: Mode, methods: Mapping[str, MethodCard]) -> Comparison:
    """Return what is known of A and B."""
    first, second = paired(state)
    kinds = shown_kinds(state)
    other = other_method(state, methods)
    return Comparison(
        mode=mode if mode == "compare" or mode == "difference" else "",
        results=run_rows(state),
        a=first.number if first else 0,
        b=second.number if second else 0,
        shows=offered_shows(state),
        show=kinds,
        names=(side_name("A", kinds[0], first), side_name("B", kinds[1], second)),
        split=state.split,
        hint=comparison_hint(state, mode, other),
        ready=first is not None and second is not None and can_subtract(first, second),
        other=other if state.stack and "depth" not in state.jobs else None,
    )


def offered_shows(state: State) -> tuple[tuple[Kinds, str], ...]:
    """Return what can be seen side by side of what is open."""
    if state.height_map is not None:
        return HEIGHT_SHOWS
    return tuple(show for show in SHOWS if state.stored is None or NOT_STORED.isdisjoint(show[0]))


def side_name(letter: str, kind: LayerKind, run: Run | None) -> str:
    """Return what stands over one side: "A  Depth · 1  Default"."""
    if kind == "slice" or run is None:
        return f"{letter}  Current slice"
    title = LAYER_TITLES[kind]
    if not run.result.provenance.frames:  # a height map that is open, or one laid over it
        title = {"depth": "Height", "all_in_focus": "Shaded relief"}.get(kind, title)
    return f"{letter}  {title} · {run.title}"


def other_method(state: State, methods: Mapping[str, MethodCard]) -> Offer | None:
    """Offer the first method that no result is of, None when there is one of each."""
    used = {run.inputs.settings.method for run in state.full_runs}
    for name in (*FIRST_METHODS, *methods):
        if name in methods and name not in used:
            return Offer(f"Run {methods[name].title}", "run_method", name)
    return None


def comparison_hint(state: State, mode: Mode, other: Offer | None) -> Hint | None:
    """Say why there is nothing to compare, and what to do about it; None where there is."""
    if mode not in ("compare", "difference"):
        return None
    aim = "see both side by side" if mode == "compare" else "see where the two differ"
    first, second = paired(state)
    if state.stack is None and len(state.full_runs) < 2:
        if mode == "compare" or state.stored is None:
            return None
        with_another = Offer("With a stored result …", "compare_stored")
        return Hint(f"There is only this result: hold another one, or a height map, against it to {aim}.", with_another)
    if len(state.full_runs) < 2:
        if "depth" in state.jobs:
            which = "second" if state.full_runs else "first"
            return Hint(f"The {which} result is being computed.")
        if not state.full_runs:
            return Hint(f"There is no result yet: compute two to {aim}.", Offer("Compute depth", "run"))
        return Hint(f"There is only one result yet: run another method to {aim}.", other)
    if first is None or second is None:
        return None
    if first is second:
        return Hint(f"A and B are the same result: choose another one to {aim}.") if mode == "difference" else None
    error = objection(first.result, second.result)
    if error is None or (mode == "compare" and shown_kinds(state) != ("depth", "depth")):
        return None
    text = str(error)
    return Hint(text[:1].upper() + text[1:], _as_a(state, second) or other)


def _as_a(state: State, second: Run) -> Offer | None:
    """Offer the newest result that ``second`` can be compared with as A, None where there is none."""
    found = next((run for run in reversed(state.full_runs) if can_subtract(run, second)), None)
    return Offer(f"Take “{found.title}” as A", "as_a", found.number) if found is not None else None


def run_rows(state: State) -> tuple[RunRow, ...]:
    """Return the results that are kept, the oldest first."""
    first, second = paired(state)
    both = len(state.full_runs) > 1
    return tuple(
        RunRow(run.number, run.title, "".join(s for s, r in (("A", first), ("B", second)) if both and r is run))
        for run in state.full_runs
    )


def kept_bytes(result: DepthResult) -> int:
    """Return the memory that a result holds. Focus curves that are too many for it lie on the disk instead."""
    maps = (result.depth, result.confidence, result.valid, result.all_in_focus, result.sweep.map)
    volume = result.volume.memory if result.volume is not None else 0
    return sum(one.nbytes for one in maps if one is not None) + volume


def kept_runs(runs: Sequence[Run], new: Run, reference: int) -> tuple[Run, ...]:
    """Return the runs to keep when ``new`` comes: at most `KEPT_RUNS` and `KEPT_BYTES`, but always two.

    The oldest go first, ``reference`` (the number of A) last. Previews are not kept.
    """
    kept = [run for run in runs if run.reduction == 1]
    if new.reduction > 1:
        return (*kept, new)

    def too_many() -> bool:
        return len(kept) >= KEPT_RUNS or sum(kept_bytes(run.result) for run in (*kept, new)) > KEPT_BYTES

    while len(kept) > 1 and too_many():
        kept.remove(next(run for run in kept if run.number != reference))
    return (*kept, new)


def kept_text(runs: Sequence[Run]) -> str:
    """Say how many results are kept and what they hold: "2 of 4 kept, 31 MB"."""
    if not runs:
        return ""
    size = sum(kept_bytes(run.result) for run in runs)
    return (
        f"{len(runs)} of {KEPT_RUNS} kept, {size / 1e6:.0f} MB" if size >= 1e6 else f"{len(runs)} of {KEPT_RUNS} kept"
    )


def frame_rows(stack: FocalStack, skipped: frozenset[int]) -> tuple[FrameRow, ...]:
    """Return the lines of the film strip."""
    finest = finest_step(stack.positions.value)
    return tuple(
        FrameRow(name, place_text(value, stack.unit_symbol, finest), i in skipped)
        for i, (name, value) in enumerate(zip(stack.source.names, stack.positions.value, strict=True))
    )


def slice_state(stack: FocalStack | None, index: int) -> SliceState:
    """Return the slice slider's range, place and caption."""
    if stack is None:
        return SliceState(0, 0, "")
    return SliceState(stack.n, index, slice_text(stack.positions.value, stack.unit_symbol, index))


def slice_text(positions: Floats, unit_symbol: str, index: int) -> str:
    """Return a slice in words, by position and place in the stack: "41.2 µm · 6 of 10"."""
    place = place_text(float(positions[index]), unit_symbol, finest_step(positions))
    return f"{place} · {index + 1} of {len(positions)}"


def finest_step(positions: Floats) -> float:
    """Return the least distance between neighbours of (N,) ascending ``positions``, 0 where there is one only."""
    return float(np.diff(positions).min()) if len(positions) > 1 else 0.0


def place_text(position: float, unit_symbol: str, step: float = 0.0) -> str:
    """Return a position in words: "41.2 µm"; "slice 5" where only slices are counted, from 0 as on all axes.

    It is rounded to a hundredth of the ``step`` between slices, which no stage is more exact than; 0 keeps it whole.
    """
    text = number(round(position, 2 - math.floor(math.log10(step))) if step > 0 else position, 6)
    return f"slice {text}" if unit_symbol == UNIT_SYMBOLS["index"] else f"{text} {unit_symbol}"


def near_side(near: Sourced[Side], edit: CalibrationEdit, run: Run | None) -> Sourced[Side]:
    """Return which side is near, as the shown result took it, where ``near`` is a guess; a guess says why."""
    if near.guessed and run is not None and run.inputs.edit == edit:
        near = run.result.near  # the alignment may have guessed anew
    return replace(near, origin=NEAR_REASONS[near.value]) if near.guessed and near.origin == "guessed" else near


def titled(stack: FocalStack) -> str:
    """Return the name of a stack, with what it was chosen from in a file that holds several."""
    return ", ".join((stack.name, *(part.text for part in stack.parts)))


def shown_calibration(state: State) -> Calibration | None:
    """Return what the calibration panel shows of what is open; None where there are no slices."""
    if state.stack is not None:
        return calibration(state.stack, state.edit, state.run)
    return calibration(state.runs[0].result, state.edit) if state.stored is not None and state.runs else None


def calibration(of: FocalStack | DepthResult, edit: CalibrationEdit, run: Run | None = None) -> Calibration:
    """Return what the calibration panel shows of a stack, beside the result of ``run``, or of a stored result."""
    values = of.positions.value
    names = of.source.names if isinstance(of, FocalStack) else of.provenance.frames
    steps = np.diff(values)
    step = float(np.median(steps))
    regular = bool(np.allclose(steps, step, rtol=0.01))
    if of.unit == "index":
        text = f"{len(values)} slices, distance not known"
    else:
        spacing = f"step {number(step)}" if regular else f"steps {number(steps.min(), 3)} to {number(steps.max(), 3)}"
        text = f"{number(values[0], 5)} to {number(values[-1], 5)} {of.unit_symbol}, {spacing}"
    unit_typed = edit.unit is not None
    return Calibration(
        positions=Stated(text, of.positions.origin, of.positions.guessed),
        step=step,
        unit=of.unit,
        unit_stated=Stated(
            UNIT_SYMBOLS[of.unit],
            TYPED if unit_typed else of.positions.origin,
            of.positions.guessed and not unit_typed,
        ),
        kind=of.kind,
        near=near_side(of.near, edit, run),
        pixel=Stated(f"{number(of.pixel_um.value, 5)} µm", of.pixel_um.origin, of.pixel_um.guessed)
        if of.pixel_um
        else Stated("not known", "the files do not tell", False),
        pixel_um=of.pixel_um.value if of.pixel_um else 0.0,
        values=tuple(float(v) for v in values),
        names=tuple(names),
        edited=edit != CalibrationEdit(),
        objective=Stated(of.objective.value.text, of.objective.origin, of.objective.guessed) if of.objective else None,
    )


def calibrated(state: State, edit: CalibrationEdit) -> dict[str, Any]:
    """Return the fields of the state that change when ``edit`` is laid over the open stack.

    Typed positions may turn the stack around; frames that are left out stay the same ones.

    Raises
    ------
    CalibrationError
        If the typed values contradict themselves.
    """
    if state.opened is None or state.stack is None:
        return {}
    stack, before = edited_stack(state.opened, edit), state.stack.source.names
    left_out = {before[i] for i in state.skipped}
    skipped = frozenset(i for i, name in enumerate(stack.source.names) if name in left_out)
    return {"edit": edit, "stack": stack, "skipped": skipped}


def method_state(state: State) -> MethodState:
    """Return what the method panel shows."""
    run = state.run
    running = "depth" in state.jobs
    return MethodState(
        settings=state.settings,
        automatic=state.automatic,
        can_run=state.stack is not None,
        running=running,
        outdated=run is not None and not (running or run.measured or run.stored) and run.inputs != state.inputs,
        facts=_shown_facts(run, running) if run else "",
    )


def _shown_facts(run: Run, running: bool) -> str:
    """Return what is said of a run; of a preview also whether more is to come, for it may have been stopped."""
    if run.reduction == 1:
        return run.facts
    return f"{run.facts}; {'the full result follows' if running else 'Compute depth brings the full result'}"


def run_facts(result: DepthResult, reduction: int = 1) -> str:
    """Say in a few lines how a result came about and how much it covers. Costs a pass over the map."""
    height, width = result.shape
    lines = [result.alignment.text] if result.alignment else []
    lines.append(f"{100 * float(result.valid.mean()):.1f} % of {width} × {height} pixels have a depth")
    if reduction > 1:
        lines.append("preview at reduced size")
    else:
        lines.append(f"took {result.provenance.seconds:.1f} s")
    return "\n".join(line[0].upper() + line[1:] for line in lines if line)


def stored_facts(result: DepthResult) -> str:
    """Say the same of a stored result, and what it was made from."""
    made = result.provenance
    return f"{run_facts(result)}\nMethod: {made.method}\nMade from: {made.source}"


def run_title(inputs: Inputs, methods: Mapping[str, MethodCard], number: int) -> str:
    """Return the title of a result: its place in the history, method and what differs from the defaults."""
    words = method_words(inputs.settings, methods)
    if inputs.skipped:
        words.append(f"without {len(inputs.skipped)} frame{'s' if len(inputs.skipped) > 1 else ''}")
    if inputs.edit != CalibrationEdit():
        words.append("calibration typed in")
    return f"{number}  {', '.join(words)}"


def method_words(settings: EstimateSettings, methods: Mapping[str, MethodCard]) -> list[str]:
    """Return the method and what differs from its defaults, in words."""
    card = methods.get(settings.method)
    words = [card.title if card else settings.method]
    if card is not None and settings.options is not None:
        for item in fields(card.settings):
            value = getattr(settings.options, item.name)
            if value != item.default:
                label = str(item.metadata.get("label") or item.name).lower()
                words.append(f"{label} {_setting_text(value)}")
    if settings.align == "none":
        words.append("not aligned")
    return words


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def readout(state: State) -> str:
    """Return the text of the status bar for the pixel under the cursor."""
    if state.cursor is None or state.shape is None:
        return ""
    row, column = state.cursor
    parts = [f"x {column}  y {row}"]
    if state.pixel_um:
        pixel = state.pixel_um.value
        parts.append(f"({number(column * pixel, 5)}, {number(row * pixel, 5)} µm)")
    if (pair := compared_runs(state)) is not None:
        parts += _compared_readout(*pair, row, column)
    elif (run := state.run) is not None:
        i, j = map_pixel(run, row, column)
        depth = float(run.result.depth[i, j])
        if state.height_map is not None:
            height = f"height {number(depth, 5)} {run.result.unit_symbol}"
            parts.append("not measured here" if math.isnan(depth) else height)
        elif math.isnan(depth):
            parts.append("no depth here")
        else:
            parts.append(f"depth {number(depth)} {run.result.unit_symbol}")
            parts.append(f"confidence {float(run.result.confidence[i, j]):.2f}")
    return "   ".join(parts)


def _compared_readout(first: Run, second: Run, row: int, column: int) -> list[str]:
    depths = [float(run.result.depth[map_pixel(run, row, column)]) for run in (first, second)]
    unit = first.result.unit_symbol
    parts = ["no depth" if math.isnan(depth) else f"{number(depth)} {unit}" for depth in depths]
    parts = [f"{letter} {part}" for letter, part in zip("AB", parts, strict=True)]
    if not math.isnan(apart := depths[0] - depths[1]):
        if abs(apart) < SINGLE * max(map(abs, depths)):
            apart = 0.0
        parts.append(f"A − B {number(apart)} {unit}")
    return parts


def map_pixel(run: Run, row: int, column: int) -> tuple[int, int]:
    """Return the pixel of a run's maps that holds pixel (row, column) of the full-size picture."""
    height, width = run.result.shape
    return min(row // run.reduction, height - 1), min(column // run.reduction, width - 1)


def pin_facts(run: Run, pin: Pin) -> tuple[str, str]:
    """Return what ``run`` says at a pin, for users: its depth or height, and confidence and place."""
    i, j = map_pixel(run, pin.row, pin.column)
    depth, is_height = float(run.result.depth[i, j]), not run.result.provenance.frames
    where = f"row {pin.row}, column {pin.column}"
    if math.isnan(depth):
        return "Not measured here" if is_height else "Void: no depth here", where
    text = f"{'Height' if is_height else 'Depth'} {number(depth, 5)} {run.result.unit_symbol}"
    return text, where if is_height else f"confidence {float(run.result.confidence[i, j]):.2f} · {where}"


def pin_apart(state: State, run: Run, pin: Pin) -> str:
    """Say how far a pin lies from the first one, in depth and across: "+12.3 µm against pin 1, 104 µm away"."""
    first = state.pins[0]
    if pin.number == first.number:
        return ""
    depths = [float(run.result.depth[map_pixel(run, one.row, one.column)]) for one in (pin, first)]
    across, pixel = math.hypot(pin.row - first.row, pin.column - first.column), state.pixel_um
    away = f"{number(across * pixel.value)} µm away" if pixel else f"{number(across)} px away"
    if math.isnan(apart := depths[0] - depths[1]):
        return away
    return f"{'+' if apart > 0 else ''}{number(apart)} {run.result.unit_symbol} against pin {first.number}, {away}"


def pin_table(state: State, curves: Sequence[tuple[Pin, FocusCurve]]) -> str:
    """Return the pins as tab-separated text with a header, for a spreadsheet.

    Depths are in the stack's unit; x and y in pixels, and in micrometres where that is known.
    """
    run = state.run
    if run is None or state.shape is None:
        return ""
    unit, known = run.result.unit_symbol, {pin.number: curve for pin, curve in curves}
    pixel = state.pixel_um.value if state.pixel_um else None
    header = ["pin", "x / px", "y / px", *(["x / µm", "y / µm"] if pixel else [])]
    header += [f"depth / {unit}", f"peak / {unit}", f"width / {unit}", "confidence", "verdict"]
    lines = ["\t".join(header)]
    for pin in state.pins:
        i, j = map_pixel(run, pin.row, pin.column)
        curve = known.get(pin.number)
        cells = [str(pin.number), str(pin.column), str(pin.row)]
        if pixel:
            cells += [f"{pin.column * pixel:.6g}", f"{pin.row * pixel:.6g}"]
        numbers = (float(run.result.depth[i, j]), *((curve.position, curve.width) if curve else (math.nan, math.nan)))
        cells += ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
        cells += [f"{float(run.result.confidence[i, j]):.3f}", curve.verdict.text if curve else ""]
        lines.append("\t".join(cells))
    return "\n".join(lines)


def preview_reduction(stack: FocalStack) -> int:
    """Return the reduction (1, 2, 4, 8) at which a preview takes about a second.

    About 2 million pixels over all frames are measured in that time; 1 means that the full result
    is quick enough by itself.
    """
    pixels = stack.n * stack.shape[0] * stack.shape[1]
    for reduction in (1, 2, 4):
        if pixels <= 2e6 * reduction**2:
            return reduction
    return 8


def short_path(path: Path, length: int = 60) -> str:
    """Return ``path`` in at most ``length`` characters, its end kept."""
    text = str(path)
    return text if len(text) <= length else f"…{text[1 - length :]}"
