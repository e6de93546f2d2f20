"""What several scales are worth on large pictures: networks at full scale, at half, and automatic.

    python tests/benchmarks/large_pictures.py [--networks light,fad] [--stacks 24] [--size 512]

Renders macro and microscope scenes whose shapes and blur are 2 and 4 times as large as those that networks learn
from, as a camera of more pixels shows them; texture and hairs stay as fine as pixels. Prints the mean RMSE in shares of
the range, and seconds. By these stacks nothing was chosen.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("app", "models", "resources")]

from dffnets.synthetic.random_scenes import SceneKind, TrainingStack, random_stack  # noqa: E402
from toposcope.core.calibration import Sourced  # noqa: E402
from toposcope.core.estimate import METHODS, EstimateSettings, estimate  # noqa: E402
from toposcope.core.settings import checked  # noqa: E402
from toposcope.core.stack import ArraySource, FocalStack  # noqa: E402

SEED = 88
KINDS: tuple[SceneKind, SceneKind] = ("macro", "micro")
SCALES = (2, 4)
SIZES = ("full", "half", "automatic")


def error_of(stack: TrainingStack, method: str, more: dict[str, object]) -> float:
    """Return the RMSE of a method where the truth lies within the sweep."""
    positions = Sourced(stack.positions.numpy().astype(np.float64), "rendered")
    opened = FocalStack.create(ArraySource(stack.frames.numpy()), positions, "um")
    options = checked(METHODS[method].settings, {"fill": True, **more})
    result = estimate(opened, EstimateSettings(method, options, align="none", keep_volume=False))
    truth = stack.depth.float().numpy()
    known = (truth >= 0) & (truth <= 1)
    return float(np.sqrt(np.mean((result.depth - truth)[known] ** 2)))


def main() -> None:
    """Print a line for each method and size, a column for each kind of scene and scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=lambda text: text.split(","), default=["light", "fad"])
    parser.add_argument("--stacks", type=int, default=24, help="of all kinds together")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows: list[tuple[str, dict[str, object]]] = [("default", {}), ("tft", {})]
    rows += [(name, {"scale": size}) for name in options.networks for size in SIZES]
    errors: dict[tuple[int, SceneKind, int], list[float]] = {}
    seconds = [0.0] * len(rows)
    for k in range(options.stacks):
        kind, scale = KINDS[k % 2], SCALES[k // 2 % 2]
        stack = random_stack((SEED, k), kind, 7 + k % 7, options.size, scale=scale)
        for row, (method, more) in enumerate(rows):
            began = time.monotonic()
            errors.setdefault((row, kind, scale), []).append(error_of(stack, method, more))
            seconds[row] += time.monotonic() - began
    columns = [(kind, scale) for kind in KINDS for scale in SCALES]
    print("| method | size | " + " | ".join(f"{kind}, {scale} times" for kind, scale in columns) + " | seconds |")
    print("|---|---|" + "---|" * (len(columns) + 1))
    for row, (method, more) in enumerate(rows):
        cells = [f"{np.mean(errors[row, kind, scale]):.3f}" for kind, scale in columns]
        print(f"| {method} | {more.get('scale', '')} | {' | '.join(cells)} | {seconds[row] / options.stacks:.2f} |")


if __name__ == "__main__":
    main()
