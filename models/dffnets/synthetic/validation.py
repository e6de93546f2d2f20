"""The validation set: rendered stacks that no training ever sees, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dffnets.synthetic.random_scenes import SceneKind, TrainingStack, random_stack

VALIDATION_SEED = 900_001
"""Pools for training refuse this seed."""

SLICES: dict[SceneKind, tuple[int, int]] = {"macro": (5, 15), "micro": (10, 30)}
"""Fewest and most slices: what photographers and microscopists take."""


def validation_set(count: int = 64, size: int = 128) -> Iterator[TrainingStack]:
    """Yield ``count`` stacks, macro and microscope scenes in turn, of ``size`` pixels.

    A longer set begins with the shorter one.
    """
    for k in range(count):
        kind: SceneKind = ("macro", "micro")[k % 2]
        low, high = SLICES[kind]
        slices = int(np.random.default_rng((VALIDATION_SEED, 1, k)).integers(low, high + 1))
        yield random_stack((VALIDATION_SEED, k), kind, slices, size)
