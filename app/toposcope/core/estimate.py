"""The one door: from a stack to its depth, by any method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toposcope.core.align import AlignMode
from toposcope.core.jobs import Report
from toposcope.core.result import DepthResult
from toposcope.core.stack import FocalStack


@dataclass(frozen=True, slots=True)
class EstimateSettings:
    """What to estimate with.

    ``options`` is the method's own settings dataclass, None for its defaults. ``keep_volume`` keeps
    the focus volume for inspection (on disk, under ``scratch``, when it is large).
    """

    method: str = "default"
    options: Any = None
    align: AlignMode = "auto"
    keep_volume: bool = False
    scratch: Path | None = None
    threads: int = 0


@dataclass(frozen=True, slots=True)
class MethodCard:
    """One method, as the command line, the window's form and the README's table see it.

    ``settings`` is a frozen dataclass; its fields carry ``metadata`` with ``label``, ``help``,
    ``min``, ``max``, ``step``, ``unit`` or ``choices``, from which forms and options are made.
    """

    name: str
    title: str
    source: str
    good_at: str
    settings: type
    run: Callable[[FocalStack, EstimateSettings, Report], DepthResult] = field(repr=False)


METHODS: Mapping[str, MethodCard] = {}
