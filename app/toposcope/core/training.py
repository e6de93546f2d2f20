"""Train a network from a file that says how: `toposcope train`.

The loop, its checkpoints and its log are those of `dffnets.training`, which needs nothing of the
program; here configurations are checked in words, and progress and cancellation join it to the rest.

>>> result = train_from(Path("light.toml"), report=report)                      # doctest: +SKIP
"""

from __future__ import annotations

import inspect
import json
import math
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin, get_type_hints

from toposcope.core.adapted import read_header
from toposcope.core.export import write_image
from toposcope.core.jobs import Cancelled, Progress, Report, part, silent
from toposcope.core.networks import chosen_device
from toposcope.core.pictures import Line, Panel, Picture, plot_picture
from toposcope.errors import SettingsError, ToposcopeError

if TYPE_CHECKING:
    from dffnets.training import TrainConfig

LOG_NAME: Final = "log.jsonl"
PLOT_NAME: Final = "log.png"

LOSSES: Final = (
    "absolute",
    "root_square",
    "near",
    "cross_entropy",
    "focal_variation",
    "focal_turns",
    "focal_peaks",
    "spatial_variation",
    "laplacian_variance",
)
"""Terms that the loss may be put together from; see `dffnets.losses`."""

HELP: Final[Mapping[str, str]] = {
    "network": "which network to train",
    "output": "folder for checkpoint, weights and log; a run goes on from the checkpoint that lies there",
    "options": "what the network is built with, by the names of its own parameters",
    "iterations": "steps after which the run ends",
    "minutes": "minutes after which the run ends, if the steps are not done before; 0: no limit",
    "batch": "stacks a step",
    "crop": "side of the squares that are trained on, in pixels: a multiple of 16 (dffwild: of 32) up to 128",
    "counts": "numbers of slices, one of which each batch has",
    "macro_share": "share of macro scenes among the stacks that are drawn, if any has as many slices",
    "optimiser": "how steps are made from gradients: muon or adamw",
    "learning_rate": "size of a step at its largest, after the warm-up",
    "weight_decay": "how fast weights that are not needed fade",
    "warm_up": "steps over which the learning rate rises",
    "clip": "largest norm of the gradients",
    "average": "share of the averaged weights that is kept at each step",
    "loss": "weights of the terms: " + ", ".join(LOSSES),
    "scales": "weights of the network's outputs, finest first",
    "precision": "of the calculation: float32, or bfloat16, which is faster where the processor has it",
    "device": "cpu, cuda, mps, or auto for the fastest there is",
    "threads": "processor threads; 0: all",
    "seed": "of everything that is drawn at random",
    "pool": "folder of the training stacks, rendered or converted; made when missing",
    "pool_seed": "of the rendered training stacks; another number gives others",
    "pool_stacks": "how many stacks are rendered for a source that does not say it",
    "validation_stacks": "stacks of the validation set that each line of the log is measured on",
    "workers": "processes that render; 0: one a core",
    "checkpoint_minutes": "minutes between two checkpoints, each with a line in the log",
    "initial": "weights (.safetensors) to begin from",
    "sources": "what stacks are drawn from: one such table for each source",
    "validation": "split of a data set that the log is measured on, in place of rendered stacks; several make one set",
}
"""What each entry of a configuration means, for `example`."""

SOURCE_HELP: Final[Mapping[str, str]] = {
    "name": "random (scenes drawn at random), pairs (measured shapes of a folder), or a data set",
    "share": "how often it is drawn from, beside the shares of the other sources that have as many slices",
    "root": "folder of the pairs (NAME_rgb.png + NAME_depth.tif + NAME.json, or NAME_height_um.tif) or of the data set",
    "split": "part of the data set",
    "stacks": "how many are rendered; 0: pool_stacks",
    "options": "what the reader of the data set is asked for, by the names of its own parameters",
    "least_confidence": "truth of a data set that is trusted less counts as unknown, 0 to 1",
    "about": "what a folder of pairs holds and under which licence, where its .json files name none",
}
"""What each entry of a source means, for `example`."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training left behind: its files, and the last line of its log.

    ``changed`` are the entries with which it went on otherwise than it had begun: what they were, and what they are;
    ``begun_at`` the step from which it went on, 0 for one that began here.
    """

    weights: Path
    log: Path
    plot: Path | None
    last: Mapping[str, float]
    begun_at: int
    changed: Mapping[str, tuple[Any, Any]]


def example() -> str:
    """Return a configuration with every entry, its meaning and its usual value."""
    from dffnets.registry import CARDS
    from dffnets.training import TrainConfig

    lines = ["# What to train and how: toposcope train THIS_FILE. Paths are relative to this file.", ""]
    tables: list[str] = []
    last = _example_sources()
    for field in fields(TrainConfig):
        value = field.default if field.default_factory is MISSING else field.default_factory()
        if value is MISSING:
            value = {"network": next(iter(CARDS)), "output": "training"}[field.name]
        if field.name in ("sources", "validation"):
            continue
        about = HELP.get(field.name, "")
        if field.name == "network":
            about += f": {', '.join(CARDS)}"
        lines_of = tables if isinstance(value, dict) else lines
        lines_of += [f"# {about}"] if about else []
        if isinstance(value, dict):
            tables += [f"[{field.name}]", *(f"{name} = {_toml(one)}" for name, one in value.items()), ""]
        else:
            lines.append(f'# {field.name} = "..."' if value is None else f"{field.name} = {_toml(value)}")
    return "\n".join([*lines, "", *tables, *last]).rstrip() + "\n"


def _example_sources() -> list[str]:
    """Return the usual source, and as comments one of each other kind."""
    from dffnets.data import CARDS
    from dffnets.sources import PAIRS, Source

    usual, (name, card) = Source(), next(iter(CARDS.items()))
    others: tuple[Mapping[str, Any], ...] = (
        {"name": PAIRS, "share": 0.5, "root": "measured", "stacks": 2000, "about": "scans of our own, CC0"},
        {"name": name, "share": 0.5, "root": f"data/{name}", "split": card.splits[0], "least_confidence": 0.0},
    )
    lines = [f"# {HELP['sources']}", "[[sources]]"]
    for entry in ("name", "share"):
        lines += [f"# {SOURCE_HELP[entry]}", f"{entry} = {_toml(getattr(usual, entry))}"]
    lines += ["", "# Others, with all that may be said of them:"]
    for entry in ("root", "split", "stacks", "options", "least_confidence", "about"):
        lines.append(f"# {entry}: {SOURCE_HELP[entry]}")
    lines.append(f"# data sets: {', '.join(CARDS)} (toposcope evaluate --list-datasets)")
    for other in others:
        lines += ["", "# [[sources]]", *(f"# {entry} = {_toml(value)}" for entry, value in other.items())]
    held_out = {"name": name, "root": f"data/{name}", "split": card.splits[-1]}
    lines += ["", f"# {HELP['validation']}", "# [[validation]]"]
    return [*lines, *(f"# {entry} = {_toml(value)}" for entry, value in held_out.items())]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return json.dumps(str(value)) if isinstance(value, str | Path) else repr(value)


def read_config(path: Path, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """Read a configuration and check every entry; ``changes`` win over it.

    Raises
    ------
    SettingsError
        If the file cannot be read, or an entry is missing, unknown or of the wrong kind.
    """
    from dffnets.training import TrainConfig

    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no valid TOML: {error}. See toposcope train --example.") from error
    names = [field.name for field in fields(TrainConfig)]
    if unknown := [name for name in values if name not in names]:
        raise SettingsError(f"{path.name} holds the unknown entry {unknown[0]!r}; known are {', '.join(names)}.")
    for field in fields(TrainConfig):
        if field.default is MISSING and field.default_factory is MISSING and field.name not in values:
            raise SettingsError(f"{path.name} does not say {field.name!r}: {HELP.get(field.name, 'it is needed')}.")
    hints = get_type_hints(TrainConfig)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise SettingsError(f"{path.name}: {name} is {value!r}; it must be {_kind(hints[name])}.")
    for entries in (*values.get("sources", ()), *values.get("validation", ())):
        _check_entries(path.name, entries)
    config = replace(TrainConfig.read(path), **(changes or {}))
    place = chosen_device(config.device.split(":")[0])
    if config.device == "auto":
        config = replace(config, device=place)
    _check(path.name, config)
    return config


def _check_entries(name: str, entries: Mapping[str, Any]) -> None:
    """Refuse a table of a source with an entry that is unknown or of the wrong kind."""
    from dffnets.sources import Source

    hints = get_type_hints(Source)
    for entry, value in entries.items():
        if entry not in hints:
            raise SettingsError(f"{name}: a source has the unknown entry {entry!r}; known are {', '.join(hints)}.")
        if not _fits(value, hints[entry]):
            raise SettingsError(f"{name}: {entry} of a source is {value!r}; it must be {_kind(hints[entry])}.")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of TOML can become one of the type ``hint``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is types.UnionType:
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, list) and bool(value) and all(_fits(one, arguments[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, arguments[1]) for one in value.values())
    if hint is Any:
        return True
    if is_dataclass(hint):
        return isinstance(value, dict)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str if hint is Path else hint)


def _kind(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(repr(one) for one in arguments)
    if origin is types.UnionType:
        return _kind(arguments[0])
    if origin is tuple:
        return f"a list of {_kind(arguments[0]).removeprefix('a ')}s"
    if origin is dict:
        return "a table of names and numbers"
    if is_dataclass(hint):
        return "a table"
    return {int: "a whole number", float: "a number", str: "text", Path: "a path", bool: "true or false"}.get(
        hint, "set"
    )


def _check(name: str, config: TrainConfig) -> None:
    """Refuse values that would end a run later, or in words that nobody understands."""
    from dffnets.registry import CARDS
    from dffnets.sources import DataSet
    from dffnets.synthetic.pool import SIZE
    from dffnets.synthetic.validation import SEEDS
    from dffnets.training import TrainError, begin

    if config.network not in CARDS:
        raise SettingsError(f"{name}: there is no network {config.network!r}; there are {', '.join(CARDS)}.")
    card = CARDS[config.network]
    known = list(inspect.signature(card.build).parameters)
    if unknown := [one for one in config.options if one not in known]:
        listed = ", ".join(known) or "none"
        raise SettingsError(f"{name}: {config.network} has no option {unknown[0]!r}; its options are {listed}.")
    if unknown := [one for one in config.loss if one not in LOSSES]:
        raise SettingsError(f"{name}: there is no loss {unknown[0]!r}; there are {', '.join(LOSSES)}.")
    if not any(weight > 0 for weight in config.loss.values()):
        raise SettingsError(f"{name}: no loss has a weight above 0; without one nothing is learnt.")
    for one in ("iterations", "batch", "crop", "pool_stacks", "learning_rate", "warm_up", "clip"):
        if not getattr(config, one) > 0:
            raise SettingsError(f"{name}: {one} is {getattr(config, one)}; it must be above 0.")
    for one in ("minutes", "checkpoint_minutes", "weight_decay", "threads", "workers", "seed", "pool_seed"):
        if not getattr(config, one) >= 0:
            raise SettingsError(f"{name}: {one} is {getattr(config, one)}; it must be 0 or more.")
    if not 0 <= config.average < 1:
        raise SettingsError(f"{name}: average is {config.average}; it must be 0 or more, and below 1.")
    if not 0 < config.macro_share < 1:  # with 0 or 1, some counts might have no stack left to draw
        raise SettingsError(f"{name}: macro_share is {config.macro_share}; it must be above 0 and below 1.")
    supplies = config.supplies()
    try:
        config.check_supplies()
    except TrainError as error:
        raise SettingsError(f"{name}: {error}") from error
    largest = None if all(isinstance(supply, DataSet) for supply in supplies) else SIZE
    if config.crop % card.multiple or (largest and config.crop > largest):
        limit = f" up to {largest}" if largest else ""
        raise SettingsError(
            f"{name}: crop is {config.crop}; {config.network} needs a multiple of {card.multiple}{limit}."
        )
    if config.validation_stacks < 2:
        raise SettingsError(
            f"{name}: validation_stacks is {config.validation_stacks}; one of each kind needs 2 or more."
        )
    if min(config.counts) < 3:
        raise SettingsError(f"{name}: counts holds {min(config.counts)}; depth from focus needs at least 3 slices.")
    if taken := [which for which, seed in SEEDS.items() if config.pool_seed == seed]:
        raise SettingsError(f"{name}: pool_seed {config.pool_seed} is that of the {taken[0]} set. Choose another.")
    if config.initial is not None and not config.initial.is_file():
        raise SettingsError(f"{name}: there is no file {config.initial} to begin from.")
    try:
        network = begin(config)
    except TrainError as error:
        raise SettingsError(f"{name}: {error}") from error
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise SettingsError(f"{name}: {config.network} cannot be built with its options ({error}).") from error
    if config.loss.get("spatial_variation") and not hasattr(network, "gradients"):
        raise SettingsError(f"{name}: the loss spatial_variation needs slice gradients, which only dualfocus predicts.")


UNLEARNT: Final = (
    *("output", "iterations", "minutes", "device", "threads", "workers", "checkpoint_minutes", "validation_stacks"),
    *("pool", "initial", "validation"),
)
"""Entries that a run may go on with otherwise: what is learnt, and from what, is the same."""


def _gone_on(config: TrainConfig) -> tuple[int, dict[str, tuple[Any, Any]]]:
    """Return the step at which the run in the output folder stands, and what its last configuration said otherwise."""
    weights = config.output / "weights.safetensors"
    if not (weights.is_file() and (config.output / "checkpoint.safetensors").is_file()):
        return 0, {}
    try:
        about, _ = read_header(weights)
        before = json.loads(about["config"])
        step = int(about["iteration"])
    except (SettingsError, KeyError, ValueError):  # of another version; what goes on is the checkpoint
        return 0, {}
    now = json.loads(json.dumps(asdict(config), default=str))
    names = [name for name in now if name in before and name not in UNLEARNT]
    return step, {name: (before[name], now[name]) for name in names if before[name] != now[name]}


def train_from(path: Path, changes: Mapping[str, Any] | None = None, report: Report = silent) -> TrainResult:
    """Train as the file at ``path`` says, from the checkpoint in its output folder if there is one.

    The plot of the log is drawn anew beside it at each of its lines.

    Raises
    ------
    SettingsError
        If the configuration is wrong, or the stacks or the checkpoint do not fit it.
    ToposcopeError
        If the loss is no finite number any more; the checkpoint is kept as it was.
    Cancelled
        From ``report``; the checkpoint is kept, and the same call goes on from there.
    """
    from dffnets.training import DivergedError, TrainError, fill, train

    config = read_config(path, changes)
    log = config.output / LOG_NAME
    begun_at, changed = _gone_on(config)
    making, training = part(report, 0, 0.2), part(report, 0.2, 1)

    def told(line: dict[str, float]) -> None:
        if "rmse" in line:
            _draw(log)
        done = line.get("fraction", line["iteration"] / config.iterations)
        words = [f"step {line['iteration']:.0f}", f"{line['minutes']:.1f} min", f"loss {line['loss']:.4f}"]
        words += [f"validation RMSE {line['rmse']:.4f}"] if "rmse" in line else []
        training(Progress(min(done, 1.0), ", ".join(words)))

    making(Progress(0.0, "looking for training stacks"))
    try:
        if all(supply.is_full() for supply in (*config.supplies(), *config.held_out())):
            training = report
        else:
            fill(config, lambda fraction, text: making(Progress(fraction, text)))
        weights = train(config, told)
    except Cancelled as error:
        raise Cancelled("interrupted; what was done is kept, and the same command goes on from there.") from error
    except DivergedError as error:
        raise ToposcopeError(str(error)) from error
    except TrainError as error:
        raise SettingsError(str(error)) from error
    lines = read_log(log)
    return TrainResult(weights, log, _draw(log), lines[-1] if lines else {}, begun_at, changed)


def read_log(path: Path) -> list[dict[str, float]]:
    """Return the lines of a training's log; none where there is no such file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def _draw(log: Path) -> Path | None:
    lines = read_log(log)
    if not lines:
        return None
    write_image(log_picture(lines), log.with_name(PLOT_NAME))
    return log.with_name(PLOT_NAME)


def log_picture(lines: Sequence[Mapping[str, float]]) -> Picture:
    """Draw validation RMSE, training loss and the share of one-peak pixels over the minutes of a training."""

    def line(name: str, key: str) -> Line:
        known = [one for one in lines if key in one]
        return Line(name, [one["minutes"] for one in known], [one[key] for one in known])

    errors = tuple(line(n, k) for n, k in (("all", "rmse"), ("microscope", "rmse_micro"), ("macro", "rmse_macro")))
    return plot_picture(
        (
            Panel("validation RMSE, shares of the swept range", errors),
            Panel("training loss", (line("loss", "loss"),)),
            Panel("share of pixels with one peak", (line("unimodal", "unimodal"),)),
        ),
        "minutes",
        panel_height=280,
    )
