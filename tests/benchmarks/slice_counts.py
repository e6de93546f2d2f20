"""How exact the networks are with more and fewer slices of the same stacks.

    python tests/benchmarks/slice_counts.py [--stacks 16] [--names light,fad] [--weights FILE]

Renders macro and microscope scenes of the validation set's seed with 41 slices, and leaves slices out evenly:
41, 21, 11 and 5 remain. Prints the mean RMSE in shares of the range. The blur of a step grows as slices are
left out: with 5 of them there is less to go by.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "models")]

from dffnets.layers import expected_position, standardise  # noqa: E402
from dffnets.predict import forward, prepared  # noqa: E402
from dffnets.registry import CARDS  # noqa: E402
from dffnets.shipped import load_network, shipped_cards  # noqa: E402
from dffnets.synthetic.validation import KINDS, held_out_stack  # noqa: E402

LONGEST = 41
STEPS = (1, 2, 4, 10)


def main() -> None:
    """Print a line for each network and kind of scene."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stacks", type=int, default=16, help="of each kind")
    parser.add_argument("--names", default=",".join(CARDS))
    parser.add_argument("--weights", type=Path, help="instead of those shipped; of the one network that is named")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    cards = {card.name: card for card in shipped_cards() if card.name in options.names.split(",")}
    networks = {name: prepared(load_network(card, options.weights or card.path), "cpu") for name, card in cards.items()}
    errors: dict[tuple[str, str, int], list[float]] = {}
    for k in range(2 * options.stacks):
        stack = held_out_stack("validation", k, LONGEST)
        known = (stack.depth >= 0) & (stack.depth <= 1)
        for step in STEPS:
            frames, positions = stack.frames[::step].float() / 255, stack.positions[::step]
            frames = standardise(frames[None, None])[0, 0]
            for name, network in networks.items():
                probability = forward(network, frames, positions, CARDS[name].multiple, bfloat16=False)
                error = expected_position(probability[None], positions[None])[0] - stack.depth.float()
                errors.setdefault((name, KINDS[k % 2], step), []).append(float((error[known] ** 2).mean().sqrt()))
    print("| network | scenes | " + " | ".join(f"{(LONGEST - 1) // step + 1} slices" for step in STEPS) + " |")
    print("|---|---|" + "---|" * len(STEPS))
    for name in networks:
        for kind in KINDS:
            cells = [f"{np.mean(errors[name, kind, step]):.4f}" for step in STEPS]
            print(f"| {name} | {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
