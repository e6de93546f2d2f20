"""What the window knows of adapting a network, and what its panel shows of that: pure, no Qt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from dffnets.shipped import shipped_cards
from toposcope.core.adaptation import Plan, Unfinished
from toposcope.core.adapted import Adapted
from toposcope.core.jobs import Progress
from toposcope.core.source.finding import Source
from toposcope.core.tuning import Tuned, TuneSettings, warnings
from toposcope.core.words import duration

Phase = Literal["idle", "running", "paused", "stopping"]
PairKind = Literal["labels", "base", "adapted"]
Pair = tuple[PairKind, PairKind]
"""What is seen left and right of the line."""

PAIRS: Final[dict[Pair, str]] = {
    ("labels", "base"): "Labels | Base",
    ("base", "adapted"): "Before | After",
    ("labels", "adapted"): "Labels | After",
}
USUAL_NAME: Final = "my instrument"


@dataclass(frozen=True, slots=True)
class StackEntry:
    """One stack to learn from. ``facts`` is empty until it was opened, ``sure`` None until it was labelled.

    ``problem`` says why it teaches nothing, or cannot be read.
    """

    source: Source
    facts: str = ""
    sure: float | None = None
    problem: str | None = None

    @property
    def unreadable(self) -> bool:
        """Whether it was tried and could not be opened."""
        return self.problem is not None and self.sure is None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the last adapting ended: a sentence, and how good that is. ``key`` of the new network, if there is one."""

    text: str
    level: Literal["good", "warning", "error"] = "good"
    key: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptState:
    """All of it, in one frozen value.

    ``plan`` is what is being adapted, or what was adapted last; ``better`` whether some state of it so far is
    better than the base. ``labelling`` are the stacks whose labels are being made to be looked at, that one first.
    ``looking`` says what is being made for the picture, ``pair`` what is seen in it of the
    ``chosen`` stack.
    """

    stacks: tuple[StackEntry, ...] = ()
    chosen: int = 0
    settings: TuneSettings = field(default_factory=TuneSettings)
    name: str = USUAL_NAME
    phase: Phase = "idle"
    plan: Plan | None = None
    progress: Progress = field(default_factory=lambda: Progress(0.0))
    seconds_left: float | None = None
    better: bool = False
    notes: tuple[str, ...] = ()
    outcome: Outcome | None = None
    labelling: tuple[Source, ...] = ()
    looking: str = ""
    pair: Pair = ("labels", "base")
    split: float = 0.5
    networks: tuple[Adapted, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether a network is being adapted, or paused."""
        return self.phase != "idle"

    @property
    def entry(self) -> StackEntry | None:
        """The stack that is looked at."""
        return self.stacks[self.chosen] if 0 <= self.chosen < len(self.stacks) else None


@dataclass(frozen=True, slots=True)
class StackLine:
    """One line of the list of stacks."""

    name: str
    facts: str
    warns: bool
    tip: str


@dataclass(frozen=True, slots=True)
class UnfinishedLine:
    """One adaptation that can go on."""

    key: str
    text: str
    can_go_on: bool


@dataclass(frozen=True, slots=True)
class NetworkLine:
    """One adapted network."""

    key: str
    title: str
    tip: str
    usable: bool


@dataclass(frozen=True, slots=True)
class AdaptView:
    """What the panel shows."""

    stacks: tuple[StackLine, ...]
    chosen: int
    settings: TuneSettings
    name: str
    phase: Phase
    editable: bool
    can_look: bool
    can_stop_looking: bool
    can_start: bool
    why_not: str
    fraction: float
    doing: str
    left: str
    notes: tuple[str, ...]
    outcome: Outcome | None
    caption: str
    pair: Pair
    pairs: tuple[Pair, ...]
    has_picture: bool
    split: float
    networks: tuple[NetworkLine, ...]
    unfinished: tuple[UnfinishedLine, ...]
    open_stack: Path | None


def adapt_view(state: AdaptState, open_path: Path | None) -> AdaptView:
    """Return what the panel shows; ``open_path`` is the stack that the window has open."""
    entry = state.entry
    readable = [one for one in state.stacks if not one.unreadable]
    opening = any(not one.facts for one in readable)
    why_not = ""
    if not state.stacks:
        why_not = "Give one stack or more to learn from."
    elif not readable:
        why_not = "None of the stacks can be read."
    elif all(one.problem for one in readable):
        why_not = "None of the stacks teaches anything: see what is said of them."
    there = {path for one in state.stacks for path in one.source.paths}
    tried = state.plan is not None
    return AdaptView(
        stacks=tuple(stack_line(one, name) for one, name in zip(state.stacks, names_of(state.stacks), strict=True)),
        chosen=state.chosen,
        settings=state.settings,
        name=state.name,
        phase=state.phase,
        editable=not state.busy,
        can_look=not state.busy and not state.labelling and any(one.sure is None for one in readable),
        can_stop_looking=not state.busy and bool(state.labelling),
        can_start=not state.busy and not why_not and not opening,
        why_not=why_not or beforehand(state),
        fraction=state.progress.fraction,
        doing=re.sub(r", [^,]* left$", "", state.progress.text),
        left=time_left(state),
        notes=state.notes,
        outcome=state.outcome,
        caption=state.looking or (caption(entry, state) if entry else ""),
        pair=state.pair,
        pairs=tuple(PAIRS) if tried else (("labels", "base"),),
        has_picture=entry is not None and entry.sure is not None,
        split=state.split,
        networks=tuple(
            NetworkLine(one.key, one.title, one.trouble or f"{one.about}\n--method {one.key}", one.trouble is None)
            for one in state.networks
        ),
        unfinished=tuple(unfinished_line(one) for one in state.unfinished) if not state.busy else (),
        open_stack=open_path if open_path is not None and open_path not in there else None,
    )


def left_out(stacks: Sequence[StackEntry]) -> str:
    """Say how many of many stacks will teach nothing; the list may be longer than what is seen of it."""
    count = sum(one.problem is not None for one in stacks)
    if not count:
        return ""
    return f"{count} of {len(stacks)} stacks {'is' if count == 1 else 'are'} left out: see what is said of them."


def beforehand(state: AdaptState) -> str:
    """Say what to think of before time is spent; stacks that nobody looked at are hoped to be good."""
    sure = [1.0 if one.sure is None else one.sure for one in state.stacks if one.problem is None]
    return " ".join([left_out(state.stacks), *warnings(sure, state.settings)]).strip()


def names_of(stacks: Sequence[StackEntry]) -> list[str]:
    """Return what to call the stacks: with the folder that they lie in where others have the same name."""
    names = [one.source.name for one in stacks]
    many = {name for name, count in Counter(names).items() if count > 1}
    return [f"{_place(one.source)} ▸ {name}" if name in many else name for one, name in zip(stacks, names, strict=True)]


def _place(source: Source) -> str:
    inside = source.paths[0].parent
    return (inside.parent if len(source.paths) > 1 else inside).name


def stack_line(entry: StackEntry, name: str) -> StackLine:
    """Return the line of a stack: its size, how much of it has sure labels, or what is wrong with it."""
    facts = entry.facts or ("" if entry.problem else "opening …")
    if entry.sure is not None:
        facts += f" · {100 * entry.sure:.0f} % sure"  # short: docks are narrow
    if entry.problem:
        facts = f"{facts} · left out" if entry.sure is not None else "cannot be read"
    tip = "\n".join(str(path) for path in entry.source.paths[:4])
    return StackLine(name, facts, entry.problem is not None, f"{tip}\n{entry.problem or ''}".strip())


def caption(entry: StackEntry, state: AdaptState) -> str:
    """Say what the picture of a stack shows, or why there is none."""
    if entry.problem:
        return entry.problem  # may begin with the name of a file
    if entry.sure is None:
        return "Its labels are not made yet." if state.busy else "Look at the labels before you spend time on them."
    if "adapted" in state.pair and not state.better:
        return "No state is better than the network as it was, so there is no After to show."
    if "labels" not in state.pair:
        return "Colours are depth, the same on both sides; a new state is looked at when it is better."
    level = state.settings.options.confidence
    return f"Colours are depth. Dark: labels below a confidence of {level:g}, which do not count."


def unfinished_line(one: Unfinished) -> UnfinishedLine:
    """Say how far an unfinished adaptation came."""
    steps = one.plan.settings.options.steps
    count = len(one.plan.sources)
    base = next((card.title for card in shipped_cards() if card.name == one.plan.settings.base), one.plan.settings.base)
    what = f"“{one.plan.name}” ({base}, {count} stack{'s' if count > 1 else ''})"
    if one.running:
        return UnfinishedLine(one.plan.key, f"{what} is being adapted by another window.", False)
    far = f"stopped at step {one.step} of {steps}" if one.step else "stopped while its labels were made"
    return UnfinishedLine(one.plan.key, f"{what} {far}. Nothing is lost.", True)


def time_left(state: AdaptState) -> str:
    """Return the time left in words."""
    if state.phase == "paused":
        return "paused"
    if state.phase == "stopping":
        return "stopping after this step"
    if state.seconds_left is None:
        return ""
    return f"{duration(state.seconds_left)} left, at most"


def outcome_of(tuned: Tuned, network: Adapted | None) -> Outcome:
    """Say how an adaptation ended."""
    took = f"{tuned.steps} steps in {duration(tuned.seconds)}"
    if network is None:
        last = tuned.notes[-1] if tuned.notes else "The base stays selected."
        return Outcome(f"{last} ({took})", "warning")
    closer = 100 * (1 - tuned.after / tuned.before)
    text = (
        f"{network.title} is {closer:.0f} % closer to the held-out labels than the base: {tuned.before:.3f} slices off "
        f"before, {tuned.after:.3f} now ({took}). It is in the list of methods."
    )
    return Outcome(text, "good", network.key)


def with_labels(state: AdaptState, index: int, sure: float, problem: str | None) -> AdaptState:
    """Return the state with what labelling found of a stack."""
    stacks = list(state.stacks)
    stacks[index] = replace(stacks[index], sure=sure, problem=problem)
    return replace(state, stacks=tuple(stacks))
