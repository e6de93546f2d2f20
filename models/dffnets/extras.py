"""What to type to have an optional part: with the Python that runs, wherever it was installed.

>>> install_line("capture")                                                         # doctest: +SKIP
/home/ada/toposcope/.venv/bin/python -m pip install "toposcope[capture]"
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig


def install_line(extra: str) -> str:
    """Return what to type to install an extra of the program; a plain `pip` would often be that of another Python."""
    # double quotes are understood by all shells
    return f'{_quoted(sys.executable)} -m pip install "toposcope[{extra}]"'


def script_line(name: str, arguments: str) -> str:
    """Return what to type to run a program that a package has brought beside the Python that runs."""
    return f"{_quoted(os.path.join(sysconfig.get_path('scripts'), name))} {arguments}"


def _quoted(path: str) -> str:
    return subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(path)
