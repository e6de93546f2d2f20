"""Values of a map between its pixels."""

from __future__ import annotations

from typing import Final

import numpy as np

from toposcope.core.calibration import Floats

_NEAR: Final = 1e-9  # pixels: rounding is not outside, and must not pull in a neighbour, which may be void


def between(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return (n,) values of a map (H, W) at points, linear between neighbours; NaN outside, and beside a NaN.

    ``rows`` and ``columns`` (n,) are in pixels, centres at whole numbers. A neighbour without weight does not count: on
    a row of pixels, nothing of the rows beside it does.
    """
    height, width = values.shape
    inside = (np.abs(rows - (height - 1) / 2) <= (height - 1) / 2 + _NEAR) & (
        np.abs(columns - (width - 1) / 2) <= (width - 1) / 2 + _NEAR
    )
    r, c = np.where(inside, rows, 0.0), np.where(inside, columns, 0.0)
    r0, c0 = (np.clip(np.floor(at), 0, max(n - 2, 0)).astype(np.intp) for at, n in ((r, height), (c, width)))
    r1, c1 = np.minimum(r0 + 1, height - 1), np.minimum(c0 + 1, width - 1)
    fr, fc = _share(r - r0), _share(c - c0)
    out = np.where(inside, 0.0, np.nan)
    for row, down in ((r0, 1 - fr), (r1, fr)):
        for column, right in ((c0, 1 - fc), (c1, fc)):
            weight = down * right
            out += np.where(weight > 0, weight * values[row, column], 0.0)
    return out


def _share(share: Floats) -> Floats:
    """Return shares (n,) of the second neighbour, 0 and 1 where rounding keeps them from it: it may not be known."""
    whole = np.rint(share)
    return np.where(np.abs(share - whole) < _NEAR, np.clip(whole, 0.0, 1.0), share)
