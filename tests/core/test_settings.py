"""Settings describe themselves and refuse what is wrong, in words."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest

from toposcope.core.estimate import METHODS, MethodCard
from toposcope.core.settings import checked, setting
from toposcope.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Some:
    window: int = setting(9, "Window", "of the mean", minimum=1, maximum=51, unit="px", odd=True)
    share: float = setting(0.5, "Share", "of it", minimum=0.0, maximum=1.0)
    quick: bool = setting(False, "Quick", "or exact")
    peak: str = setting("a", "Peak", "how", choices=("a", "b"))


def test_defaults_pass_and_text_becomes_numbers() -> None:
    assert checked(Some) == Some()
    assert checked(Some, {"window": "11", "share": "0.25", "quick": "yes", "peak": "b"}) == Some(11, 0.25, True, "b")
    assert checked(Some, Some(3)) == Some(3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"window": 0}, "window is 0 px; it must lie between 1 and 51 px"),
        ({"window": 8}, "must be odd, such as 9"),
        ({"window": 9.5}, "give a whole number"),
        ({"window": True}, "give a whole number"),
        ({"share": "much"}, "share is 'much'; give a number"),
        ({"share": float("nan")}, "give a number"),
        ({"share": None}, "give a number"),
        ({"quick": "perhaps"}, "give yes or no"),
        ({"peak": "c"}, "choose one of a, b"),
        (
            {"windwo": 9},
            "the method has no setting 'windwo'; it has window, share, quick, peak. Did you mean 'window'",
        ),
        (Some(200), "between 1 and 51"),
        (17, "takes Some, found int"),
    ],
)
def test_wrong_values_are_refused_in_words(values: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        checked(Some, values)


def test_a_setting_that_is_not_there_names_who_lacks_it() -> None:
    @dataclass(frozen=True, slots=True)
    class Nothing:
        """Nothing to set."""

    with pytest.raises(SettingsError, match=r"^export has no setting 'scale'; it has none at all\.$"):
        checked(Nothing, {"scale": "half"}, "export")
    with pytest.raises(SettingsError, match=r"^method sml has no setting 'scale'; it has peak, smooth, layer, fill"):
        METHODS["sml"].checked({"scale": "half"})


@pytest.mark.parametrize("card", METHODS.values(), ids=list(METHODS))
def test_every_method_describes_its_settings(card: MethodCard) -> None:
    assert card.title
    assert card.source
    assert card.good_at
    for one in fields(card.settings):
        about = one.metadata
        assert about["label"]
        assert about["help"]
        if isinstance(one.default, int | float) and not isinstance(one.default, bool):
            assert about["min"] <= one.default <= about["max"]
        for bound in ("min", "max"):
            if about[bound] is not None:
                checked(card.settings, {one.name: about[bound]})
