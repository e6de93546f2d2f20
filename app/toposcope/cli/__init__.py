"""The engine without a screen.

Results go to standard output, progress and errors to standard error. With ``--json`` standard
output is one JSON object, also when something fails: then it is ``{"error": ..., "kind": ...}``.
"""

from __future__ import annotations

import argparse
import codecs
import json
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from toposcope import __version__
from toposcope.cli import (
    batching,
    capturing,
    comparing,
    estimating,
    evaluating,
    files,
    measuring,
    training,
    tuning,
    watching,
)
from toposcope.cli.options import (
    DONE,
    FAILED,
    INTERRUPTED,
    SOME_FAILED,
    USAGE,
    Answer,
    Parser,
    WrongUsageError,
    sentence,
)
from toposcope.core.jobs import Cancelled, CancelToken, Progress, Report
from toposcope.errors import SettingsError

__all__ = [
    "COMMANDS",
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "SOME_FAILED",
    "USAGE",
    "build_parser",
    "complain",
    "is_for_command_line",
    "main",
]

COMMANDS = (
    "info",
    "depth",
    "batch",
    "watch",
    "curve",
    "compare",
    "measure",
    "evaluate",
    "train",
    "finetune",
    "networks",
    "simulate",
    "capture",
    "export",
    "demo",
)


_READABLE = "toposcope-readable"


def is_for_command_line(arguments: Sequence[str]) -> bool:
    """Whether these arguments are for `main`, not for the window."""
    return any(argument in (*COMMANDS, "-h", "--help", "--version") for argument in arguments[:1])


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for signs that an encoding lacks: a hyphen for a minus, since numbers must not change."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join("-" if sign == "−" else "?" for sign in lacking), error.end


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    codecs.register_error(_READABLE, _readable)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_READABLE)  # a Windows console may not know every sign
    token = CancelToken()
    try:
        with _signals_cancel(token):
            options = build_parser().parse_args(arguments)
    except WrongUsageError as error:
        if "--json" in (sys.argv[1:] if arguments is None else arguments):
            print(json.dumps({"error": str(error), "kind": "WrongUsage"}, indent=2), flush=True)
        complain(str(error))
        return USAGE
    except SystemExit as stop:  # after --help and lists
        return stop.code if isinstance(stop.code, int) else USAGE
    except BrokenPipeError:
        return _unheard()
    try:
        with _signals_cancel(token), _progress(options.quiet or _speaks_json(options)) as show:
            if not options.debug:
                logging.getLogger().addHandler(logging.NullHandler())  # libraries' warnings are not our sentences
            answer: Answer = options.run(options, token.guard(show))
        print(json.dumps(answer.facts, indent=2) if options.json else answer.text, flush=True)
        for complaint in answer.complaints:
            complain(complaint)
        return answer.code
    except (Cancelled, KeyboardInterrupt) as stop:
        return _failed(options, str(stop) or "interrupted", "Interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _unheard()
    except Exception as error:  # the last door: the user gets a sentence
        if options.debug:
            raise
        return _failed(options, sentence(error), type(error).__name__, _exit_code(error))


def _speaks_json(options: argparse.Namespace) -> bool:
    """Whether the command writes its own progress, as lines of JSON."""
    return options.json and getattr(options, "json_progress", False)


def _failed(options: argparse.Namespace, text: str, kind: str, code: int) -> int:
    if options.json:
        print(json.dumps({"error": text, "kind": kind}, indent=2), flush=True)
    complain(text)
    return code


def _unheard() -> int:
    """Say nothing more, since whoever read our output has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def complain(text: str) -> None:
    """Write one sentence about what went wrong to standard error."""
    print(f"toposcope: error: {text}", file=sys.stderr, flush=True)


def _exit_code(error: Exception) -> int:
    return USAGE if isinstance(error, SettingsError) else FAILED


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
    shown = ""

    def show(progress: Progress) -> None:
        nonlocal last, shown
        if quiet or time.monotonic() - last < pause:
            return
        known = not math.isnan(progress.fraction)
        line = f"{100 * progress.fraction:3.0f} %  {progress.text}" if known else progress.text
        if line == shown and not terminal:
            return  # a log of a long wait need not repeat itself
        last, shown = time.monotonic(), line
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            line = f"\r{line[:width].ljust(width)}"
        print(line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if terminal and shown:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{' ' * width}\r", end="", file=sys.stderr, flush=True)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all sub-commands."""
    parser = Parser(
        prog="toposcope",
        description="Turn focal stacks into depth. Without a sub-command, toposcope [STACK] opens the window.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some stacks failed, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"toposcope {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        estimating.add_info,
        estimating.add_depth,
        batching.add_batch,
        watching.add_watch,
        estimating.add_curve,
        comparing.add_compare,
        measuring.add_measure,
        evaluating.add_evaluate,
        training.add_train,
        tuning.add_finetune,
        tuning.add_networks,
        files.add_simulate,
        capturing.add_capture,
        files.add_export,
        estimating.add_demo,
    ):
        add(commands)
    return parser
