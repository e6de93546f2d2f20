"""Fixtures that every test may use, and guards that watch over all of them."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
