"""How much of a groove's depth a method measures, by the width of the groove.

Run ``python tests/benchmarks/surface_transfer.py`` in the project's environment. Grooves are sines of 2 µm amplitude on
a slight slope, rendered as ``toposcope simulate`` does (NA 0.3, pixels of 0.5 µm, 16 slices 2 µm apart). For each
length of the wave in pixels it prints the measured amplitude over the true one, by least squares: noise has no part.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("app", "models")]

from dffnets.synthetic import gallery, render_stack  # noqa: E402
from toposcope.core.calibration import Sourced  # noqa: E402
from toposcope.core.estimate import METHODS, EstimateSettings, estimate  # noqa: E402
from toposcope.core.stack import ArraySource, FocalStack  # noqa: E402
from toposcope.core.surface import Area, SurfaceSettings, prepared, surface_of  # noqa: E402

LENGTHS_PX = (8, 12, 16, 24, 32, 48, 96)
AMPLITUDE_UM = 2.0
INSIDE = Area(24, 24, gallery.SIDE - 24, gallery.SIDE - 24)


def rendered(length_px: int) -> FocalStack:
    """Return a stack of grooves."""
    rows, columns = gallery._grid()
    wave = np.sin(2 * np.pi * columns * gallery.SIDE / length_px)
    exhibit = gallery._small((15 + 4 * (rows - 0.5) + AMPLITUDE_UM * wave).astype(np.float32), 7)
    frames = render_stack(exhibit.scene, exhibit.lens, exhibit.positions, exhibit.sensor, seed=7).frames
    positions, pixel = Sourced(exhibit.positions, "rendered"), Sourced(0.5, "rendered")
    return FocalStack.create(ArraySource(frames), positions, "um", pixel_um=pixel)


def passed(stack: FocalStack, method: str, length_px: int) -> float:
    """Return the measured amplitude over the true one."""
    result = estimate(stack, EstimateSettings(method, align="none"))
    z = prepared(surface_of(result), SurfaceSettings("plane"), INSIDE).z_um
    known = np.isfinite(z)
    at = 2 * np.pi * (np.arange(INSIDE.left, INSIDE.right) + 0.5) / length_px
    turns = np.broadcast_to(np.exp(1j * at), z.shape)
    return float(2 * np.abs((z[known] * turns[known]).mean()) / AMPLITUDE_UM)


def main() -> None:
    parser = argparse.ArgumentParser(description="How much of a groove's depth a method measures.")
    parser.add_argument("--methods", default="default,sml,ddl,tft,hybrid,light", help="names, or all")
    chosen = parser.parse_args().methods
    methods = list(METHODS) if chosen == "all" else chosen.split(",")
    stacks = {length: rendered(length) for length in LENGTHS_PX}
    print(f"{'pixels':<20}" + "".join(f"{length:>7}" for length in LENGTHS_PX), flush=True)
    for method in methods:
        shares = [passed(stack, method, length) for length, stack in stacks.items()]
        print(f"{method:<20}" + "".join(f"{share:7.2f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
