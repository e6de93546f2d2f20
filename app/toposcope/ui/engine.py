"""The engine as the window uses it: a handful of functions, so that tests can bring their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toposcope.core import curve
from toposcope.core import export as exports
from toposcope.core.curve import FocusCurve
from toposcope.core.estimate import METHODS, MethodCard, estimate
from toposcope.core.jobs import Report
from toposcope.core.result import DepthResult
from toposcope.core.source import open_stack
from toposcope.ui.controllers.estimating import Estimator
from toposcope.ui.controllers.exporting import Exporter
from toposcope.ui.controllers.opening import Opener
from toposcope.ui.controllers.pictures import PeakCounter
from toposcope.ui.controllers.pins import CurveReader
from toposcope.ui.views.export_panel import Format


def _formats() -> Sequence[Format]:
    cards: Mapping[str, Format] = getattr(exports, "FORMATS", {})
    return tuple(cards.values())


def _sample_path() -> Path:
    from toposcope.core import resources

    path: Path = resources.sample_path()
    return path


def _export(
    result: DepthResult, name: str, folder: Path, curves: Sequence[FocusCurve], options: Any, report: Report
) -> Sequence[Path]:
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Engine:
    """Functions of the engine; the defaults are the real ones."""

    open_stack: Opener = open_stack
    estimate: Estimator = estimate
    methods: Mapping[str, MethodCard] = field(default_factory=lambda: METHODS)
    curve_at: CurveReader = curve.curve_at
    peak_counts: PeakCounter = curve.peak_counts
    export: Exporter = _export
    formats: Sequence[Format] = field(default_factory=_formats)
    usual_formats: Sequence[str] = ()
    export_options: type | None = None
    sample_path: Callable[[], Path] = _sample_path

    def device(self) -> str:
        """Say what computes."""
        return f"CPU, {os.cpu_count() or 1} cores"
