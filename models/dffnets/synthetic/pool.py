"""A pool of rendered training stacks on disk: made once, by all cores, read whole into memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

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
    stacks = [random_stack((seed, shard * SHARD + k), size=size) for k in range(SHARD)]
    tensors: dict[str, torch.Tensor] = {}
    for k, stack in enumerate(stacks):
        tensors |= {f"{k}.frames": stack.frames.contiguous(), f"{k}.depth": stack.depth.contiguous()}
        tensors |= {f"{k}.positions": stack.positions.contiguous()}
    partial = path.with_suffix(f".{os.getpid()}.part")
    save_file(tensors, partial, {"kinds": json.dumps([stack.kind for stack in stacks])})
    partial.replace(path)  # a killed process leaves no half shard under the real name
    return path


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
    with ProcessPoolExecutor(workers or os.cpu_count() or 1) as pool:
        waiting = {pool.submit(write_shard, directory, seed, k, size) for k in missing}
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
    for shard in range(-(-count // SHARD)):
        with safe_open(shard_path(directory, seed, shard), "pt") as file:
            kinds: list[SceneKind] = json.loads(file.metadata()["kinds"])
            for k in range(min(SHARD, count - shard * SHARD)):
                frames, depth, positions = (file.get_tensor(f"{k}.{part}") for part in ("frames", "depth", "positions"))
                yield TrainingStack(frames, depth, positions, kinds[k])
