"""`toposcope evaluate`: methods side by side on stacks whose depth is known."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from toposcope.core.jobs import Report, part
from toposcope.errors import SettingsError, StackError, ToposcopeError

if TYPE_CHECKING:
    from toposcope.core.evaluate import Case, Comparison, Contender, TruthFile

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
        help="file of the true depth in each folder, TIFF or .npy (default: true_depth.tif or gt_slice_index.tif)",
    )
    stacks.add_argument(
        "--truth-unit",
        choices=("stack", "slices"),
        default="stack",
        help="what the numbers in --truth are: positions in the unit of the stack, or slices from 0",
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
        help="names of methods, or all (default: the best-known classical ones and all networks)",
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
        "-o", "--output", type=Path, metavar="OUT", help="folder for the table as CSV, JSON and Markdown"
    )
    table.add_argument("--errors", action="store_true", help="draw a map of the errors of each stack and method, too")


def data_set_list() -> str:
    """Return the public data sets that can be read, for reading."""
    from dffnets.data import CARDS

    lines: list[str] = []
    for card in CARDS.values():
        lines += [f"{card.name}: {card.title}", f"    {card.paper}", f"    {card.source}"]
        lines += [f"    Licence: {card.licence}", f"    --split {' | '.join(card.splits)}"]
    return "\n".join(lines)


def _setting(text: str) -> Setting:
    names, value = assignment(text)
    method, dot, name = names.partition(".")
    if not (dot and method and name):
        raise argparse.ArgumentTypeError(f"{text!r} names no method; write METHOD.NAME=VALUE such as sml.window=9")
    return method, name, value


def _evaluate(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.evaluate import EvaluateSettings, comparison_facts, error_writer, evaluate, write_comparison

    contenders = _contenders(options.methods, options.set)
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
        found = evaluate(cases, contenders, settings, part(report, 0.1, 1), draw)
    if all(row.problem for row in found.rows):
        raise StackError(f"no method could answer for any stack; {found.rows[0].method}: {found.rows[0].problem}")
    files = write_comparison(found, options.output) if options.output else {}
    if options.errors:
        files["errors"] = options.output / "errors"
    problems += [{"stack": row.stack, "method": row.method, "problem": str(row.problem)} for row in found.problems]
    facts = {**comparison_facts(found), "failed": problems, "files": {name: str(path) for name, path in files.items()}}
    text = [_table(found, options.all_measures), *([written_lines(files)] if files else [])]
    return Answer("\n".join(text), facts, _complaints(problems), SOME_FAILED if problems else DONE)


def _table(found: Comparison, with_all: bool) -> str:
    from toposcope.core.evaluate import FIGURES, SHOWN, text_table

    return text_table(found, FIGURES if with_all else SHOWN)


def _complaints(problems: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    said = [
        f"{problem['method']} on {problem['stack']}: {problem['problem']}" if problem["method"] else problem["problem"]
        for problem in problems
    ]
    more = len(said) - MOST_COMPLAINTS
    return (*said[:MOST_COMPLAINTS], *([f"and {more} more failed; --json and -o list all."] if more > 0 else []))


def _contenders(names: Sequence[str] | None, given: Sequence[Setting]) -> list[Contender]:
    from toposcope.core.estimate import METHODS
    from toposcope.core.evaluate import contender, default_methods

    chosen = dict.fromkeys(default_methods() if names is None else METHODS if names == ("all",) else names)
    for method, name, _ in given:
        if method not in chosen:
            raise SettingsError(
                f"--set {method}.{name} is for none of the methods {', '.join(chosen)}. Add it to --methods."
            )
    return [contender(method, {name: value for one, name, value in given if one == method}) for method in chosen]


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

    if options.truth_unit == "slices" and not options.truth:
        raise SettingsError("--truth-unit slices tells what a file holds; name it by --truth.")
    return TruthFile(options.truth, options.truth_unit) if options.truth else None
