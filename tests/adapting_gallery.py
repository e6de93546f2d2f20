"""Networks before and after adapting to real stacks: `python tests/adapting_gallery.py SHEET.png STACK...`.

Each network learns from all STACKs together, as `toposcope finetune` does it; then each has a line: the labels that
count, and the depth by each network before and after, in one colour scale. Photographs are not shown, so that
stacks whose licence does not allow it can be looked at.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sheets import sheet
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.pictures import Picture, colour_map, robust_range
from toposcope.core.source import open_stack
from toposcope.core.tuning import Tuned, TuneOptions, TuneSettings, adapt

NETWORKS = {"light": "light network", "fad": "FAD"}


def learnt(base: str, stacks: list[Path], folder: Path, options: TuneOptions) -> Tuned:
    """Adapt ``base``, say what came of it, and return it."""
    tuned = adapt(stacks, folder / f"{base}.safetensors", TuneSettings(base, options=options), keep_work=True)
    for one in tuned.labels:
        print(f"{base}: {one.name}, labels sure for {one.sure:.0%}", flush=True)
    print(
        f"{base}: held-out labels {tuned.before:.3f} -> {tuned.after:.3f} slices, {tuned.steps} steps, "
        f"{tuned.seconds:.0f} s. {' '.join(tuned.notes)}",
        flush=True,
    )
    return tuned


def depth_by(stack: Path, base: str, weights: Path | None) -> NDArray[np.float32]:
    """Return the depth (H, W) of a stack by a network, in the unit of the stack."""
    return estimate(open_stack(stack), EstimateSettings(base, weights=weights)).depth


def compared(stacks: list[Path], options: TuneOptions) -> Picture:
    """Return the sheet: a line for each stack."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        found = {base: learnt(base, stacks, Path(folder), options) for base in NETWORKS}
        for stack, labels in zip(stacks, next(iter(found.values())).labels, strict=True):
            positions = open_stack(stack).positions.value
            label = np.interp(labels.depth(), (0, 1), (positions[0], positions[-1])).astype(np.float32)
            label[labels.confidence() < options.confidence] = np.nan
            maps = [label]
            for base, tuned in found.items():
                maps += [depth_by(stack, base, None), depth_by(stack, base, tuned.weights)]
            low, high = robust_range(maps[1])
            lines.append([colour_map(one, low=low, high=high) for one in maps])
    titles = ["labels that count"]
    for title in NETWORKS.values():
        titles += [f"{title} before", "and after"]
    return sheet(titles, lines)


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("stacks", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=TuneOptions().steps)
    chosen = parser.parse_args()
    cv2.imwrite(str(chosen.sheet), compared(chosen.stacks, TuneOptions(steps=chosen.steps))[..., ::-1])


if __name__ == "__main__":
    main()
