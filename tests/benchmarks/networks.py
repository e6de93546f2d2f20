"""How exact the shipped networks are, beside classical methods, on rendered stacks that no training saw.

    python tests/benchmarks/networks.py [--stacks 64] [--write-cards]

Prints the mean over stacks of each measure, in shares of the swept range: all, scenes under a
microscope (height fields), macro scenes (objects with occlusion). Classical methods fill their voids,
so that all answer for the same pixels. ``--write-cards`` puts the figures into the cards of the weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("app", "models")]

from dffnets.metrics import depth_errors, mean_errors  # noqa: E402
from dffnets.shipped import FOLDER, shipped_cards  # noqa: E402
from dffnets.synthetic.pool import fill_pool, read_pool  # noqa: E402
from dffnets.synthetic.random_scenes import TrainingStack  # noqa: E402
from dffnets.training import VALIDATION_SEED  # noqa: E402
from toposcope.core.calibration import Sourced  # noqa: E402
from toposcope.core.estimate import METHODS, EstimateSettings, estimate  # noqa: E402
from toposcope.core.settings import checked  # noqa: E402
from toposcope.core.stack import ArraySource, FocalStack  # noqa: E402

SHOWN = ("rmse", "mae", "abs_rel", "delta1")
Row = dict[str, float]


def measure(method: str, stacks: list[TrainingStack]) -> Row:
    """Return the mean errors of one method, and CPU seconds a stack."""
    networks = {card.name for card in shipped_cards()}
    card = METHODS[method]
    options = checked(card.settings, None if method in networks else {"fill": True})
    errors: dict[str, list[dict[str, float]]] = {"micro": [], "macro": []}
    begin = time.process_time()
    for stack in stacks:
        positions = Sourced(stack.positions.numpy().astype(np.float64), "rendered")
        known = FocalStack.create(ArraySource(stack.frames.numpy()), positions, unit="um")
        result = estimate(known, EstimateSettings(method, options, align="none"))
        truth = stack.depth.float().numpy()
        prediction = np.where(result.valid, result.depth, np.float32(0.5))  # what is left void: the middle
        errors[stack.kind].append(depth_errors(prediction, truth, (truth >= 0) & (truth <= 1)))
    row: Row = {"cpu_seconds": (time.process_time() - begin) / len(stacks)}
    for kind, chosen in (("all", errors["micro"] + errors["macro"]), *errors.items()):
        means = mean_errors(chosen)
        row |= {f"{name}_{kind}": means[name] for name in SHOWN}
    return row


def main() -> None:
    """Measure every method, print the table, write the cards if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", type=int, default=64)
    parser.add_argument("--methods", default="sml,rdf,tenengrad,default," + ",".join(c.name for c in shipped_cards()))
    parser.add_argument("--write-cards", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fill_pool(Path(folder), VALIDATION_SEED, options.stacks)
        stacks = list(read_pool(Path(folder), VALIDATION_SEED, options.stacks))
    rows: dict[str, Row] = {}
    for method in options.methods.split(","):
        rows[method] = row = measure(method, stacks)
        print(f"{method:15}", *(f"{name} {value:.4f}" for name, value in row.items()), flush=True)
    for card in shipped_cards() if options.write_cards else []:
        path = FOLDER / f"{card.name}.json"
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        facts["figures"] = {
            "stacks": f"{options.stacks} rendered stacks of seed {VALIDATION_SEED}, shares of the swept range",
            **{name: {k: round(v, 4) for k, v in row.items()} for name, row in rows.items()},
        }
        path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
