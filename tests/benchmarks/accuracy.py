"""How exact every method is, and what it costs.

Run ``python tests/benchmarks/accuracy.py`` in the project's environment. Prints one line for each stack
and method: mean, median and root mean squared error in slices, share of pixels more than one slice
off, share of voids, and the mean error of the 25, 50 and 75 % most confident pixels; then the
CPU seconds of each stage for 12 megapixels a frame.

Stacks: surfaces with known depth from ``../shared/data`` where that folder stands beside the
project, and scenes rendered by ``tests/scenes.py``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "app", "models")]

import scenes  # noqa: E402
from toposcope.core.classical import DefaultSettings, _default  # noqa: E402
from toposcope.core.estimate import METHODS, EstimateSettings, estimate  # noqa: E402
from toposcope.core.fuse import Fuser  # noqa: E402
from toposcope.core.jobs import silent  # noqa: E402
from toposcope.core.refine import settle, smooth  # noqa: E402
from toposcope.core.scan import scan  # noqa: E402
from toposcope.core.source import open_stack  # noqa: E402
from toposcope.core.stack import ArraySource, FocalStack  # noqa: E402

SURFACES = ROOT / "../shared/data/stacks_with_gt"
Floats = NDArray[np.floating]

RENDERED: dict[str, Callable[[], scenes.Scene]] = {
    "plane": lambda: scenes.tilted_plane(noise=0.01),
    "plane, noisy": lambda: scenes.tilted_plane(noise=0.04),
    "plane, faint": lambda: scenes.tilted_plane(noise=0.01, contrast=0.03),
    "plane, 8 slices": lambda: scenes.tilted_plane(noise=0.01, n=8),
    "plane, 21 fine slices": lambda: scenes.tilted_plane(noise=0.02, n=21, blur_px=1.0),
    "hemisphere": lambda: scenes.hemisphere(noise=0.01),
    "step": lambda: scenes.step(noise=0.01),
    "patches": lambda: scenes.textureless_patches(noise=0.02),
    "occlusion": lambda: scenes.occlusion(noise=0.02),
}


def stacks() -> Iterator[tuple[str, FocalStack, Floats]]:
    """Yield name, stack and true slice index (NaN where unknown)."""
    for folder in sorted(SURFACES.glob("generated_surface_*")) if SURFACES.is_dir() else ():
        yield folder.name, open_stack(folder), tifffile.imread(folder / "gt_slice_index.tif")
    for name, make in RENDERED.items():
        scene = make()
        yield name, scene.stack, scene.index


def line(stack: FocalStack, truth: Floats, settings: EstimateSettings) -> str:
    """Return one line of figures."""
    begin = time.process_time()
    result = estimate(stack, settings)
    seconds = time.process_time() - begin
    index = np.interp(result.depth, stack.positions.value, np.arange(stack.n))
    index[~result.valid] = np.nan
    asked = np.isfinite(truth)
    known = asked & np.isfinite(index)
    error, order = np.abs(index - truth)[known], np.argsort(-result.confidence[known], kind="stable")
    best = [error[order[: max(int(share * error.size), 1)]].mean() for share in (0.25, 0.5, 0.75)]
    return (
        f"{error.mean():6.3f} {np.median(error):6.3f} {np.sqrt((error**2).mean()):6.3f} {(error > 1).mean():6.1%} "
        f"{1 - known.sum() / asked.sum():6.1%}   {best[0]:.3f} {best[1]:.3f} {best[2]:.3f}   {seconds:6.2f}"
    )


def costs(megapixels: float, n: int) -> None:
    """Print the CPU seconds of each stage of the default method."""
    width = int(np.sqrt(megapixels * 1e6 * 4 / 3))
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 255, (width * 3 // 4, width, 3), dtype=np.uint8)
    frames = np.broadcast_to(frame, (n, *frame.shape))
    stack = FocalStack.create(ArraySource(frames))
    recipe = _default(DefaultSettings())
    with ThreadPoolExecutor(2) as pool:
        begin = time.process_time()
        seen = scan(stack, recipe, (), None, pool, silent)
        scanned = time.process_time()
        depth = settle(seen, 1.25, pool)
        settled = time.process_time()
        smooth(depth, 1.5, pool)
        smoothed = time.process_time()
    fuser = Fuser(stack.shape, 3, frame.dtype, n)
    measure = np.ones(stack.shape, dtype=np.float32)
    fusing = time.process_time()
    for i in range(n):
        fuser.add(i, frame, measure)
    fused = time.process_time()
    print(f"\nCPU seconds, {stack.shape[1]} x {stack.shape[0]} colour:")
    print(f"  grey, measure, noise, peaks  {(scanned - begin) / n:.2f} a frame")
    print(f"  fusion                       {(fused - fusing) / n:.2f} a frame")
    print(f"  peaks between slices         {settled - scanned:.2f} once")
    print(f"  smoothing                    {smoothed - settled:.2f} once")


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of every method on stacks with known depth.")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated")
    parser.add_argument("--megapixels", type=float, default=12.0, help="size of the frames for the costs; 0 for none")
    chosen = parser.parse_args()
    print(f"{'':38}  mean median    rms    > 1   void   best 25, 50, 75 %     CPU s")
    for name, stack, truth in stacks():
        for method in chosen.methods.split(","):
            print(f"{name:22} {method:16} {line(stack, truth, EstimateSettings(method, align='none'))}", flush=True)
        plain = METHODS["tenengrad"].settings(peak="three-point")
        settings = EstimateSettings("tenengrad", options=plain, align="none")
        print(f"{name:22} {'three-point':16} {line(stack, truth, settings)}", flush=True)
    if chosen.megapixels:
        costs(chosen.megapixels, 6)


if __name__ == "__main__":
    main()
