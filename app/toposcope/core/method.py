"""What a method is, what it is asked, and how its answer is put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toposcope import __version__
from toposcope.core.align import Alignment, AlignMode
from toposcope.core.calibration import to_positions
from toposcope.core.jobs import Report
from toposcope.core.result import DepthResult, Provenance
from toposcope.core.settings import checked
from toposcope.core.stack import FocalStack, Plane
from toposcope.core.sweep import SweepReport
from toposcope.core.volume import FocusVolume


@dataclass(frozen=True, slots=True)
class EstimateSettings:
    """What to estimate with.

    ``options`` is the method's own settings dataclass, None for its defaults. ``keep_volume`` keeps
    the focus volume for inspection (on disk, under ``scratch``, when it is large). ``threads`` of
    0 means as many as the machine has cores. ``device`` is where networks run: ``auto``, ``cpu``,
    ``cuda`` or ``mps``. ``weights`` is another safetensors file of the same network, None for those
    that are shipped.
    """

    method: str = "default"
    options: Any = None
    align: AlignMode = "auto"
    keep_volume: bool = False
    scratch: Path | None = None
    threads: int = 0
    device: str = "auto"
    weights: Path | None = None


@dataclass(frozen=True, slots=True)
class MethodCard:
    """One method, as the command line, the window's form and the README's table see it.

    ``settings`` is a frozen dataclass; its fields carry ``metadata`` with ``label``, ``help``,
    ``min``, ``max``, ``step``, ``unit`` or ``choices``, from which forms and options are made. ``by_network``
    says that a network has a part in it, which may run on a GPU.
    """

    name: str
    title: str
    source: str
    good_at: str
    settings: type
    run: Callable[[FocalStack, EstimateSettings, Report], DepthResult] = field(repr=False)
    by_network: bool = False

    def checked(self, values: Any = None) -> Any:
        """Return the method's settings from ``values``; see `toposcope.core.settings.checked`."""
        return checked(self.settings, values, f"method {self.name}")


def compose(
    stack: FocalStack,
    alignment: Alignment,
    settings: EstimateSettings,
    coordinate: NDArray[np.floating],
    confidence: NDArray[np.float32],
    picture: Plane,
    volume: FocusVolume | None,
    sweep: SweepReport,
    seconds: float,
    inputs: Mapping[str, str],
    **more: str,
) -> DepthResult:
    """Put a result together: calibration of the (aligned) ``stack``, maps, and provenance.

    ``coordinate`` (H, W) is the focus coordinate, NaN where unknown; ``seconds`` what the work took;
    ``inputs`` the hashes of the files; ``more`` goes into the provenance beside the settings.
    """
    depth = to_positions(coordinate, stack.positions.value, stack.unit, stack.kind.value).astype(np.float32)
    return DepthResult(
        depth=depth,
        confidence=confidence,
        valid=np.isfinite(depth),
        all_in_focus=picture,
        tags=stack.source.tags(alignment.reference),
        positions=stack.positions,
        unit=stack.unit,
        kind=stack.kind,
        near=stack.near,
        pixel_um=stack.pixel_um,
        alignment=alignment,
        volume=volume,
        sweep=sweep,
        provenance=Provenance(
            version=__version__,
            method=settings.method,
            settings={**asdict(settings.options), "align": settings.align, **more},
            source=str(stack.path or stack.name),
            frames=tuple(stack.source.names),
            seconds=seconds,
            inputs=inputs,
            parts={part.name: part.text for part in stack.parts},
        ),
        objective=stack.objective,
    )
