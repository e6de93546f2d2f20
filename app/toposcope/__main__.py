"""`toposcope`: the window, or a sub-command of the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Open the window, unless the first argument names a sub-command."""
    from toposcope import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
