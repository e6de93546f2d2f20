"""`toposcope`: the window, or a sub-command of the command line."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from pathlib import Path

from toposcope import cli


def main() -> int:
    """Open the window, unless the first argument names a sub-command or asks for help."""
    multiprocessing.freeze_support()  # in a bundle, child processes start here, too
    arguments = sys.argv[1:]
    if cli.is_for_command_line(arguments):
        return cli.main(arguments)
    return _open_window(arguments)


def _open_window(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="toposcope", allow_abbrev=False)
    parser.add_argument("stack", nargs="?", type=Path)
    parser.add_argument("--sample", action="store_true")
    options = parser.parse_args(arguments)
    if not _has_screen():
        cli.complain(
            "there is no display to open a window on. Without one, use a sub-command such as: "
            "toposcope depth STACK -o OUT"
        )
        return cli.FAILED
    from toposcope.ui.app import run

    if options.sample:
        from toposcope.core.resources import sample_path

        return run(sample_path())
    return run(options.stack)


def _has_screen() -> bool:
    """Whether Qt can be tried; on Linux it ends the process where it finds no display."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in names)


if __name__ == "__main__":
    sys.exit(main())
