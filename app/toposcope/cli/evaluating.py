"""`toposcope evaluate`: methods side by side on stacks whose depth is known."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toposcope import __version__
from toposcope.cli.options import (
    ALIGN_MODES,
    DONE,
    SOME_FAILED,
    Answer,
    Commands,
    ListAction,
    add_command,
    add_machine,
    assignment,
    check_folder,
    count,
    each_path,
    written_lines,
)
from toposcope.core.jobs import Cancelled, Report, part
from toposcope.errors import SettingsError, StackError, ToposcopeError

if TYPE_CHECKING:
    from toposcope.core.evaluate import Case, Comparison, Contender, EvaluateSettings, Journal, TruthFile

RENDERED = 64
"""Rendered stacks unless a number is given: what the cards of the networks were measured on."""

MOST_COMPLAINTS = 10

Setting = tuple[str, str, str]
"""Method, name, value."""


def add_evaluate(commands: Commands) -> None:
    """Add `toposcope evaluate`."""
    text = "compare methods on stacks with known depth: errors, seconds, memory"
    parser = add_command(commands, "evaluate", _evaluate, text)
    stacks = parser.add_argument_group("the stacks")
    stacks.add_argument("stack", nargs="*", metavar="STACK", help="folders of frames, each with its true depth in it")
    stacks.add_argument(
        "--truth",
        metavar="NAME",
        help="file of the true depth in each folder, or a path from there: TIFF, .npy, .pfm or .png, with {stack} for "
        "the name of the stack (default: true_depth.tif or gt_slice_index.tif)",
    )
    stacks.add_argument(
        "--truth-unit",
        choices=("stack", "slices", "um", "mm", "m"),
        default="stack",
        help="what the numbers in --truth are: positions in the unit of the stack or in another, or slices from 0",
    )
    stacks.add_argument(
        "--validation",
        nargs="?",
        type=count,
        const=RENDERED,
        metavar="COUNT",
        help=f"rendered stacks that no training sees, half macro, half microscope (default: {RENDERED})",
    )
    stacks.add_argument(
        "--test",
        nargs="?",
        type=count,
        const=RENDERED,
        metavar="COUNT",
        help="others of that kind, by which nothing was chosen, either",
    )
    stacks.add_argument("--dataset", metavar="NAME", help="a public data set on this disk (--list-datasets)")
    stacks.add_argument("--root", type=Path, metavar="DIR", help="folder of the data set")
    stacks.add_argument("--split", default="test", metavar="S", help="part of the data set (default: %(default)s)")
    stacks.add_argument("--at-most", type=count, metavar="N", help="so many stacks of the data set, evenly taken")
    stacks.add_argument("--list-datasets", action=ListAction, text=data_set_list, help="list the data sets, and stop")
    stacks.add_argument("--subset", type=count, metavar="N", help="only N slices of each stack, evenly taken")
    methods = parser.add_argument_group("the methods")
    methods.add_argument(
        "--methods",
        type=lambda text: tuple(name for name in text.split(",") if name),
        metavar="A,B,...",
        help="names of methods, or all (default: the best-known classical ones and all networks); NAME=METHOD gives a "
        "method another name, so that it can stand there again with other settings or weights",
    )
    methods.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="METHOD.NAME=VALUE",
        help="setting of a method; may be given several times",
    )
    methods.add_argument(
        "--weights",
        action="append",
        default=[],
        type=_weights,
        metavar="METHOD=FILE",
        help="run a network with these weights (.safetensors), or with those of an adapted one; may be given several "
        "times",
    )
    methods.add_argument(
        "--maps",
        action="append",
        default=[],
        type=_maps,
        metavar="NAME=PATH",
        help="depth that another program has found, beside the methods: TIFF, .npy, .pfm or .png files, with {stack} "
        "in PATH for the name of the stack",
    )
    methods.add_argument(
        "--map-unit",
        choices=("stack", "slices", "um", "mm", "m"),
        default="stack",
        help="what the numbers in --maps are (default: positions in the unit of the stack)",
    )
    methods.add_argument(
        "--align", choices=ALIGN_MODES, default="none", help="register the frames first (default: %(default)s)"
    )
    add_machine(methods)
    table = parser.add_argument_group("the table")
    table.add_argument(
        "--voids",
        choices=("filled", "known"),
        default="filled",
        help="all pixels count, voids are filled; or only those that a method knows (default: %(default)s)",
    )
    table.add_argument(
        "--unit",
        choices=("share", "stack"),
        default="share",
        help="errors as shares of the swept range, or in the unit of the stacks (default: %(default)s)",
    )
    table.add_argument(
        "--no-curves", action="store_true", help="keep no focus curves: faster, and no shares of one-peak pixels"
    )
    table.add_argument("--all-measures", action="store_true", help="show all measures, as the files hold them")
    table.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder for the table as CSV, JSON and Markdown; interrupted, the same command goes on from there",
    )
    table.add_argument("--errors", action="store_true", help="draw a map of the errors of each stack and method, too")


def data_set_list() -> str:
    """Return the public data sets that can be read, for reading."""
    from dffnets.data import CARDS

    lines: list[str] = []
    for card in CARDS.values():
        lines += [f"{card.name}: {card.title}", f"    {card.paper}", f"    {card.source}"]
        lines += [
            f"    --root holds {card.layout}",
            f"    Licence: {card.licence}",
            f"    --split {' | '.join(card.splits)}",
        ]
    return "\n".join(lines)


def _setting(text: str) -> Setting:
    names, value = assignment(text)
    method, dot, name = names.partition(".")
    if not (dot and method and name):
        raise argparse.ArgumentTypeError(f"{text!r} names no method; write METHOD.NAME=VALUE such as sml.window=9")
    return method, name, value


def _weights(text: str) -> tuple[str, Path]:
    method, equals, file = text.partition("=")
    if not (equals and method and file):
        raise argparse.ArgumentTypeError(f"{text!r} names no method; write METHOD=FILE such as light=mine.safetensors")
    return method, Path(file)


def _maps(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (equals and name and path):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name with a path; write NAME=PATH such as theirs=out/{{stack}}.tif"
        )
    return name, path


def _evaluate(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.evaluate import (
        EvaluateSettings,
        comparison_facts,
        error_writer,
        evaluate,
        stored_maps,
        write_comparison,
    )

    contenders = _contenders(options.methods, options.set, options.weights)
    contenders += [stored_maps(name, path, options.map_unit) for name, path in options.maps]
    if options.errors and not options.output:
        raise SettingsError("--errors draws files; name a folder for them with -o.")
    if options.output:
        check_folder(options.output)
    settings = EvaluateSettings(
        voids=options.voids,
        unit=options.unit,
        curves=not options.no_curves,
        align=options.align,
        device=options.device,
        threads=options.threads,
    )
    with tempfile.TemporaryDirectory(prefix="toposcope-stacks-") as scratch:
        cases, problems = _cases(options, Path(scratch), part(report, 0, 0.1))
        draw = error_writer(options.output / "errors", options.unit) if options.errors else None
        journal = _journal(options, cases, contenders, settings) if options.output else None
        before = dict(journal.rows) if journal else {}
        told = part(report, 0.1, 1)
        try:
            found = evaluate(cases, contenders, settings, told, draw, before, journal.add if journal else None)
        except (Cancelled, KeyboardInterrupt) as stop:
            if journal and journal.rows:
                raise Cancelled(
                    f"interrupted; {len(journal.rows)} of {len(cases) * len(contenders)} answers are kept in "
                    f"{options.output}, and the same command goes on from there."
                ) from stop
            raise
    if all(row.problem for row in found.rows):
        raise StackError(f"no method could answer for any stack; {found.rows[0].method}: {found.rows[0].problem}")
    files = write_comparison(found, options.output) if options.output else {}
    if journal:
        journal.close()
    if options.errors:
        files["errors"] = options.output / "errors"
    problems += [{"stack": row.stack, "method": row.method, "problem": str(row.problem)} for row in found.problems]
    facts = {
        **comparison_facts(found),
        "failed": problems,
        "kept": len(before),
        "files": {name: str(path) for name, path in files.items()},
    }
    kept = [f"{'kept':<12}{len(before)} answers of the run that was interrupted"] if before else []
    text = [_table(found, options.all_measures), *kept, *([written_lines(files)] if files else [])]
    return Answer("\n".join(text), facts, _complaints(problems), SOME_FAILED if problems else DONE)


def _table(found: Comparison, with_all: bool) -> str:
    from toposcope.core.evaluate import FIGURES, SHOWN, text_table

    return text_table(found, FIGURES if with_all else SHOWN)


def _complaints(problems: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    said = [
        f"{problem['method']} on {problem['stack']}: {problem['problem']}" if problem["method"] else _of_stack(problem)
        for problem in problems
    ]
    more = len(said) - MOST_COMPLAINTS
    return (*said[:MOST_COMPLAINTS], *([f"and {more} more failed; --json and -o list all."] if more > 0 else []))


def _of_stack(problem: dict[str, Any]) -> str:
    """Say what is wrong with a stack; which one it is, where the sentence names a file of it only."""
    stack, text = str(problem["stack"]), str(problem["problem"])
    return text if stack in text else f"{stack}: {text}"


def _contenders(
    names: Sequence[str] | None, given: Sequence[Setting], weights: Sequence[tuple[str, Path]]
) -> list[Contender]:
    from toposcope.core.estimate import METHODS
    from toposcope.core.evaluate import contender, default_methods

    wanted = default_methods() if names is None else tuple(METHODS) if names == ("all",) else names
    pairs = [(name, method or name) for name, _, method in (text.partition("=") for text in dict.fromkeys(wanted))]
    known = [name for name, _ in pairs]
    for option, name in [(f"--set {one}.{name}", one) for one, name, _ in given] + [
        (f"--weights {one}", one) for one, _ in weights
    ]:
        if name not in known:
            raise SettingsError(f"{option} is for none of the methods {', '.join(known)}. Add it to --methods.")
    files = dict(weights)
    return [
        contender(method, {key: value for one, key, value in given if one == name}, name, files.get(name))
        for name, method in pairs
    ]


def _journal(
    options: argparse.Namespace, cases: Sequence[Case], contenders: Sequence[Contender], settings: EvaluateSettings
) -> Journal:
    """Return what an interrupted run of the same command has left, and where this one is kept."""
    from toposcope.core.evaluate import Journal, contender_facts

    what = {
        "toposcope": __version__,
        "settings": asdict(settings),
        "methods": [contender_facts(one) for one in contenders],
        "stacks": [case.name for case in cases],
        "files": [_files(path, _truth(options)) for path in each_path(options.stack)],
        "root": options.root and str(options.root.resolve()),
        **{name: getattr(options, name) for name in ("truth", "truth_unit", "subset", "dataset", "split", "errors")},
    }
    return Journal(options.output, what)


def _files(path: Path, truth: TruthFile | None) -> list[str]:
    """Return what tells whether a stack and its truth are what they were."""
    from toposcope.core.evaluate import fingerprint, truth_file

    try:
        beside = (path if path.is_dir() else path.parent) / truth_file(path, truth).name
        return [str(path.resolve()), fingerprint(path), fingerprint(beside)]
    except (StackError, OSError):  # it is left out, and named
        return [str(path.resolve())]


def _cases(options: argparse.Namespace, folder: Path, report: Report) -> tuple[list[Case], list[dict[str, Any]]]:
    """Return the stacks that can be evaluated, and what is wrong with the others."""
    from toposcope.core.evaluate import data_set_cases, folder_case, rendered_cases

    if not options.dataset and (options.root or options.at_most is not None):
        raise SettingsError(
            "--root and --at-most say where a data set lies and how much to take; name it by --dataset."
        )
    cases: list[Case] = []
    problems: list[dict[str, Any]] = []
    paths = each_path(options.stack)
    same_name = {name for name, times in Counter(path.resolve().name for path in paths).items() if times > 1}
    for path in paths:
        try:
            case = folder_case(path, _truth(options), options.subset)
        except SettingsError:
            raise
        except ToposcopeError as error:
            problems.append({"stack": str(path), "method": None, "problem": str(error)})
            continue
        whole = path.resolve()
        cases.append(replace(case, name=f"{whole.parent.name}/{case.name}") if whole.name in same_name else case)
    if options.validation is not None:
        cases += rendered_cases(options.validation, folder, options.subset, report)
    if options.test is not None:
        cases += rendered_cases(options.test, folder, options.subset, report, "test")
    if options.dataset:
        if options.root is None:
            raise SettingsError(f"--dataset {options.dataset} needs --root, the folder where it lies.")
        cases += data_set_cases(options.dataset, options.root, options.split, folder, options.subset, options.at_most)
    if problems and not cases:
        more = f" ({len(problems) - 1} more failed, too.)" if len(problems) > 1 else ""
        raise StackError(problems[0]["problem"] + more)
    if not cases:
        raise SettingsError(
            "there is nothing to evaluate on: give stacks with known depth, --validation, --test or --dataset."
        )
    return cases, problems


def _truth(options: argparse.Namespace) -> TruthFile | None:
    from toposcope.core.evaluate import TruthFile

    if options.truth_unit != "stack" and not options.truth:
        raise SettingsError(f"--truth-unit {options.truth_unit} tells what a file holds; name it by --truth.")
    return TruthFile(options.truth, options.truth_unit) if options.truth else None
