"""What the commands share: options, their checks, and what they make of them."""

from __future__ import annotations

import argparse
import glob
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from toposcope.core.jobs import Report
from toposcope.errors import FrameError, OutputError, SettingsError, ToposcopeError

if TYPE_CHECKING:  # numpy and OpenCV are loaded by the command that needs them
    from toposcope.core.method import EstimateSettings
    from toposcope.core.project import Project
    from toposcope.core.result import DepthResult
    from toposcope.core.source import OpenOptions
    from toposcope.core.stack import FocalStack


DONE, FAILED, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes."""

ALIGN_MODES = ("auto", "learned", "none")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: for people and, with ``--json``, for machines.

    ``complaints`` are sentences about parts that failed, ``code`` the exit code.
    """

    text: str
    facts: dict[str, Any]
    complaints: tuple[str, ...] = ()
    code: int = DONE


Command = Callable[[argparse.Namespace, Report], Answer]
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def with_option(error: ToposcopeError) -> str:
    """Return the sentence of an error, and the option that does what it advises."""
    return f"{error} ({error.option})" if error.option else str(error)


def sentence(error: Exception) -> str:
    """Return what went wrong, with the options that do what it advises."""
    from toposcope.core.source import ChoiceNeeded

    if isinstance(error, ChoiceNeeded):
        ways = [f"--{c.name} 0 ({c.options[0]}) to {len(c.options) - 1} ({c.options[-1]})" for c in error.choices]
        return f"{error} Add {' and '.join(ways)}."
    if isinstance(error, FrameError) and "Skip" in str(error):
        return f"{error} (--skip {shlex.quote(error.name)}, or --skip-broken)"
    if isinstance(error, ToposcopeError):
        return with_option(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory. Close other programs, or make the pictures smaller."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}. This is a fault of Toposcope; --debug shows where."


class WrongUsageError(Exception):
    """The arguments make no sense."""


class Parser(argparse.ArgumentParser):
    """A parser that leaves it to `main` to end the program, which may have JSON to print.

    An argument that begins with a minus and a digit is a value, such as -2.5um, and no option.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # argparse's own knows no units

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise WrongUsageError(message)


def add_command(commands: Commands, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """Add a sub-command with the options that all have."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def add_stack(parser: argparse.ArgumentParser, projects: bool = False) -> None:
    """Add the stack, or also a project, and how it is read; `opened` opens what these say."""
    kinds = "a folder of images, an image file with many pages, or all the files"
    parser.add_argument(
        "stack", nargs="+", metavar="STACK", help=f"{kinds}; or a project of the window" if projects else kinds
    )
    add_reading(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add how stacks are read; `open_options` makes of it what the engine takes."""
    from toposcope.core.calibration import KINDS, UNITS

    group = parser.add_argument_group("reading the stack (what is given here wins over what files say)")
    group.add_argument(
        "--order", choices=("name", "time"), default="name", help="order of a folder: file names or EXIF time"
    )
    group.add_argument("--reverse", action="store_true", help="turn the order around")
    group.add_argument(
        "--skip", action="append", default=[], metavar="FRAME", help="leave out a frame, by name or number from 0"
    )
    group.add_argument("--skip-broken", action="store_true", help="leave out frames that cannot be read")
    positions = group.add_mutually_exclusive_group()
    positions.add_argument("--positions", type=Path, metavar="FILE", help="text file with one focus position a frame")
    positions.add_argument("--z-step", type=length, metavar="LENGTH", help="equal step between frames, such as 2.5um")
    group.add_argument("--unit", choices=UNITS, help="unit of the positions")
    group.add_argument(
        "--kind", choices=KINDS, help="positions are heights (microscope) or distances from the lens (camera)"
    )
    group.add_argument("--near", choices=("low", "high"), help="which end of the positions is nearer to the lens")
    group.add_argument(
        "--pixel-size", type=length, metavar="LENGTH", help="side of a pixel on the object, such as 0.5um"
    )
    for name, others, what in (
        ("series", ("--scene", "--position"), "series, scene or stage position"),
        ("channel", (), "channel"),
        ("time", (), "time point"),
    ):
        group.add_argument(
            f"--{name}", *others, type=int, metavar="N", help=f"which {what} of a file that holds several, from 0"
        )


def add_method(parser: argparse.ArgumentParser, unless: str = "") -> None:
    """Add the method and its settings; `estimated` runs what these say.

    ``unless`` names an option that tells method and alignment where the user does not: they are None then.
    """
    group = parser.add_argument_group("the method")
    group.add_argument(
        "--method",
        default=None if unless else "default",
        metavar="NAME",
        help="name of a method, or FILE.py:CARD for one of your own (default: "
        f"{f'that of {unless}, or ' if unless else ''}default)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        type=assignment,
        metavar="NAME=VALUE",
        help="setting of the method; may be given several times",
    )
    group.add_argument(
        "--list-methods", action=ListAction, text=method_list, help="list the methods with their settings, and stop"
    )
    group.add_argument(
        "--align",
        choices=ALIGN_MODES,
        default=None if unless else "auto",
        help="register the frames if they need it; by a network, which is less exact and knows no rotation; or never",
    )
    add_machine(group)
    group.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="run a network with these weights (.safetensors) of the same network; or the name of an adapted one",
    )


def add_machine(group: argparse._ArgumentGroup) -> None:
    """Add what a method runs on."""
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where networks run; the classical methods take the CPU",
    )
    group.add_argument("--threads", type=count, default=0, metavar="K", help="threads to use (default: all)")


class ListAction(argparse.Action):
    """An option that prints a list and stops, as ``--help`` does."""

    def __init__(self, option_strings: Sequence[str], dest: str, text: Callable[[], str], help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)
        self._text = text

    def __call__(self, parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> NoReturn:
        print(self._text(), flush=True)
        parser.exit()


def method_list() -> str:
    """Return all methods and their settings, for reading."""
    from dataclasses import fields

    from toposcope.core.adapted import AdaptedNetworks
    from toposcope.core.estimate import METHODS

    lines: list[str] = []
    for card in (*METHODS.values(), *AdaptedNetworks().cards().values()):
        lines += [f"{card.name}: {card.title}", f"    {card.good_at}", f"    Source: {card.source}"]
        lines += [*setting_lines(fields(card.settings)), ""]
    return "\n".join(lines).rstrip()


def setting_lines(settings: Iterable[Any]) -> list[str]:
    """Describe fields made by `toposcope.core.settings.setting`, one line each."""
    lines = []
    for field in settings:
        about = field.metadata
        if about["choices"]:
            limits = ", ".join(about["choices"])
        elif isinstance(field.default, bool):
            limits = "yes or no"
        else:
            limits = f"{about['min']:g} to {about['max']:g} {about['unit']}".rstrip()
        lines.append(f"    --set {field.name}={field.default}  {about['help']} ({limits})")
    return lines


def count(text: str) -> int:
    """Read a whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} sets nothing; write NAME=VALUE such as window=9")
    return name, value


def length(text: str) -> tuple[float, Any]:
    from toposcope.core.source import parse_length

    try:
        return parse_length(text)
    except ToposcopeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@contextmanager
def opened(options: argparse.Namespace, report: Report) -> Iterator[FocalStack]:
    """Open the stack that the options describe, and close it at the end.

    A project becomes ``options.project``, and its stack has what was typed and left out in it.
    """
    from toposcope.core.project import check_alone, is_project, open_project
    from toposcope.core.source import open_stack

    named = paths(options.stack)
    if isinstance(named, Path) and is_project(named):
        options.project, stack = open_project(named, report, open_options(options))
    else:
        check_alone(named if isinstance(named, list) else [named])
        stack = open_stack(named, open_options(options), report)
    try:
        yield stack
    finally:
        stack.close()


def paths(names: Sequence[str]) -> Path | list[Path]:
    """Return the files of one stack that were named; see `each_path`."""
    found = each_path(names)
    return found[0] if len(found) == 1 else found


def each_path(names: Sequence[str]) -> list[Path]:
    """Return what was named; patterns are filled in here where the shell does not."""
    found: list[str] = []
    for name in names:
        found += (sorted(glob.glob(name)) if not os.path.exists(name) else []) or [name]
    return [Path(name) for name in found]


def open_options(options: argparse.Namespace) -> OpenOptions:
    from toposcope.core.calibration import MICROMETRES
    from toposcope.core.source import OpenOptions

    step, unit = None, options.unit
    if options.z_step:
        step, own = options.z_step
        unit = unit or own
        if unit == "index":
            raise SettingsError("--z-step is a length, so --unit index contradicts it. Leave one of them out.")
        step *= MICROMETRES[own] / MICROMETRES[unit]
    pixel = options.pixel_size
    return OpenOptions(
        order=options.order,
        reverse=options.reverse,
        skip=tuple(int(name) if name.isdecimal() else name for name in options.skip),
        skip_broken=options.skip_broken,
        positions_file=options.positions,
        z_step=step,
        unit=unit,
        kind=options.kind,
        near=options.near,
        pixel_um=pixel and pixel[0] * MICROMETRES[pixel[1]],
        series=options.series,
        channel=options.channel,
        time=options.time,
    )


def estimated(options: argparse.Namespace, stack: FocalStack, report: Report, keep_volume: bool = False) -> DepthResult:
    from toposcope.core.estimate import estimate

    return estimate(stack, replace(estimate_settings(options), keep_volume=keep_volume), report)


def estimate_settings(options: argparse.Namespace) -> EstimateSettings:
    """Return how to estimate by the options that `add_method` adds, and by the project where they say nothing."""
    from toposcope.core.adapted import weights_file
    from toposcope.core.estimate import EstimateSettings, find_method

    project: Project | None = getattr(options, "project", None)
    card = find_method(options.method or (project.method if project is not None else "default"))
    chosen: dict[str, Any] = {}
    weights = options.weights and weights_file(options.weights)
    if project is not None and find_method(project.method).name == card.name:
        chosen, weights = dict(project.options or {}), weights or project.weights
    return EstimateSettings(
        method=card.name,
        options=card.checked(chosen | dict(options.set)),
        align=options.align or (project.align if project is not None else "auto"),
        threads=options.threads,
        device=options.device,
        weights=weights,
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to before minutes are spent on what it is for."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise OutputError(f"{there} is a file, so no folder can be made there. Choose another folder with -o.")
    if not os.access(there, os.W_OK):
        raise OutputError(f"{there} may not be written to. Choose another folder with -o.")


def written_lines(files: dict[str, Path]) -> str:
    return "\n".join(f"{'written':<12}{path}" for path in files.values())
