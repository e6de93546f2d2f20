"""What was found in a stack, for ``toposcope info`` and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np

from toposcope.core.calibration import UNIT_SYMBOLS, Floats, Kind, Objective, Side, Sourced, Unit, depth_of_field_um
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack
from toposcope.core.words import number


class _Calibrated(Protocol):
    """What a stack and a result have in common."""

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def positions(self) -> Sourced[Floats]: ...
    @property
    def unit(self) -> Unit: ...
    @property
    def kind(self) -> Sourced[Kind]: ...
    @property
    def near(self) -> Sourced[Side]: ...
    @property
    def pixel_um(self) -> Sourced[float] | None: ...
    @property
    def objective(self) -> Sourced[Objective] | None: ...


def describe(stack: FocalStack) -> dict[str, Any]:
    """Return the facts of a stack as plain JSON values, each with its origin.

    Values with an origin are ``{"value": ..., "origin": ..., "guessed": ...}``; positions ascend and
    tell their step, which is None where it varies by more than 1 %.
    """
    return {
        "name": stack.name,
        "path": None if stack.path is None else str(stack.path),
        **_calibration(stack, stack.n, stack.source.channels, stack.source.dtype),
        "parts": {
            part.name: {"label": part.label, "chosen": part.chosen, "options": list(part.options)}
            for part in stack.parts
        },
        "names": list(stack.source.names),
        "notes": list(stack.notes),
    }


def describe_result(result: DepthResult) -> dict[str, Any]:
    """Return the same of the stack that a result was made from, as far as the result tells."""
    provenance, picture = result.provenance, result.all_in_focus
    return {
        "name": provenance.source,
        **_calibration(result, len(provenance.frames), 3 if picture.ndim == 3 else 1, picture.dtype),
        "parts": dict(provenance.parts),
        "names": list(provenance.frames),
        "notes": [],
    }


def _calibration(of: _Calibrated, frames: int, channels: int, dtype: np.dtype[Any]) -> dict[str, Any]:
    height, width = of.shape
    positions = of.positions.value
    steps = np.diff(positions)
    step = float(np.median(steps))
    even = bool(np.all(np.abs(steps - step) <= 0.01 * step))
    lens = of.objective
    return {
        "frames": frames,
        "height": height,
        "width": width,
        "channels": channels,
        "dtype": str(dtype),
        "bits": 8 * dtype.itemsize,
        "unit": of.unit,
        "positions": _sourced(of.positions, [float(value) for value in positions]),
        "step": step if even else None,
        "range": [float(positions[0]), float(positions[-1])],
        "kind": _sourced(of.kind, of.kind.value),
        "near": _sourced(of.near, of.near.value),
        "pixel_um": None if of.pixel_um is None else _sourced(of.pixel_um, float(of.pixel_um.value)),
        "objective": None if lens is None else _sourced(lens, objective_facts(lens.value)),
    }


def objective_facts(lens: Objective) -> dict[str, Any]:
    """Return what is known of an objective as plain JSON values."""
    return {**asdict(lens), "text": lens.text, "depth_of_field_um": depth_of_field_um(lens)}


def _sourced(found: Sourced[Any], value: object) -> dict[str, Any]:
    return {"value": value, "origin": found.origin, "guessed": found.guessed}


def fact_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what `describe` tells as titles and sentences for users, guesses marked as guesses."""
    unit, colour = UNIT_SYMBOLS[facts["unit"]], "colour" if facts["channels"] == 3 else "grey"
    low, high = facts["range"]
    step = "unequal steps" if facts["step"] is None else f"step {number(facts['step'], 6)} {unit}"
    # slices that are only counted lie one apart
    spacing = "" if facts["unit"] == "index" and facts["step"] == 1 else f", {step}"
    pixel, lens = facts["pixel_um"], facts["objective"]
    field = lens["value"]["depth_of_field_um"] if lens else None
    return [
        ("frames", f"{facts['frames']} of {facts['width']} × {facts['height']}, {colour}, {facts['bits']} bit"),
        ("positions", f"{number(low, 6)} to {number(high, 6)} {unit}{spacing}{_origin(facts['positions'])}"),
        ("kind", f"{facts['kind']['value']}{_origin(facts['kind'])}"),
        ("near side", f"{facts['near']['value']} positions{_origin(facts['near'])}"),
        ("pixel size", f"{number(pixel['value'], 6)} µm{_origin(pixel)}" if pixel else "unknown"),
        *([("objective", f"{lens['value']['text']}{_origin(lens)}")] if lens else []),
        *([("in focus", f"about {field:.2g} µm deep (n λ / NA² at 550 nm)")] if field else []),
        *(("note", note) for note in facts["notes"]),
    ]


def _origin(fact: Mapping[str, Any]) -> str:
    guess = "a guess: " if fact["guessed"] and not fact["origin"].startswith("guess") else ""
    return f" ({guess}{fact['origin']})"
