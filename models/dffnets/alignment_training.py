"""Train the alignment network.

    python -m dffnets.alignment_training align.toml

Training takes rendered stacks, moves their slices by known motions and asks for the motions back; the
error is what the corners of the picture are off, in pixels. The paper (Won and Jeon, ECCV 2022) trains
without known motions, by the likeness of moved slices (eq. 2); that loss is here too, as an option.
Checkpoints are as in `dffnets.training`.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dffnets.alignment import predict, prepare, stacked
from dffnets.nets.dffwild import AlignmentNetwork, BasisMotions, motion_flow, warp
from dffnets.synthetic.phone import PHONES, focus_distances, moved, phone_stack, relative_to, sweep_motions
from dffnets.synthetic.pool import read_pool
from dffnets.synthetic.random_scenes import TrainingStack, random_stack
from dffnets.training import VALIDATION_SEED, restore, update_average, write


@dataclass(frozen=True, slots=True)
class AlignmentConfig:
    """What to train on and for how long.

    ``pool`` of stacks as `dffnets.synthetic.pool` writes it. A step takes pictures of one of ``crops``
    (multiples of 4, at most the size of the stacks), one of ``counts`` slices (at least 2), and as many
    stacks as make ``pixels`` in all. ``photometric`` weighs the loss of the paper's eq. 2. Training ends
    after ``iterations`` or ``minutes``, whichever comes first; the learning rate falls accordingly.
    """

    output: Path
    pool: Path = Path("pool")
    pool_seed: int = 1
    pool_stacks: int = 2_000
    iterations: int = 20_000
    minutes: float = 30.0
    crops: tuple[int, ...] = (64, 96, 128)
    counts: tuple[int, ...] = (3, 4, 5)
    pixels: int = 120_000
    photometric: float = 0.0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warm_up: int = 50
    clip: float = 2.0
    average: float = 0.99
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    checkpoint_minutes: float = 3.0

    @classmethod
    def read(cls, path: Path) -> AlignmentConfig:
        """Read a TOML file; relative paths are relative to it."""
        with path.open("rb") as file:
            values: dict[str, Any] = tomllib.load(file)
        values |= {name: path.parent / values[name] for name in ("output", "pool") if name in values}
        values |= {name: tuple(values[name]) for name in ("crops", "counts") if name in values}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class AlignmentBatch:
    """Stacks whose motions are known.

    ``frames`` (B, 3, N, H, W) as `prepare` makes them; ``field_of_view`` (B, N), 1 where the lens data
    are unknown; ``motions`` (B, N, 3) true scale and shifts in pixels against slice ``reference`` (B,).
    """

    frames: Tensor
    field_of_view: Tensor
    motions: Tensor
    reference: Tensor


def corner_error(found: Tensor, true: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (..., ) root mean square error in pixels at the corners, of motions (..., 3) in pictures (H, W)."""
    half = found.new_tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
    off = found - true
    # the mean over the four corners (+-x, +-y): the mixed terms cancel
    square = (off[..., :1] * half).square().sum(-1) + off[..., 1:].square().sum(-1)
    return (square + 1e-8).sqrt()


def photometric_loss(frames: Tensor, motions: Tensor, reference: Tensor) -> Tensor:
    """Return the paper's eq. 2, the mean of (abs(I_n(x + D) - I_min(x)) + 0.01)^0.4.

    ``frames`` (B, C, N, H, W), ``motions`` (B, N, 3), ``reference`` (B,).
    """
    flow = motion_flow(motions.transpose(1, 2), frames.shape[-2:])
    target = frames[torch.arange(len(frames)), :, reference].unsqueeze(2)
    difference = warp(frames, flow) - target
    return (difference.abs() + 0.01).pow(0.4).mean()


def loss_of(found: Sequence[BasisMotions], batch: AlignmentBatch, photometric: float) -> Tensor:
    """Return the corner error of all refinements, the last weighing most, and eq. 2 of the last."""
    size = (int(batch.frames.shape[-2]), int(batch.frames.shape[-1]))
    total = batch.frames.new_zeros(())
    for weight, motions in zip((0.3, 0.5, 1.0), found, strict=True):
        total = total + weight * corner_error(stacked(motions), batch.motions, size).mean()
    if photometric:
        total = total + photometric * photometric_loss(batch.frames, stacked(found[-1]), batch.reference)
    return total


class AlignmentSampler:
    """Draws moved stacks from a pool with one generator, whose state a checkpoint keeps."""

    def __init__(self, stacks: Sequence[TrainingStack], config: AlignmentConfig) -> None:
        self.stacks, self.config = stacks, config
        self.random = np.random.default_rng(config.seed)

    def batch(self) -> AlignmentBatch:
        """Return one batch; half of its stacks have lens data."""
        n, crop = int(self.random.choice(self.config.counts)), int(self.random.choice(self.config.crops))
        return self.draw(max(1, self.config.pixels // (n * crop * crop)), n, crop)

    def draw(self, batch: int, n: int, crop: int) -> AlignmentBatch:
        """Return ``batch`` stacks of ``n`` slices of ``crop`` pixels."""
        drawn = [self._stack(n, crop) for _ in range(batch)]
        frames, seen, motions, reference = zip(*drawn, strict=True)
        device = self.config.device
        return AlignmentBatch(
            torch.stack(frames).to(device),
            torch.tensor(np.stack(seen), dtype=torch.float32, device=device),
            torch.tensor(np.stack(motions), dtype=torch.float32, device=device),
            torch.tensor(reference, device=device),
        )

    def _stack(self, n: int, crop: int) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64], int]:
        random = self.random
        stack = self.stacks[int(random.integers(len(self.stacks)))]
        kept = np.linspace(0, 1, n) * random.uniform(0.3, 1)
        kept = np.rint((kept + random.uniform(0, 1 - kept[-1])) * (len(stack.frames) - 1)).astype(int)
        frames = (stack.frames[torch.from_numpy(kept)].float() / 255).numpy()
        if random.random() < 0.5:
            distances = focus_distances(n)
            phone = PHONES[int(random.integers(len(PHONES)))]
            seen = phone.field_of_view(distances) ** random.uniform(0.3, 2)  # other lenses, other sweeps
            motions = phone.motions(distances, math.exp(random.uniform(0, math.log(32))), random)
            motions[:, 0] *= seen[-1] / seen * phone.field_of_view(distances)
            reference = int(seen.argmin())
        else:
            seen, motions, reference = np.ones(n), sweep_motions(n, crop, random), int(random.integers(n))
            if random.random() < 0.5:  # nearly aligned, as in a second pass
                motions = (motions - (1, 0, 0)) * math.exp(random.uniform(-4, 0)) + (1, 0, 0)
            motions = relative_to(motions, reference)
        frames = np.roll(frames, tuple(random.integers(0, frames.shape[-1], 2)), (1, 2))
        frames = moved(frames, motions, crop)
        if random.random() < 0.5:
            frames = frames.clip(0, 1) ** random.uniform(0.6, 1.6)
        frames *= np.exp(random.uniform(0, 0.1) * random.standard_normal((n, 1, 1))).astype(np.float32)
        frames += random.uniform(0, 0.015) * random.standard_normal(frames.shape, dtype=np.float32)
        return prepare(frames), seen, motions, reference


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """A stack that no training sees: grey frames (N, H, W) in 0..1, lens data if any, and the truth."""

    frames: NDArray[np.float32]
    field_of_view: NDArray[np.float64] | None
    motions: NDArray[np.float64]


def held_out(count: int = 12, slices: int = 8, size: int = 128) -> list[Unseen]:
    """Return phones' stacks with lens data and sweeps without, in turn."""
    unseen = []
    for k in range(count):
        if k % 2 == 0:
            phone = phone_stack((VALIDATION_SEED, 2, k), slices, size)
            seen = phone.field_of_view.numpy().astype(np.float64)
            frames, motions = phone.frames.numpy(), phone.motions.numpy().astype(np.float64)
            unseen.append(Unseen(frames.astype(np.float32) / np.float32(255), seen, motions))
            continue
        stack = random_stack((VALIDATION_SEED, 3, k), count=slices, size=size + size // 4)
        rng = np.random.default_rng((VALIDATION_SEED, 4, k))
        motions = relative_to(sweep_motions(slices, size, rng), slices // 2)
        frames = moved(stack.frames.numpy().astype(np.float32) / np.float32(255), motions, size)
        unseen.append(Unseen(frames, None, motions))
    return unseen


def validate(network: AlignmentNetwork, stacks: Sequence[Unseen]) -> dict[str, float]:
    """Return the median and mean corner error in pixels of stacks with lens data and without."""
    errors: dict[str, list[Tensor]] = {"phone": [], "sweep": []}
    for stack in stacks:
        found = predict(network, stack.frames, stack.field_of_view).motions
        size = (stack.frames.shape[1], stack.frames.shape[2])
        error = corner_error(torch.from_numpy(found), torch.from_numpy(stack.motions), size)
        errors["sweep" if stack.field_of_view is None else "phone"].append(error)
    together = {name: torch.cat(parts) for name, parts in errors.items()}
    medians = {f"{name}_median": float(error.median()) for name, error in together.items()}
    return medians | {f"{name}_mean": float(error.mean()) for name, error in together.items()}


def train(config: AlignmentConfig, report: Callable[[dict[str, float]], None] | None = None) -> Path:
    """Train until iterations or minutes are used up, from the checkpoint in ``output`` if there is one.

    Returns the file of the averaged weights. ``report`` receives each line of the log; whatever it
    raises stops the run, which can be taken up again.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    if config.threads:
        torch.set_num_threads(config.threads)
    stacks = list(read_pool(config.pool, config.pool_seed, config.pool_stacks))
    unseen = held_out()
    torch.manual_seed(config.seed)
    network = AlignmentNetwork().to(config.device)
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(
        network.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    sampler = AlignmentSampler(stacks, config)
    state = restore(config.output / "checkpoint.safetensors", network, average, optimiser, sampler)  # type: ignore[arg-type]
    iteration, used = int(state.get("iteration", 0)), state.get("seconds", 0.0)
    losses: list[float] = []
    network.train()
    began = saved = time.monotonic()
    while True:
        seconds = used + time.monotonic() - began
        done = max(iteration / config.iterations, seconds / (60 * config.minutes))
        if done >= 1 or time.monotonic() - saved > 60 * config.checkpoint_minutes:
            line = {"iteration": iteration, "minutes": seconds / 60, "loss": float(np.mean(losses or [np.nan]))}
            line |= validate(average, unseen)
            save(config, iteration, seconds, network, average, optimiser, sampler)
            with (config.output / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            if report:
                report(line)
            saved, losses = time.monotonic(), []
        if done >= 1:
            return config.output / "weights.safetensors"
        rate = (0.5 + 0.5 * math.cos(math.pi * done)) * min(1.0, (iteration + 1) / config.warm_up)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * rate
        batch = sampler.batch()
        found = network.refinements(batch.frames, batch.field_of_view, batch.reference)
        loss = loss_of(found, batch, config.photometric)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        iteration += 1
        update_average(average, network, min(config.average, (iteration + 1) / (iteration + 10)))
        losses.append(float(loss.detach()))


def save(
    config: AlignmentConfig,
    iteration: int,
    seconds: float,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    sampler: AlignmentSampler,
) -> None:
    """Write the checkpoint, and the averaged weights."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items()}
    meta = {"iteration": iteration, "seconds": seconds, "random": sampler.random.bit_generator.state}
    write(config.output / "checkpoint.safetensors", tensors, {"state": json.dumps(meta)})
    about = {"network": "alignment", "config": json.dumps(asdict(config), default=str), "iteration": str(iteration)}
    write(config.output / "weights.safetensors", dict(average.state_dict()), about)


if __name__ == "__main__":
    train(AlignmentConfig.read(Path(sys.argv[1])), lambda line: print(json.dumps(line), flush=True))  # noqa: T201
