"""The floors of the house: who may import whom, and what is loaded when."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import toposcope

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


COMMAND_LINE_ONLY = ("evaluate/", "training.py", "command_line.py")
"""Parts of the engine that no window uses, or that write command lines: their sentences may name options."""


def options_told(node: ast.AST) -> Iterator[str]:
    """Yield what is said of options of the command line, apart from what only the command line tells."""
    for child in ast.iter_child_nodes(node):
        docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if docstring or (isinstance(child, ast.keyword) and child.arg == "option"):
            continue
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield from re.findall(r"(?<![\w-])--[a-z][a-z-]+.*", child.value)
        yield from options_told(child)


def test_sentences_of_the_engine_hold_in_the_window_too() -> None:
    core = Path(toposcope.__file__).parent / "core"
    told = {
        name: options
        for path in core.rglob("*.py")
        if not (name := path.relative_to(core).as_posix()).startswith(COMMAND_LINE_ONLY)
        and (options := list(options_told(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert told == {}
