from __future__ import annotations

import numpy as np
import pytest

from toposcope.ui.views.surface_data import prepare_surface

heightfield = pytest.importorskip("toposcope.ui.views.heightfield", exc_type=(ImportError, OSError, RuntimeError))


@pytest.mark.parametrize(("nx", "ny"), [(2, 2), (5, 3), (17, 40)])
def test_the_grid_covers_the_square_once(nx: int, ny: int) -> None:
    uv, triangles = heightfield.grid(nx, ny)
    assert uv.shape == (nx * ny, 2)
    assert triangles.shape == (2 * (nx - 1) * (ny - 1), 3)
    a, b, c = (uv[triangles[:, k]].astype(np.float64) for k in range(3))
    u, v = b - a, c - a
    doubled = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    assert (doubled < 0).all()  # counter-clockwise from above, as v grows downwards
    assert -doubled.sum() / 2 == pytest.approx(1.0)


def test_the_mesh_is_never_finer_than_the_map() -> None:
    visual = heightfield.HeightFieldVisual()
    visual.set_surface(prepare_surface(np.zeros((30, 60), np.float32)))
    visual.set_mesh(512)
    assert list(visual._meshes) == [(60, 30)]
    visual.set_mesh(16)
    (columns, rows) = list(visual._meshes)[-1]
    assert columns in (16, 17)
    assert rows == pytest.approx(columns / 2, abs=1)


def test_bounds_follow_the_exaggeration() -> None:
    heights = np.linspace(0, 10, 3000, dtype=np.float32).reshape(50, 60)
    visual = heightfield.HeightFieldVisual()
    visual.set_surface(prepare_surface(heights, pixel=1.0))
    once = visual._compute_bounds(2, None)
    visual.set_exaggeration(5.0)
    assert visual._compute_bounds(2, None)[1] == pytest.approx(5 * once[1])
