"""Figures in the README are those of the cards, never typed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import networks
from dffnets.shipped import shipped_cards


def row(method: str, group: str, **figures: float) -> dict[str, Any]:
    usual = {"rmse": 0.1, "mae": 0.2, "abs_rel": 0.3, "delta1": 0.4, "cpu_seconds": 0.5, "unimodal": 0.6}
    return {"method": method, "group": group, "stacks": 2, "failed": 0, **usual, **figures}


def facts(**changes: Any) -> dict[str, Any]:
    table = [row("sml", group) for group in ("validation", "validation/macro")]
    table.append(row("sml", "validation/micro", rmse=0.12345))
    return {"unit": "share", "voids": "filled", "align": "none", "table": table, **changes}


def test_readme_shows_what_the_cards_hold() -> None:
    table = networks.readme_table([card.figures for card in shipped_cards()])
    text = networks.README.read_text("utf-8")
    assert networks.with_table(text, table) == text, "run: python tests/benchmarks/networks.py --write-readme"


def test_figures_of_a_card_come_from_the_evaluation() -> None:
    (figures,) = networks.figures_of(facts()).values()
    assert figures["rmse_all"] == 0.1
    assert figures["rmse_micro"] == 0.1235
    assert figures["unimodal_all"] == 0.6
    assert figures["cpu_seconds"] == 0.5
    assert set(figures) == {"cpu_seconds", "unimodal_all"} | {
        f"{name}_{kind}" for name in ("rmse", "mae", "abs_rel", "delta1") for kind in ("all", "micro", "macro")
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"voids": "known"}, "voids filled"),
        ({"table": [row("sml", "stacks")]}, "--validation"),
        ({"table": [row("sml", group, failed=3) for group in networks.GROUPS.values()]}, "sml failed on 3"),
    ],
)
def test_another_evaluation_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        networks.figures_of(facts(**changes))


def test_table_takes_the_place_of_the_old_one() -> None:
    text = f"before\n{networks.BEGIN}\nold\n{networks.END}\nafter"
    assert networks.with_table(text, "new") == f"before\n{networks.BEGIN}\nnew\n{networks.END}\nafter"
    with pytest.raises(SystemExit, match="lacks the lines"):
        networks.with_table("no marks", "new")
