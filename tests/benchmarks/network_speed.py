"""How long the networks take for one stack, on the CPU and on the GPU if there is one.

    python tests/benchmarks/network_speed.py [--slices 10] [--cpu-side 256] [--gpu-side 512] [--threads 0]

Prints the fastest of several runs as the program runs them: batch norms folded, in bfloat16 where that
is quicker there, and for comparison in the other precision. Weights do not matter for speed, so all
networks are measured, shipped or not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "models")]

from dffnets.predict import forward, has_fast_bfloat16, prepared  # noqa: E402
from dffnets.registry import CARDS, create_network  # noqa: E402


def seconds(name: str, device: str, slices: int, side: int, bfloat16: bool, runs: int) -> float:
    """Return the shortest time of ``runs`` predictions of one stack (slices, side, side)."""
    network = prepared(create_network(name), device)
    frames = torch.randn(slices, side, side, device=device)
    positions = torch.linspace(0, 1, slices, device=device)
    shortest = float("inf")
    for _ in range(runs):
        begin = time.perf_counter()
        forward(network, frames, positions, CARDS[name].multiple, bfloat16)
        if device == "cuda":
            torch.cuda.synchronize()
        shortest = min(shortest, time.perf_counter() - begin)
    return shortest


def main() -> None:
    """Print a line for each network and device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=10)
    parser.add_argument("--cpu-side", type=int, default=256)
    parser.add_argument("--gpu-side", type=int, default=512)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    devices = [("cpu", options.cpu_side)] + ([("cuda", options.gpu_side)] if torch.cuda.is_available() else [])
    for device, side in devices:
        place = f"{torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()
        chosen = "bfloat16" if has_fast_bfloat16(device) else "float32"
        print(f"{device} ({place}), {options.slices} x {side} x {side}; the program takes {chosen}")
        for name in CARDS:
            both = [seconds(name, device, options.slices, side, fast, options.runs) for fast in (False, True)]
            print(f"  {name:15} float32 {1000 * both[0]:7.1f} ms   bfloat16 {1000 * both[1]:7.1f} ms", flush=True)


if __name__ == "__main__":
    main()
