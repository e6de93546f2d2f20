"""Polynomials through heights, by least squares over what is known."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.jobs import Progress, Report, silent

_TURNS: Final = 2  # the second mends what rounding left of the first
_RANK: Final = 1e-12  # share of the largest eigenvalue below which a combination of terms is not determined


def polynomial_fitted(z: Floats, degree: int, report: Report = silent) -> Floats:
    """Return (H, W) heights less the polynomial of total degree ``degree`` that fits them best; NaN stays NaN.

    Distances are taken along z. Terms that what is known does not determine (as of rows where only one is known) stay
    out: the smallest solution is taken.
    """
    known = np.isfinite(z)
    rows, columns = (_centred(np.any(known, axis=axis)) for axis in (1, 0))
    terms = [(i, k - i) for k in range(degree + 1) for i in range(k + 1)]
    down, right = (np.vander(at, 2 * degree + 1, increasing=True) for at in (rows, columns))
    report(Progress(0.1, "removing the form"))
    # sums of products of powers are sums of powers: all of them by two products of matrices
    moments = down.T @ known.astype(np.float64) @ right
    normal = np.array([[moments[i + k, j + m] for k, m in terms] for i, j in terms])
    left = np.where(known, z, 0.0)
    left -= known * (left.sum() / max(1, np.count_nonzero(known)))
    for turn in range(_TURNS):
        report(Progress(0.3 + 0.3 * turn, "removing the form"))
        sums = down[:, : degree + 1].T @ left @ right[:, : degree + 1]
        target = np.array([sums[i, j] for i, j in terms])
        solution = np.linalg.lstsq(normal, target, rcond=_RANK)[0]
        grid = np.zeros((degree + 1, degree + 1))
        for (i, j), value in zip(terms, solution, strict=True):
            grid[i, j] = value
        left -= known * (down[:, : degree + 1] @ grid @ right[:, : degree + 1].T)
    left[~known] = np.nan
    return left


def _centred(known: Any) -> Floats:
    """Return places along an axis, -1 at the first and 1 at the last that is known: powers of them stay apart."""
    (inside,) = np.nonzero(known)
    low, high = (int(inside[0]), int(inside[-1])) if inside.size else (0, len(known) - 1)
    # places beyond have no weight, and must not grow large
    return np.clip((np.arange(len(known)) - (low + high) / 2) / max(0.5, (high - low) / 2), -1.0, 1.0)
