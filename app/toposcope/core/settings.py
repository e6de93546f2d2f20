"""Settings of methods: frozen dataclasses whose fields describe themselves.

Forms, command-line options and checks are all made from the ``metadata`` that `setting` attaches.

>>> @dataclass(frozen=True, slots=True)
... class Blur:
...     sigma: float = setting(2.0, "Width", "of the Gaussian", minimum=0.5, maximum=20.0, unit="px")
>>> checked(Blur, {"sigma": "3"})
Blur(sigma=3.0)
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

from toposcope.errors import SettingsError

S = TypeVar("S")


def setting(
    default: Any,
    label: str,
    help: str,  # noqa: A002  the word that forms and argparse use
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    step: float | None = None,
    unit: str = "",
    choices: tuple[str, ...] = (),
    odd: bool = False,
) -> Any:
    """Return a dataclass field with ``default`` and what forms and checks need to know of it."""
    metadata = {
        "label": label,
        "help": help,
        "min": minimum,
        "max": maximum,
        "step": step,
        "unit": unit,
        "choices": choices,
        "odd": odd,
    }
    return field(default=default, metadata=metadata)


def checked(kind: type[S], values: Mapping[str, Any] | S | None = None, owner: str = "the method") -> S:
    """Return settings of dataclass ``kind`` from ``values``, all of them checked.

    Parameters
    ----------
    kind : frozen dataclass whose fields come from `setting`
    values : its fields by name (numbers may be text, as a command line gives them), an instance of
        ``kind``, or None for the defaults
    owner : whose settings they are, for the sentence about one that it lacks

    Raises
    ------
    SettingsError
        If a name is unknown, a value has the wrong type or is out of its range.
    """
    if values is None:
        return kind()
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    if isinstance(values, kind):
        given: Mapping[str, Any] = {name: getattr(values, name) for name in known}
    elif isinstance(values, Mapping):
        given = values
    else:
        raise SettingsError(f"{owner} takes {kind.__name__}, found {type(values).__name__}. Give its settings by name.")
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"{owner} has no setting {name!r}; it has {', '.join(known) or 'none at all'}.{hint}")
    return kind(**{name: _value(known[name], value) for name, value in given.items()})


def _value(setting_field: Any, value: Any) -> Any:
    name, default, about = setting_field.name, setting_field.default, setting_field.metadata
    if about["choices"]:
        if value not in about["choices"]:
            raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(about['choices'])}.")
        return value
    if isinstance(default, bool):
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        flag = value if isinstance(value, bool) else words.get(str(value).lower())
        if flag is None:
            raise SettingsError(f"{name} is {value!r}; give yes or no.")
        return flag
    try:
        number = float(value)
        whole = isinstance(default, int)
        if isinstance(value, bool) or not math.isfinite(number) or (whole and number != int(number)):
            raise ValueError
    except (TypeError, ValueError):
        raise SettingsError(
            f"{name} is {value!r}; give a {'whole ' if isinstance(default, int) else ''}number."
        ) from None
    low, high = about["min"], about["max"]
    unit = f" {about['unit']}" if about["unit"] else ""
    if (low is not None and number < low) or (high is not None and number > high):
        raise SettingsError(f"{name} is {number:g}{unit}; it must lie between {low:g} and {high:g}{unit}.")
    if about["odd"] and int(number) % 2 == 0:
        raise SettingsError(f"{name} is {number:g}{unit}; it must be odd, such as {int(number) + 1}.")
    return int(number) if whole else number
