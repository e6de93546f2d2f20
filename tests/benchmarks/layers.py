"""How well each of two surfaces is found where one is seen through the other: `python tests/benchmarks/layers.py`.

Renders a ground through a half transparent film, with more and less noise, of seeds that no test uses, and prints for
each classical method and choice of surface the share of the pixels that lie within half a slice of film and ground, and
the median error of those. By these scenes nothing was chosen.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("app", "models", "resources", "tests")]

import scenes  # noqa: E402
from toposcope.core.estimate import EstimateSettings, estimate, find_method  # noqa: E402
from toposcope.core.layers import LAYERS  # noqa: E402

METHODS = ("default", "tenengrad", "tft")
SEEDS = (71, 72, 73)
FILM = 0.7
"""Where the film of `scenes.film` lies, as a share of the sweep."""


def main() -> None:
    """Print a line for each noise, method and surface."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=21)
    parser.add_argument("--size", type=int, default=320, help="of the pictures, in pixels")
    options = parser.parse_args()
    print("| noise | method | surface | known | on the film | on the ground | median error |")
    print("|---|---|---|---|---|---|---|")
    for noise in (0.01, 0.03):
        stacks = [scenes.film(size=options.size, n=options.slices, noise=noise, blur_px=1.0, seed=s) for s in SEEDS]
        for method in METHODS:
            for layer in LAYERS:
                settings = EstimateSettings(method, find_method(method).checked({"layer": layer}), align="none")
                rows = [figures(scene, settings) for scene in stacks]
                known, film, ground, error = np.mean(rows, axis=0)
                print(f"| {noise:g} | `{method}` | {layer} | {known:.3f} | {film:.3f} | {ground:.3f} | {error:.3f} |")


def figures(scene: scenes.Scene, settings: EstimateSettings) -> tuple[float, float, float, float]:
    """Return the share known, the shares of that on film and ground, and the median error, in slices."""
    result = estimate(scene.stack, settings)
    n = scene.stack.n
    found = np.interp(result.depth, scene.stack.positions.value, np.arange(n))[result.valid]
    to_film, to_ground = np.abs(found - FILM * (n - 1)), np.abs(found - scene.index[result.valid])
    nearer = np.minimum(to_film, to_ground)
    return (
        float(result.valid.mean()),
        float(np.mean(to_film < 0.5)),
        float(np.mean(to_ground < 0.5)),
        float(np.median(nearer[nearer < 0.5])),
    )


if __name__ == "__main__":
    main()
