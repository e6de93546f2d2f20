"""Comparisons as text, Markdown, CSV and JSON, and errors as pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from toposcope import __version__
from toposcope.core.calibration import to_coordinate, typical_step
from toposcope.core.estimate import find_method
from toposcope.core.evaluate.cases import Case
from toposcope.core.evaluate.comparing import FIGURES, Comparison, Contender, Mean, Row
from toposcope.core.evaluate.scoring import MEASURES, Answer, ErrorUnit, Score
from toposcope.core.export import made_folder, together, write_bytes, write_image
from toposcope.core.pictures import map_picture

TITLES: Final[Mapping[str, str]] = {
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
    "log_rmse": "log RMSE",
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel",
    "bump": "Bump",
    "delta1": "δ<1.25",
    "delta2": "δ<1.25²",
    "delta3": "δ<1.25³",
    "known": "known",
    "unimodal": "unimodal",
    "one_peak": "one peak",
    "scored": "scored",
    "seconds": "s",
    "cpu_seconds": "CPU s",
}
SHARES: Final = ("delta1", "delta2", "delta3", "known", "unimodal", "one_peak", "scored")
"""Figures that are written in per cent."""

SHOWN: Final = ("mae", "rmse", "abs_rel", "bump", "delta1", "known", "unimodal", "seconds", "cpu_seconds")
"""What tables for reading show; files and JSON hold all."""

WHOLE: Final = 0.98
"""Share of the pixels below which a table tells for how many the truth lies within the sweep."""

ERROR_STEPS: Final = 2
"""Slices off that the last colours of an error map mean."""


def table_notes(found: Comparison) -> list[str]:
    """Return what one must know to read a table, one sentence a line."""
    settings = found.settings
    voids = {
        "filled": "all pixels count: voids are filled from around where the method can, "
        "else taken as the middle of the sweep; 'known' is what it knows by itself",
        "known": "only pixels count that the method knows; 'known' is their share",
    }[settings.voids]
    curves = "with focus curves kept" if settings.curves else "without focus curves"
    lines = [
        f"Errors in {found.unit_symbol}, taken of each stack, then averaged; {voids}.",
        f"Seconds a stack, of wall and of all cores, and peak memory of the method's process, {curves}.",
    ]
    return [*lines, *(_described(one) for one in found.contenders if not one.is_plain)]


def _described(one: Contender) -> str:
    """Say of a contender what its name does not: the method, its settings and weights."""
    if one.maps:
        return f"{one.name}: maps of another program, {one.maps}."
    settings = ", ".join(f"{name}={value}" for name, value in one.given.items())
    weights = "" if one.weights is None else f"weights {one.weights}"
    about = ", ".join(filter(None, [one.method if one.name != one.method else "", settings, weights]))
    return f"{one.name}: {about}."


def text_table(found: Comparison, names: Sequence[str] = SHOWN) -> str:
    """Return an aligned table for reading, one block a group of stacks."""
    lines = table_notes(found)
    for group in dict.fromkeys(mean.group for mean in found.means):
        means = [mean for mean in found.means if mean.group == group]
        table = [_head(names), *(_cells(mean, names) for mean in means)]
        widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
        lines += ["", f"{group}: {_count(means)}"]
        lines += ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(found: Comparison, names: Sequence[str] = SHOWN) -> str:
    """Return the table as Markdown, fit for a README."""
    lines = []
    for group in dict.fromkeys(mean.group for mean in found.means):
        means = [mean for mean in found.means if mean.group == group]
        head = _head(names)
        lines += [f"**{group}**: {_count(means)}", "", _piped(head), _piped(["---", *["---:"] * (len(head) - 1)])]
        lines += [_piped([f"`{mean.method}`", *_cells(mean, names)[1:]]) for mean in means]
        lines.append("")
    return "\n".join([*lines, *(f"{line}  " for line in table_notes(found))]) + "\n"


def _head(names: Sequence[str]) -> list[str]:
    return ["method", *(TITLES[name] for name in names), "MB"]


def _cells(mean: Mean, names: Sequence[str]) -> list[str]:
    memory = "" if mean.peak_bytes is None else f"{mean.peak_bytes / 1e6:.0f}"
    return [mean.method, *(_figure(name, mean.figures[name]) for name in names), memory]


def _figure(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    if name in SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.4f}" if name in MEASURES else f"{value:.2f}"


def _count(means: Sequence[Mean]) -> str:
    """Say how many stacks a group has, and what is not as one would expect of them."""
    stacks = max(mean.stacks for mean in means)
    failed = [f"{mean.method} failed on {mean.failed}" for mean in means if mean.failed]
    scored = min((mean.figures["scored"] for mean in means if mean.figures["scored"] < WHOLE), default=1.0)
    # a truth in another unit often lies within the sweep in part, and its errors mean nothing
    part = [] if scored == 1 else [f"true depth within the sweep for {100 * scored:.1f} % of the pixels"]
    return ", ".join([f"{stacks} stack{'' if stacks == 1 else 's'}", *part, *failed])


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def comparison_facts(found: Comparison) -> dict[str, Any]:
    """Return everything for JSON: how it was measured, the table, the rows of each stack. NaN becomes null."""
    settings = found.settings
    return {
        "toposcope": __version__,
        "unit": settings.unit,
        "unit_symbol": found.unit_symbol,
        "voids": settings.voids,
        "curves": settings.curves,
        "align": settings.align,
        "device": settings.device,
        "threads": settings.threads,
        "set": {one.name: dict(one.given) for one in found.contenders if one.given},
        "methods": [contender_facts(one) for one in found.contenders],
        "table": [
            {
                "method": mean.method,
                "group": mean.group,
                "stacks": mean.stacks,
                "failed": mean.failed,
                **_plain(mean.figures),
                "peak_bytes": mean.peak_bytes,
            }
            for mean in found.means
        ],
        "stacks": [
            {
                "method": row.method,
                "stack": row.stack,
                "groups": list(row.groups),
                **_plain(row.figures),
                "problem": row.problem,
            }
            for row in found.rows
        ],
    }


def contender_facts(one: Contender) -> dict[str, Any]:
    """Return what a contender is for JSON: method, all its settings, its weights, and the hash of its file."""
    if one.maps:
        return {"name": one.name, "method": None, "maps": one.maps, "map_unit": one.map_unit}
    settings = asdict(find_method(one.method).checked(one.given))
    weights = None if one.weights is None else str(one.weights)
    return {
        "name": one.name,
        "method": one.method,
        "settings": settings,
        "weights": weights,
        "sha256": one.sha256 or None,
    }


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def write_comparison(found: Comparison, directory: Path | str) -> dict[str, Path]:
    """Write table.csv, table.md, table.json and stacks.csv (a row a stack and method, worst RMSE first).

    Raises
    ------
    OutputError
        If the folder or a file cannot be written.
    """
    folder = made_folder(directory)
    files = {
        "table": folder / "table.csv",
        "markdown": folder / "table.md",
        "json": folder / "table.json",
        "stacks": folder / "stacks.csv",
    }
    facts = comparison_facts(found)
    with together():
        write_bytes(files["table"], _csv(facts["table"], _mean_columns()).encode("utf-8-sig"))
        write_bytes(files["markdown"], markdown_table(found).encode())
        write_bytes(files["json"], (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
        rows = sorted(found.rows, key=_badness, reverse=True)
        lines = [
            {"method": row.method, "stack": row.stack, "group": row.groups[-1], **_plain(row.figures)}
            | {"problem": row.problem}
            for row in rows
        ]
        columns = ["method", "stack", "group", *FIGURES, "problem"]
        write_bytes(files["stacks"], _csv(lines, columns).encode("utf-8-sig"))
    return files


def _badness(row: Row) -> float:
    rmse = row.figures.get("rmse", math.inf)
    return math.inf if math.isnan(rmse) else rmse


def _mean_columns() -> list[str]:
    return ["method", "group", "stacks", "failed", *FIGURES, "peak_bytes"]


def _csv(lines: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for line in lines:
        writer.writerow(["" if (value := line.get(name)) is None else _written(value) for name in columns])
    return buffer.getvalue()


def _written(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def error_writer(folder: Path, unit: ErrorUnit) -> Callable[[str, Case, Answer, Score], None]:
    """Return a function for `evaluate` that draws each error map as ``STACK_METHOD.png`` in ``folder``.

    Red is too high, blue too low, the last colours two slices off or more; grey does not count. So maps
    of several methods can be held side by side.
    """
    made_folder(folder)

    def write(method: str, case: Case, answer: Answer, scored: Score) -> None:
        positions = answer.positions
        if unit == "share":
            positions = to_coordinate(positions, positions, answer.unit, answer.kind).astype(np.float64)
        limit = ERROR_STEPS * typical_step(positions)
        symbol = case.symbol if unit == "stack" else "of the range"
        title = f"{case.name}, {method}: found minus true depth"
        picture = map_picture(scored.error, symbol, title, "RdBu_r", limits=(-limit, limit))
        write_image(picture, folder / f"{case.name}_{method}.png".replace("/", "_").replace(":", "_"))

    return write
