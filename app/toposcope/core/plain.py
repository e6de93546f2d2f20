"""Frozen dataclasses as plain JSON, and back with every entry checked.

>>> to_plain(Area(0, 0, 5, 8))
{'top': 0, 'left': 0, 'bottom': 5, 'right': 8}
>>> from_plain(Area, {"top": 0, "left": 0, "bottom": 5, "right": "8"}, "area")
Traceback (most recent call last):
toposcope.core.plain.PlainError: area, right is '8' where a whole number belongs
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

_WORDS: Final = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}


class PlainError(ValueError):
    """An entry is missing, unknown or of the wrong kind; the text says which, without a full stop."""


def to_plain(value: Any) -> Any:
    """Return ``value`` as JSON holds it; fields of a dataclass that have their default value are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        told = ((one.name, getattr(value, one.name)) for one in fields(value) if one.init)
        defaults = {one.name: _default(one) for one in fields(value)}
        return {name: to_plain(part) for name, part in told if defaults[name] is MISSING or part != defaults[name]}
    if isinstance(value, Mapping):
        return {str(name): to_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(kind: Any, value: Any, where: str) -> Any:
    """Return what `to_plain` has written as ``kind``: a dataclass, tuple, mapping, literal, union or simple type.

    Raises
    ------
    PlainError
        If an entry is missing, unknown or of the wrong kind; ``where`` says in which part of the file.
    """
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        return _first_that_fits([part for part in parts if part is not NoneType], value, where)
    if origin is Literal:
        if value not in parts:
            raise PlainError(f"{where} is {_short(value)}, not one of {', '.join(map(str, parts))}")
        return value
    if origin is tuple:
        return _tuple(parts, value, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise PlainError(f"{where} is {_short(value)} where named entries belong")
        return {
            from_plain(parts[0], name, where): from_plain(parts[1], value[name], f"{where}, {name}") for name in value
        }
    return _simple(kind, value, where)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise PlainError(f"{where} is {_short(value)} where named entries belong")
    hints = get_type_hints(kind)
    known = {one.name: one for one in fields(kind) if one.init}
    if unknown := [name for name in value if name not in known]:
        raise PlainError(f"{where} holds the unknown entry {_short(unknown[0])}")
    if missing := [name for name, one in known.items() if name not in value and _default(one) is MISSING]:
        raise PlainError(f"{where} lacks {missing[0]!r}")
    return kind(**{name: from_plain(hints[name], value[name], f"{where}, {name}") for name in value})


def _default(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _first_that_fits(kinds: list[Any], value: Any, where: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return from_plain(kind, value, where)
        except PlainError:
            continue
    return from_plain(kinds[-1], value, where)


def _tuple(parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise PlainError(f"{where} is {_short(value)} where a list belongs")
    kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
    if len(kinds) != len(value):
        raise PlainError(f"{where} has {len(value)} entries, not {len(kinds)}")
    return tuple(
        from_plain(kind, one, f"{where}, entry {k + 1}") for k, (kind, one) in enumerate(zip(kinds, value, strict=True))
    )


def _simple(kind: Any, value: Any, where: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        int: number and isinstance(value, int),
        float: number and math.isfinite(value),
        str: isinstance(value, str),
        bool: isinstance(value, bool),
        Path: isinstance(value, str) and bool(value),
    }
    if not fits[kind]:
        raise PlainError(f"{where} is {_short(value)} where {_WORDS[kind]} belongs")
    return kind(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
