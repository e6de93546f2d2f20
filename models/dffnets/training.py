"""Train a network from scratch, on rendered stacks and on public data sets.

    python -m dffnets.training light.toml

A configuration (TOML) says what; everything else follows from its seed. A checkpoint is written every
few minutes and holds all that is needed to go on exactly where the run stopped: weights, their moving
average, the optimiser and the random generator. With random scenes alone it needs torch, numpy and
safetensors, nothing else.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from dffnets import losses
from dffnets.layers import expected_position, standardise
from dffnets.optimiser import Muon
from dffnets.predict import best_device, forward
from dffnets.registry import CARDS, create_network
from dffnets.sources import DataSet, RandomScenes, Source, Supply, TrainError, supply_of
from dffnets.synthetic.random_scenes import TrainingStack
from dffnets.synthetic.validation import SEEDS, VALIDATION_SEED, validation_set

__all__ = ["VALIDATION_SEED", "Source", "TrainConfig", "TrainError", "train"]

DATA_NAME = "data.txt"
"""File beside the weights that tells what they were trained on."""
LEAST_KNOWN = 0.35
"""Least share of pixels of a crop whose depth is known and lies between its slices."""
TRIES = 1_000
"""Crops drawn in search of one with so many known pixels."""

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Stack (B, 3, N, H, W) standardised, positions (B, N), depth (B, H, W), valid (B, H, W)."""


class DivergedError(TrainError):
    """The loss or its gradient is no finite number."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What to train and how.

    ``loss`` weighs terms by name: ``absolute``, ``root_square``, ``near``, ``cross_entropy``,
    ``focal_variation``, ``focal_turns``, ``focal_peaks``, ``spatial_variation``, ``laplacian_variance``. ``scales``
    weighs the outputs from the finest; ``counts`` are the numbers of slices a batch may have; ``macro_share`` is
    how many of the drawn stacks show macro scenes, where there are such. The run ends after ``iterations``
    steps or, unless that is 0, after ``minutes``, whichever comes first; the learning rate falls to 0
    towards that end. With ``minutes`` a run depends on the machine's speed. ``initial`` are
    weights to begin from (see `begin`). ``device`` may be ``auto``. ``sources`` are what stacks are drawn from;
    their stacks lie in ``pool``. ``validation`` are splits of data sets that the log is measured on in place of
    the rendered validation set; at most ``validation_stacks`` stacks in all, evenly from each.
    """

    network: str
    output: Path
    options: dict[str, Any] = field(default_factory=dict)
    iterations: int = 10_000
    minutes: float = 0.0
    batch: int = 4
    crop: int = 96
    counts: tuple[int, ...] = (5, 6, 7, 8, 8, 9, 10, 12, 16)
    macro_share: float = 0.55
    optimiser: Literal["muon", "adamw"] = "muon"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    warm_up: int = 100
    clip: float = 2.0
    average: float = 0.998
    loss: dict[str, float] = field(default_factory=lambda: {"absolute": 1.0, "cross_entropy": 0.3})
    scales: tuple[float, ...] = (1.0, 0.5, 0.3, 0.3)
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    threads: int = 0
    seed: int = 0
    pool: Path = Path("pool")
    pool_seed: int = 1
    pool_stacks: int = 8_000
    validation_stacks: int = 64
    workers: int = 0
    checkpoint_minutes: float = 3.0
    initial: Path | None = None
    sources: tuple[Source, ...] = (Source(),)
    validation: tuple[Source, ...] = ()

    @classmethod
    def read(cls, path: Path) -> TrainConfig:
        """Read a TOML file; relative paths are relative to it.

        Raises
        ------
        TrainError
            If a source has an unknown entry.
        """
        with path.open("rb") as file:
            values = tomllib.load(file)
        for name in ("output", "pool", "initial"):
            if name in values:
                values[name] = path.parent / values[name]
        for name in ("counts", "scales"):
            if name in values:
                values[name] = tuple(values[name])
        for name in ("sources", "validation"):
            if name in values:
                values[name] = tuple(read_source(path, entries) for entries in values[name])
        return cls(**values)

    def supplies(self) -> list[Supply]:
        """Return the supplies of ``sources``, in their order."""
        return self._supplies(self.sources)

    def held_out(self) -> list[Supply]:
        """Return the supplies of ``validation``, in their order."""
        return self._supplies(self.validation)

    def check_supplies(self) -> None:
        """Refuse sources that cannot be used, before any work.

        Raises
        ------
        TrainError
            If one cannot be read, or one of ``validation`` is no data set, or is trained on.
        """
        for supply in (*self.supplies(), *self.held_out()):
            supply.check()
        trained = {(one.name, one.root and one.root.resolve(), one.split) for one in self.sources}
        for supply, source in zip(self.held_out(), self.validation, strict=True):
            if not isinstance(supply, DataSet):
                raise TrainError(
                    f"the log cannot be measured on {source.name!r}: [[validation]] takes splits of data sets. Without "
                    "it, rendered stacks are taken that no training sees."
                )
            if (source.name, source.root and source.root.resolve(), source.split) in trained:
                raise TrainError(
                    f"{supply.title} is trained on, so nothing can be validated on it. Choose another split."
                )

    def _supplies(self, sources: Sequence[Source]) -> list[Supply]:
        return [supply_of(source, self.pool, self.pool_seed, self.pool_stacks) for source in sources]


def read_source(path: Path, entries: dict[str, Any]) -> Source:
    """Return the source that one table of the file at ``path`` tells; its ``root`` is relative to the file."""
    known = [one.name for one in fields(Source)]
    if unknown := [name for name in entries if name not in known]:
        raise TrainError(f"a source holds the unknown entry {unknown[0]!r}; known are {', '.join(known)}.")
    return Source(**entries | ({"root": path.parent / entries["root"]} if "root" in entries else {}))


class Sampler:
    """Draws augmented batches from stacks with one generator, whose state a checkpoint keeps.

    ``origins`` tells for each stack the number of its source in the configuration (default: all the first).

    Raises
    ------
    TrainError
        If ``counts`` asks for more slices than any stack has, a source has no stack with as many slices as
        any of them, or a stack is smaller than the crop.
    """

    def __init__(
        self, stacks: Sequence[TrainingStack], config: TrainConfig, origins: Sequence[int] | None = None
    ) -> None:
        self.stacks, self.config = stacks, config
        self.random = np.random.default_rng(config.seed)
        self.lengths = np.array([len(stack.frames) for stack in stacks])
        self.is_macro = np.array([stack.kind == "macro" for stack in stacks])
        self.origins = np.array(origins or [0] * len(stacks))
        if max(config.counts) > self.lengths.max():
            raise TrainError(
                f"counts holds {max(config.counts)}, but the longest training stack has {self.lengths.max()} slices. "
                "Leave it out."
            )
        for origin in np.unique(self.origins):
            if (longest := self.lengths[self.origins == origin].max()) < min(config.counts):
                raise TrainError(
                    f"the stacks of {self.title(int(origin))} have {longest} slices at most, but counts begins at "
                    f"{min(config.counts)}. Add a smaller number."
                )
        for stack, origin in zip(stacks, self.origins, strict=True):
            if min(stack.depth.shape) < config.crop:
                height, width = stack.depth.shape
                raise TrainError(
                    f"a stack of {self.title(int(origin))} has {width} x {height} pixels, which is less than the crop "
                    f"of {config.crop}. Choose a smaller crop."
                )

    def title(self, origin: int) -> str:
        """Return what a source is called in messages."""
        return self.config.supplies()[origin].title

    def batch(self) -> Batch:
        """Return one batch, all stacks with the same number of slices.

        Raises
        ------
        TrainError
            If crops of a source never show enough pixels whose depth is known.
        """
        n = int(self.random.choice(self.config.counts))
        chances = self._chances(n)
        drawn = [self._draw(n, chances) for _ in range(self.config.batch)]
        frames, positions, depth = (torch.stack(parts).to(self.config.device) for parts in zip(*drawn, strict=True))
        grey = standardise(frames[:, None]).expand(-1, 3, -1, -1, -1)  # (B, N, H, W) -> (B, 3, N, H, W)
        # a tile of a large picture is not standard in itself, so crops are not exactly either
        contrast, shift = (
            self.random.uniform(low, high, (len(drawn), 1, 1, 1, 1)) for low, high in ((0.6, 1.5), (-0.5, 0.5))
        )
        grey = grey * torch.from_numpy(contrast).to(grey) + torch.from_numpy(shift).to(grey)
        return grey, positions, depth, (depth >= 0) & (depth <= 1)

    def _chances(self, n: int) -> dict[int, tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """Return for each source that has any the stacks with n slices or more, and the chance of each."""
        chances = {}
        for origin in np.unique(self.origins):
            long_enough = np.flatnonzero((self.lengths >= n) & (self.origins == origin))
            is_macro = self.is_macro[long_enough]
            share = np.where(is_macro, self.config.macro_share, 1 - self.config.macro_share)
            share = share / np.where(is_macro, is_macro.sum(), (~is_macro).sum())
            if share.sum() > 0:
                chances[int(origin)] = long_enough, share / share.sum()
        return chances

    def _draw(
        self, n: int, chances: dict[int, tuple[NDArray[np.intp], NDArray[np.float64]]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return frames (n, C, C), positions (n,) and depth (C, C) of one crop, C pixels wide."""
        origins = list(chances)
        shares = np.array([self.config.sources[origin].share for origin in origins])
        # one source is no choice: the draws of such a run are those of one that knows no sources
        origin = origins[0] if len(origins) == 1 else int(self.random.choice(origins, p=shares / shares.sum()))
        stacks, chance = chances[origin]
        for _ in range(TRIES):
            stack = self.stacks[int(self.random.choice(stacks, p=chance))]
            frames, positions, depth = self._augment(stack, n)
            if ((depth >= 0) & (depth <= 1)).float().mean() > LEAST_KNOWN:
                return frames, positions, depth
        raise TrainError(
            f"none of {TRIES:,} crops of {self.title(origin)} had a known depth between its {n} slices in more than "
            f"{100 * LEAST_KNOWN:.0f} % of its pixels. Leave the source out, or choose another crop or larger counts."
        )

    def _augment(self, stack: TrainingStack, n: int) -> tuple[Tensor, Tensor, Tensor]:
        random, crop = self.random, self.config.crop
        kept = self._subset(len(stack.frames), n)
        frames, positions, depth = stack.frames[kept], stack.positions[kept], stack.depth
        if stack.periodic:  # on the torus any place is as good as another: roll, then crop
            shift = tuple(int(k) for k in random.integers(0, depth.shape[0], 2))
            frames, depth = frames.roll(shift, (1, 2))[:, :crop, :crop], depth.roll(shift, (0, 1))[:crop, :crop]
        else:
            top, left = (int(random.integers(extent - crop + 1)) for extent in depth.shape)
            frames, depth = (plane[..., top : top + crop, left : left + crop] for plane in (frames, depth))
        frames, depth = frames.to(self.config.device).float() / 255, depth.to(self.config.device).float()
        low, high = float(positions[0]), float(positions[-1])
        positions, depth = (positions - low) / (high - low), (depth - low) / (high - low)
        turns = int(random.integers(8))
        frames, depth = torch.rot90(frames, turns & 3, (1, 2)), torch.rot90(depth, turns & 3, (0, 1))
        if turns > 3:
            frames, depth = frames.flip(2), depth.flip(1)
        if random.random() < 0.5:
            frames, positions, depth = frames.flip(0), 1 - positions.flip(0), 1 - depth
        if random.random() < 0.35:
            frames = overexposed(frames, 10 ** float(random.uniform(-3, -0.8)))
        if random.random() < 0.5:
            frames = frames ** float(random.uniform(0.7, 1.4))
        if random.random() < 0.3:
            noise = torch.from_numpy(random.standard_normal(tuple(frames.shape), dtype=np.float32)).to(frames)
            frames = frames + noise * float(random.uniform(0, 0.02))
        return frames, positions, depth

    def _subset(self, available: int, n: int) -> list[int]:
        """Return n ascending slices: a run, an even thinning, or a random sorted choice."""
        kind = self.random.random()
        step = (available - 1) // (n - 1)
        if kind < 0.3 and step > 1:
            first = int(self.random.integers(available - step * (n - 1)))
            return list(range(first, first + step * (n - 1) + 1, step))
        if kind < 0.5:
            return sorted(int(k) for k in self.random.choice(available, n, replace=False))
        first = int(self.random.integers(available - n + 1))
        return list(range(first, first + n))


def overexposed(frames: Tensor, share: float) -> Tensor:
    """Return frames in 0..1 exposed so long, up to five times, that ``share`` of their values are saturated.

    Saturated highlights grow with blur, and their rims look sharp in slices that are out of focus.
    """
    return (frames / torch.quantile(frames, 1 - share).clamp(0.2, 1)).clamp(max=1)


def loss_of(network: nn.Module, outputs: list[Tensor], batch: Batch, config: TrainConfig) -> Tensor:
    """Return the weighted sum of the configured losses over all outputs, finest first in weight."""
    _, positions, depth, valid = batch
    total = depth.new_zeros(())
    per_output: dict[str, Callable[..., Tensor]] = {
        "absolute": losses.absolute_error,
        "root_square": losses.root_square_error,
        "near": losses.near_error,
        "cross_entropy": losses.cross_entropy,
    }
    of_focus_curves = {
        "focal_variation": losses.focal_variation,
        "focal_turns": losses.focal_turns,
        "focal_peaks": losses.focal_peaks,
    }
    for scale, probability in zip(config.scales, reversed(outputs), strict=False):
        for name, function in per_output.items():
            if weight := config.loss.get(name, 0.0):
                total = total + scale * weight * function(probability, positions, depth, valid)
        for name, of_curves in of_focus_curves.items():
            if weight := config.loss.get(name, 0.0):
                total = total + scale * weight * of_curves(probability, valid)
    if weight := config.loss.get("spatial_variation", 0.0):
        total = total + weight * losses.spatial_variation(network.gradients, positions, depth, valid)  # type: ignore[arg-type]
    if weight := config.loss.get("laplacian_variance", 0.0):
        prediction = expected_position(outputs[-1], positions)
        total = total + weight * losses.laplacian_variance(prediction, depth, valid)
    return total


@torch.no_grad()
def validate(network: nn.Module, stacks: Sequence[TrainingStack], config: TrainConfig) -> dict[str, float]:
    """Return the mean RMSE over ``stacks``, all and by kinds that there are, and the share of one-peak pixels.

    Stacks may have any size; those without a known depth within their sweep do not count.
    """
    multiple = CARDS[config.network].multiple
    was_training = network.training
    network.eval()
    errors: dict[str, list[float]] = {"micro": [], "macro": []}
    peaks = []
    for stack in stacks:
        frames = standardise((stack.frames.float() / 255).to(config.device)[None, None])[0, 0]
        positions, depth = stack.positions.to(config.device), stack.depth.float().to(config.device)
        probability = forward(network, frames, positions, multiple, config.precision == "bfloat16")[None]
        valid = (depth >= 0) & (depth <= 1)
        if not valid.any():
            continue
        error = expected_position(probability, positions[None])[0] - depth
        errors[stack.kind].append(float((error[valid] ** 2).mean().sqrt()))
        peaks.append(float((count_peaks(probability)[0][valid] == 1).float().mean()))
    network.train(was_training)
    by_kind = {f"rmse_{kind}": float(np.mean(found)) for kind, found in errors.items() if found}
    return {"rmse": float(np.mean(errors["micro"] + errors["macro"])), **by_kind, "unimodal": float(np.mean(peaks))}


def held_out_stacks(config: TrainConfig) -> list[TrainingStack]:
    """Return the stacks that the log is measured on; those of data sets must have been converted.

    Raises
    ------
    TrainError
        If a split of ``config.validation`` has no stack with known depth.
    """
    if not config.validation:
        return list(validation_set(config.validation_stacks))
    stacks: list[TrainingStack] = []
    supplies = config.held_out()
    for supply in supplies:
        found = found_in(supply)
        each = max(1, config.validation_stacks // len(supplies))
        stacks += [found[k] for k in np.unique(np.linspace(0, len(found) - 1, each).round().astype(int))]
    return stacks


def count_peaks(probability: Tensor, tolerance: float = 1e-3) -> Tensor:
    """Return how often ``probability`` (B, N, H, W) turns from rising to falling along the slices."""
    steps = torch.nn.functional.pad(probability, (0, 0, 0, 0, 1, 1)).diff(dim=1)  # from 0, back to 0
    direction = torch.where(steps > tolerance, 1, torch.where(steps < -tolerance, -1, 0))
    peaks = torch.zeros_like(direction[:, 0])
    last = torch.zeros_like(peaks)
    for k in range(direction.shape[1]):
        turn = direction[:, k]
        peaks += (last == 1) & (turn == -1)
        last = torch.where(turn != 0, turn, last)
    return peaks


def train(config: TrainConfig, report: Callable[[dict[str, float]], None] | None = None) -> Path:
    """Train to the end that ``config`` sets, from the checkpoint in ``output`` if there is one.

    Returns the file of the averaged weights. ``report`` receives ``iteration``, ``minutes``, ``fraction`` and
    ``loss`` about once a second, and each line of the log; whatever it raises stops the run, which can be
    taken up again.

    Raises
    ------
    TrainError
        If the seed of the training stacks is that of the validation or the test set, a source cannot be used,
        there are no stacks as long as ``counts`` or as large as ``crop`` asks for, ``initial`` or the checkpoint
        does not fit, or the loss is no finite number any more; the checkpoint is then left as it was.
    """
    if taken := [which for which, seed in SEEDS.items() if config.pool_seed == seed]:
        raise TrainError(f"pool_seed {config.pool_seed} is that of the {taken[0]} set. Choose another.")
    if config.device == "auto":
        config = replace(config, device=best_device())
    config.check_supplies()
    config.output.mkdir(parents=True, exist_ok=True)
    if config.threads:
        torch.set_num_threads(config.threads)
    fill(config)
    stacks, origins = load(config)
    (config.output / DATA_NAME).write_text(data_text(config) + "\n", "utf-8")
    held_out = held_out_stacks(config)

    torch.manual_seed(config.seed)
    network = begin(config).to(config.device)
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = make_optimiser(network, config)
    sampler = Sampler(stacks, config, origins)
    state = restore(config.output / "checkpoint.safetensors", network, average, optimiser, sampler)
    iteration, used, seen = int(state.get("iteration", 0)), state.get("seconds", 0.0), []
    network.train()
    began = saved = told = time.monotonic()

    def seconds() -> float:
        return used + time.monotonic() - began

    def fraction() -> float:
        by_time = seconds() / (60 * config.minutes) if config.minutes else 0.0
        return min(1.0, max(iteration / config.iterations, by_time))

    done = fraction()
    try:
        while done < 1:
            # 1. the rate rises over the warm-up, then falls to nothing along a cosine
            rate = min(1.0, (iteration + 1) / config.warm_up) * (0.5 + 0.5 * math.cos(math.pi * done))
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * rate
            # 2. one step
            batch = sampler.batch()
            with torch.autocast(config.device.split(":")[0], torch.bfloat16, enabled=config.precision == "bfloat16"):
                outputs = network(batch[0], batch[1])
            loss = loss_of(network, outputs, batch, config)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            if not (torch.isfinite(loss) & torch.isfinite(norm)):
                raise DivergedError(
                    f"at step {iteration + 1} the loss or its gradient is no finite number (loss {loss.item()}): the "
                    "run stops, and what was saved before is kept. Choose a smaller learning_rate, or precision "
                    "float32."
                )
            optimiser.step()
            iteration += 1
            update_average(average, network, min(config.average, (iteration + 1) / (iteration + 10)))
            seen.append(loss.detach())
            done = fraction()
            line = {"iteration": float(iteration), "minutes": seconds() / 60, "fraction": done}
            # 3. every few minutes, and at the end: validate, log, checkpoint
            if time.monotonic() - saved > 60 * config.checkpoint_minutes or done >= 1:
                line |= {"loss": float(torch.stack(seen).mean()), **validate(average, held_out, config)}
                save(config, iteration, seconds(), network, average, optimiser, sampler)
                with (config.output / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                saved, seen = time.monotonic(), []
            if report and ("rmse" in line or time.monotonic() - told > 1):
                told = time.monotonic()
                report({"loss": float(torch.stack(seen[-20:]).mean()) if seen else 0.0, **line})
    except DivergedError:
        raise
    except BaseException:
        save(config, iteration, seconds(), network, average, optimiser, sampler)
        raise
    return config.output / "weights.safetensors"


def fill(config: TrainConfig, report: Callable[[float, str], None] | None = None) -> None:
    """Render and convert all stacks that are missing in the pool.

    ``report`` hears the share that is done, and in words what is being made, several times a second; what it
    raises stops the work, and what is done is kept.

    Raises
    ------
    TrainError
        If a source cannot be used.
    """
    supplies = [*config.supplies(), *config.held_out()]
    for number, supply in enumerate(supplies):

        def told(done: int, total: int, number: int = number, title: str = supply.title) -> None:
            if report:
                report((number + done / total) / len(supplies), f"making stacks of {title}, part {done} of {total}")

        crop = config.crop if number < len(config.sources) else 1  # nothing is cut out of what is held out
        supply.fill(crop, config.workers, told)


def load(config: TrainConfig) -> tuple[list[TrainingStack], list[int]]:
    """Return the stacks of all sources, and for each the number of its source.

    Raises
    ------
    TrainError
        If a source has no stack with known depth.
    """
    stacks: list[TrainingStack] = []
    origins: list[int] = []
    for origin, supply in enumerate(config.supplies()):
        found = found_in(supply)
        # rendered ones beside the network, so that a GPU augments for itself and does not wait for the processor;
        # the large pictures of data sets stay in their files, and only what is cut out of them moves
        stacks += [
            replace(stack, frames=stack.frames.to(config.device), depth=stack.depth.to(config.device))
            if stack.periodic
            else stack
            for stack in found
        ]
        origins += [origin] * len(found)
    return stacks, origins


def found_in(supply: Supply) -> list[TrainingStack]:
    """Return the stacks of a supply, of which there must be some."""
    found = list(supply.read())
    if not found:
        raise TrainError(f"{supply.title} holds no stack with a known depth within its sweep. Choose another split.")
    return found


def data_text(config: TrainConfig) -> str:
    """Return in one line what the stacks are and under which licences, with the share of each source."""
    supplies, total = config.supplies(), sum(source.share for source in config.sources)
    if len(supplies) == 1 and isinstance(supplies[0], RandomScenes):
        return f"{supplies[0].describe()}: no photographs, no third-party data"
    return "; ".join(f"{100 * s.source.share / total:.3g} % {s.describe()}" for s in supplies)


def begin(config: TrainConfig) -> nn.Module:
    """Return the network to train: at random, or from the weights that ``config.initial`` holds.

    Weights of another network (which a file written by `train` names) are taken over where the new one
    knows how to: it has a method ``adopt``.

    Raises
    ------
    TrainError
        If it does not, if the file cannot be read, or if its weights have other sizes.
    """
    network = create_network(config.network, **config.options)
    if config.initial is None:
        return network
    try:
        with safe_open(config.initial, "pt") as file:
            about = file.metadata() or {}
        tensors = read_tensors(config.initial)
    except (SafetensorError, OSError) as error:
        raise TrainError(f"{config.initial} cannot be read as weights ({error}). Give a .safetensors file.") from error
    name = about.get("network", config.network)
    adopt = getattr(network, "adopt", None)
    if name != config.network and not callable(adopt):
        raise TrainError(f"{config.initial} holds weights of {name}, with which {config.network} cannot begin.")
    try:
        if name == config.network:
            network.load_state_dict(tensors)
        else:
            other = create_network(name, **json.loads(about["options"]))
            other.load_state_dict(tensors)
            adopt(other)  # type: ignore[misc]
    except RuntimeError as error:  # torch lists every tensor that does not fit
        raise TrainError(
            f"{config.initial} holds weights of {name} that do not fit {config.network} with these options."
        ) from error
    return network


def make_optimiser(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the configured optimiser over all parameters."""
    if config.optimiser == "muon":
        return Muon(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.AdamW(
        network.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the averaged weights and statistics towards the network's by 1 - ``keep``."""
    for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file, as float32 where they are floating."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    return {name: t.float() if t.dtype.is_floating_point else t for name, t in tensors.items()}


def save(
    config: TrainConfig,
    iteration: int,
    seconds: float,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    sampler: Sampler,
) -> None:
    """Write the checkpoint, and the averaged weights in half precision."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items()}
    meta = {
        "iteration": iteration,
        "seconds": seconds,
        "optimiser": type(optimiser).__name__,
        "random": sampler.random.bit_generator.state,
    }
    write(config.output / "checkpoint.safetensors", tensors, {"state": json.dumps(meta)})
    half = {k: v.half() if v.dtype.is_floating_point else v for k, v in average.state_dict().items()}
    about = {"network": config.network, "options": json.dumps(config.options), "iteration": str(iteration)}
    about["config"] = json.dumps(asdict(config), default=str)
    write(config.output / "weights.safetensors", half, about)


def write(path: Path, tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    """Write a safetensors file beside and rename it, so that a kill leaves the old one whole."""
    partial = path.with_suffix(".part")
    # save_file would leave a file that nobody else may read
    partial.write_bytes(to_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, meta))
    partial.replace(path)


def restore(
    path: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, sampler: Sampler
) -> dict[str, float]:
    """Load a checkpoint into the parts; return its iteration and seconds, or nothing without a file.

    Raises
    ------
    TrainError
        If it cannot be read, or is one of another network, of other options or of another optimiser.
    """
    if not path.exists():
        return {}
    choice = "Choose another output, or remove it."
    try:
        with safe_open(path, "pt") as file:
            meta = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise TrainError(f"the checkpoint {path} cannot be read ({error}). {choice}") from error
    if meta.get("optimiser", type(optimiser).__name__) != type(optimiser).__name__:
        raise TrainError(f"{path.parent} holds the checkpoint of a run by {meta['optimiser']}. {choice}")

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    try:
        network.load_state_dict(part("network."))
        average.load_state_dict(part("average."))
    except RuntimeError as error:
        raise TrainError(
            f"{path.parent} holds the checkpoint of another network, or of other options. {choice}"
        ) from error
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimiser.").items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    sampler.random.bit_generator.state = meta["random"]
    return {"iteration": meta["iteration"], "seconds": meta["seconds"]}


if __name__ == "__main__":

    def show(line: dict[str, float]) -> None:
        if "rmse" in line:
            print(json.dumps(line), flush=True)  # noqa: T201

    try:
        train(TrainConfig.read(Path(sys.argv[1])), show)
    except TrainError as error:
        sys.exit(f"error: {error}")
