"""A pool of rendered training stacks on disk: made once, by all cores, read whole into memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes

from dffnets.synthetic.random_scenes import SceneKind, TrainingStack, random_stack

SHARD = 50
"""Stacks a file."""
SIZE = 128
"""Rows and columns of a stack."""


def shard_path(directory: Path, seed: int, shard: int) -> Path:
    """Return the file of one shard."""
    return directory / f"stacks-{seed}-{shard:05d}.safetensors"


def write_shard(directory: Path, seed: int, shard: int, size: int) -> Path:
    """Render stacks ``shard * SHARD`` and following of a seed into one file, unless it is there."""
    path = shard_path(directory, seed, shard)
    if path.exists():
        return path
    torch.set_num_threads(1)  # the processes share the cores among themselves
    save_stacks(path, [random_stack((seed, shard * SHARD + k), size=size) for k in range(SHARD)])
    return path


def save_stacks(path: Path, stacks: Sequence[TrainingStack]) -> None:
    """Write stacks, all periodic or none, into one file."""
    tensors: dict[str, torch.Tensor] = {}
    for k, stack in enumerate(stacks):
        tensors |= {f"{k}.frames": stack.frames.contiguous(), f"{k}.depth": stack.depth.contiguous()}
        tensors |= {f"{k}.positions": stack.positions.contiguous()}
    about = {"kinds": json.dumps([stack.kind for stack in stacks])}
    if not all(stack.periodic for stack in stacks):
        about["periodic"] = "no"
    partial_path = path.with_suffix(f".{os.getpid()}.part")
    partial_path.write_bytes(to_bytes(tensors, about))  # save_file would leave a file that nobody else may read
    partial_path.replace(path)  # a killed process leaves no half shard under the real name


def load_stacks(path: Path) -> Iterator[TrainingStack]:
    """Yield the stacks of one file, in their order; periodic unless it says otherwise."""
    with safe_open(path, "pt") as file:
        about = file.metadata()
        kinds: list[SceneKind] = json.loads(about["kinds"])
        for k, kind in enumerate(kinds):
            frames, depth, positions = (file.get_tensor(f"{k}.{part}") for part in ("frames", "depth", "positions"))
            yield TrainingStack(frames, depth, positions, kind, "periodic" not in about)


def fill_pool(
    directory: Path,
    seed: int,
    count: int,
    size: int = SIZE,
    workers: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Make sure that ``count`` stacks (rounded up to whole shards) of ``seed`` lie in ``directory``.

    ``workers`` processes (default: one a core) render; ``report(shards done, shards)`` is called several
    times a second, and what it raises stops the work once the shards at hand are done.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shards = -(-count // SHARD)
    missing = [k for k in range(shards) if not shard_path(directory, seed, k).exists()]
    fill_shards(partial(write_shard, directory, seed, size=size), missing, shards, workers, report)


def fill_shards(
    write: Callable[[int], object],
    missing: Sequence[int],
    shards: int,
    workers: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Call ``write(shard)``, which must be picklable, for all that are missing of ``shards``, as `fill_pool` does."""
    with ProcessPoolExecutor(workers or os.cpu_count() or 1) as pool:
        waiting = {pool.submit(write, k) for k in missing}
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=0.3, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                if report:
                    report(shards - len(waiting), shards)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def read_pool(directory: Path, seed: int, count: int) -> Iterator[TrainingStack]:
    """Yield ``count`` stacks of a seed, in their order."""
    shards = range(-(-count // SHARD))
    stacks = (stack for shard in shards for stack in load_stacks(shard_path(directory, seed, shard)))
    yield from islice(stacks, count)
