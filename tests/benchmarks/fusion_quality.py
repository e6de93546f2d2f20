"""How near the all-in-focus picture comes to the truth, beside FocusWeave's.

    python tests/benchmarks/fusion_quality.py [--size 512] [--rival PROGRAM] [--keep DIR]

Rendered scenes without motion, so that only the fusion is compared. PSNR and SSIM (11 px Gaussian window)
against the rendering without blur and noise; "sharp" is its gradient energy over the truth's, "flat" the SD
of the error, in grey steps, in the flattest tenth of the truth: noise and blotches. "selection" takes each
pixel from the frame nearest to the true depth, which no program can know. A border of 16 pixels is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from speed import install_rival

import scenes
from toposcope.core.estimate import EstimateSettings, estimate

Image = NDArray[np.uint8]
BORDER = 16


def quality(picture: Image, truth: Image) -> tuple[float, float, float, float]:
    """Return PSNR in dB, SSIM, gradient energy over the truth's, and error SD in the flattest tenth, in grey steps."""
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    a, b = picture[inner].astype(np.float64), truth[inner].astype(np.float64)
    psnr = 10 * np.log10(255**2 / np.mean((a - b) ** 2))
    a, b = (cv2.cvtColor(p.astype(np.float32), cv2.COLOR_RGB2GRAY).astype(np.float64) for p in (a, b))

    def mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5))

    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = np.mean((2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    energy_a, energy_b = (np.diff(x, axis=0)[:, 1:] ** 2 + np.diff(x, axis=1)[1:] ** 2 for x in (a, b))
    calm = mean(energy_b)
    flat = calm <= np.quantile(calm, 0.1)
    return float(psnr), float(ssim), float(energy_a.mean() / energy_b.mean()), float((a - b)[1:, 1:][flat].std())


def main() -> int:
    """Print a table of scenes and programs; return 1 when ours is worse than the rival's in PSNR anywhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rival", type=Path, help="FocusWeave's program, where it is installed already")
    parser.add_argument("--keep", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    worse = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rival = options.rival or install_rival(folder / "rival")
        print(f"{'scene':32} {'program':10} {'PSNR dB':>8} {'SSIM':>7} {'sharp':>6} {'flat':>5}")
        for make in (scenes.tilted_plane, scenes.hemisphere, scenes.occlusion, scenes.textureless_patches):
            for noise in (0.006, 0.02):
                scene = make(size=options.size, n=12, colour=True, noise=noise, blur_px=1.0)
                title = f"{make.__name__}, noise {noise:.1%}"
                frames = np.array([scene.stack.read(i) for i in range(scene.stack.n)])
                stack = folder / title.replace(" ", "_")
                stack.mkdir()
                for i, frame in enumerate(frames):
                    cv2.imwrite(str(stack / f"{i:02d}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
                fused = folder / "fused.png"
                subprocess.run([rival, stack, "--no-align", "--output", fused], check=True, stdout=subprocess.DEVNULL)
                rows, columns = np.indices(scene.index.shape)
                pictures = {
                    "selection": frames[np.rint(scene.index).astype(int), rows, columns],
                    "FocusWeave": np.asarray(cv2.imread(str(fused), cv2.IMREAD_COLOR))[..., ::-1],
                    "toposcope": estimate(scene.stack, EstimateSettings(align="none")).all_in_focus,
                }
                measured = {who: quality(picture, scene.all_in_focus) for who, picture in pictures.items()}
                for who, (psnr, ssim, sharp, flat) in measured.items():
                    print(f"{title:32} {who:10} {psnr:8.2f} {ssim:7.4f} {sharp:6.3f} {flat:5.2f}", flush=True)
                    if options.keep:
                        options.keep.mkdir(parents=True, exist_ok=True)
                        target = options.keep / f"{stack.name}_{who}.png"
                        cv2.imwrite(str(target), np.ascontiguousarray(pictures[who][..., ::-1]))
                worse += measured["toposcope"][0] < measured["FocusWeave"][0]
    return int(worse > 0)


if __name__ == "__main__":
    sys.exit(main())
