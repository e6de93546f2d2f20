"""What a file holds, before one of its stacks is opened: a picture, the facts, and what is to be chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.source.facts import describe
from toposcope.core.source.opening import open_stack
from toposcope.core.source.options import ChoiceNeeded, OpenOptions
from toposcope.core.stack import Part, Plane

PREVIEW_SIDE = 320
"""A picture is read at the smallest of the scales 1, 2, 4 and 8 whose longer side is this long at least."""

_PLAIN = OpenOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """One stack of a file.

    ``parts`` tell what it was chosen from, ``facts`` are those of `describe`, and ``picture`` is its
    middle slice, reduced.
    """

    parts: tuple[Part, ...]
    facts: Mapping[str, Any]
    picture: Plane


def preview(path: Path | Sequence[Path], options: OpenOptions = _PLAIN, report: Report = silent) -> Preview:
    """Look at the stack that ``options`` choose, and at the first one of what they leave open.

    Raises
    ------
    StackError, FrameError, MissingPartError
        As `open_stack`; nothing is asked.
    """
    while True:
        try:
            stack = open_stack(path, options, part(report, 0, 0.8))
            break
        except ChoiceNeeded as question:  # the series first, then its channel and time
            options = options.choosing({choice.name: 0 for choice in question.choices})
    try:
        report(Progress(0.8, f"reading {stack.source.names[stack.n // 2]}"))
        scale = max(one for one in (1, 2, 4, 8) if one == 1 or max(stack.shape) / one >= PREVIEW_SIDE)
        return Preview(stack.parts, describe(stack), stack.read(stack.n // 2, scale=scale))
    finally:
        stack.close()
