"""The readers meet thousands of broken files: see ``fuzz.py``, which does the work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SEED, COUNT = 2026, 2400
MEGABYTES = 2500
"""Bound on all memory of the process, libraries included; 0.5 GB of it are code and libraries."""
SECONDS_PER_FILE = 5.0


@pytest.mark.slow
def test_broken_files_raise_our_own_errors_only() -> None:
    program = [sys.executable, "-X", "faulthandler", str(Path(__file__).with_name("fuzz.py"))]
    done = subprocess.run(
        [*program, str(SEED), str(COUNT), str(MEGABYTES)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"the reader crashed: {done.stderr[-2000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failures"] == []
    assert found["slowest_s"] < SECONDS_PER_FILE, found["worst"]
    outcomes = found["outcomes"]
    assert sum(outcomes.values()) == COUNT
    # were all refused, or none, the files would not test what they should
    assert outcomes["read"] > COUNT / 10
    assert outcomes["FrameError"] + outcomes["StackError"] > COUNT / 4
    assert outcomes["CalibrationError"] > 10
