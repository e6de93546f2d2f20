"""What adapting is worth on foreign microscopes: base, labels, biases only and full, on stacks none of them saw.

    python tests/benchmarks/adaptation.py --networks light,fad --counts 3,20,100 --variants bias,bias+head,full,truth
    python tests/benchmarks/adaptation.py --microscope fine --size 512 --networks fad,light --counts 3,20,100

``truth`` tunes biases by the rendered truth in place of labels, ``truth+full`` all weights: no label can do
better, so they tell what labels, biases and the microscope each take away. ``--develop`` takes other stacks of
the same microscope, by which settings were chosen; those that are reported were never chosen by.

Each microscope is rendered, seeds fixed, and unlike the training: see `MICROSCOPES`. RMSE in shares of the swept
range, all pixels with a truth within the sweep.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("app", "models", "resources")]

from dffnets.finetune import LabelledStack, TuneConfig, finetune  # noqa: E402
from dffnets.shipped import WeightsCard, shipped_cards  # noqa: E402
from dffnets.synthetic.random_scenes import Canvas, solid  # noqa: E402
from dffnets.synthetic.torus import render  # noqa: E402
from toposcope.core.calibration import Sourced  # noqa: E402
from toposcope.core.estimate import METHODS, EstimateSettings, estimate  # noqa: E402
from toposcope.core.settings import checked  # noqa: E402
from toposcope.core.stack import ArraySource, FocalStack  # noqa: E402

SEED, TESTED = 71_000, 72_000
DEVELOPED = 81_000, 82_000
"""Seeds of the stacks that are learnt from and of those that are looked at: to report, and to choose by."""


@dataclass(frozen=True)
class Microscope:
    """How stacks are rendered: what is unlike the training.

    ``slices`` of a stack; blur that grows by ``slope`` pixels a slice; ``noise`` of grains ``grain`` pixels wide (0:
    single pixels); ``columns`` deviation of the offsets of the sensor's columns, ``flicker`` of the light; ``glare`` of
    facets that face the light, ``texture`` of the metal, ``corner`` by how much the light falls off.
    """

    about: str
    slices: int = 9
    slope: float = 5.5
    noise: float = 0.03
    grain: float = 0.9
    columns: float = 0.012
    flicker: float = 0.04
    glare: float = 2.5
    texture: float = 0.04
    corner: float = 0.6


MICROSCOPES: Final = {
    "glare": Microscope("fast blur (training: 0.45 to 4.2), grain as wide as two pixels, flicker, saturated glare"),
    "columns": Microscope("a sensor with columns of their own offset", 12, 3.0, 0.02, columns=0.06, glare=0.5),
    "fine": Microscope("the same sensor, and twenty fine steps", 20, 2.0, 0.02, columns=0.06, glare=0.5),
    "uneven": Microscope(
        "dark corners and much flicker", 12, 2.5, 0.01, flicker=0.15, glare=0.0, texture=0.15, corner=1.0
    ),
    "aperture": Microscope("blur of 9 pixels a slice, seven slices", 7, 9.0, 0.015, glare=0.0),
    "dark": Microscope("noise of a tenth of the white, single pixels", noise=0.1, grain=0.0, columns=0.03, glare=0.0),
}
"""The lens draws hard discs, milled metal with scratches; all else is as its `Microscope` says."""

EXPONENT, SIGMA = 16.0, 1.1
"""Shape of the blur (a disc), and the blur in pixels of the lens in focus."""


@dataclass(frozen=True)
class Stack:
    """Frames (N, S, S) uint8 and the truth (S, S), focus coordinate."""

    frames: NDArray[np.uint8]
    depth: NDArray[np.float32]

    @property
    def positions(self) -> NDArray[np.float32]:
        """(N,) in 0..1."""
        return np.linspace(0, 1, len(self.frames), dtype=np.float32)


def foreign_stack(scope: Microscope, seed: int, size: int = 128) -> Stack:
    """Render one stack of a foreign microscope."""
    slices = scope.slices
    canvas = Canvas(np.random.default_rng(seed), size, torch.device("cpu"))
    depth = 0.08 + 0.84 * canvas.height()
    metal = 0.4 + 0.05 * canvas._scratches() + scope.texture * canvas.noise(1.2)
    colour = metal * canvas.shading(depth * 45)
    glint = canvas.smooth(canvas.white(), 2.5)
    colour = colour + scope.glare * ((glint / glint.std() - 2.2) * 5).sigmoid()
    layers = solid(depth, torch.ones_like(depth), colour, float(depth.min()), float(depth.max()), 28)
    positions = torch.linspace(0, 1, slices)
    light = render(layers, positions, scope.slope * (slices - 1), EXPONENT, SIGMA)
    corner = 1.15 - scope.corner * torch.hypot(canvas.x, canvas.y) / size
    random = canvas.random
    flicker = 1 + scope.flicker * torch.from_numpy(random.standard_normal((slices, 1, 1), dtype=np.float32))
    grain = torch.stack([canvas.smooth(canvas.white(), scope.grain) for _ in range(slices)])
    columns = scope.columns * torch.from_numpy(random.standard_normal((1, 1, size), dtype=np.float32))
    shown = (light * corner * flicker).clamp(0, 1.2) + scope.noise * grain / grain.std() + columns
    frames = (shown.clamp(0, 1) ** 0.6 * 255).round().to(torch.uint8)
    return Stack(frames.numpy(), depth.numpy().astype(np.float32))


def rmse(depth: NDArray[Any], stack: Stack) -> float:
    """Return the error of one stack where its truth lies within the sweep."""
    inside = (stack.depth >= 0) & (stack.depth <= 1)
    return float(np.sqrt(np.mean((depth - stack.depth)[inside] ** 2)))


def by_network(card: WeightsCard, weights: Path | None, stacks: Sequence[Stack]) -> list[NDArray[np.float32]]:
    """Return the depth of each stack by a network, as the program finds it: at several scales where that pays."""
    given = checked(METHODS[card.name].settings, {"fill": True})
    settings = EstimateSettings(card.name, given, align="none", threads=1, weights=weights)
    return [estimate(opened(stack), settings).depth.astype(np.float32) for stack in stacks]


def opened(stack: Stack) -> FocalStack:
    """Return a stack as the program has it."""
    return FocalStack.create(ArraySource(stack.frames), Sourced(stack.positions.astype(np.float64), "rendered"), "um")


def mean_rmse(depths: Sequence[NDArray[Any]], stacks: Sequence[Stack]) -> float:
    """Return the mean of the errors of the stacks."""
    return float(np.mean([rmse(depth, stack) for depth, stack in zip(depths, stacks, strict=True)]))


def labelled(stack: Stack, method: str, fill: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    given = checked(METHODS[method].settings, {"fill": fill})
    result = estimate(opened(stack), EstimateSettings(method, given, align="none", threads=1))
    depth = result.depth.astype(np.float32)
    return np.where(np.isfinite(depth), depth, 0.5 if fill else np.nan), result.confidence


BY_TRUTH: Final = {"truth": 1e-2, "truth+full": 5e-4}
"""Variants that learn from the truth, and their learning rates: larger, since the truth is never wrong."""


@dataclass(frozen=True)
class Row:
    """What was measured: ``rmse`` on the tested stacks, NaN where there is none, and the ``seconds`` it took."""

    by: str
    what: str
    stacks: int
    rmse: float
    seconds: float
    note: str = ""


def configured(options: argparse.Namespace, variant: str) -> TuneConfig:
    """Return the settings of a row; ``reblur`` tunes biases by labels and by re-blur consistency."""
    config = TuneConfig(steps=options.steps, confidence=options.confidence)
    if variant in BY_TRUTH:
        rate = BY_TRUTH[variant]
        return replace(
            config, agreement=(99.0, 99.0), learning_rate=rate, variant="full" if "full" in variant else "bias"
        )
    if variant == "reblur":
        return replace(config, reblur=options.reblur)
    return replace(config, variant=variant)  # type: ignore[arg-type]


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Yield what was measured, network by network."""
    scope = MICROSCOPES[options.microscope]
    tested = [foreign_stack(scope, options.tested_seed + k, options.size) for k in range(options.tested)]
    for method in options.labels, "rdf":
        began = time.monotonic()
        error = mean_rmse([labelled(stack, method, True)[0] for stack in tested], tested)
        yield Row(method, "labels", 0, error, time.monotonic() - began)
    yield Row("constant", "mean depth", 0, float(np.mean([stack.depth.std() for stack in tested])), 0.0)
    stacks = [foreign_stack(scope, options.seed + k, options.size) for k in range(max(options.counts))]
    began = time.monotonic()
    labels = [labelled(stack, options.labels, False) for stack in stacks]
    yield Row(options.labels, "labelling", len(stacks), math.nan, time.monotonic() - began)
    for name in options.networks:
        (card,) = (one for one in shipped_cards() if one.name == name)
        began = time.monotonic()
        before = by_network(card, None, tested)
        base = mean_rmse(before, tested)
        yield Row(name, "base", 0, base, time.monotonic() - began)
        for count, variant in itertools.product(options.counts, options.variants):
            learnt = [
                LabelledStack(f"stack {k}", stack.frames, stack.positions, depth, sure)
                for k, (stack, (depth, sure)) in enumerate(zip(stacks[:count], labels, strict=False))
            ]
            if variant in BY_TRUTH:
                sure = np.ones_like(stacks[0].depth)
                learnt = [replace(one, depth=s.depth, confidence=sure) for one, s in zip(learnt, stacks, strict=False)]
            with tempfile.TemporaryDirectory() as folder:
                found = finetune(card, learnt, Path(folder), configured(options, variant))
                after = by_network(card, found.delta, tested)
            error = mean_rmse(after, tested)
            if options.picture:
                cv2.imwrite(str(options.picture), picture(tested, before, after, options))
            held_out = f"held-out {found.before:.2f} -> {found.after:.2f} slices, {found.steps} steps"
            yield Row(name, variant, count, error, found.seconds, f"{1 - error / base:+.1%}, {held_out}")


SHOWN, SIDE = (1, 7, 8), 160
"""Stacks that a picture shows, and the side in pixels of each of its parts."""


def picture(
    tested: Sequence[Stack],
    before: Sequence[NDArray[Any]],
    after: Sequence[NDArray[Any]],
    options: argparse.Namespace,
) -> NDArray[np.uint8]:
    """Return some of the tested stacks, BGR: a slice, the truth, labels, and the network before and after."""
    titles = "middle slice", "true depth", f"labels by {options.labels}", "network before", "and adapted"
    head = np.full((28, len(titles) * SIDE, 3), 24, np.uint8)
    for k, title in enumerate(titles):
        cv2.putText(head, title, (k * SIDE + 8, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230,) * 3, 1, cv2.LINE_AA)
    lines = [head]
    for k in (k for k in SHOWN if k < len(tested)):
        stack, middle = tested[k], tested[k].frames[len(tested[k].frames) // 2]
        depth, sure = labelled(stack, options.labels, False)
        known = sure >= options.confidence
        parts = [cv2.cvtColor(middle, cv2.COLOR_GRAY2BGR), coloured(stack.depth), coloured(depth)]
        parts[2][~known] = 60
        parts += [coloured(before[k]), coloured(after[k])]
        lines.append(np.hstack([cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for part in parts]))
    return np.vstack(lines)


def coloured(depth: NDArray[Any]) -> NDArray[np.uint8]:
    values = (np.clip(np.nan_to_num(depth), 0, 1) * 255).astype(np.uint8)
    return cv2.applyColorMap(values, cv2.COLORMAP_VIRIDIS).astype(np.uint8)


def names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--microscope", choices=MICROSCOPES, default="glare")
    parser.add_argument("--networks", type=names, default=["light"])
    parser.add_argument("--labels", default="tft")
    parser.add_argument("--counts", type=lambda text: [int(k) for k in text.split(",")], default=[3, 20])
    parser.add_argument(
        "--variants", type=names, default=["bias", "bias+head", "full"], help="of these, truth, truth+full and reblur"
    )
    parser.add_argument("--steps", type=int, default=300, help="at most; as many as the program takes")
    parser.add_argument("--reblur", type=float, default=0.3, help="weight of that term in the variant reblur")
    parser.add_argument("--confidence", type=float, default=0.4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--tested", type=int, default=12)
    parser.add_argument("--develop", action="store_true", help="other stacks of the microscope, to choose settings by")
    parser.add_argument("--picture", type=Path, help="PNG of the last row: some stacks before and after")
    options = parser.parse_args()
    options.seed, options.tested_seed = DEVELOPED if options.develop else (SEED, TESTED)
    torch.set_num_threads(1)
    print(f"{'by':<16}{'what':<12}{'stacks':>7}{'RMSE':>9}{'seconds':>9}", flush=True)
    for row in rows(options):
        print(f"{row.by:<16}{row.what:<12}{row.stacks:>7}{row.rmse:>9.4f}{row.seconds:>9.1f}  {row.note}", flush=True)
