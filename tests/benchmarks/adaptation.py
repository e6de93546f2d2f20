"""What adapting is worth on a foreign microscope: base, labels, biases only and full, on stacks none of them saw.

    python tests/benchmarks/adaptation.py --network light --counts 3,20 --steps 200

The microscope is rendered, seeds fixed, and unlike the training in everything: a hard disc of blur that grows
by 5.5 pixels a slice (training: 0.45 to 4.2), grain as wide as two pixels with columns of their own offset,
light that falls off to one corner and flickers by 4 %, milled metal with scratches, glare that saturates. RMSE
in shares of the swept range, all pixels with a truth within the sweep.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("app", "models", "resources")]

from dffnets.finetune import LabelledStack, TuneConfig, finetune  # noqa: E402
from dffnets.layers import expected_position  # noqa: E402
from dffnets.predict import forward  # noqa: E402
from dffnets.shipped import WeightsCard, load_network, shipped_cards  # noqa: E402
from dffnets.synthetic.random_scenes import Canvas, solid  # noqa: E402
from dffnets.synthetic.torus import render  # noqa: E402
from toposcope.core.calibration import Sourced  # noqa: E402
from toposcope.core.estimate import METHODS, EstimateSettings, estimate  # noqa: E402
from toposcope.core.settings import checked  # noqa: E402
from toposcope.core.stack import ArraySource, FocalStack  # noqa: E402

SEED, TESTED = 71_000, 72_000
SLOPE, EXPONENT, SIGMA = 5.5, 16.0, 1.1
"""Blur in pixels a slice, shape of the blur (a disc), and of the lens in focus."""


@dataclass(frozen=True)
class Stack:
    """Frames (N, S, S) uint8 and the truth (S, S), focus coordinate."""

    frames: NDArray[np.uint8]
    depth: NDArray[np.float32]

    @property
    def positions(self) -> NDArray[np.float32]:
        """(N,) in 0..1."""
        return np.linspace(0, 1, len(self.frames), dtype=np.float32)


def foreign_stack(seed: int, slices: int = 9, size: int = 128) -> Stack:
    """Render one stack of the foreign microscope."""
    canvas = Canvas(np.random.default_rng(seed), size, torch.device("cpu"))
    depth = 0.08 + 0.84 * canvas.height()
    metal = 0.4 + 0.05 * canvas._scratches() + 0.04 * canvas.noise(1.2)
    colour = metal * canvas.shading(depth * 45)
    glint = canvas.smooth(canvas.white(), 2.5)
    colour = colour + 2.5 * ((glint / glint.std() - 2.2) * 5).sigmoid()
    layers = solid(depth, torch.ones_like(depth), colour, float(depth.min()), float(depth.max()), 28)
    positions = torch.linspace(0, 1, slices)
    light = render(layers, positions, SLOPE * (slices - 1), EXPONENT, SIGMA)
    corner = 1.15 - 0.6 * torch.hypot(canvas.x, canvas.y) / size
    random = canvas.random
    flicker = 1 + 0.04 * torch.from_numpy(random.standard_normal((slices, 1, 1), dtype=np.float32))
    grain = torch.stack([canvas.smooth(canvas.white(), 0.9) for _ in range(slices)])
    columns = 0.012 * torch.from_numpy(random.standard_normal((1, 1, size), dtype=np.float32))
    shown = (light * corner * flicker).clamp(0, 1.2) + 0.03 * grain / grain.std() + columns
    frames = (shown.clamp(0, 1) ** 0.6 * 255).round().to(torch.uint8)
    return Stack(frames.numpy(), depth.numpy().astype(np.float32))


def rmse(depth: NDArray[Any], stack: Stack) -> float:
    """Return the error of one stack where its truth lies within the sweep."""
    inside = (stack.depth >= 0) & (stack.depth <= 1)
    return float(np.sqrt(np.mean((depth - stack.depth)[inside] ** 2)))


def by_network(card: WeightsCard, weights: Path | None, stacks: Sequence[Stack]) -> float:
    network = load_network(card, weights)
    errors = []
    for stack in stacks:
        grey = torch.from_numpy(stack.frames.astype(np.float32))
        grey = (grey - grey.mean()) / grey.std()
        place = torch.from_numpy(stack.positions)
        probability = forward(network, grey, place, card.multiple, False)
        errors.append(rmse(expected_position(probability[None], place[None])[0].numpy(), stack))
    return float(np.mean(errors))


def labelled(stack: Stack, method: str, fill: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    given = checked(METHODS[method].settings, {"fill": fill})
    opened = FocalStack.create(ArraySource(stack.frames), Sourced(stack.positions.astype(np.float64), "rendered"), "um")
    result = estimate(opened, EstimateSettings(method, given, align="none", threads=1))
    depth = result.depth.astype(np.float32)
    return np.where(np.isfinite(depth), depth, 0.5 if fill else np.nan), result.confidence


def rows(options: argparse.Namespace) -> Iterator[tuple[str, int, float, float]]:
    """Yield what, number of stacks, RMSE on the tested stacks, seconds."""
    (card,) = (one for one in shipped_cards() if one.name == options.network)
    tested = [foreign_stack(TESTED + k, size=options.size) for k in range(options.tested)]
    began = time.monotonic()
    yield "base", 0, by_network(card, None, tested), time.monotonic() - began
    for method in ("tft", "rdf"):
        began = time.monotonic()
        error = float(np.mean([rmse(labelled(stack, method, True)[0], stack) for stack in tested]))
        yield f"labels {method}", 0, error, time.monotonic() - began
    for count in options.counts:
        stacks = [foreign_stack(SEED + k, size=options.size) for k in range(count)]
        began = time.monotonic()
        labels = [labelled(stack, options.labels, False) for stack in stacks]
        yield "labelling", count, float("nan"), time.monotonic() - began
        for variant in options.variants:
            learnt = [
                LabelledStack(f"stack {k}", stack.frames, stack.positions, depth, sure)
                for k, (stack, (depth, sure)) in enumerate(zip(stacks, labels, strict=True))
            ]
            with tempfile.TemporaryDirectory() as folder:
                config = TuneConfig(variant, steps=options.steps, confidence=options.confidence)
                found = finetune(card, learnt, Path(folder), config)
                error = by_network(card, found.delta, tested)
            print(f"    held-out {found.before:.3f} -> {found.after:.3f} slices, {found.steps} steps", flush=True)
            yield variant, count, error, found.seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="light")
    parser.add_argument("--labels", default="tft")
    parser.add_argument("--counts", type=lambda text: [int(k) for k in text.split(",")], default=[3, 20])
    parser.add_argument("--variants", type=lambda text: text.split(","), default=["bias", "bias+head", "full"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--confidence", type=float, default=0.4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--tested", type=int, default=12)
    torch.set_num_threads(1)
    print(f"{'what':<12}{'stacks':>7}{'RMSE':>9}{'seconds':>9}")
    for what, count, error, seconds in rows(parser.parse_args()):
        print(f"{what:<12}{count:>7}{error:>9.4f}{seconds:>9.1f}", flush=True)
