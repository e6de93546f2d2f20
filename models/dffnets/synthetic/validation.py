"""The validation and the test set: rendered stacks that no training ever sees, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from dffnets.synthetic.random_scenes import SceneKind, TrainingStack, random_stack

HeldOut = Literal["validation", "test"]

VALIDATION_SEED = 900_001
"""By its stacks weights, losses and settings are chosen."""

SEEDS: dict[HeldOut, int] = {"validation": VALIDATION_SEED, "test": 900_002}
"""Pools for training refuse these. By the stacks of the test set nothing is chosen."""

SLICES: dict[SceneKind, tuple[int, int]] = {"macro": (5, 15), "micro": (10, 30)}
"""Fewest and most slices: what photographers and microscopists take."""

KINDS: tuple[SceneKind, SceneKind] = ("macro", "micro")


def held_out_stack(which: HeldOut, k: int, slices: int | None = None, size: int = 128) -> TrainingStack:
    """Return stack ``k`` of ``size`` pixels: a macro scene where k is even, else one under a microscope.

    With ``slices`` the same scene is rendered with so many slices; all that is drawn after the scene
    (spacing, blur of a step, noise) is drawn anew.
    """
    seed, kind = SEEDS[which], KINDS[k % 2]
    low, high = SLICES[kind]
    usual = int(np.random.default_rng((seed, 1, k)).integers(low, high + 1))
    return random_stack((seed, k), kind, slices or usual, size)


def validation_set(count: int = 64, size: int = 128) -> Iterator[TrainingStack]:
    """Yield ``count`` stacks, macro and microscope scenes in turn; a longer set begins with the shorter one."""
    for k in range(count):
        yield held_out_stack("validation", k, size=size)
