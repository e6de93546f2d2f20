"""What was found in a stack, for ``toposcope info`` and for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from toposcope.core.calibration import Sourced
from toposcope.core.stack import FocalStack


def describe(stack: FocalStack) -> dict[str, Any]:
    """Return the facts of a stack as plain JSON values, each with its origin.

    Values with an origin are ``{"value": ..., "origin": ..., "guessed": ...}``; positions ascend and
    tell their step, which is None where it varies by more than 1 %.
    """
    height, width = stack.shape
    positions = stack.positions.value
    steps = np.diff(positions)
    step = float(np.median(steps))
    even = bool(np.all(np.abs(steps - step) <= 0.01 * step))
    return {
        "name": stack.name,
        "path": None if stack.path is None else str(stack.path),
        "frames": stack.n,
        "height": height,
        "width": width,
        "channels": stack.source.channels,
        "dtype": str(stack.source.dtype),
        "bits": 8 * stack.source.dtype.itemsize,
        "unit": stack.unit,
        "positions": {**_sourced(stack.positions, [float(value) for value in positions])},
        "step": step if even else None,
        "range": [float(positions[0]), float(positions[-1])],
        "kind": _sourced(stack.kind, stack.kind.value),
        "near": _sourced(stack.near, stack.near.value),
        "pixel_um": None if stack.pixel_um is None else _sourced(stack.pixel_um, float(stack.pixel_um.value)),
        "objective": None
        if stack.objective is None
        else _sourced(stack.objective, {**asdict(stack.objective.value), "text": stack.objective.value.text}),
        "parts": {
            part.name: {"label": part.label, "chosen": part.chosen, "options": list(part.options)}
            for part in stack.parts
        },
        "names": list(stack.source.names),
        "notes": list(stack.notes),
    }


def _sourced(found: Sourced[Any], value: object) -> dict[str, Any]:
    return {"value": value, "origin": found.origin, "guessed": found.guessed}
