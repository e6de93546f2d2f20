"""From the state to what the views show: pure functions, no Qt.

>>> resolve(State()).start_page
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np

from toposcope.core.calibration import UNIT_SYMBOLS, Kind, Side, Sourced, Unit
from toposcope.core.curve import FocusCurve
from toposcope.core.estimate import EstimateSettings, MethodCard
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack
from toposcope.core.sweep import SweepNote
from toposcope.ui.session import (
    CalibrationEdit,
    Job,
    Layer,
    LayerKind,
    Message,
    Mode,
    Pin,
    Run,
    State,
)

LAYER_TITLES: Final[dict[LayerKind, str]] = {
    "slice": "Slice",
    "all_in_focus": "All in focus",
    "depth": "Depth",
    "confidence": "Confidence",
    "peaks": "Peaks",
    "sweep": "Sweep",
}
TYPED: Final = "typed in"
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


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """A picture that is wanted on the screen. ``limits`` are the colour limits, None for automatic."""

    layer: Layer
    colour_map: str
    limits: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class SliceState:
    """The slice slider."""

    count: int
    index: int
    text: str


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
    """One result in the history."""

    number: int
    title: str


@dataclass(frozen=True, slots=True)
class ViewState:
    """All that the views show, beside pictures and curves, which arrive when they are ready."""

    title: str
    start_page: bool
    frames: tuple[FrameRow, ...]
    slices: SliceState
    calibration: Calibration | None
    mode: Mode
    modes: frozenset[Mode]
    left: PictureRequest | None
    right: PictureRequest | None
    choices: tuple[tuple[Layer, str], ...]
    pixel_um: float | None
    pins: tuple[Pin, ...]
    chosen_pin: int | None
    readout: str
    method: MethodState
    runs: tuple[RunRow, ...]
    shown_run: int | None
    colour_map: str
    aligned: bool
    sweep: tuple[SweepNote, ...] | None
    can_export: bool
    job: Job | None
    message: Message | None


def resolve(state: State) -> ViewState:
    """Return what the views show in ``state``."""
    stack, run = state.stack, state.run
    mode = state.mode if state.mode in available_modes(state) else "slice"
    left, right = wanted_pictures(state, mode)
    return ViewState(
        title=f"{stack.name} – Toposcope" if stack else "Toposcope",
        start_page=stack is None,
        frames=frame_rows(stack, state.skipped) if stack else (),
        slices=slice_state(stack, state.slice_index),
        calibration=calibration(stack, state.edit, run) if stack else None,
        mode=mode,
        modes=available_modes(state),
        left=left,
        right=right,
        choices=layer_choices(state),
        pixel_um=stack.pixel_um.value if stack and stack.pixel_um else None,
        pins=state.pins,
        chosen_pin=state.chosen_pin,
        readout=readout(state),
        method=method_state(state),
        runs=tuple(RunRow(r.number, r.title) for r in state.runs if r.reduction == 1),
        shown_run=state.shown_run,
        colour_map=state.colour_map,
        aligned=state.aligned,
        sweep=run.result.sweep.notes if run and run.reduction == 1 else None,
        can_export=run is not None and run.reduction == 1,
        job=next(iter(state.jobs.values()), None),
        message=state.message,
    )


def available_modes(state: State) -> frozenset[Mode]:
    """Return the modes that have something to show."""
    if state.stack is None:
        return frozenset()
    if state.run is None:
        return frozenset({"slice", "compare"})
    modes: set[Mode] = {"slice", "all_in_focus", "depth", "confidence", "sweep", "compare"}
    if state.run.result.volume is not None:
        modes.add("peaks")
    return frozenset(modes)


def wanted_pictures(state: State, mode: Mode) -> tuple[PictureRequest | None, PictureRequest | None]:
    """Return the pictures of the left (or only) and of the right side."""
    if state.stack is None:
        return None, None
    if mode == "compare":
        left, right = (existing(layer, state) for layer in state.compare)
        return _request(left, state), _request(right, state)
    return _request(layer_of(mode, state), state), None


def layer_of(kind: LayerKind, state: State) -> Layer:
    """Return the layer of this kind that is current: of the slice or of the shown run."""
    return Layer("slice", state.slice_index) if kind == "slice" else Layer(kind, state.shown_run or 0)


def existing(layer: Layer, state: State) -> Layer:
    """Return ``layer``, or what stands for it once its run is gone. A slice follows the slider."""
    if layer.kind != "slice" and state.run_of(layer.index) is not None:
        return layer
    return layer_of(layer.kind if state.run else "slice", state)


def _request(layer: Layer, state: State) -> PictureRequest:
    return PictureRequest(layer, state.colour_map, state.ranges.get(layer.kind))


def layer_choices(state: State) -> tuple[tuple[Layer, str], ...]:
    """Return everything that can be compared, with a label each."""
    if state.stack is None:
        return ()
    choices: list[tuple[Layer, str]] = [(Layer("slice", state.slice_index), "Current slice")]
    for run in reversed(state.runs):
        kinds: tuple[LayerKind, ...] = ("all_in_focus", "depth", "confidence", "sweep")
        choices += [(Layer(kind, run.number), f"{LAYER_TITLES[kind]} · {run.title}") for kind in kinds]
    return tuple(choices)


def frame_rows(stack: FocalStack, skipped: frozenset[int]) -> tuple[FrameRow, ...]:
    """Return the lines of the film strip."""
    return tuple(
        FrameRow(name, place_text(value, stack.unit_symbol), i in skipped)
        for i, (name, value) in enumerate(zip(stack.source.names, stack.positions.value, strict=True))
    )


def slice_state(stack: FocalStack | None, index: int) -> SliceState:
    """Return the slice slider's range, place and caption."""
    if stack is None:
        return SliceState(0, 0, "")
    return SliceState(
        stack.n, index, slice_text(float(stack.positions.value[index]), stack.unit_symbol, index, stack.n)
    )


def slice_text(position: float, unit_symbol: str, index: int, count: int) -> str:
    """Return a slice in words, by position and place in the stack: "41.2 µm · 6 of 10"."""
    return f"{place_text(position, unit_symbol)} · {index + 1} of {count}"


def place_text(position: float, unit_symbol: str) -> str:
    """Return a position in words: "41.2 µm"; "slice 5" where only slices are counted, from 0 as on all axes."""
    return f"slice {position:.6g}" if unit_symbol == UNIT_SYMBOLS["index"] else f"{position:.6g} {unit_symbol}"


def near_side(stack: FocalStack, edit: CalibrationEdit, run: Run | None) -> Sourced[Side]:
    """Return which side is near, as the shown result took it, where that is a guess; a guess says why."""
    near = stack.near
    if near.guessed and run is not None and run.inputs.edit == edit:
        near = run.result.near  # the alignment may have guessed anew
    return replace(near, origin=NEAR_REASONS[near.value]) if near.guessed and near.origin == "guessed" else near


def calibration(stack: FocalStack, edit: CalibrationEdit, run: Run | None = None) -> Calibration:
    """Return what the calibration panel shows, beside the result of ``run``."""
    values = stack.positions.value
    steps = np.diff(values)
    step = float(np.median(steps))
    regular = bool(np.allclose(steps, step, rtol=0.01))
    if stack.unit == "index":
        text = f"{stack.n} slices, distance not known"
    else:
        spacing = f"step {step:.4g}" if regular else f"steps {steps.min():.3g} to {steps.max():.3g}"
        text = f"{values[0]:.5g} to {values[-1]:.5g} {stack.unit_symbol}, {spacing}"
    unit_typed = edit.unit is not None
    return Calibration(
        positions=Stated(text, stack.positions.origin, stack.positions.guessed),
        step=step,
        unit=stack.unit,
        unit_stated=Stated(
            UNIT_SYMBOLS[stack.unit],
            TYPED if unit_typed else stack.positions.origin,
            stack.positions.guessed and not unit_typed,
        ),
        kind=stack.kind,
        near=near_side(stack, edit, run),
        pixel=Stated(f"{stack.pixel_um.value:.5g} µm", stack.pixel_um.origin, stack.pixel_um.guessed)
        if stack.pixel_um
        else Stated("not known", "the files do not tell", False),
        pixel_um=stack.pixel_um.value if stack.pixel_um else 0.0,
        values=tuple(float(v) for v in values),
        names=tuple(stack.source.names),
        edited=edit != CalibrationEdit(),
    )


def edited_stack(opened: FocalStack, edit: CalibrationEdit) -> FocalStack:
    """Return ``opened`` with what the user typed.

    Raises
    ------
    CalibrationError
        If the typed values contradict themselves.
    """
    if edit == CalibrationEdit():
        return opened
    pixel = opened.pixel_um
    if edit.pixel_um is not None:
        pixel = Sourced(edit.pixel_um, TYPED) if edit.pixel_um > 0 else None
    positions = opened.positions
    if edit.positions is not None:
        positions = Sourced(np.asarray(edit.positions, dtype=np.float64), TYPED)
    # what was guessed from the unit is guessed again for another unit
    kind = None if opened.kind.guessed and edit.unit else opened.kind
    near = None if opened.near.guessed or edit.kind else opened.near
    stack = FocalStack.create(
        opened.source,
        positions,
        edit.unit or opened.unit,
        Sourced(edit.kind, TYPED) if edit.kind else kind,
        Sourced(edit.near, TYPED) if edit.near else near,
        pixel,
        opened.name,
        opened.path,
        opened.notes,
    )
    return replace(stack, void=opened.void)


def worked_stack(stack: FocalStack, skipped: frozenset[int]) -> FocalStack:
    """Return the stack that a run works on: without the skipped frames.

    Raises
    ------
    StackError
        If too few frames are left.
    """
    return stack.subset([i for i in range(stack.n) if i not in skipped]) if skipped else stack


def method_state(state: State) -> MethodState:
    """Return what the method panel shows."""
    run = state.run
    running = "depth" in state.jobs
    return MethodState(
        settings=state.settings,
        automatic=state.automatic,
        can_run=state.stack is not None,
        running=running,
        outdated=run is not None and not running and run.inputs != state.inputs,
        facts=run.facts if run else "",
    )


def run_facts(result: DepthResult, reduction: int = 1) -> str:
    """Say in a few lines how a result came about and how much it covers. Costs a pass over the map."""
    height, width = result.shape
    lines = [result.alignment.text] if result.alignment else []
    lines.append(f"{100 * float(result.valid.mean()):.1f} % of {width} × {height} pixels have a depth")
    if reduction > 1:
        lines.append("preview at reduced size; the full result follows")
    else:
        lines.append(f"took {result.provenance.seconds:.1f} s")
    return "\n".join(line[0].upper() + line[1:] for line in lines if line)


def run_title(settings: EstimateSettings, methods: Mapping[str, MethodCard], number: int) -> str:
    """Return the title of a result: its place in the history, method and what differs from the defaults."""
    card = methods.get(settings.method)
    words = [card.title if card else settings.method]
    if card is not None and settings.options is not None:
        for item in fields(card.settings):
            value = getattr(settings.options, item.name)
            if value != item.default:
                label = str(item.metadata.get("label") or item.name).lower()
                words.append(f"{label} {value:g}" if isinstance(value, float) else f"{label} {value}")
    if settings.align == "none":
        words.append("not aligned")
    return f"{number}  {', '.join(words)}"


def readout(state: State) -> str:
    """Return the text of the status bar for the pixel under the cursor."""
    if state.cursor is None or state.stack is None:
        return ""
    row, column = state.cursor
    parts = [f"x {column}  y {row}"]
    if state.stack.pixel_um:
        pixel = state.stack.pixel_um.value
        parts.append(f"({column * pixel:.5g}, {row * pixel:.5g} µm)")
    if (run := state.run) is not None:
        i, j = map_pixel(run, row, column)
        depth = float(run.result.depth[i, j])
        if math.isnan(depth):
            parts.append("no depth here")
        else:
            parts.append(f"depth {depth:.4g} {run.result.unit_symbol}")
            parts.append(f"confidence {float(run.result.confidence[i, j]):.2f}")
    return "   ".join(parts)


def map_pixel(run: Run, row: int, column: int) -> tuple[int, int]:
    """Return the pixel of a run's maps that holds pixel (row, column) of the full-size picture."""
    height, width = run.result.shape
    return min(row // run.reduction, height - 1), min(column // run.reduction, width - 1)


def pin_table(state: State, curves: Sequence[tuple[Pin, FocusCurve]]) -> str:
    """Return the pins as tab-separated text with a header, for a spreadsheet.

    Depths are in the stack's unit; x and y in pixels, and in micrometres where that is known.
    """
    run, stack = state.run, state.stack
    if run is None or stack is None:
        return ""
    unit, known = run.result.unit_symbol, {pin.number: curve for pin, curve in curves}
    pixel = stack.pixel_um.value if stack.pixel_um else None
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
