"""`toposcope capture`: a sweep of a microscope, or of a simulated one."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toposcope.cli.options import Answer, Commands, add_command, check_folder, written_lines
from toposcope.core.jobs import Cancelled, Report, part
from toposcope.errors import CalibrationError, CaptureError, OutputError, SettingsError

if TYPE_CHECKING:  # numpy and the renderer are loaded by the command that needs them
    from toposcope.core.advising import Proposal
    from toposcope.core.capture import Microscope, Optics, SweepOutcome, SweepPlan

_GO_ON = "Go on with --resume."
_OF_THE_PLAN = ("top", "bottom", "step", "exposure", "settle", "downwards", "na", "pixel_size", "index")


def add_capture(commands: Commands) -> None:
    """Add `toposcope capture`."""
    parser = add_command(commands, "capture", _capture, "take a focal stack with a microscope, or a simulated one")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--simulated", action="store_true", help="a rendered surface of known height: no hardware needed"
    )
    which.add_argument("--config", type=Path, metavar="CFG", help="configuration file of Micro-Manager")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="the OME-TIFF to make")
    sweep = parser.add_argument_group(
        "the sweep (lengths in micrometres, 12.5, or with their unit, 0.2mm; as the stage counts)"
    )
    sweep.add_argument("--top", type=_micrometres, metavar="Z", help="greatest z")
    sweep.add_argument("--bottom", type=_micrometres, metavar="Z", help="least z")
    sweep.add_argument(
        "--step",
        type=_micrometres,
        metavar="LENGTH",
        help="at most this from slice to slice (default: half the depth of field)",
    )
    sweep.add_argument("--exposure", type=float, metavar="MS", help="in milliseconds (default: as the camera is)")
    sweep.add_argument("--settle", type=float, metavar="SECONDS", help="to wait after each move")
    sweep.add_argument("--downwards", action="store_true", help="begin at the top")
    sweep.add_argument("--resume", action="store_true", help="go on with the sweep that was to become OUT")
    optics = parser.add_argument_group("the optics (where the microscope does not know them)")
    optics.add_argument("--na", type=float, metavar="NA", help="numerical aperture of the objective")
    optics.add_argument("--pixel-size", type=_micrometres, metavar="LENGTH", help="side of a pixel on the object")
    optics.add_argument(
        "--index", type=float, metavar="N", help="refractive index before the objective (default: air, 1)"
    )
    parser.add_argument(
        "--depth",
        nargs="?",
        const="default",
        metavar="METHOD",
        help="compute depth from it, into a folder beside OUT that ends in -depth",
    )


def _micrometres(text: str) -> float:
    from toposcope.core.calibration import MICROMETRES
    from toposcope.core.source import parse_length

    try:
        return float(text)
    except ValueError:
        pass
    try:
        value, unit = parse_length(text)
    except CalibrationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value * MICROMETRES[unit]


def _capture(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.advising import SweepAdvisor
    from toposcope.core.capture import PlaneStore, begin_sweep, run_sweep, target_path
    from toposcope.core.estimate import find_method

    if options.depth is not None:
        find_method(options.depth)  # refuses one that there is not, before the stage moves
    path = target_path(options.output)
    check_folder(path.parent)
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist. Make it first.")
    store = None
    if options.resume:
        for name in _OF_THE_PLAN:
            if getattr(options, name) not in (None, False):
                raise SettingsError(
                    f"--resume goes on with the sweep as it was begun; leave --{name.replace('_', '-')} out."
                )
        store = PlaneStore.open(path)
    with closing(_connected(options)) as microscope:
        if store is None:
            optics = _optics(options, microscope)
            store = begin_sweep(microscope, _plan(options, optics), path, optics)
        advisor = SweepAdvisor(store.facts.white)
        for _, plane, z_um in store.taken():  # of a sweep that goes on
            advisor.add(plane, z_um)
        share = part(report, 0, 1 if options.depth is None else 0.6)
        outcome = run_sweep(microscope, store, share, lambda i, plane, z_um: advisor.add(plane, z_um))
        proposal = None
        if outcome.ended == "done":
            exposure = store.plan.exposure_ms or microscope.exposure_ms
            depth_of_field_um = store.facts.optics.depth_of_field_um
            proposal = advisor.propose(store.plan, exposure, microscope.z_limits_um, depth_of_field_um)
    return _answer(options, outcome, proposal, part(report, 0.6, 1))


def _connected(options: argparse.Namespace) -> Microscope:
    from toposcope.core.capture import MicroManagerMicroscope, SimulatedMicroscope

    return SimulatedMicroscope() if options.config is None else MicroManagerMicroscope.load(options.config)


def _optics(options: argparse.Namespace, microscope: Microscope) -> Optics:
    given = {"na": options.na, "pixel_um": options.pixel_size, "refractive_index": options.index}
    return replace(microscope.optics, **{name: value for name, value in given.items() if value is not None})


def _plan(options: argparse.Namespace, optics: Optics) -> SweepPlan:
    from toposcope.core.capture import SweepPlan

    if options.top is None or options.bottom is None:
        raise SettingsError("give --top and --bottom of the sweep, in micrometres of the stage.")
    step = options.step
    if step is None:
        step = optics.proposed_step_um
        if step is None:
            raise SettingsError("the step is not known: give --step, or --na to have it proposed.")
        step = min(step, (options.top - options.bottom) / 2) if options.top > options.bottom else step
    return SweepPlan(options.bottom, options.top, step, options.exposure, options.downwards, options.settle or 0.0)


def _answer(options: argparse.Namespace, outcome: SweepOutcome, proposal: Proposal | None, report: Report) -> Answer:
    """Say how the sweep ended; compute depth when it is done."""
    if outcome.ended == "aborted":
        raise Cancelled(f"{outcome.text} {_GO_ON}" if outcome.taken else outcome.text)
    if outcome.error is not None:
        kind = OutputError if isinstance(outcome.error, OutputError) else CaptureError
        raise kind(f"{outcome.text} {_GO_ON}" if outcome.taken else outcome.text) from outcome.error
    facts: dict[str, Any] = {"path": str(outcome.path), "slices": outcome.taken, "notes": list(outcome.notes)}
    lines = [outcome.text, *outcome.notes]
    if proposal is not None:
        lines.append(proposal.text)
        plan = proposal.plan
        facts["proposal"] = {
            "reasons": list(proposal.reasons),
            "bottom_um": plan.bottom_um,
            "top_um": plan.top_um,
            "step_um": plan.step_um,
            "exposure_ms": plan.exposure_ms,
        }
    if options.depth is not None and outcome.path is not None:
        files = _depth(outcome.path, options.depth, report)
        lines.append(written_lines(files))
        facts["depth"] = {name: str(file) for name, file in files.items()}
    return Answer("\n".join(lines), facts)


def _depth(path: Path, method: str, report: Report) -> dict[str, Path]:
    """Compute and write the depth of a captured stack; return the files."""
    from toposcope.core.capture import slices_folder
    from toposcope.core.estimate import EstimateSettings, estimate
    from toposcope.core.export import write_result
    from toposcope.core.source import open_stack

    stem = slices_folder(path).stem
    with closing(open_stack(path)) as stack:
        result = estimate(stack, EstimateSettings(method=method), part(report, 0, 0.9))
        return write_result(result, path.with_name(f"{stem}-depth"), None, part(report, 0.9, 1))
