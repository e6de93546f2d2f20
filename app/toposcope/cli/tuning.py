"""`toposcope finetune` and `networks`: networks adapted to the user's own instrument."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
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
    parser.add_argument(
        "stack",
        nargs="+",
        metavar="STACK",
        help="folders of images, folders of such folders, or files; each one a stack",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", type=Path, metavar="WEIGHTS", help="file to write, NAME.safetensors")
    where.add_argument("--name", metavar="NAME", help="keep it as a method of this name, as the window does")
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
    group.add_argument(
        "--reblur",
        default=0.0,
        metavar="WEIGHT",
        help="of the rule that depth and sharp picture, blurred, give the slices back; 0.3 is usual (default: off)",
    )
    group.add_argument("--seed", default=0, metavar="N", help="of what is drawn at random (default: %(default)s)")
    group.add_argument("--align", choices=ALIGN_MODES, default="auto", help="register the frames if they need it")
    add_machine(group)
    add_reading(parser)


def add_networks(commands: Commands) -> None:
    """Add `toposcope networks`."""
    text = "list the networks that were adapted to your instruments; rename, share and remove them"
    parser = add_command(commands, "networks", _networks, text)
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--add", type=Path, metavar="FILE", help="take in a file that somebody shares")
    actions.add_argument("--rename", nargs=2, metavar=("NETWORK", "NAME"), help="call one by another name")
    actions.add_argument("--export", nargs=2, metavar=("NETWORK", "FILE"), help="write one as a file to be shared")
    actions.add_argument("--remove", metavar="NETWORK", help="take one away; --restore brings it back for a day")
    actions.add_argument("--restore", metavar="NETWORK", help="bring back one that was removed")


def _networks(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.adapted import AdaptedNetworks

    networks = AdaptedNetworks()
    networks.empty_bin()
    said = ""
    if options.add:
        said = f"took in {networks.bring_in(options.add).key}"
    elif options.rename:
        network = networks.rename(networks.find(options.rename[0]).key, options.rename[1])
        said = f"{network.key} is called {network.name} now"
    elif options.export:
        said = f"wrote {networks.export(options.export[0], Path(options.export[1]))}"
    elif options.remove:
        said = f"removed {networks.remove(options.remove).key}; --restore brings it back for a day"
    elif options.restore:
        said = f"brought back {networks.restore(options.restore).key}"
    found = networks.all()
    lines = [said] if said else []
    for network in found:
        lines += [f"{network.key}: {network.title}", f"    {network.trouble or network.about}"]
    if not found:
        lines.append(f"no adapted networks in {networks.folder}")
    facts = [
        {
            "key": network.key,
            "name": network.name,
            "base": network.base,
            "stacks": list(network.stacks),
            "before": network.before,
            "after": network.after,
            "problem": network.trouble,
            "file": str(network.path),
        }
        for network in found
    ]
    return Answer("\n".join(lines), {"networks": facts, "done": said or None})


def _finetune(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.adaptation import carry_out, plan_for
    from toposcope.core.adapted import AdaptedNetworks
    from toposcope.core.settings import checked
    from toposcope.core.source.finding import Source, sources_from
    from toposcope.core.tuning import TuneOptions, TuneSettings, adapt

    names = ("variant", "steps", "confidence", "held_out", "crop", "reblur", "seed")
    settings = TuneSettings(
        base=options.base,
        labels=options.labels,
        options=checked(TuneOptions, {name: getattr(options, name) for name in names}, "adapting"),
        align=options.align,
        device=options.device,
        threads=options.threads,
    )
    if options.output:
        check_folder(options.output.parent)

    def show(line: dict[str, Any]) -> None:
        if options.json and not options.quiet:
            print(json.dumps(_plain(line)), file=sys.stderr, flush=True)

    reading, network = open_options(options), None
    # each file is a stack here, also a picture: whoever names several means several
    found = [sources_from([path]) if path.is_dir() else [Source((path,))] for path in each_path(options.stack)]
    sources = [replace(source, reading=reading) for some in found for source in some]
    if options.name is None:
        tuned = adapt([source.target for source in sources], options.output, settings, report, show, reading)
    else:
        networks = AdaptedNetworks()
        plan = plan_for(options.name, sources, settings, networks)
        tuned, network = carry_out(plan, networks, report, show)
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
        "method": network.key if network else None,
    }
    text = [f"{name:<11} {value}" for name, value in rows] + ([written_lines(files)] if files else [])
    if network:
        text.append(f"{'use':<12}toposcope depth STACK --method {network.key} -o OUT")
    elif files:
        text.append(f"{'use':<12}toposcope depth STACK --method {options.base} --weights {options.output} -o OUT")
    lines = [f"{'note':<12}{note}" for note in tuned.notes] if files else []
    return Answer("\n".join(text + lines), facts, () if files else tuned.notes, DONE if files else FAILED)


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line that JSON knows: NaN becomes null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in line.items()}
