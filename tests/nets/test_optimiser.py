"""Muon: orthogonal steps for matrices, AdamW for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dffnets.optimiser import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_all_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    singular = torch.linalg.svdvals(orthogonalise(matrix))
    assert singular.min() > 0.3
    assert singular.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    exact = left @ right  # the polar factor, which the iteration approaches
    cosine = (orthogonalise(matrix) * exact).sum() / (orthogonalise(matrix).norm() * exact.norm())
    assert cosine > 0.95


def test_vectors_and_heads_take_the_steps_of_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(20, 1), nn.Linear(20, 1)
    theirs.load_state_dict(ours.state_dict())
    options = {"betas": (0.9, 0.99), "weight_decay": 0.1}
    pairs = (
        (ours, Muon(ours.parameters(), 1e-2, **options)),  # type: ignore[arg-type]
        (theirs, torch.optim.AdamW(theirs.parameters(), 1e-2, **options)),  # type: ignore[arg-type]
    )
    data = torch.randn(5, 8, 20)
    for network, optimiser in pairs:
        for batch in data:
            network.zero_grad()
            (network(batch) ** 2).mean().backward()
            optimiser.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_a_step_on_a_matrix_has_the_size_of_an_adamw_step() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 32, bias=False)
    before = layer.weight.detach().clone()
    layer(torch.randn(100, 64)).pow(2).mean().backward()
    Muon(layer.parameters(), 1e-2).step()
    assert float((layer.weight.detach() - before).pow(2).mean().sqrt()) == pytest.approx(1e-2 * 0.2, rel=0.3)
