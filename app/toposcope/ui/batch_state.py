"""What the batch window shows, in one frozen value, and words for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from toposcope.core.batch import BatchRow, depth_text
from toposcope.core.calibration import UNIT_SYMBOLS
from toposcope.core.jobs import Progress
from toposcope.core.source import OpenOptions
from toposcope.core.words import duration, number, percent
from toposcope.ui.session import Message

Phase = Literal["idle", "running", "stopping"]


@dataclass(frozen=True, slots=True)
class BatchState:
    """The list of stacks with what came of each, and what is done with them.

    ``looking`` tells that folders are still being looked into. ``index`` and ``share`` are of the running stack.
    ``method`` and ``calibration`` are those of the main window in words, ``calibration`` empty where it knows none;
    ``parts`` says which channel, time or position of files is taken, as there. ``shared`` tells that its calibration
    holds for all stacks, ``skip_broken`` that frames that cannot be read are left out. ``summary`` says what came of
    the last batch.
    """

    rows: tuple[BatchRow, ...] = ()
    phase: Phase = "idle"
    looking: bool = False
    progress: Progress = field(default_factory=lambda: Progress(0.0))
    index: int | None = None
    share: float = 0.0
    folder: str = ""
    formats: tuple[str, ...] = ()
    method: str = ""
    calibration: str = ""
    parts: str = ""
    shared: bool = False
    skip_broken: bool = False
    anew: bool = False
    summary: str = ""
    message: Message | None = None

    @property
    def busy(self) -> bool:
        """Whether a batch is running."""
        return self.phase != "idle"

    @property
    def why_not(self) -> str:
        """What is missing for a start; empty when all is there."""
        if self.looking:
            return "Wait until all folders are looked into"
        if not self.rows:
            return "Add stacks first"
        return "" if self.folder.strip() else "Choose a folder for the results"

    @property
    def count(self) -> str:
        """How many stacks there are, and how they stand."""
        if not self.rows:
            return "Looking for stacks …" if self.looking else "No stacks yet"
        n = len(self.rows)
        states = [row.state for row in self.rows]
        told = [f"{n} stack{'s' * (n != 1)}"]
        for state in ("done", "up to date", "failed"):
            if k := states.count(state):
                told.append(f"{k} {state}")
        return ", ".join(told) + (" – looking for more …" if self.looking else "")


def cells(row: BatchRow, share: float) -> tuple[str, str, str, str, str]:
    """Return name, state, voids, seconds, and depth or what went wrong, for reading."""
    one = row.outcome
    state = f"{row.state} {100 * share:.0f} %" if row.state == "running" else row.state
    if one is None:
        return row.item.name, "" if row.state == "waiting" else state, "", "", row.problem
    rest = f"{depth_text(one)} – {row.problem}" if row.problem else depth_text(one)
    return row.item.name, state, percent(1 - one.known_share), duration(one.seconds), rest


def reading_words(reading: OpenOptions) -> str:
    """Say how stacks are read, as far as something is stated; empty if nothing is."""
    words: list[str] = []
    symbol = UNIT_SYMBOLS[reading.unit] if reading.unit else ""
    if reading.z_step is not None:
        words.append(f"step {number(abs(reading.z_step))} {symbol}{', downwards' if reading.z_step < 0 else ''}")
    elif reading.positions is not None:
        words.append(f"{len(reading.positions)} positions in {symbol}")
    if reading.pixel_um is not None:
        words.append(f"pixel {number(reading.pixel_um)} µm")
    if reading.kind is not None:
        words.append(reading.kind)
    return ", ".join(words)
