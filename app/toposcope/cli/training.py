"""`toposcope train`: a network from a file that says how."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toposcope.cli.options import Answer, Commands, ListAction, add_command, count, written_lines
from toposcope.core.jobs import Report


def add_train(commands: Commands) -> None:
    """Add `toposcope train`."""
    text = "train a network on rendered stacks, measured shapes or data sets; goes on when called again"
    parser = add_command(commands, "train", _train, text)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="TOML file that says what to train and how")
    parser.add_argument(
        "--example", action=ListAction, text=_example, help="print a configuration with all entries, and stop"
    )
    group = parser.add_argument_group("what is given here wins over the file")
    group.add_argument("--output", type=Path, metavar="DIR", help="folder for checkpoint, weights and log")
    group.add_argument("--iterations", type=count, metavar="N", help="steps after which to end")
    group.add_argument("--minutes", type=float, metavar="M", help="minutes after which to end; 0: no limit")
    group.add_argument("--device", help="cpu, cuda, mps, or auto for the fastest there is")
    group.add_argument("--threads", type=count, metavar="K", help="threads to use (default: all)")


def _example() -> str:
    from toposcope.core.training import example

    return example().rstrip()


def _train(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.training import train_from

    result = train_from(options.config, _changes(options), report)
    files = {"weights": result.weights, "log": result.log} | ({"plot": result.plot} if result.plot else {})
    facts = {"files": {name: str(path) for name, path in files.items()}, "last": dict(result.last)}
    facts |= {"went_on_from": result.begun_at, "changed": {name: list(pair) for name, pair in result.changed.items()}}
    lines = _result_lines(result.last) if result.last else []
    if result.begun_at:
        lines.append(f"{'went on':<12}from step {result.begun_at}")
    lines += [f"{'changed':<12}{name}: {was} before, {now} from there" for name, (was, now) in result.changed.items()]
    return Answer("\n".join([*lines, written_lines(files)]), facts)


def _result_lines(last: Mapping[str, float]) -> list[str]:
    titles = {"rmse_micro": "microscope", "rmse_macro": "macro"}
    kinds = ", ".join(f"{title} {last[name]:.4f}" for name, title in titles.items() if name in last)
    rows = (
        ("trained", f"{last['iteration']:.0f} steps in {last['minutes']:.1f} minutes"),
        ("validation", f"RMSE {last['rmse']:.4f} of the range ({kinds})"),
        ("one peak", f"{100 * last['unimodal']:.1f} % of the pixels"),
    )
    return [f"{name:<12}{text}" for name, text in rows]


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    names = ("output", "iterations", "minutes", "device", "threads")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}
