"""Peak memory of `toposcope depth` on 24-megapixel colour photographs: 15, 30 and 60 of them.

    python tests/benchmarks/memory.py [--megapixels 24] [--frames 15 30 60]

The figure must not grow with the number of frames, and stay under 2.5 GB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from frames import measured, write_frames

LIMIT_GB = 2.5


def main() -> int:
    """Print one line a number of frames; return 1 when a run failed or took more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--frames", type=int, nargs="+", default=[15, 30, 60])
    options = parser.parse_args()
    height = 8 * round((options.megapixels * 1e6 / 1.5) ** 0.5 / 8)
    width = height * 3 // 2
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        paths = write_frames(Path(folder), max(options.frames), width, height, tiles=2)
        print(f"{width} x {height} colour JPEG, {paths[0].stat().st_size / 1e6:.1f} MB each", flush=True)
        for n in options.frames:
            out = Path(folder) / f"out_{n}"
            used = measured([sys.executable, "-m", "toposcope", "depth", *paths[:n], "-o", out, "--quiet"])
            worst = max(worst, used.peak_bytes / 1e9 if used.code == 0 else float("inf"))
            print(
                f"{n:3d} frames: peak {used.peak_bytes / 1e9:.2f} GB, {used.cpu_seconds:6.1f} CPU s, "
                f"{used.cpu_seconds / n:.2f} a frame, exit code {used.code}",
                flush=True,
            )
    print(f"worst {worst:.2f} GB, limit {LIMIT_GB} GB")
    return int(worst > LIMIT_GB)


if __name__ == "__main__":
    sys.exit(main())
