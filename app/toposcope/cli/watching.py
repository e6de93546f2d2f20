"""`toposcope watch`: depth that grows while a microscope writes its slices, and the result when the sweep ends."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from toposcope.cli.estimating import result_answer, write_pictures
from toposcope.cli.options import (
    SOME_FAILED,
    Answer,
    Commands,
    add_command,
    add_method,
    add_reading,
    check_folder,
    count,
    estimated,
    open_options,
)
from toposcope.core.jobs import Cancelled, Progress, Report, part
from toposcope.errors import OutputError, ToposcopeError

if TYPE_CHECKING:  # numpy and OpenCV are loaded by the command that needs them
    from toposcope.core.watching import FolderWatch, Left, News

PREVIEW_NAME = "preview.png"
LOOK_S = 0.5
"""Pause between two looks at the folder, in seconds."""


def add_watch(commands: Commands) -> None:
    """Add `toposcope watch`."""
    watch = add_command(
        commands,
        "watch",
        _watch,
        "follow a folder while slices come into it, and compute the depth when the sweep ends",
    )
    watch.add_argument("folder", type=Path, metavar="DIR", help="folder that a microscope writes its slices into")
    watch.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    ends = watch.add_argument_group(
        "when the sweep ends",
        "By itself when nearly all texture came into focus and went out of it again and nothing new comes; "
        "or at Ctrl-C, of which a second one gives up.",
    )
    ends.add_argument("--slices", type=count, default=0, metavar="N", help="number of slices of a sweep")
    ends.add_argument(
        "--idle", type=seconds, metavar="SECONDS", help="when nothing new came for so long, from the first slice on"
    )
    ends.add_argument(
        "--sweeps", action="store_true", help="go on with the next sweep; results go to OUT/sweep_001, sweep_002, ..."
    )
    watch.add_argument("--new", action="store_true", help="pass over what is in the folder already")
    watch.add_argument(
        "--image", choices=("tif", "png", "jpg"), help="format of the all-in-focus picture (default: that of the stack)"
    )
    watch.add_argument("--pictures", action="store_true", help="draw depth.png and surface_3d.png, too")
    add_reading(watch)
    add_method(watch)


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


@dataclass
class _Told:
    """What was said while watching; ``stopped`` tells that the user asked for the end of the sweep."""

    quiet: bool
    stopped: bool = False
    preview_failed: bool = False
    problem: str | None = None
    broken: set[Left] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        if not self.quiet:
            if sys.stderr.isatty():
                print("\r\x1b[K", end="", file=sys.stderr)
            print(text, file=sys.stderr, flush=True)


def _watch(options: argparse.Namespace, report: Report) -> Answer:
    from toposcope.core.watching import FolderWatch

    check_folder(options.output)
    if options.output.exists() and options.folder.exists() and options.output.samefile(options.folder):
        raise OutputError("results may not go into the folder that is watched. Choose another folder with -o.")
    told = _Told(options.quiet)
    watch = FolderWatch(options.folder, open_options(options), options.slices, options.new)
    answers: list[Answer] = []
    while True:
        with _stoppable(told):
            why = _follow(watch, options, told, report, bool(answers))
        if watch.n == 0 and answers:
            break
        if watch.n == 0 and told.stopped:
            raise Cancelled
        told.say(f"{why} Computing the depth of {watch.n} slices.")
        folder = options.output / f"sweep_{len(answers) + 1:03d}" if options.sweeps else options.output
        try:
            answers.append(_result(watch, folder, options, report))
        except ToposcopeError as error:
            if not options.sweeps:
                raise
            answers.append(Answer(f"{folder.name}: {error}", {"error": str(error)}, code=SOME_FAILED))
            told.complaints.append(f"{folder.name}: {error}")
        if not options.sweeps and watch.following is not None:
            told.complaints.append(
                f"{watch.following} lies where the sweep was already: another sweep, which is left out (--sweeps)."
            )
        if told.stopped or not options.sweeps:
            break
        watch.next_sweep()
    if not options.sweeps:
        (answer,) = answers
        return Answer(answer.text, answer.facts, tuple(told.complaints))
    code = SOME_FAILED if any(answer.code for answer in answers) else 0
    text = "\n\n".join(answer.text for answer in answers)
    return Answer(text, {"sweeps": [answer.facts for answer in answers]}, tuple(told.complaints), code)


@contextmanager
def _stoppable(told: _Told) -> Iterator[None]:
    """Let the first Ctrl-C end the sweep with what is there; what comes then can be interrupted as ever."""

    def stop(number: int, frame: object) -> None:
        if told.stopped:
            raise KeyboardInterrupt
        told.stopped = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(watch: FolderWatch, options: argparse.Namespace, told: _Told, report: Report, is_next: bool) -> str:
    """Look at the folder until the sweep ends, and return why it did; ``is_next`` of a sweep after the first."""
    while True:
        if told.stopped:
            return "Stopped."
        news = watch.look(lambda progress: report(Progress(math.nan, progress.text)))
        _tell(watch, news, told)
        share = watch.n / watch.slices if watch.slices else math.nan
        report(Progress(share, _status(watch, news)))
        if news.changed:
            _write_preview(watch, options.output, told)
        if (why := watch.ended(options.idle)) is not None:
            return why
        if is_next and options.idle is not None and not watch.n and watch.idle_s >= options.idle:
            return f"Nothing new came for {options.idle:g} s."
        _wait(told, report, Progress(share, _status(watch, news)))


def _status(watch: FolderWatch, news: News) -> str:
    return watch.status() if news.problem is None else "waiting for the folder"


def _wait(told: _Told, report: Report, progress: Progress) -> None:
    end = time.monotonic() + LOOK_S
    while not told.stopped and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))
        report(progress)  # where a polite kill surfaces


def _tell(watch: FolderWatch, news: News, told: _Told) -> None:
    for note in news.notes:
        told.say(note)
    for one in news.broken:
        if one not in told.broken:
            told.say(f"{one.name} {one.why}. It is tried again.")
    told.broken.update(news.broken)
    if news.problem != told.problem:
        told.say(f"{news.problem} Waiting for it to come back." if news.problem else f"{watch.folder} is back.")
        told.problem = news.problem


def _write_preview(watch: FolderWatch, folder: Path, told: _Told) -> None:
    """Draw the depth so far; a disk that is full ends nothing, for the next slice tries again."""
    from toposcope.core.export import write_image
    from toposcope.core.export.writing import made_folder
    from toposcope.core.pictures import map_picture, to_picture

    try:
        made_folder(folder)
        depth = watch.growing.depth()
        if (depth == depth).any():
            newest = f"preview of {watch.n} slices"
            picture = map_picture(depth, watch.unit_symbol, (newest, "not aligned"))
        else:
            picture = to_picture(watch.growing.all_in_focus())
        write_image(picture, folder / PREVIEW_NAME)
        told.preview_failed = False
    except OutputError as error:
        if not told.preview_failed:
            told.say(f"{error} Watching goes on without the preview.")
        told.preview_failed = True


def _result(watch: FolderWatch, folder: Path, options: argparse.Namespace, report: Report) -> Answer:
    """Compute the depth of the sweep and write it, as `toposcope depth` does."""
    from toposcope.core.export import together, write_result

    advice, stack = watch.advice(), watch.stack(part(report, 0, 0.02))
    try:
        result = estimated(options, stack, part(report, 0.02, 0.9))
        with together():
            files = write_result(result, folder, options.image, part(report, 0.9, 0.97))
            if options.pictures:
                files |= write_pictures(result, folder)
        return result_answer(stack, result, files, advice)
    finally:
        stack.close()
