"""One adaptation from plan to method: crash-safe, so that a kill loses seconds and the next start goes on.

::

    plan ──save──> KEY.plan.json ──carry_out──> KEY.tuning/ (labels, checkpoints) ──> KEY.safetensors, a method
                        └──────────── unfinished() finds it after a crash ────────────┘

Labels that were looked at beforehand (`look_at`) are not made twice: they wait in ``.labels`` and move into the work.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any, Final

from toposcope.core.adapted import KEPT_SECONDS, Adapted, AdaptedNetworks, checked_name, read_header
from toposcope.core.estimate import METHODS
from toposcope.core.export.writing import made_folder, write_bytes
from toposcope.core.jobs import Report, part, silent
from toposcope.core.settings import checked
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.source.finding import Source
from toposcope.core.tuning import (
    WORK_SUFFIX,
    Labels,
    OnLine,
    Tuned,
    TuneOptions,
    TuneSettings,
    adapt,
    judged,
    label_stack,
)
from toposcope.errors import OutputError, SettingsError, ToposcopeError

PLAN: Final = ".plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be adapted to what, and what the result is called."""

    key: str
    name: str
    sources: tuple[Source, ...]
    settings: TuneSettings


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A plan that was begun; ``step`` and ``curve`` say how far it came, ``running`` whether it does now, elsewhere."""

    plan: Plan
    step: int = 0
    curve: tuple[dict[str, float], ...] = field(default=())
    running: bool = False


def carry_out(
    plan: Plan,
    networks: AdaptedNetworks,
    report: Report = silent,
    on_line: OnLine | None = None,
    keep_labels: bool = False,
) -> tuple[Tuned, Adapted | None]:
    """Adapt as planned, or go on where it stopped; the result becomes one of ``networks``.

    ``keep_labels`` keeps those for another `look_at`, until `drop_labels`.

    Returns the network, too; None where the base is the better one. Whatever stops this process, `unfinished` finds
    the plan again; only where nothing can come of it, or it has ended, is the plan gone.

    Raises
    ------
    SettingsError
        If a setting or the name is wrong, or another process is at it.
    StackError
        If no stack teaches anything, or labels and network contradict each other.
    OutputError
        If there is no room, or no permission.
    Cancelled
        From ``report``; what was done is kept.
    """
    networks.check_free(plan.name, plan.key)
    made_folder(networks.folder)
    with _lock(networks, plan.key):
        write_bytes(_plan_file(networks, plan.key), json.dumps(_plain(plan)).encode())
        try:
            _take_labels(plan, networks)
            stacks = [source.target for source in plan.sources]
            readings = [source.reading for source in plan.sources]
            tuned = adapt(stacks, networks.path(plan.key), plan.settings, report, on_line, readings, keep_work=True)
        except OutputError:  # once there is room, the work goes on
            raise
        except ToposcopeError:  # going on would end in the same way; the labels are worth keeping
            _forget(plan, networks, keep_labels=True)
            raise
        network = networks.adopt(plan.key, plan.name) if tuned.weights is not None else None
        _forget(plan, networks, keep_labels)
    return tuned, network


def plan_for(name: str, sources: Sequence[Source], settings: TuneSettings, networks: AdaptedNetworks) -> Plan:
    """Return a plan: the unfinished one of this name, or a new one.

    Raises
    ------
    SettingsError
        If the name is taken, or the unfinished plan is on other stacks or with other settings.
    """
    name = checked_name(name)
    networks.check_free(name)
    plan = Plan(networks.new_key(name), name, tuple(sources), settings)
    for one in unfinished(networks):
        if one.plan.name.casefold() == name.casefold():
            machine: dict[str, Any] = {"device": settings.device, "threads": settings.threads}
            theirs = replace(one.plan, settings=replace(one.plan.settings, **machine))
            if _plain(theirs) != _plain(replace(plan, key=one.plan.key, name=one.plan.name)):
                raise SettingsError(
                    f"{name} is unfinished, on other stacks or with other settings. Go on with it or discard it in the "
                    "window, or choose another name."
                )
            return theirs
    return plan


def unfinished(networks: AdaptedNetworks) -> tuple[Unfinished, ...]:
    """Return the plans that were begun and did not end, however that came about; those that cannot be read are not."""
    found = []
    with suppress(OSError):
        for path in sorted(networks.folder.glob(f"*{PLAN}")):
            with suppress(OSError, ValueError, KeyError, TypeError, ToposcopeError):
                plan = _read_plan(path)
                step, curve = _progress(work_folder(plan, networks))
                found.append(Unfinished(plan, step, curve, _is_locked(networks, plan.key)))
    return tuple(found)


def discard(plan: Plan, networks: AdaptedNetworks) -> None:
    """Remove a plan and all work on it.

    Raises
    ------
    SettingsError
        If another process is at it.
    """
    with _lock(networks, plan.key):
        _forget(plan, networks)


def work_folder(plan: Plan, networks: AdaptedNetworks) -> Path:
    """Return where the work on a plan lies until it is done."""
    return networks.folder / f"{plan.key}{WORK_SUFFIX}"


def best_so_far(plan: Plan, networks: AdaptedNetworks) -> Path | None:
    """Return the weights of the best state so far, None while the base is the best."""
    path = work_folder(plan, networks) / "best.safetensors"
    return path if path.exists() else None


def look_at(
    source: Source, settings: TuneSettings, networks: AdaptedNetworks, report: Report = silent, plan: Plan | None = None
) -> Labels:
    """Return the labels of one stack, made now unless they are there: from an earlier look, or in the work on ``plan``.

    Raises
    ------
    StackError, SettingsError, OutputError
        As `open_stack` and `label_stack`.
    """
    folder = _labels_folder(source, settings, networks)
    if plan is not None and source in plan.sources:
        working = work_folder(plan, networks) / f"stack-{plan.sources.index(source):03d}"
        if (working / "stack.json").exists():
            return judged(working, plan.settings)
    if (folder / "stack.json").exists():
        return judged(folder, settings)
    made_folder(folder.parent)
    mine = folder.with_name(f"{folder.name}-{os.getpid()}")  # another window may look at the same stack
    stack = open_stack(source.target, source.reading, part(report, 0, 0.05))
    try:
        label_stack(stack, mine, settings, part(report, 0.05, 1))
        try:
            mine.rename(folder)
        except OSError as error:  # the other one was quicker, or there is something wrong
            if not (folder / "stack.json").exists():
                raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        stack.close()
    return judged(folder, settings)


def has_labels(source: Source, settings: TuneSettings, networks: AdaptedNetworks) -> bool:
    """Whether `look_at` would answer at once."""
    return (_labels_folder(source, settings, networks) / "stack.json").exists()


def drop_labels(networks: AdaptedNetworks, looks: Iterable[tuple[Source, TuneSettings]]) -> None:
    """Remove the labels of these looks, and those that a crash left more than a day ago; work on plans stays."""
    for source, settings in looks:
        shutil.rmtree(_labels_folder(source, settings, networks), ignore_errors=True)
    with suppress(OSError):
        for folder in (networks.folder / ".labels").iterdir():
            if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _labels_folder(source: Source, settings: TuneSettings, networks: AdaptedNetworks) -> Path:
    """Return the folder of labels of a stack, named by all that they depend on."""
    times = []
    for path in source.paths:
        with suppress(OSError):
            times.append(path.stat().st_mtime_ns)
    paths = [str(path.absolute()) for path in source.paths]
    how = [settings.labels, _options(settings.label_options), settings.align]
    key = json.dumps([paths, times, _reading(source.reading), how], sort_keys=True)
    return networks.folder / ".labels" / hashlib.sha256(key.encode()).hexdigest()[:24]


def _take_labels(plan: Plan, networks: AdaptedNetworks) -> None:
    """Move labels that were looked at into the work."""
    work = made_folder(work_folder(plan, networks))
    for k, source in enumerate(plan.sources):
        folder, place = _labels_folder(source, plan.settings, networks), work / f"stack-{k:03d}"
        if (folder / "stack.json").exists() and not place.exists():
            judged(folder, plan.settings)
            folder.rename(place)


def _forget(plan: Plan, networks: AdaptedNetworks, keep_labels: bool = False) -> None:
    work = work_folder(plan, networks)
    for k, source in enumerate(plan.sources if keep_labels else ()):
        place, folder = work / f"stack-{k:03d}", _labels_folder(source, plan.settings, networks)
        if (place / "stack.json").exists() and not folder.exists():
            with suppress(OSError):  # they can be made again
                folder.parent.mkdir(exist_ok=True)
                place.rename(folder)
    shutil.rmtree(work, ignore_errors=True)
    _plan_file(networks, plan.key).unlink(missing_ok=True)


def _plan_file(networks: AdaptedNetworks, key: str) -> Path:
    return networks.folder / f"{key}{PLAN}"


def _progress(work: Path) -> tuple[int, tuple[dict[str, float], ...]]:
    """Return step and curve of the last checkpoint, 0 and nothing without one."""
    with suppress(SettingsError, ValueError, KeyError, TypeError):
        meta, _ = read_header(work / "checkpoint.safetensors")
        state = json.loads(meta["state"])
        return int(state["step"]), tuple(state["curve"])
    return 0, ()


def _plain(plan: Plan) -> dict[str, Any]:
    sources = [
        {"paths": [str(path.absolute()) for path in source.paths], "reading": _reading(source.reading)}
        for source in plan.sources
    ]
    settings = asdict(plan.settings) | {"label_options": _options(plan.settings.label_options)}
    return {"key": plan.key, "name": plan.name, "sources": sources, "settings": settings}


def _reading(reading: OpenOptions) -> dict[str, Any]:
    file = reading.positions_file
    return asdict(reading) | {"positions_file": str(file.absolute()) if file else None}


def _read_reading(found: dict[str, Any]) -> OpenOptions:
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    file = plain["positions_file"]
    plain["positions_file"] = Path(file) if file else None
    return OpenOptions(**plain)


def _options(options: Any) -> dict[str, Any] | None:
    return None if options is None else {item.name: getattr(options, item.name) for item in fields(options)}


def _read_plan(path: Path) -> Plan:
    found = json.loads(path.read_text("utf-8"))
    sources = tuple(
        Source(tuple(Path(name) for name in one["paths"]), _read_reading(one["reading"])) for one in found["sources"]
    )
    settings = TuneSettings(**found["settings"])
    options = settings.label_options
    settings = replace(
        settings,
        options=checked(TuneOptions, found["settings"]["options"], "adapting"),
        label_options=None if options is None else METHODS[settings.labels].checked(options),
    )
    return Plan(path.name.removesuffix(PLAN), found["name"], sources, settings)


@contextmanager
def _lock(networks: AdaptedNetworks, key: str) -> Iterator[None]:
    """Hold the lock of a plan, which the system takes back when the process ends in whatever way."""
    path = networks.folder / f"{key}.lock"
    with open(path, "a+b") as file:
        if not _try_lock(file):
            raise SettingsError(f"another Toposcope is adapting {key} now. Wait for it, or close it.")
        try:
            yield
        finally:
            path.unlink(missing_ok=True) if os.name != "nt" else None
    if os.name == "nt":
        path.unlink(missing_ok=True)


def _is_locked(networks: AdaptedNetworks, key: str) -> bool:
    try:
        with open(networks.folder / f"{key}.lock", "r+b") as file:
            return not _try_lock(file)
    except OSError:
        return False


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
