"""Errors of a depth map, each with its formula.

As in the evaluation of DDFF-12 (Hazirbas et al., ACCV 2018), which the field reuses: every measure is
taken per picture over its valid pixels, then averaged over the pictures. A table's RMSE is therefore
the mean of the pictures' RMSE, not the root of the table's MSE. ``e`` = prediction - truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating]

NAMES: Final = ("mae", "mse", "rmse", "log_rmse", "abs_rel", "sq_rel", "bump", "delta1", "delta2", "delta3")


def depth_errors(prediction: Map, truth: Map, valid: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Return all measures of one picture.

    Parameters
    ----------
    prediction, truth : (H, W) in the same unit
    valid : (H, W); by default where truth and prediction are finite. Relative measures use only
        pixels where both are above 0, and are NaN where there is none.

    mae = mean |e|; mse = mean e^2; rmse = sqrt(mse); log_rmse = sqrt(mean (ln p - ln t)^2);
    abs_rel = mean |e| / t; sq_rel = mean e^2 / t; delta_k = share with max(p/t, t/p) < 1.25^k;
    bump = see `bumpiness`.
    """
    valid = np.isfinite(truth) & np.isfinite(prediction) if valid is None else valid
    p, t = prediction[valid].astype(np.float64), truth[valid].astype(np.float64)
    if not p.size:
        return dict.fromkeys(NAMES, float("nan"))
    e = p - t
    errors = {"mae": np.abs(e).mean(), "mse": (e**2).mean(), "rmse": np.sqrt((e**2).mean())}
    positive = (p > 0) & (t > 0)
    pp, tp, ep = p[positive], t[positive], e[positive]
    if pp.size:
        errors |= {
            "log_rmse": np.sqrt(((np.log(pp) - np.log(tp)) ** 2).mean()),
            "abs_rel": (np.abs(ep) / tp).mean(),
            "sq_rel": (ep**2 / tp).mean(),
        }
        ratio = np.maximum(pp / tp, tp / pp)
        errors |= {f"delta{k}": (ratio < 1.25**k).mean() for k in (1, 2, 3)}
    errors["bump"] = bumpiness(prediction, truth, valid)
    return {name: float(errors.get(name, np.nan)) for name in NAMES}


def bumpiness(prediction: Map, truth: Map, valid: NDArray[np.bool_]) -> float:
    """Return 100 * mean over valid pixels of min(0.05, |Hessian(e)|_F).

    The Hessian is the Scharr derivative applied twice to the difference of the whole maps, with the
    weights of scikit-image's `scharr_h` and `scharr_v`, which published figures were made with: they
    return twice the derivative, so the Hessian comes out four times as large. Pixels next to a hole
    are left out, where the original lets the hole's value leak in.
    """
    difference = np.where(valid, prediction - truth, 0).astype(np.float64)

    def scharr(map_: NDArray[Any], dx: int) -> NDArray[Any]:
        return cv2.Scharr(map_, cv2.CV_64F, dx, 1 - dx, scale=1 / 16, borderType=cv2.BORDER_REFLECT)

    gx, gy = scharr(difference, 1), scharr(difference, 0)
    norm = np.sqrt(scharr(gx, 1) ** 2 + scharr(gx, 0) ** 2 + scharr(gy, 1) ** 2 + scharr(gy, 0) ** 2)
    inside = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return float(100 * np.minimum(0.05, norm[inside]).mean()) if inside.any() else float("nan")


def mean_errors(per_picture: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean over pictures of each measure, leaving NaN out."""
    return {
        name: float(np.nanmean([errors[name] for errors in per_picture])) if per_picture else float("nan")
        for name in NAMES
    }
