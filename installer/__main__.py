"""Set up and start Toposcope: `python3 installer run` and `python3 installer test`.

Both install what is missing first: a virtual environment in .venv with pinned packages, and, on
Debian and Ubuntu, the system libraries of Qt and OpenGL. Needs Python 3.11 with venv and pip.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from console import ROOT, InstallError, call, fail, say, succeeds
from environment import TORCH_CHOICES, ensure_environment, venv_python
from system import ensure_libraries

SCREEN = "1600x1200x24"
EXTRAS = ("capture", "datasets", "heic", "microscopy", "raw", "surf-io")
OPENS_SCREEN = "from PySide6.QtGui import QGuiApplication; QGuiApplication([])"


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; what follows ``run`` or ``test`` and is not ours goes to the program or to pytest."""
    parser = argparse.ArgumentParser(prog="python3 installer", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|test")
    for name, text in (
        ("run", "open the window on the sample stack; without a display, compute it into toposcope-output/"),
        ("test", "run the whole test suite"),
    ):
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument(
            "--torch",
            choices=TORCH_CHOICES,
            default="auto",
            help="build of torch: for the CPU, for NVIDIA cards, or whatever the package index gives "
            "(auto: for the card that is found)",
        )
        command.add_argument(
            "--extra",
            action="append",
            choices=EXTRAS,
            default=[],
            help="install an optional part, too (capture: microscopes by Micro-Manager; datasets: HDF5 and OpenEXR "
            "files; heic: HEIC photographs; microscopy: CZI, ND2, LIF, OIF and OIB files; raw: camera RAW; surf-io: "
            "height maps of instruments); it stays installed",
        )
    return parser.parse_known_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Install what is missing, then do what was asked; return its exit code."""
    options, rest = parse(arguments)
    rest = rest[1:] if rest[:1] == ["--"] else rest
    is_test = options.command == "test"
    ensure_environment([*options.extra, *(["test"] if is_test else [])], options.torch)
    return run_tests(rest) if is_test else run_program(rest)


def run_program(arguments: Sequence[str]) -> int:
    """Start the program: with arguments as given, otherwise on the sample, with or without a window."""
    toposcope = [str(venv_python()), "-m", "toposcope"]
    if arguments:
        return call([*toposcope, *arguments])
    if can_open_window():
        return call([*toposcope, "--sample"])
    say("no window can be opened here, so the sample is computed into a folder")
    return call([*toposcope, "demo"])


def can_open_window() -> bool:
    """Whether Qt finds a screen."""
    linux = sys.platform.startswith("linux")
    if linux and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    if linux:
        ensure_libraries(with_xvfb=False)
    return succeeds([str(venv_python()), "-c", OPENS_SCREEN])


def run_tests(arguments: Sequence[str]) -> int:
    """Run pytest with the best screen there is, and return its exit code."""
    ensure_libraries(with_xvfb=True)
    with screen() as extra:
        return call([str(venv_python()), "-m", "pytest", "--rootdir", str(ROOT), *arguments], extra)


@contextmanager
def screen() -> Iterator[dict[str, str]]:
    """Give the environment of the tests: the real screen of Windows or macOS, Xvfb, or none (offscreen)."""
    if not sys.platform.startswith("linux"):
        yield {"QT_QPA_PLATFORM": "windows" if os.name == "nt" else "cocoa"}
        return
    program = shutil.which("Xvfb")
    if program is None:
        say("Xvfb is missing: the tests run offscreen, those that need OpenGL are skipped")
        yield {"QT_QPA_PLATFORM": "offscreen"}
        return
    with virtual_display(program) as display:
        yield {"QT_QPA_PLATFORM": "xcb", "DISPLAY": display, "WAYLAND_DISPLAY": "", "LIBGL_ALWAYS_SOFTWARE": "1"}


@contextmanager
def virtual_display(program: str) -> Iterator[str]:
    """Start Xvfb on a free display number, and stop it at the end."""
    # Xvfb chooses the number and writes it here: no race with another server
    reader, writer = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(writer), "-screen", "0", SCREEN, "-nolisten", "tcp"],
        pass_fds=[writer],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for pytest; the server lives until pytest is done
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise InstallError("Xvfb was started but opened no display. Start it by hand and read what it says.")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


def newer_python() -> str | None:
    """Return a Python on the path that is new enough, if this one is not."""
    names = [f"python3.{minor}" for minor in range(11, 15)]
    return next((path for path in map(shutil.which, names) if path), None)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  whoever starts us has not read what we need
        other = newer_python()
        if other is None:
            found = sys.version.split()[0]
            fail(
                f"this is Python {found}; Toposcope needs 3.11 or newer. Install it and type: python3.11 installer run"
            )
        sys.exit(subprocess.call([other, *sys.argv]))
    try:
        sys.exit(main(sys.argv[1:]))
    except InstallError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted. Start again to go on: what is done is kept.")
