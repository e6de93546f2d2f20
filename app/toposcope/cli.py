"""The engine without a screen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from toposcope import __version__

DONE, FAILED, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all sub-commands."""
    parser = argparse.ArgumentParser(prog="toposcope", description="Turn focal stacks into depth.")
    parser.add_argument("--version", action="version", version=f"toposcope {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    build_parser().parse_args(arguments)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
