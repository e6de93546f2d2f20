"""The engine as the window uses it: a handful of functions, so that tests can bring their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toposcope.core import curve, resources
from toposcope.core import export as exports
from toposcope.core.capture import MicroManagerMicroscope, Microscope, SimulatedMicroscope
from toposcope.core.channels import fuse_channel
from toposcope.core.compare import compare
from toposcope.core.curve import FocusCurve
from toposcope.core.estimate import METHODS, MethodCard, estimate
from toposcope.core.height_map import HeightMap
from toposcope.core.jobs import Report
from toposcope.core.result import DepthResult
from toposcope.core.source import open_stack, preview
from toposcope.core.stack import Plane
from toposcope.core.watching import FolderWatch
from toposcope.ui.controllers.adapting import Adapting
from toposcope.ui.controllers.capturing import Connector
from toposcope.ui.controllers.estimating import Estimator
from toposcope.ui.controllers.exporting import Exporter
from toposcope.ui.controllers.looking import Previewer
from toposcope.ui.controllers.opening import Opener
from toposcope.ui.controllers.pictures import ChannelFuser, Differ, PeakCounter
from toposcope.ui.controllers.pins import CurveReader
from toposcope.ui.controllers.watching import FolderWatcher
from toposcope.ui.views.export_panel import Format


def _export(
    result: DepthResult | HeightMap, name: str, folder: Path, curves: Sequence[FocusCurve], options: Any, report: Report
) -> Sequence[Path]:
    """Write one format under its usual name into ``folder``, which is made where it is missing."""
    wishes = options or exports.ExportOptions()
    return exports.export(result, name, exports.made_folder(folder), wishes, report, curves)


def _connect(configuration: Path | None) -> Microscope:
    """Connect the microscope that a configuration file describes; the simulated one without."""
    return SimulatedMicroscope() if configuration is None else MicroManagerMicroscope.load(configuration)


def _watch(folder: Path, taken: Callable[[str, Plane], object]) -> FolderWatch:
    return FolderWatch(folder, taken=taken)


@dataclass(frozen=True, slots=True)
class Engine:
    """Functions of the engine; the defaults are the real ones."""

    open_stack: Opener = open_stack
    preview: Previewer = preview
    estimate: Estimator = estimate
    methods: Mapping[str, MethodCard] = field(default_factory=lambda: METHODS)
    curve_at: CurveReader = curve.curve_at
    peak_counts: PeakCounter = curve.peak_counts
    compare: Differ = compare
    fuse_channel: ChannelFuser = fuse_channel
    export: Exporter = _export
    height_map_formats: Sequence[str] = exports.HEIGHT_MAP_FORMATS
    formats: Sequence[Format] = tuple(exports.FORMATS.values())
    usual_formats: Sequence[str] = ("result",)
    export_options: type | None = exports.ExportOptions
    adapting: Adapting = field(default_factory=Adapting)
    connect_microscope: Connector = _connect
    watch_folder: FolderWatcher = _watch
    sample_path: Callable[[], Path] = resources.sample_path

    def device(self) -> str:
        """Say what computes."""
        return f"CPU, {os.cpu_count() or 1} cores"
