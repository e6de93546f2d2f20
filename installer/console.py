"""What the installer says, and how it runs other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder."""


class InstallError(Exception):
    """Something that the user has to know or do; the text says what."""


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"toposcope: {text}", flush=True)


def fail(text: str) -> NoReturn:
    """Stop with one sentence."""
    print(f"toposcope: error: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


def clean_environment() -> dict[str, str]:
    """Return the environment without settings that would lead Python or pip out of the project's own .venv."""
    drop = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIREMENT", "PIP_CONSTRAINT"}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in drop}
    return {**kept, "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def succeeds(command: Sequence[str], seconds: float = 60) -> bool:
    """Whether a program runs and returns 0, quietly."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def call(command: Sequence[str], extra: dict[str, str] | None = None) -> int:
    """Run a program with our input and output, and return its exit code.

    Ctrl-C reaches the program too, so its own answer to it is waited for.
    """
    with subprocess.Popen(command, env={**clean_environment(), **(extra or {})}) as process:
        while True:
            try:
                code = process.wait()
                return code if code >= 0 else 128 - code  # as shells tell of signals
            except KeyboardInterrupt:
                continue
