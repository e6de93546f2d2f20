"""CPU time of align + depth + all-in-focus against FocusWeave, which aligns and fuses but gives no depth.

    python tests/benchmarks/speed.py [--frames 20] [--size 4000x3000] [--rounds 1]

Both read the same photographs in turn; the ratio must be at most 1.5. FocusWeave is installed from
the package index into an environment of its own, beside the photographs, and both are removed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from frames import measured, write_frames

RIVAL = "focusweave==2.0.0"
LIMIT = 1.5


def install_rival(folder: Path) -> Path:
    """Make an environment with FocusWeave and return its program."""
    venv.create(folder, with_pip=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([binaries / "python", "-m", "pip", "install", "--quiet", RIVAL], check=True)
    return binaries / "focusweave"


def main() -> int:
    """Print what both used, and their ratio; return 1 when it is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", default="4000x3000")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rival", type=Path, help="FocusWeave's program, where it is installed already")
    options = parser.parse_args()
    width, height = (int(part) for part in options.size.split("x"))
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rival = options.rival or install_rival(folder / "rival")
        stack = folder / "stack"
        stack.mkdir()
        write_frames(stack, options.frames, width, height)
        print(f"{options.frames} frames of {width} x {height}", flush=True)
        for _ in range(options.rounds):
            ours = measured([sys.executable, "-m", "toposcope", "depth", stack, "-o", folder / "out", "--quiet"])
            theirs = measured([rival, stack, "--output", folder / "stacked.jpg"])
            if ours.code or theirs.code:
                print(f"failed: toposcope {ours.code}, FocusWeave {theirs.code}")
                return 1
            for who, used in (("toposcope depth", ours), ("FocusWeave", theirs)):
                print(f"{who:16} {used.cpu_seconds:6.1f} CPU s, peak {used.peak_bytes / 1e9:.2f} GB", flush=True)
            ratios.append(ours.cpu_seconds / theirs.cpu_seconds)
    best = min(ratios)
    print(f"ratio {best:.2f}, limit {LIMIT}")
    return int(best > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
