"""What the packages offer: every module loads, and keeps the promises of its ``__all__``."""

from __future__ import annotations

import importlib
import pkgutil
import re
from types import ModuleType

import pytest

import dffnets
import toposcope
import toposcope_resources

PACKAGES: tuple[ModuleType, ...] = (toposcope, dffnets, toposcope_resources)


def module_names() -> list[str]:
    found = [package.__name__ for package in PACKAGES]
    for package in PACKAGES:
        found += [info.name for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return sorted(name for name in found if not name.endswith("__main__"))


@pytest.mark.parametrize("name", module_names())
def test_module_loads_says_what_it_is_for_and_has_what_it_promises(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    assert module.__doc__[0].isupper() or module.__doc__[0] == "`"
    for promised in getattr(module, "__all__", ()):
        assert hasattr(module, promised), f"{name}.{promised}"


def test_version_is_one_that_pip_can_order() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", toposcope.__version__)
