"""A small stack, a result and an engine for tests of the window: known numbers, made in no time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QSettings

from toposcope.core.align import Alignment, Motion
from toposcope.core.calibration import Sourced
from toposcope.core.curve import FocusCurve, curve_at
from toposcope.core.estimate import EstimateSettings
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.result import DepthResult, Provenance
from toposcope.core.stack import ArraySource, FocalStack, FrameTags
from toposcope.core.sweep import SweepNote, SweepReport
from toposcope.core.volume import Origin
from toposcope.ui.preferences import Preferences
from toposcope.ui.session import Run, State

if TYPE_CHECKING:  # most tests of the fakes need no window
    from toposcope.ui.main_window import MainWindow


def make_stack(n: int = 5, shape: tuple[int, int] = (48, 64), step_um: float = 2.5, **changes: Any) -> FocalStack:
    """Return a grey stack at 10, 12.5, ... um; frame i is of value 20 i (below 240), with a textured stripe."""
    frames = np.stack([np.full(shape, 20 * i % 240, dtype=np.uint8) for i in range(n)])
    frames[:, ::2, : shape[1] // 2] += 10
    names = tuple(f"img_{i:02d}.png" for i in range(n))
    positions = Sourced(10 + step_um * np.arange(n), "file name")
    stack = FocalStack.create(
        ArraySource(frames, names), positions, "um", pixel_um=Sourced(0.5, "stack.json"), name="tiny"
    )
    return replace(stack, **changes)


class FakeVolume:
    """Every pixel has its peak at the slice (row + column) % N."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.closed = False

    def probability(self, row: int, column: int) -> NDArray[np.float32]:
        n = self.shape[0]
        values = np.exp(-0.5 * ((np.arange(n) - (row + column) % n) / 0.8) ** 2)
        return (values / values.sum()).astype(np.float32)

    def measure(self, row: int, column: int) -> NDArray[np.float32] | None:
        return None

    def plane(self, i: int) -> NDArray[np.float32]:
        _, height, width = self.shape
        return np.array([[self.probability(r, c)[i] for c in range(width)] for r in range(height)], dtype=np.float32)

    def origin(self, row: int, column: int) -> Origin:
        return "neighbours"

    @property
    def memory(self) -> int:
        return 2 * math.prod(self.shape)

    def close(self) -> None:
        self.closed = True


def make_result(stack: FocalStack, settings: EstimateSettings | None = None, needed: bool = False) -> DepthResult:
    """Return a result whose depth rises from left to right over the sweep, with a void in the first row."""
    height, width = stack.shape
    positions = stack.positions.value
    depth = np.tile(np.linspace(positions[0], positions[-1], width, dtype=np.float32), (height, 1))
    depth[0] = np.nan
    valid = np.isfinite(depth)
    settings = settings or EstimateSettings()
    shift = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]]) if needed else np.eye(2, 3)
    return DepthResult(
        depth=depth,
        confidence=np.where(valid, np.float32(0.75), np.float32(0)).astype(np.float32),
        valid=valid,
        all_in_focus=np.asarray(stack.read(stack.n // 2)),
        tags=FrameTags(),
        positions=stack.positions,
        unit=stack.unit,
        kind=stack.kind,
        near=stack.near,
        pixel_um=stack.pixel_um,
        alignment=Alignment(tuple(Motion(shift) for _ in range(stack.n)), 0, needed, "steady: not aligned"),
        volume=FakeVolume((stack.n, height, width)) if settings.keep_volume else None,
        sweep=SweepReport(
            (SweepNote("cut_low", "12 % of the texture is sharpest in the first slice.", 0.12),),
            np.ones((height, width), dtype=np.uint8),
        ),
        provenance=Provenance("0", settings.method, {}, stack.name, tuple(stack.source.names), 0.1, {}),
    )


def make_run(stack: FocalStack, number: int = 1, **changes: Any) -> Run:
    """Return a run of `make_result` with the inputs of an untouched state."""
    inputs = State(opened=stack, stack=stack).inputs
    return replace(Run(number, f"{number}  Default", make_result(stack, inputs.settings), inputs), **changes)


def state_of(stack: FocalStack, *runs: Run, **changes: Any) -> State:
    """Return a state with a stack, and the last of ``runs`` shown."""
    state = State(opened=stack, stack=stack, runs=runs, shown_run=runs[-1].number if runs else None)
    return replace(state, **changes)


def quick_estimate(stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> DepthResult:
    """Estimate in no time."""
    report(Progress(0.5, "measuring"))
    return make_result(stack, settings)


@dataclass
class SlowEstimate:
    """An estimation that goes on until it is cancelled or released, and remembers how it was called."""

    calls: list[tuple[int, EstimateSettings]] = field(default_factory=list)
    released: bool = False

    def __call__(self, stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> DepthResult:
        self.calls.append((stack.n, settings))
        deadline = time.monotonic() + 20
        while not self.released and time.monotonic() < deadline:
            report(Progress(0.25, "measuring"))
            time.sleep(0.002)
        return make_result(stack, settings)


def fake_curve(result: DepthResult, row: int, column: int) -> FocusCurve:
    """Read a curve with the engine's own reader, from the fake volume."""
    return curve_at(result, row, column)


def private_preferences(folder: Path) -> Preferences:
    """Return preferences in a file of the test's own."""
    return Preferences(QSettings(str(folder / "settings.ini"), QSettings.Format.IniFormat))


Until = Callable[[Callable[[], bool]], None]
Make: TypeAlias = "Callable[..., MainWindow]"
"""Shows a window, with the functions that are named in place of the engine's."""
FAKES: Final[dict[str, Any]] = {
    "open_stack": lambda path, options, report: make_stack(),
    "estimate": quick_estimate,
    "curve_at": fake_curve,
}
"""An engine that needs no files and no time."""
