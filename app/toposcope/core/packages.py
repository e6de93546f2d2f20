"""Optional packages: whether they are there, and what to type to have them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from dffnets.extras import install_line


@dataclass(frozen=True, slots=True)
class Package:
    """An optional package: its ``name``, the ``module`` to import, and the ``extra`` of this program that brings it."""

    name: str
    module: str
    extra: str

    @property
    def is_installed(self) -> bool:
        """Whether it is there; it may still not be whole."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def install_line(self) -> str:
        """What to type to install it."""
        return install_line(self.extra)
