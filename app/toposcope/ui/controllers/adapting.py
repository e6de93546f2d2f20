"""Adapting a network in the background: stacks, labels to look at, the work itself, and what comes of it.

::

    stacks added ──opener──> size, or what is wrong
    look asked for ──looker──> labels ──> base ──> adapted network, each a picture as soon as it is there
    start ──runner──> carry_out(plan): labels, steps ──(timer)──> curves, time left; best state ──looker──> picture
                 pause holds it within a step, cancel ends it within one; a killed window finds the plan again
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QUndoCommand, QUndoStack

from toposcope.core import adaptation
from toposcope.core.adaptation import Plan, Unfinished
from toposcope.core.adapted import Adapted, AdaptedNetworks
from toposcope.core.jobs import PauseSwitch, Progress, Report
from toposcope.core.source import ChoiceNeeded, OpenOptions, preview
from toposcope.core.source.finding import Source, sources_from
from toposcope.core.tuning import Labels, Tuned, TuneSettings, network_preview
from toposcope.errors import SettingsError, ToposcopeError
from toposcope.ui.adapt_pictures import Look, labels_picture, look_of, network_picture
from toposcope.ui.adapt_state import (
    USUAL_NAME,
    AdaptState,
    Outcome,
    PairKind,
    StackEntry,
    outcome_of,
    with_labels,
)
from toposcope.ui.controllers.looking import Looker
from toposcope.ui.controllers.looking import Previewer as FilePreviewer
from toposcope.ui.controllers.opening import Ask, Opener, problem
from toposcope.ui.pyramid import Pyramid
from toposcope.ui.session import Job, Offer, Session, State
from toposcope.ui.views.adapt_panel import AdaptPanel
from toposcope.ui.workers import LatestRunner, nicely

TICK_MS: Final = 250
"""Curves and progress are shown anew so often."""
PREVIEW_SECONDS: Final = 12.0
"""A better state is looked at so seldom, at least; and no more than a twelfth of the time goes into it."""
PREVIEW_SHARE: Final = 12.0

T = TypeVar("T")
Previewer = Callable[[Labels, str, Path | None, str, Report], NDArray[np.float32]]


class CarryOut(Protocol):
    """The engine's `carry_out`."""

    def __call__(
        self,
        plan: Plan,
        networks: AdaptedNetworks,
        report: Report,
        on_line: Callable[[dict[str, Any]], None],
        keep_labels: bool,
    ) -> tuple[Tuned, Adapted | None]: ...


class LookAt(Protocol):
    """The engine's `look_at`."""

    def __call__(
        self, source: Source, settings: TuneSettings, networks: AdaptedNetworks, report: Report, plan: Plan | None
    ) -> Labels: ...


@dataclass(frozen=True, slots=True)
class Adapting:
    """What the engine does for adapting; the defaults are real, tests bring their own."""

    carry_out: CarryOut = adaptation.carry_out
    look_at: LookAt = adaptation.look_at
    preview: Previewer = network_preview


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    source: Source
    facts: str = ""
    error: Exception | None = None
    labels: Labels | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One picture: of ``kind``, made from the state ``version`` of what it shows."""

    source: Source
    kind: PairKind
    version: Any
    pyramid: Pyramid
    look: Look
    values: NDArray[np.float32] | None = None


class AdaptingController(QObject):
    """Does what the adapt panel asks for.

    ``ask`` puts a file's questions, ``confirm`` one before work is thrown away; ``use`` chooses a method.
    """

    def __init__(
        self,
        session: Session,
        undo: QUndoStack,
        panel: AdaptPanel,
        engine: Adapting,
        open_stack: Opener,
        ask: Ask,
        confirm: Callable[[str], bool],
        use: Callable[[str], None],
        networks: AdaptedNetworks | None = None,
        look: FilePreviewer = preview,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._undo, self._panel, self._engine = session, undo, panel, engine
        self._open_stack, self._ask, self._confirm, self._use = open_stack, ask, confirm, use
        self._preview = look
        self.networks = networks or AdaptedNetworks()
        self._switch = PauseSwitch()
        self._lines: list[dict[str, Any]] = []
        self._read = 0
        self._checks: list[tuple[float, float]] = []
        self._losses: list[tuple[float, float]] = []
        self._best_step = 0
        self._labelled = 0
        self._looks: dict[Source, Look] = {}
        self._seen: dict[tuple[Source, PairKind], _Seen] = {}
        self._through: Path | None = None  # weights of the picture that is being made
        self._rest_until = 0.0
        self._looked: list[tuple[Source, TuneSettings]] = []
        self.runner = LatestRunner("adapt", self)
        self.runner.returned.connect(self._on_adapted)
        self.runner.failed.connect(self._on_failed)
        self.runner.cancelled.connect(self._on_cancelled)
        self.runner.progressed.connect(self._on_progressed)
        self.opener = LatestRunner("adapt-open", self)
        self.opener.returned.connect(self._on_opened)
        self.asker = LatestRunner("adapt-ask", self)
        self.looker = LatestRunner("adapt-look", self)
        self.looker.returned.connect(self._on_seen)
        self.looker.failed.connect(self._on_look_failed)
        self.looker.cancelled.connect(self._on_look_cancelled)
        self.looker.progressed.connect(self._on_look_progressed)
        self._tick = QTimer(self, interval=TICK_MS)
        self._tick.timeout.connect(self._on_tick)
        session.changed.connect(self._on_changed)
        self._set(name=self._free_name())

    @property
    def state(self) -> AdaptState:
        """The state now."""
        return self._session.state.adapt

    def _set(self, **changes: Any) -> None:
        self._session.set(adapt=replace(self.state, **changes))

    # what there is at the start

    def begin(self) -> None:
        """Find networks and unfinished work, and offer to go on with what a crash or a closed window left."""
        self.networks.empty_bin()
        self._list_networks()
        left = [one for one in self.state.unfinished if not one.running]
        if not left or self._session.state.message is not None:
            return
        first, *others = left
        steps = first.plan.settings.options.steps
        far = f"at step {first.step} of {steps}" if first.step else "while its labels were made"
        more = f" {len(others)} more wait in the Adapt panel." if others else ""
        self._session.say(
            f"Adapting “{first.plan.name}” stopped {far}; nothing is lost.{more}",
            "warning",
            Offer("Go on with it", "adapt_go_on", first.plan.key),
            Offer("Discard …", "adapt_discard", first.plan.key),
        )

    def _list_networks(self) -> None:
        # headers of some small files
        self._set(networks=self.networks.all(), unfinished=adaptation.unfinished(self.networks))

    # stacks

    def add(self, paths: Sequence[Path]) -> None:
        """Add stacks to learn from."""
        if self.state.busy:
            self._session.say("While a network is being adapted its stacks stay as they are. Add others afterwards.")
            return
        try:
            sources = sources_from(paths)
        except OSError as error:
            self._session.say(f"{error.filename} cannot be read: {error.strerror}.", "error")
            return
        self._add(sources)

    def _add(self, sources: Sequence[Source]) -> None:
        there = {entry.source.paths for entry in self.state.stacks}
        new: dict[tuple[Path, ...], StackEntry] = {}
        for source in sources:
            if source.paths not in there:
                new.setdefault(source.paths, StackEntry(source))
        if new:
            before, first = self.state.stacks, len(self.state.stacks)
            self._set(stacks=(*before, *new.values()), chosen=first, outcome=None, notes=())
            self._push_stacks(before, "add")
            self._open_next()

    def _push_stacks(self, before: tuple[StackEntry, ...], what: str) -> None:
        """Let Undo bring back the list ``before``; what has become known of a stack since is kept."""
        now = self.state.stacks
        kept = {one.source.paths for one in before} & {one.source.paths for one in now}
        changed = [one.source.name for one in (*before, *now) if one.source.paths not in kept]
        text = changed[0] if len(changed) == 1 else f"{len(changed)} stacks to learn from"
        self._undo.push(_Done(f"{what} {text}", lambda: self._show_list(now), lambda: self._show_list(before)))

    def _show_list(self, stacks: tuple[StackEntry, ...]) -> None:
        known = {entry.source.paths: entry for entry in self.state.stacks}
        stacks = tuple(known.get(entry.source.paths, entry) for entry in stacks)
        self._change_list(stacks, min(self.state.chosen, max(0, len(stacks) - 1)))
        self._open_next()

    def _change_list(self, stacks: tuple[StackEntry, ...], chosen: int) -> None:
        kept, labelling = {entry.source for entry in stacks}, self.state.labelling
        if labelling and labelling[0] not in kept:
            self.looker.cancel()  # the next one follows
        labelling = tuple(source for source in labelling if source in kept)
        self._set(stacks=stacks, chosen=chosen, labelling=labelling, outcome=None)
        self._look()

    def add_open_stack(self) -> None:
        """Add the stack that the window has open."""
        opened = self._session.state.opened
        if opened is not None and opened.path is not None and not self.state.busy:
            reading = OpenOptions().choosing({part.name: part.chosen for part in opened.parts})
            self._add([Source((opened.path,), reading)])

    def remove(self, rows: Sequence[int]) -> None:
        """Take stacks out of the list."""
        if self.state.busy:
            return
        before = self.state.stacks
        stacks = tuple(entry for k, entry in enumerate(before) if k not in rows)
        self._change_list(stacks, min(self.state.chosen, max(0, len(stacks) - 1)))
        self._push_stacks(before, "remove")

    def choose(self, row: int) -> None:
        """Look at another stack."""
        if row != self.state.chosen:
            self._set(chosen=row)
            self._look()

    def _open_next(self) -> None:
        """Open the next stack that nothing is known of: to learn its size, and whether it can be read."""
        entry = next((one for one in self.state.stacks if not one.facts and one.problem is None), None)
        if entry is None or self.opener.busy:
            return
        source, settings = entry.source, self.state.settings

        def work(report: Report) -> _Opened:
            try:
                stack = self._open_stack(source.target, source.reading, report)
            except (ToposcopeError, OSError, MemoryError) as error:
                return _Opened(source, error=error)
            height, width = stack.shape
            facts = f"{stack.n} × {width} × {height}"
            stack.close()
            return _Opened(source, facts, labels=self._labels_there(source, settings))

        self.opener.start(work)

    def _labels_there(self, source: Source, settings: TuneSettings) -> Labels | None:
        there = adaptation.has_labels(source, settings, self.networks)
        return self._engine.look_at(source, settings, self.networks, lambda _: None, None) if there else None

    def _on_opened(self, answer: _Opened) -> None:
        index = self._index(answer.source)
        if index is not None:
            entry = self.state.stacks[index]
            if isinstance(answer.error, ChoiceNeeded):
                answers = self._answers(entry.source, answer.error)
                if answers is None:
                    entry = replace(entry, problem=str(answer.error))
                else:
                    reading = entry.source.reading.choosing(answers)
                    entry = replace(entry, source=replace(entry.source, reading=reading))
            elif answer.error is not None:
                entry = replace(entry, problem=problem(answer.error).text)
            else:
                sure = answer.labels.sure if answer.labels else None
                trouble = answer.labels.problem if answer.labels else None
                entry = replace(entry, facts=answer.facts, sure=sure, problem=trouble)
            stacks = list(self.state.stacks)
            stacks[index] = entry
            self._set(stacks=tuple(stacks))
            if entry.sure is not None:
                self._look()
        self._open_next()

    def _answers(self, source: Source, question: ChoiceNeeded) -> Mapping[str, int] | None:
        """Let the user choose one of the stacks in a file, with a look at them."""
        looker = Looker(self._preview, source.target, source.reading, self.asker, self)
        try:
            return self._ask(str(question), question.choices, {}, looker)
        finally:
            looker.stop()
            looker.deleteLater()

    def _index(self, source: Source) -> int | None:
        return next((k for k, entry in enumerate(self.state.stacks) if entry.source == source), None)

    # settings

    def edit(self, settings: TuneSettings) -> None:
        """Take other settings; labels that they still fit stay."""
        before = self.state.settings
        if settings == before or self.state.busy:
            return
        if settings.labels != before.labels:
            settings = replace(settings, label_options=None)
        stacks = self.state.stacks
        if (settings.labels, settings.align) != (before.labels, before.align):
            self.looker.cancel()
            self._looks, self._seen = {}, {}
            self._set(labelling=())
            stacks = tuple(replace(e, sure=None, problem=e.problem if e.unreadable else None) for e in stacks)
        self._set(settings=settings, stacks=stacks, outcome=None)
        if settings.options.confidence != before.options.confidence:
            self._looks = {}
            known = [entry.source for entry in stacks if entry.sure is not None]  # judged anew, at once
            waiting = (source for source in self.state.labelling if source not in known)
            self._set(labelling=(*known, *waiting))
        self._look()

    def rename_result(self, name: str) -> None:
        """Call the result by another name."""
        self._set(name=name)

    def _free_name(self) -> str:
        taken = {one.name.casefold() for one in self.networks.all()}
        taken |= {one.plan.name.casefold() for one in adaptation.unfinished(self.networks)}
        names = (USUAL_NAME, *(f"{USUAL_NAME} {k}" for k in range(2, 1000)))
        return next(name for name in names if name.casefold() not in taken)

    # looking

    def label(self) -> None:
        """Make the labels of all stacks, the chosen one first, and show them."""
        entry = self.state.entry
        wanted = [one.source for one in self.state.stacks if one.sure is None and not one.unreadable]
        if entry is not None and entry.source in wanted:
            wanted.remove(entry.source)
            wanted.insert(0, entry.source)
        self._set(labelling=tuple(wanted))
        self._look()

    def stop_looking(self) -> None:
        """Make no more labels; those that are made stay."""
        if self.state.labelling and not self.state.busy:
            self._set(labelling=())
            self.looker.cancel()

    def show_pair(self, pair: tuple[PairKind, PairKind]) -> None:
        """Show other pictures left and right of the line."""
        self._set(pair=pair)
        self._look()

    def set_split(self, share: float) -> None:
        """Move the line between the two pictures."""
        self._set(split=min(max(share, 0.0), 1.0))

    def _version(self, kind: PairKind) -> Any:
        """Return what a picture depends on: it is out of date when this changes."""
        state, colours = self.state, self._session.state.colour_map
        if kind == "labels":
            return colours, state.settings.options.confidence
        if kind == "base":
            return colours, state.settings.base
        return colours, state.plan.key if state.plan else "", self._best_step

    def _weights(self) -> Path | None:
        """Return the adapted state to look at: the result, or the best so far."""
        plan = self.state.plan
        if plan is None:
            return None
        done = self.networks.path(plan.key)
        return done if done.exists() else adaptation.best_so_far(plan, self.networks)

    def _look(self) -> None:
        """Show what there is of the chosen stack, and make the next thing that is missing."""
        self._show_pictures()
        if self.looker.busy:
            return
        state = self.state
        if state.labelling and not state.busy:
            self._start_labels(state.labelling[0])
            return
        entry = state.entry
        if entry is None or entry.sure is None:
            return
        source = entry.source
        if source not in self._looks:
            self._start_labels(source)
            return
        for kind in (state.pair[1], state.pair[0]) if state.pair[0] == "base" else state.pair:
            seen = self._seen.get((source, kind))
            if seen is not None and seen.version == self._version(kind):
                continue
            if kind == "adapted" and (self._weights() is None or (seen and time.monotonic() < self._rest_until)):
                continue
            self._start_picture(source, kind)
            return

    def _start_labels(self, source: Source) -> None:
        """Read the labels of a stack, or make them."""
        settings, plan = self.state.settings, self.state.plan
        colours, version = self._session.state.colour_map, self._version("labels")
        least = settings.options.confidence
        self._looked.append((source, settings))
        self._set(looking=f"{source.name}: reading the labels …")

        def work(report: Report) -> _Seen:
            nicely()
            look = self._read_labels(source, settings, plan, report, lambda labels: look_of(labels, least))
            return _Seen(source, "labels", version, labels_picture(look, least, colours), look)

        self.looker.start(work)

    def _read_labels(
        self, source: Source, settings: TuneSettings, plan: Plan | None, report: Report, use: Callable[[Labels], T]
    ) -> T:
        """Use the labels of a stack; again, where their folder has moved meanwhile as an adaptation begins or ends."""
        for _ in range(2):
            with suppress(FileNotFoundError):
                return use(self._engine.look_at(source, settings, self.networks, report, plan))
        return use(self._engine.look_at(source, settings, self.networks, report, plan))

    def _start_picture(self, source: Source, kind: PairKind) -> None:
        state, look, version = self.state, self._looks[source], self._version(kind)
        base = state.plan.settings.base if state.plan and kind == "adapted" else state.settings.base
        weights = self._through = self._weights() if kind == "adapted" else None
        colours, known, device = self._session.state.colour_map, self._seen.get((source, kind)), state.settings.device
        least = state.settings.options.confidence
        if kind != "labels":
            self._set(looking=f"{source.name}: looking through the network …")

        def work(report: Report) -> _Seen:
            nicely()
            if kind == "labels":
                return _Seen(source, kind, version, labels_picture(look, least, colours), look)
            same = known is not None and known.version[1:] == version[1:] and known.look.depth.shape == look.depth.shape
            began = time.monotonic()
            preview = self._engine.preview
            values = (
                known.values
                if same and known
                else self._read_labels(
                    source,
                    state.settings,
                    state.plan,
                    report,
                    lambda labels: preview(labels, base, weights, device, report),
                )
            )
            if kind == "adapted" and not same:
                took = time.monotonic() - began
                self._rest_until = time.monotonic() + max(PREVIEW_SECONDS, PREVIEW_SHARE * took)
            assert values is not None  # noqa: S101  only labels have none
            return _Seen(source, kind, version, network_picture(look, values, colours), look, values)

        self.looker.start(work)

    def _on_seen(self, seen: _Seen) -> None:
        self._set(looking="")
        source = seen.source
        self._seen[source, seen.kind] = seen
        index = self._index(source)
        if seen.kind == "labels":
            if source not in self._looks or self._looks[source] is not seen.look:
                # other colour limits, or another stack on disk: networks are drawn anew with them
                for kind in ("base", "adapted"):
                    old = self._seen.get((source, kind))
                    if old is not None and old.look.limits != seen.look.limits:
                        self._seen[source, kind] = replace(old, version=(None, *old.version[1:]))
            self._looks[source] = seen.look
            self._set(labelling=tuple(one for one in self.state.labelling if one != source))
            if index is not None:
                labels = seen.look.labels
                self._session.set(adapt=with_labels(self.state, index, labels.sure, labels.problem))
        self._look()

    def _on_look_failed(self, error: Exception) -> None:
        text = problem(error).text
        self._set(looking="")
        if self._through is not None and not self._through.exists():
            # the adaptation ended, and its best state so far is a method now
            self._through = None
            self._look()
            return
        if self.state.labelling:
            source, *others = self.state.labelling
            self._set(labelling=tuple(others))
            index = self._index(source)
            if index is not None and isinstance(error, ToposcopeError):
                stacks = list(self.state.stacks)
                stacks[index] = replace(stacks[index], problem=text)
                self._set(stacks=tuple(stacks))
                self._look()
                return
        self._set(labelling=())
        self._session.set(message=problem(error))

    def _on_look_cancelled(self) -> None:
        self._set(looking="")
        if not self.state.busy:
            self._look()

    def _on_look_progressed(self, progress: Progress) -> None:
        if self.state.labelling and not self.state.busy:
            name = self.state.labelling[0].name
            self._set(looking=f"{name}: {progress.text} ({100 * progress.fraction:.0f} %)")

    def _show_pictures(self) -> None:
        entry = self.state.entry
        pictures = [self._seen.get((entry.source, kind)) if entry else None for kind in self.state.pair]
        left, right = (
            one.pyramid if one is not None and entry and entry.sure is not None else None for one in pictures
        )
        self._panel.set_pictures(left, right)

    # adapting

    def start(self) -> None:
        """Begin to adapt by what the panel says."""
        state = self.state
        if state.busy:
            return
        sources = tuple(entry.source for entry in state.stacks if not entry.unreadable)
        try:
            self._refuse_unfinished(state.name)
            plan = adaptation.plan_for(state.name, sources, state.settings, self.networks)
        except ToposcopeError as error:
            self._set(outcome=Outcome(problem(error).text, "error"))
            return
        self._run(plan)

    def _refuse_unfinished(self, name: str) -> None:
        if any(one.plan.name.casefold() == name.strip().casefold() for one in self.state.unfinished):
            raise SettingsError(f"“{name.strip()}” is unfinished. Go on with it, discard it, or choose another name.")

    def go_on(self, key: str) -> None:
        """Go on with an adaptation that was stopped, whatever stopped it."""
        found = self._unfinished(key)
        if found is None or self.state.busy:
            return
        plan = found.plan
        known = {entry.source.paths: entry for entry in self.state.stacks}
        stacks = tuple(known.get(source.paths, StackEntry(source, "")) for source in plan.sources)
        stacks = tuple(replace(entry, source=s) for entry, s in zip(stacks, plan.sources, strict=True))
        self._looks, self._seen = {}, {}
        self._set(stacks=stacks, chosen=0, settings=plan.settings, name=plan.name)
        self._run(plan, found)
        self._open_next()

    def discard(self, key: str) -> None:
        """Throw away an adaptation that was stopped, after a question."""
        found = self._unfinished(key)
        if found is None:
            return
        if not self._confirm(f"Throw away what was done on “{found.plan.name}”? Its stacks stay untouched."):
            return
        try:
            adaptation.discard(found.plan, self.networks)
        except ToposcopeError as error:
            self._session.set(message=problem(error))
        self._list_networks()

    def _unfinished(self, key: str) -> Unfinished | None:
        self._list_networks()
        return next((one for one in self.state.unfinished if one.plan.key == key and not one.running), None)

    def _run(self, plan: Plan, found: Unfinished | None = None) -> None:
        self.looker.cancel()
        self._set(labelling=())
        self._looked += [(source, plan.settings) for source in plan.sources]
        self._switch = switch = PauseSwitch()
        lines: list[dict[str, Any]] = []
        self._lines = lines
        self._read = self._labelled = self._best_step = 0
        self._checks = [(line["step"], line["held_out"]) for line in found.curve] if found else []
        self._losses = []
        self._rest_until = 0.0
        if self._checks:
            self._best_step = int(min(self._checks, key=lambda check: check[1])[0])
        self._panel.set_curves(self._checks, [], plan.settings.options.steps)
        pair = self.state.pair
        self._set(
            plan=plan,
            phase="running",
            progress=Progress(0.0, "beginning"),
            seconds_left=None,
            better=self._best_step > 0,
            notes=(),
            outcome=None,
            pair=("base", "adapted") if pair == ("labels", "base") else pair,
        )
        self._session.set_job("adapt", Job(f"Adapting {plan.name}", Progress(0.0)))

        def work(report: Report) -> tuple[Tuned, Adapted | None]:
            nicely()
            return self._engine.carry_out(plan, self.networks, switch.guard(report), lines.append, True)

        self.runner.start(work)
        self._tick.start()

    def pause(self) -> None:
        """Hold the work within a step, or let it go on."""
        if self.state.phase == "running":
            self._switch.pause()
            self._set(phase="paused")
        elif self.state.phase == "paused":
            self._switch.resume()
            self._set(phase="running")

    def cancel(self) -> None:
        """Stop within a step; what was done is kept."""
        if self.state.phase in ("running", "paused"):
            self._set(phase="stopping")
            self.runner.cancel()

    def _on_progressed(self, progress: Progress) -> None:
        if self.state.phase == "running":
            self._set(progress=progress)
            plan = self.state.plan
            self._session.set_job("adapt", Job(f"Adapting {plan.name if plan else ''}", progress))

    def _on_tick(self) -> None:
        """Show what has happened since the last time."""
        new = self._lines[self._read :]
        self._read += len(new)
        left = self.state.seconds_left
        for line in new:
            if line["stage"] == "labels":
                self._take_labels(line["sure"], line["problem"])
                continue
            step = float(line["step"])
            if "held_out" in line:
                if not any(known == step for known, _ in self._checks):
                    self._checks.append((step, float(line["held_out"])))
                self._best_step = int(min(self._checks, key=lambda check: check[1])[0])
            elif "loss" in line:
                self._losses.append((step, float(line["loss"])))
            if line.get("seconds_left") is not None:
                left = float(line["seconds_left"])
        if new:
            plan = self.state.plan
            steps = plan.settings.options.steps if plan else 1
            self._panel.set_curves(self._checks, self._losses, steps)
            if (left, self._best_step > 0) != (self.state.seconds_left, self.state.better):
                self._set(seconds_left=left, better=self._best_step > 0)
        if self.state.phase in ("running", "idle"):  # while it is paused the cores are the user's
            self._look()

    def _take_labels(self, sure: float, trouble: str | None) -> None:
        """Show what was found of the next stack of the plan; the list may hold others, too, which cannot be read."""
        plan = self.state.plan
        if plan is not None and self._labelled < len(plan.sources):
            index = self._index(plan.sources[self._labelled])
            if index is not None:
                self._session.set(adapt=with_labels(self.state, index, sure, trouble))
        self._labelled += 1

    def _on_adapted(self, answer: tuple[Tuned, Adapted | None]) -> None:
        tuned, network = answer
        self._end(outcome_of(tuned, network), tuned.notes)
        self._set(name=self._free_name(), better=network is not None)

    def _on_failed(self, error: Exception) -> None:
        said = problem(error)
        self._end(Outcome(said.text, "error"), ())
        if said.details:
            self._session.set(message=said)

    def _on_cancelled(self) -> None:
        self._end(None, ())

    def _end(self, outcome: Outcome | None, notes: Sequence[str]) -> None:
        self._on_tick()
        self._tick.stop()
        self._session.set_job("adapt", None)
        self._set(phase="idle", outcome=outcome, notes=tuple(notes), seconds_left=None, progress=Progress(0.0))
        self._rest_until = 0.0
        self._list_networks()
        self._look()
        if outcome is not None:
            offers = (Offer("Use it", "adapt_use", outcome.key),) if outcome.key else ()
            level = {"good": "info", "warning": "warning", "error": "error"}[outcome.level]
            self._session.say(outcome.text[:1].upper() + outcome.text[1:], level, *offers)  # type: ignore[arg-type]

    # networks

    def use(self, key: str) -> None:
        """Choose an adapted network as the method."""
        if any(one.key == key and one.trouble is None for one in self.state.networks):
            self._use(key)

    def rename(self, key: str, name: str) -> None:
        """Call a network by another name; can be undone."""
        before = next((one for one in self.state.networks if one.key == key), None)
        if before is None or before.name == name:
            return
        if self._try(lambda: self.networks.rename(key, name)):
            text = f"rename {before.name}"
            self._push(text, lambda: self.networks.rename(key, name), lambda: self.networks.rename(key, before.name))

    def remove_network(self, key: str) -> None:
        """Remove a network; can be undone."""
        before = next((one for one in self.state.networks if one.key == key), None)
        if before is None:
            return
        if self._try(lambda: self.networks.remove(key)):
            text = f"remove {before.name}"
            self._push(text, lambda: self.networks.remove(key), lambda: self.networks.restore(key))

    def export(self, key: str, path: Path) -> None:
        """Write a network as a file to be shared."""
        if self._try(lambda: self.networks.export(key, path)):
            self._session.say(f"Wrote {path}.")

    def bring_in(self, paths: Sequence[Path]) -> None:
        """Take in networks that somebody shares."""
        taken: list[str] = []
        for path in paths:
            if not self._try(lambda path=path: taken.append(self.networks.bring_in(path).name)):  # type: ignore[misc]
                return
        are = "It is" if len(taken) == 1 else "They are"
        self._session.say(f"Took in {', '.join(taken)}. {are} in the list of methods.")

    def _push(self, text: str, redo: Callable[[], Any], undo: Callable[[], Any]) -> None:
        self._undo.push(_Done(text, lambda: self._try(redo), lambda: self._try(undo)))

    def _try(self, action: Callable[[], Any]) -> bool:
        try:
            action()
        except (ToposcopeError, OSError) as error:
            self._session.set(message=problem(error))
            return False
        finally:
            self._list_networks()
        return True

    def _on_changed(self, before: State, now: State) -> None:
        if now.colour_map != before.colour_map:
            self._look()

    def runners(self) -> tuple[LatestRunner, ...]:
        """Return the background runners."""
        return self.runner, self.opener, self.asker, self.looker

    def release(self) -> None:
        """Let paused work hear that it is to stop."""
        self._tick.stop()
        self._switch.resume()

    def shutdown(self) -> None:
        """Give back what only this window needs, once its threads have ended."""
        adaptation.drop_labels(self.networks, self._looked)


class _Done(QUndoCommand):
    """Something that was done already when it is pushed."""

    def __init__(self, text: str, redo: Callable[[], Any], undo: Callable[[], Any]) -> None:
        super().__init__(text)
        self._redo, self._undo, self._first = redo, undo, True

    def redo(self) -> None:
        if not self._first:
            self._redo()
        self._first = False

    def undo(self) -> None:
        self._undo()
