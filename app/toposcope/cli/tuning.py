"""`toposcope finetune`: a network adapted to the user's own instrument."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from toposcope.cli.options import (
    ALIGN_MODES,
    DONE,
    FAILED,
    Answer,
    Commands,
    add_command,
    add_machine,
    add_reading,
    check_folder,
    each_path,
    open_options,
    written_lines,
)
from toposcope.core.jobs import Report


def add_finetune(commands: Commands) -> None:
    """Add `toposcope finetune`."""
    text = "adapt a network to your own instrument, without a label drawn by hand; goes on when called again"
    parser = add_command(commands, "finetune", _finetune, text)
    parser.set_defaults(json_progress=True)
    parser.add_argument("stack", nargs="+", metavar="STACK", help="folders of images or image files, each one a stack")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="WEIGHTS", help="file to write, NAME.safetensors"
    )
    group = parser.add_argument_group("adapting")
    group.add_argument("--base", default="fad", metavar="NAME", help="network to adapt (default: %(default)s)")
    group.add_argument("--labels", default="tft", metavar="METHOD", help="method that labels (default: %(default)s)")
    group.add_argument("--variant", default="bias", help="tune bias, bias+head, or full (default: %(default)s)")
    group.add_argument("--steps", default=300, metavar="N", help="steps at most (default: %(default)s)")
    group.add_argument(
        "--confidence", default=0.4, metavar="C", help="of labels that count, 0.05 to 0.95 (default: %(default)s)"
    )
    group.add_argument(
        "--held-out", default=0.2, metavar="SHARE", help="of the stacks, to judge by (default: %(default)s)"
    )
    group.add_argument("--crop", default=96, metavar="PIXELS", help="squares to learn from (default: %(default)s)")
    group.add_argument("--seed", default=0, metavar="N", help="of what is drawn at random (default: %(default)s)")
    group.add_argument("--align", choices=ALIGN_MODES, default="auto", help="register the frames if they need it")
    add_machine(group)
    add_reading(parser)


def _finetune(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.settings import checked
    from toposcope.core.tuning import TuneOptions, TuneSettings, adapt

    names = ("variant", "steps", "confidence", "held_out", "crop", "seed")
    settings = TuneSettings(
        base=options.base,
        labels=options.labels,
        options=checked(TuneOptions, {name: getattr(options, name) for name in names}),
        align=options.align,
        device=options.device,
        threads=options.threads,
    )
    check_folder(options.output.parent)

    def show(line: dict[str, Any]) -> None:
        if options.json and not options.quiet:
            print(json.dumps(_plain(line)), file=sys.stderr, flush=True)

    tuned = adapt(each_path(options.stack), options.output, settings, report, show, open_options(options))
    files = {"weights": tuned.weights} if tuned.weights else {}
    rows = [
        *((one.name, f"labels are sure for {100 * one.sure:.1f} % of its pixels") for one in tuned.labels),
        ("steps", f"{tuned.steps} in {tuned.seconds:.0f} s"),
        ("held-out", f"{tuned.before:.3f} slices from the labels before, {tuned.after:.3f} at best"),
    ]
    facts = {
        "improved": tuned.weights is not None,
        "before": tuned.before,
        "after": tuned.after,
        "steps": tuned.steps,
        "seconds": tuned.seconds,
        "labels": [{"stack": one.name, "sure": one.sure, "problem": one.problem} for one in tuned.labels],
        "notes": list(tuned.notes),
        "curve": list(tuned.curve),
        "files": {name: str(path) for name, path in files.items()},
    }
    text = [f"{name:<12}{value}" for name, value in rows] + ([written_lines(files)] if files else [])
    if files:
        text.append(f"{'use':<12}toposcope depth STACK --method {options.base} --weights {options.output} -o OUT")
    lines = [f"{'note':<12}{note}" for note in tuned.notes] if files else []
    return Answer("\n".join(text + lines), facts, () if files else tuned.notes, DONE if files else FAILED)


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line that JSON knows: NaN becomes null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in line.items()}
