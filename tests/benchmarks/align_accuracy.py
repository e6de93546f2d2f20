"""Print how well alignment finds known motion: ``python tests/benchmarks/align_accuracy.py``.

Rendered stacks, magnification 1.2, shift 3 % and rotation 1 degree over the sweep, noise 1 %; errors are
those of the corners against the reference frame, in pixels.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import scenes
from toposcope.core.align import measure

SCENES = ("tilted_plane", "step", "hemisphere", "textureless_patches", "occlusion")


def main(size: int = 512, n: int = 9) -> None:
    print(f"{'scene':20} blur/slice  rms px  max px  CPU s/frame  found")
    for name in SCENES:
        for blur in (1.5, 3.0):
            scene = getattr(scenes, name)(
                size=size, n=n, magnify=0.2, drift=0.03, turn_deg=1.0, noise=0.01, blur_px=blur
            )
            begin = time.process_time()
            alignment = measure(scene.stack)
            seconds = (time.process_time() - begin) / n
            full = [np.vstack([matrix, [0, 0, 1]]) for matrix in scene.motions]
            corners = np.array([(x, y, 1) for x in (0, size - 1) for y in (0, size - 1)]).T
            world = np.linalg.inv(full[alignment.reference]) @ corners
            offs = [
                motion.matrix @ corners - (true @ world)[:2]
                for motion, true in zip(alignment.motions, full, strict=True)
            ]
            errors = np.array([np.sqrt(np.mean(np.sum(off**2, axis=0))) for off in offs])
            rms = float(np.sqrt(np.mean(errors**2)))
            print(f"{name:20} {blur:7.1f} px  {rms:6.3f}  {errors.max():6.3f}  {seconds:11.3f}  {alignment.text}")


if __name__ == "__main__":
    main()
