"""The engine without a screen.

Results go to standard output, progress and errors to standard error. With ``--json`` standard
output is one JSON object, also when something fails: then it is ``{"error": ..., "kind": ...}``.
"""

from __future__ import annotations

import argparse
import glob
import json
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from toposcope import __version__
from toposcope.core.jobs import Cancelled, CancelToken, Progress, Report, part
from toposcope.errors import FrameError, OutputError, SettingsError, ToposcopeError

if TYPE_CHECKING:  # numpy and OpenCV are loaded by the command that needs them
    from toposcope.core.curve import FocusCurve
    from toposcope.core.result import DepthResult
    from toposcope.core.source import OpenOptions
    from toposcope.core.stack import FocalStack

DONE, FAILED, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes."""

COMMANDS = ("info", "depth", "curve", "simulate", "export", "demo")
DEMO_FOLDER = Path("toposcope-output")
_RESULT_STEMS = ("depth", "confidence", "all_in_focus", "surface_3d")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: for people and, with ``--json``, for machines."""

    text: str
    facts: dict[str, Any]


Command = Callable[[argparse.Namespace, Report], Answer]


def is_for_command_line(arguments: Sequence[str]) -> bool:
    """Whether these arguments are for `main`, not for the window."""
    return any(argument in (*COMMANDS, "-h", "--help", "--version") for argument in arguments[:1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a Windows console may not know every sign
    token = CancelToken()
    try:
        with _signals_cancel(token):
            options = build_parser().parse_args(arguments)
    except _WrongUsageError as error:
        if "--json" in (sys.argv[1:] if arguments is None else arguments):
            print(json.dumps({"error": str(error), "kind": "WrongUsage"}, indent=2), flush=True)
        complain(str(error))
        return USAGE
    except SystemExit as stop:  # after --help and lists
        return stop.code if isinstance(stop.code, int) else USAGE
    try:
        with _signals_cancel(token), _progress(options.quiet) as show:
            if not options.debug:
                logging.getLogger().addHandler(logging.NullHandler())  # libraries' warnings are not our sentences
            answer = options.run(options, token.guard(show))
        print(json.dumps(answer.facts, indent=2) if options.json else answer.text, flush=True)
    except (Cancelled, KeyboardInterrupt):
        return _failed(options, "interrupted", "Interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # the last door: the user gets a sentence
        if options.debug:
            raise
        return _failed(options, _sentence(error), type(error).__name__, _exit_code(error))
    return DONE


def _failed(options: argparse.Namespace, text: str, kind: str, code: int) -> int:
    if options.json:
        print(json.dumps({"error": text, "kind": kind}, indent=2), flush=True)
    complain(text)
    return code


def complain(text: str) -> None:
    """Write one sentence about what went wrong to standard error."""
    print(f"toposcope: error: {text}", file=sys.stderr, flush=True)


def _exit_code(error: Exception) -> int:
    return USAGE if isinstance(error, SettingsError) else FAILED


def _sentence(error: Exception) -> str:
    from toposcope.core.source import ChoiceNeeded

    if isinstance(error, ChoiceNeeded):
        ways = [f"--{c.name} 0 ({c.options[0]}) to {len(c.options) - 1} ({c.options[-1]})" for c in error.choices]
        return f"{error} Add {' and '.join(ways)}."
    if isinstance(error, FrameError) and "Skip" in str(error):
        return f"{error} (--skip {shlex.quote(error.name)}, or --skip-broken)"
    if isinstance(error, ToposcopeError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory. Close other programs, or make the pictures smaller."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}. This is a fault of Toposcope; --debug shows where."


@contextmanager
def _signals_cancel(token: CancelToken) -> Iterator[None]:
    """Let Ctrl-C and a polite kill stop the work at its next report, so that no half file stays.

    The second Ctrl-C stops it at once.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)

    def cancel(number: int, frame: object) -> None:
        if token.is_cancelled:
            raise KeyboardInterrupt
        token.cancel()

    before = [signal.signal(number, cancel) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _progress(quiet: bool) -> Iterator[Report]:
    """Give a report that writes to standard error: one line kept up to date, or a line now and then in a log."""
    terminal = sys.stderr.isatty()
    pause = 0.1 if terminal else 5.0
    last = time.monotonic() - (pause if terminal else 0)
    shown = False

    def show(progress: Progress) -> None:
        nonlocal last, shown
        if quiet or time.monotonic() - last < pause:
            return
        last = time.monotonic()
        line = f"{100 * progress.fraction:3.0f} %  {progress.text}"
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            line = f"\r{line[:width].ljust(width)}"
        print(line, end="" if terminal else "\n", file=sys.stderr, flush=True)
        shown = True

    try:
        yield show
    finally:
        if terminal and shown:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{' ' * width}\r", end="", file=sys.stderr, flush=True)


# --- the options -------------------------------------------------------------------------------


class _WrongUsageError(Exception):
    """The arguments make no sense."""


class _Parser(argparse.ArgumentParser):
    """A parser that leaves it to `main` to end the program, which may have JSON to print."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise _WrongUsageError(message)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all sub-commands."""
    parser = _Parser(
        prog="toposcope",
        description="Turn focal stacks into depth. Without a sub-command, toposcope [STACK] opens the window.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"toposcope {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    info = _command(commands, "info", _info, "say what a stack is, and where each value comes from")
    _add_stack(info)
    info.add_argument("--frames", action="store_true", help="list the frames with their positions, too")

    depth = _command(commands, "depth", _depth, "compute depth, confidence and an all-in-focus picture")
    _add_stack(depth)
    _add_method(depth)
    depth.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    depth.add_argument(
        "--image", choices=("tif", "png", "jpg"), help="format of the all-in-focus picture (default: that of the stack)"
    )
    depth.add_argument("--pictures", action="store_true", help="draw depth.png and surface_3d.png, too")

    curve = _command(commands, "curve", _curve, "print the focus curve of pixels as CSV, with a verdict in words")
    _add_stack(curve)
    _add_method(curve)
    curve.add_argument(
        "--at", required=True, action="append", type=_pixel, metavar="ROW,COL", help="pixel; may be given several times"
    )
    curve.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the CSV here instead")
    curve.add_argument("--picture", type=Path, metavar="PNG", help="draw the curve of the first pixel, too")

    _add_simulate(_command(commands, "simulate", _simulate, "render a focal stack with known depth"))
    _add_export(_command(commands, "export", _export, "write a result of `toposcope depth` in another format"))

    demo = _command(commands, "demo", _demo, "show what Toposcope does, in a folder of pictures; on the sample stack")
    demo.add_argument("stack", nargs="*", metavar="STACK", help="another stack")
    demo.add_argument(
        "-o", "--output", type=Path, default=DEMO_FOLDER, metavar="OUT", help="folder (default: %(default)s)"
    )
    return parser


def _command(
    commands: argparse._SubParsersAction[_Parser], name: str, run: Command, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def _add_stack(parser: argparse.ArgumentParser) -> None:
    from toposcope.core.calibration import KINDS, UNITS

    parser.add_argument(
        "stack", nargs="+", metavar="STACK", help="a folder of images, an image file with many pages, or all the files"
    )
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
    positions.add_argument("--z-step", type=_length, metavar="LENGTH", help="equal step between frames, such as 2.5um")
    group.add_argument("--unit", choices=UNITS, help="unit of the positions")
    group.add_argument(
        "--kind", choices=KINDS, help="positions are heights (microscope) or distances from the lens (camera)"
    )
    group.add_argument("--near", choices=("low", "high"), help="which end of the positions is nearer to the lens")
    group.add_argument(
        "--pixel-size", type=_length, metavar="LENGTH", help="side of a pixel on the object, such as 0.5um"
    )
    for name in ("series", "channel", "time"):
        group.add_argument(
            f"--{name}", type=int, metavar="N", help=f"which {name} of a file that holds several, from 0"
        )


def _add_method(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the method")
    group.add_argument("--method", default="default", metavar="NAME", help="name of a method (default: %(default)s)")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="setting of the method; may be given several times",
    )
    group.add_argument(
        "--list-methods", action=_List, text=method_list, help="list the methods with their settings, and stop"
    )
    group.add_argument(
        "--align", choices=("auto", "none"), default="auto", help="register the frames if they need it, or never"
    )
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where networks run; the classical methods take the CPU",
    )
    group.add_argument("--threads", type=_count, default=0, metavar="K", help="threads to use (default: all)")


class _List(argparse.Action):
    """An option that prints a list and stops, as ``--help`` does."""

    def __init__(self, option_strings: Sequence[str], dest: str, text: Callable[[], str], help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)
        self._text = text

    def __call__(self, parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> NoReturn:
        print(self._text())
        parser.exit()


def method_list() -> str:
    """Return all methods and their settings, for reading."""
    from dataclasses import fields

    from toposcope.core.estimate import METHODS

    lines: list[str] = []
    for card in METHODS.values():
        lines += [f"{card.name}: {card.title}", f"    {card.good_at}", f"    Source: {card.source}"]
        lines += [*_setting_lines(fields(card.settings)), ""]
    return "\n".join(lines).rstrip()


def _setting_lines(settings: Iterable[Any]) -> list[str]:
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


def _pixel(text: str) -> tuple[int, int]:
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no pixel; write ROW,COL such as 120,64") from None
    return row, column


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads")
    return int(text)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} sets nothing; write NAME=VALUE such as window=9")
    return name, value


def _length(text: str) -> tuple[float, Any]:
    from toposcope.core.source import parse_length

    try:
        return parse_length(text)
    except ToposcopeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# --- the commands ------------------------------------------------------------------------------


def _info(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.source import describe

    with _opened(options, report) as stack:
        facts = describe(stack)
    lines = _stack_lines(facts)
    if options.frames:
        positions = facts["positions"]["value"]
        lines += [f"{position:>14g}  {name}" for position, name in zip(positions, facts["names"], strict=True)]
    return Answer("\n".join(lines), facts)


def _depth(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.export import together

    _check_folder(options.output)
    with _opened(options, part(report, 0, 0.02)) as stack:
        _spare_frames(stack, options.output)
        result = _estimate(options, stack, part(report, 0.02, 0.9))
        with together():
            files = _write(result, options.output, options.image, part(report, 0.9, 0.97))
            if options.pictures:
                files |= _write_pictures(result, options.output)
    return _result_answer(stack, result, files)


def _curve(options: argparse.Namespace, report: Report) -> Answer:
    with _opened(options, part(report, 0, 0.02)) as stack:
        _check_pixels(options.at, stack)
        result = _estimate(options, stack, part(report, 0.02, 1), keep_volume=True)
        try:
            return _curves_answer(options, result)
        finally:
            if result.volume is not None:
                result.volume.close()


def _demo(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.estimate import EstimateSettings, estimate
    from toposcope.core.resources import sample_path
    from toposcope.core.source import open_stack

    _check_folder(options.output)
    stack = open_stack(_paths(options.stack) if options.stack else sample_path(), report=part(report, 0, 0.02))
    try:
        result = estimate(stack, EstimateSettings(keep_volume=True), part(report, 0.02, 0.85))
        try:
            files = _write(result, options.output, None, part(report, 0.85, 0.9))
            files |= _write_pictures(result, options.output)
            files |= _write_best_curve(result, options.output)
        finally:
            if result.volume is not None:
                result.volume.close()
    finally:
        stack.close()
    return _result_answer(stack, result, files)


# --- what the commands share -------------------------------------------------------------------


@contextmanager
def _opened(options: argparse.Namespace, report: Report) -> Iterator[FocalStack]:
    """Open the stack that the options describe, and close it at the end."""
    from toposcope.core.source import open_stack

    stack = open_stack(_paths(options.stack), _open_options(options), report)
    try:
        yield stack
    finally:
        stack.close()


def _paths(names: Sequence[str]) -> Path | list[Path]:
    """Return the files that were named; patterns are filled in here where the shell does not."""
    found: list[str] = []
    for name in names:
        found += (sorted(glob.glob(name)) if not os.path.exists(name) else []) or [name]
    return Path(found[0]) if len(found) == 1 else [Path(name) for name in found]


def _open_options(options: argparse.Namespace) -> OpenOptions:
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


def _estimate(options: argparse.Namespace, stack: FocalStack, report: Report, keep_volume: bool = False) -> DepthResult:
    from toposcope.core.estimate import METHODS, EstimateSettings, estimate
    from toposcope.core.settings import checked

    card = METHODS.get(options.method)  # estimate refuses an unknown name, and lists the known ones
    settings = EstimateSettings(
        method=options.method,
        options=checked(card.settings, dict(options.set)) if card else None,
        align=options.align,
        keep_volume=keep_volume,
        threads=options.threads,
        device=options.device,
    )
    return estimate(stack, settings, report)


def _check_pixels(pixels: Sequence[tuple[int, int]], stack: FocalStack) -> None:
    height, width = stack.shape
    for row, column in pixels:
        if not (0 <= row < height and 0 <= column < width):
            raise SettingsError(
                f"pixel {row},{column} lies outside of {stack.name}: "
                f"rows go from 0 to {height - 1}, columns from 0 to {width - 1}."
            )


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to before minutes are spent on what it is for."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise OutputError(f"{there} is a file, so no folder can be made there. Choose another folder with -o.")
    if not os.access(there, os.W_OK):
        raise OutputError(f"{there} may not be written to. Choose another folder with -o.")


def _spare_frames(stack: FocalStack, folder: Path) -> None:
    """Refuse a folder where results would take the place of the frames that they are made from."""
    for i in range(stack.source.n):
        path = stack.source.file(i)
        if path and path.stem in _RESULT_STEMS and path.resolve().parent == folder.resolve():
            raise OutputError(f"{path} would be written over by its own result. Choose another folder with -o.")


def _write(result: DepthResult, folder: Path, image: str | None, report: Report) -> dict[str, Path]:
    from toposcope.core.export import write_result

    return write_result(result, folder, image, report)


def _write_pictures(result: DepthResult, folder: Path) -> dict[str, Path]:
    """Draw the depth with its colour bar and the surface in 3D; return the files by what they show."""
    from toposcope.core.export import write_image
    from toposcope.core.pictures import map_picture, surface_picture

    pixel_um = result.pixel_um.value if result.pixel_um else None
    depth = map_picture(result.depth, result.unit_symbol, "position of best focus", pixel_um=pixel_um)
    surface = surface_picture(result.heights(), result.all_in_focus, result.pixel_pitch, result.unit_symbol)
    files = {"depth_picture": folder / "depth.png", "surface_picture": folder / "surface_3d.png"}
    write_image(depth, files["depth_picture"])
    write_image(surface, files["surface_picture"])
    return files


def _write_best_curve(result: DepthResult, folder: Path) -> dict[str, Path]:
    """Draw the focus curve of the pixel that is known best."""
    import numpy as np

    from toposcope.core.curve import curve_at
    from toposcope.core.export import write_image
    from toposcope.core.pictures import curve_picture

    row, column = np.unravel_index(int(np.nanargmax(result.confidence)), result.shape)
    path = folder / "curve.png"
    write_image(curve_picture(curve_at(result, int(row), int(column))), path)
    return {"curve_picture": path}


def _curves_answer(options: argparse.Namespace, result: DepthResult) -> Answer:
    from toposcope.core.curve import curve_at
    from toposcope.core.export import curves_csv, write_curves_csv, write_image
    from toposcope.core.pictures import curve_picture

    curves = [curve_at(result, row, column) for row, column in options.at]
    verdicts = [f"# row {curve.row}, column {curve.column}: {curve.verdict.text}" for curve in curves]
    if options.picture:
        write_image(curve_picture(curves[0]), options.picture)
    if options.output:
        write_curves_csv(curves, options.output)
    else:
        verdicts.append(curves_csv(curves).rstrip())
    return Answer("\n".join(verdicts), {"curves": [_curve_facts(curve) for curve in curves]})


def _curve_facts(curve: FocusCurve) -> dict[str, Any]:
    return {
        "row": curve.row,
        "column": curve.column,
        "unit": curve.unit_symbol,
        "depth": _number(curve.depth),
        "peak": _number(curve.position),
        "width": _number(curve.width),
        "verdict": {"shape": curve.verdict.shape, "text": curve.verdict.text},
        "peaks": [{"position": peak.position, "probability": peak.probability} for peak in curve.peaks],
        "positions": curve.positions.tolist(),
        "probability": curve.probability.tolist(),
        "measure": None if curve.measure is None else curve.measure.tolist(),
    }


def _number(value: float) -> float | None:
    """Return a number that JSON knows: NaN becomes null."""
    return float(value) if value == value else None


def _stack_lines(facts: dict[str, Any]) -> list[str]:
    """Say what a stack is, one line a fact, guesses marked as guesses."""
    from toposcope.core.calibration import UNIT_SYMBOLS

    unit, colour = UNIT_SYMBOLS[facts["unit"]], "colour" if facts["channels"] == 3 else "grey"
    low, high = facts["range"]
    step = "unequal steps" if facts["step"] is None else f"step {facts['step']:.6g} {unit}"
    pixel = facts["pixel_um"]
    rows = [
        ("stack", facts["name"]),
        ("frames", f"{facts['frames']} of {facts['width']} × {facts['height']}, {colour}, {facts['bits']} bit"),
        ("positions", f"{low:.6g} to {high:.6g} {unit}, {step}{_origin(facts['positions'])}"),
        ("kind", f"{facts['kind']['value']}{_origin(facts['kind'])}"),
        ("near side", f"{facts['near']['value']} positions{_origin(facts['near'])}"),
        ("pixel size", f"{pixel['value']:.6g} µm{_origin(pixel)}" if pixel else "unknown"),
        *(("note", note) for note in facts["notes"]),
    ]
    return [f"{name:<12}{text}" for name, text in rows]


def _origin(fact: dict[str, Any]) -> str:
    guess = "a guess: " if fact["guessed"] and not fact["origin"].startswith("guess") else ""
    return f" ({guess}{fact['origin']})"


def _result_answer(stack: FocalStack, result: DepthResult, files: dict[str, Path]) -> Answer:
    """Say what was computed and where it is; for machines as result.json has it, with whole paths."""
    from toposcope.core.source import describe

    facts = json.loads(files["result"].read_text(encoding="utf-8"))
    depth, unit = facts["depth"], result.unit_symbol
    spread = f"{depth['min']:.6g} to {depth['max']:.6g} {unit}, " if result.valid.any() else ""
    text = [
        *_stack_lines(describe(stack)),
        f"{'method':<12}{result.provenance.method}, {result.provenance.seconds:.1f} s",
        f"{'alignment':<12}{result.alignment.text if result.alignment else 'not wanted'}",
        f"{'depth':<12}{spread}known for {100 * depth['known_share']:.1f} % of the pixels",
        *(f"{'sweep':<12}{note.text}" for note in result.sweep.notes),
        _written(files),
    ]
    return Answer("\n".join(text), {**facts, "files": {name: str(path) for name, path in files.items()}})


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="folder for the stack")
    parser.add_argument("--scene", default="sample", metavar="NAME", help="what to render (default: %(default)s)")
    parser.add_argument("--slices", type=_count, metavar="N", help="number of frames (default: that of the scene)")
    parser.add_argument("--seed", type=int, help="another number gives another texture and noise")
    parser.add_argument("--format", choices=("jpg", "png", "tif"), default="jpg", help="of the frames")
    parser.add_argument("--list-scenes", action=_List, text=scene_list, help="list the scenes, and stop")


def scene_list() -> str:
    """Return all scenes, for reading."""
    from toposcope.core.simulate import scene_titles

    return "\n".join(f"{name:<14}{title}" for name, title in scene_titles().items())


def _simulate(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.simulate import SimulateSettings, simulate

    _check_folder(options.output)
    settings = SimulateSettings(options.scene, options.seed, options.slices, options.format)
    files = simulate(options.output, settings, report)
    return Answer(_written(files), {"files": {name: str(path) for name, path in files.items()}})


def _written(files: dict[str, Path]) -> str:
    return "\n".join(f"{'written':<12}{path}" for path in files.values())


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", type=Path, metavar="RESULT", help="folder of a result, or its result.json")
    parser.add_argument(
        "--to",
        required=True,
        action="append",
        metavar="FORMAT",
        help="such as ply, stl, depth16; may be given several times",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file or folder (default: beside the result)")
    parser.add_argument(
        "--set", action="append", default=[], type=_assignment, metavar="NAME=VALUE", help="option of the format"
    )
    parser.add_argument(
        "--list-formats", action=_List, text=format_list, help="list the formats and their options, and stop"
    )


def format_list() -> str:
    """Return all formats that a stored result can be written in, for reading."""
    from dataclasses import fields

    from toposcope.core.export import FORMATS, ExportOptions

    lines = [f"{card.name:<14}{card.title}" for card in FORMATS.values() if card.needs == "depth"]
    return "\n".join([*lines, *_setting_lines(fields(ExportOptions))])


def _export(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.export import FORMATS, ExportOptions, export, read_result
    from toposcope.core.settings import checked

    wishes = checked(ExportOptions, dict(options.set))
    for name in options.to:
        if name in FORMATS and FORMATS[name].needs == "curves":
            raise SettingsError(
                f"a stored result has no focus curves; `toposcope curve` writes {FORMATS[name].file_name}."
            )
    if len(options.to) > 1 and options.output and not options.output.is_dir():
        raise SettingsError("several formats need a folder, not a file, after -o. Make the folder first.")
    result = read_result(options.result)
    beside = options.result if options.result.is_dir() else options.result.parent
    files: dict[str, Path] = {}
    for i, name in enumerate(options.to):
        share = part(report, i / len(options.to), (i + 1) / len(options.to))
        written = export(result, name, options.output or beside, wishes, share)
        files |= {name if k == 0 else f"{name}_{k}": path for k, path in enumerate(written)}
    return Answer(_written(files), {"files": {name: str(path) for name, path in files.items()}})
