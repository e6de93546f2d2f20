"""What is to be typed for an optional part works as it is copied."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dffnets import extras


def test_the_line_asks_the_pip_of_the_python_that_runs() -> None:
    line = extras.install_line("capture")
    shown = subprocess.run(
        line.partition(" install ")[0] + " --version",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert f"python {sys.version_info.major}.{sys.version_info.minor}" in shown.stdout
    assert line.endswith('install "toposcope[capture]"')


@pytest.mark.skipif(os.name == "nt", reason="other shells quote otherwise")
def test_a_folder_with_blanks_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/ada/my programs/.venv/bin/python")
    words = shlex.split(extras.install_line("capture"))
    assert words == [sys.executable, "-m", "pip", "install", "toposcope[capture]"]


def test_programs_of_packages_lie_beside_the_python_that_runs() -> None:
    program, *rest = shlex.split(extras.script_line("mmcore", "install"), posix=os.name != "nt")
    assert Path(program).name == "mmcore"
    assert Path(program).parent.is_dir()
    assert rest == ["install"]
