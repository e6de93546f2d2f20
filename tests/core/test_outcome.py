"""What results depend on, and what they say of themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dffnets.shipped import shipped_cards
from toposcope.core import outcome
from toposcope.core.estimate import EstimateSettings, find_method
from toposcope.core.outcome import settings_facts


def test_results_depend_on_settings_and_not_on_the_machine(tmp_path: Path) -> None:
    plain = settings_facts(EstimateSettings("sml"))
    assert settings_facts(EstimateSettings("sml", threads=3, keep_volume=True, scratch=tmp_path)) == plain
    window = find_method("sml").checked({"window": 5})
    assert settings_facts(EstimateSettings("sml", window)) != plain
    assert settings_facts(EstimateSettings("sml", align="none")) != plain


def test_results_of_networks_depend_on_the_weights_that_are_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ("light", "hybrid", "sml")
    before = {name: settings_facts(EstimateSettings(name)) for name in methods}
    better = tuple(replace(card, sha256="0" * 64) for card in shipped_cards())
    monkeypatch.setattr(outcome, "shipped_cards", lambda: better)
    after = {name: settings_facts(EstimateSettings(name)) for name in methods}
    assert {name for name in methods if after[name] != before[name]} == {"light", "hybrid"}


def test_weights_of_ones_own_count_by_what_is_in_them(tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"one")
    before = settings_facts(EstimateSettings("light", weights=own))
    own.write_bytes(b"two")
    assert settings_facts(EstimateSettings("light", weights=own)) != before
