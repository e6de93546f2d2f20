"""What a stored result says of itself in a few numbers: a row of the table of a series, or of a batch."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from dffnets.shipped import shipped_cards
from toposcope.core.adapted import AdaptedNetworks
from toposcope.core.estimate import METHODS, find_method
from toposcope.core.export import write_bytes
from toposcope.core.jobs import Progress, Report
from toposcope.core.method import EstimateSettings
from toposcope.core.own import is_own
from toposcope.core.provenance import file_hash
from toposcope.core.result import RESULT_NAME


@dataclass(frozen=True, slots=True)
class Outcome:
    """A stored result: its depth in ``unit`` (None where all of it is void), and the seconds that it took."""

    folder: Path
    low: float | None
    median: float | None
    high: float | None
    known_share: float
    unit: str
    seconds: float


def outcome_of(folder: Path) -> Outcome | None:
    """Return what the result in ``folder`` says, None if there is none that is whole."""
    try:
        facts = json.loads((folder / RESULT_NAME).read_text(encoding="utf-8"))
        depth = facts["depth"]
        if not all(os.path.isfile(folder / name) for name in facts["files"].values()):
            return None
        return Outcome(
            folder,
            depth["min"],
            depth["median"],
            depth["max"],
            float(depth["known_share"]),
            str(facts["unit"]),
            float(facts["provenance"]["seconds"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def settings_facts(settings: EstimateSettings) -> dict[str, Any]:
    """Return what of the settings results depend on, as JSON holds it: to tell whether those of before are still good.

    The contents of weights and of methods of one's own belong to it; threads and machine do not.
    """
    files: list[Path] = [settings.weights] if settings.weights is not None else []
    if is_own(settings.method):
        files.append(Path(settings.method.rpartition(":")[0]))
    elif settings.method not in METHODS:
        files.append(AdaptedNetworks().find(settings.method).path)
    options = settings.options
    shipped = {card.name: card.sha256 for card in shipped_cards()} if find_method(settings.method).by_network else {}
    return {
        "method": settings.method,
        "options": asdict(options) if is_dataclass(options) and not isinstance(options, type) else repr(options),
        "align": settings.align,
        "files": [file_hash(path) for path in files],
        "shipped_weights": shipped,
    }


def table_number(value: float | None) -> str:
    """Write a length for a table of numbers, empty where there is none."""
    return "" if value is None else f"{value:.7g}"


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """Write what is remembered of results beside them, whole or not at all."""
    write_bytes(path, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())


def titled(report: Report, title: str) -> Report:
    """Return a report that says ``title`` before what it is told."""
    return lambda progress: report(Progress(progress.fraction, title + progress.text))
