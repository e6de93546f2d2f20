"""From motions between pairs of frames to the motion of each frame.

Similarities are pairs of complex numbers as in `toposcope.core.registration`. `Poses` hold, for each frame,
the similarity from a common world (that of frame 0) to the frame. With T_i: z_i = A_i z + B_i and a
measured pair z_j = a z_i + b, the residuals

    A_j - a A_i        and        B_j - a B_i - b

are linear in the unknowns, so that the whole chain is one linear least-squares problem (global relaxation as in
the graph-based SLAM of Lu & Milios, Autonomous Robots 4, 1997, with the pairs' own information matrices).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.registration import Pair

Floats = NDArray[Any]
Complexes = NDArray[np.complex128]
Links = Mapping[tuple[int, int], Pair]
"""Measured pairs by (first, second) frame."""

SYSTEMATIC_PX: Final = 0.02
"""Error of a pair, in pixels, that the scatter of its tiles does not show."""
BEND: Final = (0.003, 0.001, 0.005)
"""Prior SD of the second differences over the sweep: magnification, rotation (rad), shift (of the width)."""
SETTLE: Final = 0.3
"""Weight of the first difference against the second: beyond the last measured frame motion fades out."""
ROUNDS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """``turn`` (N,) and ``shift`` (N,) complex, pixels; ``covariance`` (N, N, 4, 4) of (re, im, x, y)."""

    turn: Complexes
    shift: Complexes
    covariance: Floats


def components(n: int, links: Links) -> NDArray[np.intp]:
    """Return (N,) labels: frames joined by links share a label, the lowest frame of theirs."""
    label = np.arange(n)
    for first, second in sorted(links):
        low, high = sorted((label[first], label[second]))
        label[label == high] = low
    return label


def solve(n: int, links: Links, shape: tuple[int, int], turning: bool = True) -> Poses:
    """Return the poses that agree best with all pairs; frame 0 defines the world.

    Pairs that contradict the others lose weight (Cauchy). A weak prior, that motion bends little over the
    sweep, decides only where nothing was measured. ``turning`` False allows shifts only.
    """
    height, width = shape
    radius = float(np.hypot(height, width)) / 2
    floor = np.diag([(SYSTEMATIC_PX / radius) ** 2] * 2 + [SYSTEMATIC_PX**2] * 2)
    weights = {ends: np.linalg.inv(np.linalg.inv(pair.information) + floor) for ends, pair in links.items()}
    prior, right_prior = _prior(n, width, turning)
    turn, shift = np.ones(n, dtype=np.complex128), np.zeros(n, dtype=np.complex128)
    trust = dict.fromkeys(links, 1.0)
    for _ in range(ROUNDS):
        normal, right = prior.copy(), right_prior.copy()
        for (i, j), pair in links.items():
            # residual of the displacement at places of frame i: (r_A / A_i, r_B - r_A B_i / A_i)
            to_frame = np.zeros((4, 4))
            to_frame[:2, :2], to_frame[2:, :2] = _times(1 / turn[i]), _times(-shift[i] / turn[i])
            to_frame[2:, 2:] = np.eye(2)
            weight = trust[i, j] * (to_frame.T @ weights[i, j] @ to_frame)
            back = np.kron(np.eye(2), _times(pair.turn))
            constant = np.array([0, 0, pair.shift.real, pair.shift.imag])
            at_i, at_j = slice(4 * i, 4 * i + 4), slice(4 * j, 4 * j + 4)
            normal[at_j, at_j] += weight
            normal[at_i, at_i] += back.T @ weight @ back
            normal[at_j, at_i] -= weight @ back
            normal[at_i, at_j] -= back.T @ weight
            right[at_j] += weight @ constant
            right[at_i] -= back.T @ weight @ constant
        x = np.linalg.solve(normal, right).reshape(n, 4)
        turn = x[:, 0] + 1j * x[:, 1] if turning else np.ones(n, dtype=np.complex128)
        shift = x[:, 2] + 1j * x[:, 3]
        before = dict(trust)
        for (i, j), pair in links.items():
            between = turn[j] / turn[i]
            d_turn, d_shift = between - pair.turn, shift[j] - between * shift[i] - pair.shift
            residual = np.array([d_turn.real, d_turn.imag, d_shift.real, d_shift.imag])
            trust[i, j] = 1 / (1 + float(residual @ weights[i, j] @ residual) / 8)
        if all(abs(trust[ends] - before[ends]) < 1e-3 for ends in trust):
            break
    covariance = np.linalg.inv(normal).reshape(n, 4, n, 4).transpose(0, 2, 1, 3)
    return Poses(turn, shift, covariance)


def _times(factor: complex) -> Floats:
    """Return the (2, 2) matrix that multiplies (real, imaginary) by ``factor``."""
    return np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])


def _prior(n: int, width: int, turning: bool) -> tuple[Floats, Floats]:
    """Return normal matrix and right side of the weak prior, with frame 0 held to the world."""
    second, first = np.diff(np.eye(n), 2, axis=0), SETTLE * np.diff(np.eye(n), axis=0)
    bending = second.T @ second + first.T @ first
    precision = np.array([BEND[0], BEND[1], BEND[2] * width, BEND[2] * width]) ** -2.0
    normal = np.kron(bending, np.diag(precision))
    hold = np.zeros((n, 4))
    hold[0] = [1e8, 1e8, 1e4, 1e4]
    if not turning:
        hold[:, :2] = 1e12
    normal += np.diag(hold.ravel())
    right = hold * [1, 0, 0, 0]
    return normal, right.ravel()


def solve_gains(n: int, links: Links) -> Floats:
    """Return (N,) factors that bring all frames to the brightness of frame 0.

    Least squares on the logarithms; frames without links take their neighbours' values.
    """
    smooth = 1e-3 * np.diff(np.eye(n), axis=0)
    normal = smooth.T @ smooth
    normal[0, 0] += 1
    right = np.zeros(n)
    for (i, j), pair in links.items():
        weight, ratio = 1.0 / abs(j - i), float(np.log(pair.gain))
        normal[np.ix_((i, j), (i, j))] += weight * np.array([[1, -1], [-1, 1]])
        right[[i, j]] += weight * ratio * np.array([-1, 1])
    gains: Floats = np.exp(np.linalg.solve(normal, right))
    return gains
