"""Put what `toposcope evaluate --validation` finds into the cards of the networks, and from there into the README.

    python tests/benchmarks/networks.py --write-cards [--stacks 64] [--table FOLDER/table.json]
    python tests/benchmarks/networks.py --write-readme

The first measures all methods on rendered stacks that no training saw (or takes the table that an
evaluation with -o has left), and writes the cards and the README; the second only writes the README from
the cards. Figures are thus never typed by hand. One thread, so that CPU seconds do not count threads that
wait for each other.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("app", "models", "resources")]

from dffnets.shipped import shipped_cards  # noqa: E402
from toposcope.core import evaluate as ev  # noqa: E402
from toposcope.core.estimate import METHODS  # noqa: E402
from toposcope.core.jobs import Progress  # noqa: E402

README = ROOT / "README.md"
BEGIN, END = "<!-- figures of the networks: written by tests/benchmarks/networks.py -->", "<!-- end of figures -->"
GROUPS = {"all": "validation", "micro": "validation/micro", "macro": "validation/macro"}
NAMES = ("rmse", "mae", "abs_rel", "delta1")

Figures = dict[str, dict[str, float | None]]


def measured(count: int) -> dict[str, Any]:
    """Return the facts of an evaluation of the usual methods on ``count`` rendered stacks."""

    def show(progress: Progress) -> None:
        if sys.stderr.isatty():
            print(f"\r{100 * progress.fraction:3.0f} %  {progress.text[:60]:60}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        cases = ev.rendered_cases(count, Path(folder), report=show)
        methods = [ev.contender(name) for name in METHODS]
        found = ev.evaluate(cases, methods, ev.EvaluateSettings(threads=1), show)
    print("\n" + ev.text_table(found))
    return ev.comparison_facts(found)


def figures_of(facts: Mapping[str, Any]) -> Figures:
    """Return the figures of each method as cards hold them.

    Raises
    ------
    SystemExit
        If the evaluation was another one, or something failed.
    """
    rows = {(row["method"], row["group"]): row for row in facts["table"]}
    if (facts["unit"], facts["voids"], facts["align"]) != ("share", "filled", "none"):
        raise SystemExit("the table must hold shares of the range, with voids filled and nothing aligned.")
    if not set(GROUPS.values()) <= {group for _, group in rows}:
        raise SystemExit("the table holds no rendered stacks of both kinds; evaluate with --validation.")
    if broken := [row for row in rows.values() if row["failed"]]:
        raise SystemExit(f"{broken[0]['method']} failed on {broken[0]['failed']} stacks; see stacks.csv.")

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    figures: Figures = {}
    for method in dict.fromkeys(method for method, _ in rows):
        whole = rows[method, GROUPS["all"]]
        figures[method] = {"cpu_seconds": rounded(whole["cpu_seconds"])}
        for kind, group in GROUPS.items():
            figures[method] |= {f"{name}_{kind}": rounded(rows[method, group][name]) for name in NAMES}
        figures[method]["unimodal_all"] = rounded(whole["unimodal"])
    return figures


def write_cards(facts: Mapping[str, Any]) -> None:
    """Put the figures into the card of every network."""
    figures = figures_of(facts)
    stacks = next(row["stacks"] for row in facts["table"] if row["group"] == GROUPS["all"])
    about = f"{stacks} rendered stacks of the validation set, shares of the swept range"
    for card in shipped_cards():
        path = card.path.with_suffix(".json")
        content = json.loads(path.read_text("utf-8"))
        content["figures"] = {"stacks": about, **figures}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def readme_table(cards: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of all methods that the cards' figures name, in Markdown.

    Raises
    ------
    SystemExit
        If the cards were measured on different stacks.
    """
    if len({figures["stacks"] for figures in cards}) > 1:
        raise SystemExit("the cards were measured on different stacks; write all of them with --write-cards.")
    merged = {name: row for figures in cards for name, row in figures.items() if name != "stacks"}
    lines = ["| method | all | under a microscope | macro | one peak | CPU seconds |", "|---|---|---|---|---|---|"]
    for method in (name for name in METHODS if name in merged):
        row = merged[method]
        cells = [f"{row[f'rmse_{kind}']:.3f}" for kind in GROUPS]
        peaks = row.get("unimodal_all")
        cells += ["–" if peaks is None else f"{100 * peaks:.1f} %", f"{row['cpu_seconds']:.2f}"]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    """Return ``text`` with ``table`` between the two marks.

    Raises
    ------
    SystemExit
        If the marks are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md lacks the lines {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Measure, write the cards if asked, and the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stacks", type=int, default=64)
    parser.add_argument("--table", type=Path, help="table.json of an evaluation, instead of measuring")
    parser.add_argument("--write-cards", action="store_true")
    parser.add_argument("--write-readme", action="store_true")
    options = parser.parse_args()
    if options.write_cards:
        write_cards(json.loads(options.table.read_text("utf-8")) if options.table else measured(options.stacks))
    elif not options.write_readme:
        measured(options.stacks)
        return
    table = readme_table([card.figures for card in shipped_cards()])
    README.write_text(with_table(README.read_text("utf-8"), table), "utf-8")


if __name__ == "__main__":
    main()
