"""The floors of the house: who may import whom, and what is loaded when."""

from __future__ import annotations

import subprocess
import sys

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

HEAVY = ("PySide6", "pyqtgraph", "vispy", "torch", "matplotlib")


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted({{n.partition('.')[0] for n in sys.modules}}))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_nobody_imports_from_a_floor_above() -> None:
    assert lint_imports() == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize(
    "code",
    [
        "import toposcope.__main__",
        "from toposcope import cli; cli.build_parser()",
        "from toposcope.core import estimate, export, pictures, source",
    ],
)
def test_the_engine_loads_neither_qt_nor_torch(code: str) -> None:
    assert modules_after(code).isdisjoint(HEAVY)


def test_loading_the_package_alone_loads_no_library() -> None:
    assert modules_after("import toposcope").isdisjoint((*HEAVY, "numpy", "cv2"))


def test_the_networks_do_not_know_the_program() -> None:
    assert modules_after("import dffnets").isdisjoint(("toposcope", "toposcope_resources", "PySide6"))
