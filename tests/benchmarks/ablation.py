"""What each branch of FAD's joint module is worth: the paper's figure 7 on our validation set.

    python tests/benchmarks/ablation.py --pool POOL [--initial light/weights.safetensors] [--iterations 300]

Trains four variants for the same number of steps on the same batches: the U-Net alone (U), with the
spatial branch (U+S), with the frequency branch (U+F), with both. Differences of a few thousandths are
within what another seed gives; --seeds trains each variant with several.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "models")]

from dffnets.synthetic.validation import validation_set  # noqa: E402
from dffnets.training import TrainConfig, begin, read_tensors, train, validate  # noqa: E402

VARIANTS = {"U": (False, False), "U+S": (True, False), "U+F": (False, True), "U+S+F": (True, True)}


def main() -> None:
    """Train and measure all variants, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--stacks", type=int, default=4000)
    parser.add_argument("--initial", type=Path)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    held_out = list(validation_set(64))
    print("| variant | all | under a microscope | macro |\n|---|---|---|---|")
    for name, (spatial, frequency) in VARIANTS.items():
        rows = []
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                config = TrainConfig(
                    "fad",
                    Path(folder),
                    options={"spatial": spatial, "frequency": frequency},
                    iterations=options.iterations,
                    batch=2,
                    crop=128,
                    learning_rate=2e-3,
                    seed=seed,
                    threads=options.threads,
                    pool=options.pool,
                    pool_seed=2,
                    pool_stacks=options.stacks,
                    validation_stacks=2,
                    checkpoint_minutes=1e9,
                    initial=options.initial,
                )
                weights = read_tensors(train(config))
            network = begin(config)
            network.load_state_dict(weights)
            found = validate(network, held_out, config)
            rows.append([found[key] for key in ("rmse", "rmse_micro", "rmse_macro")])
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in np.mean(rows, 0)) + " |", flush=True)


if __name__ == "__main__":
    main()
