"""Laws that all networks obey, and facts of each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dffnets.layers import Conv3d, ConvTranspose3d, depth_to_space, in_windows, space_to_depth
from dffnets.nets.dffwild import AlignmentNetwork, DepthNetwork, motion_flow, warp
from dffnets.nets.dualfocus import focal_differences, surface_from_gradients
from dffnets.nets.fad import FrequencyAwareDepth, FrequencyBranch
from dffnets.nets.focdepthformer import FocDepthFormer
from dffnets.nets.light import LightNetwork
from dffnets.registry import CARDS, create_network


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def stack_of(slices: int, height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(slices)
    frames = torch.randn(batch, 1, slices, height, width, generator=generator).expand(-1, 3, -1, -1, -1)
    return frames, torch.linspace(0, 1, slices).expand(batch, -1)


@pytest.fixture(params=list(CARDS))
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return create_network(request.param)


@pytest.mark.parametrize(("slices", "height", "width"), [(3, 32, 64), (7, 64, 32), (12, 32, 32)])
def test_probabilities_sum_to_one_for_any_number_of_slices(
    network: nn.Module, slices: int, height: int, width: int
) -> None:
    with torch.inference_mode():
        outputs = network.eval()(*stack_of(slices, height, width))
    assert outputs[-1].shape == (1, slices, height, width)
    for probability in outputs:
        assert probability.min() >= 0
        torch.testing.assert_close(probability.sum(1), torch.ones(1, height, width))


def test_gradient_reaches_every_parameter(network: nn.Module) -> None:
    outputs = network.train()(*stack_of(5, 64, 64, batch=2))
    loss = sum((p**2).sum() for p in outputs)
    gradients = getattr(network, "gradients", None)
    if gradients is not None:
        loss = loss + (gradients**2).sum()
    assert isinstance(loss, Tensor)
    loss.backward()
    untouched = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not untouched


def test_equal_slices_give_a_flat_curve_far_from_the_ends() -> None:
    # only networks without a place for the slice in their input can promise this
    frames, positions = stack_of(1, 32, 32)
    torch.manual_seed(0)
    with torch.inference_mode():
        probability = create_network("dffwild").eval()(frames.expand(-1, -1, 60, -1, -1), positions.expand(-1, 60))[-1]
    middle = probability[0, 28:32]
    assert (middle.max(0).values - middle.min(0).values).max() < 1e-5


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [((1, 3, 3), 1, 1), ((1, 9, 9), 1, 2), ((1, 3, 3), 2, 1), ((3, 1, 1), 1, 1), ((1, 1, 1), 1, 1), ((3, 3, 3), 2, 1)],
)
def test_flat_kernels_give_what_torch_gives(kernel: tuple[int, int, int], stride: int, dilation: int) -> None:
    padding = (kernel[0] // 2, dilation * (kernel[1] // 2), dilation * (kernel[2] // 2))
    arguments = (5, 7, kernel, (1, stride, stride), padding, (1, dilation, dilation))
    ours, theirs = Conv3d(*arguments), nn.Conv3d(*arguments)
    ours.load_state_dict(theirs.state_dict())
    volume = torch.randn(2, 5, 4, 24, 26)
    torch.testing.assert_close(ours(volume), theirs(volume))


@pytest.mark.parametrize("stride", [(1, 2, 2), (1, 1, 1)])
def test_small_volumes_are_transposed_as_torch_does(stride: tuple[int, int, int]) -> None:
    arguments = (6, 4, 3, stride, 1, (0, stride[1] - 1, stride[2] - 1))
    ours, theirs = ConvTranspose3d(*arguments), nn.ConvTranspose3d(*arguments)
    ours.load_state_dict(theirs.state_dict())
    volume = torch.randn(1, 6, 5, 10, 12)
    torch.testing.assert_close(ours(volume), theirs(volume))


def test_space_to_depth_is_undone() -> None:
    volume = torch.randn(2, 1, 3, 8, 10)
    torch.testing.assert_close(depth_to_space(space_to_depth(volume)), volume)


@pytest.mark.parametrize("size", [(8, 8), (8, 20), (21, 30)])
def test_windows_add_up_to_the_whole_map(size: tuple[int, int]) -> None:
    volume = torch.randn(2, 3, 4, *size)
    torch.testing.assert_close(in_windows(lambda part: part, volume, 8), volume)
    means = in_windows(lambda part: part.mean((-2, -1), keepdim=True).expand_as(part), torch.ones(1, 1, 1, *size), 8)
    torch.testing.assert_close(means, torch.ones(1, 1, 1, *size))


def test_fad_begins_with_what_the_light_network_knows() -> None:
    torch.manual_seed(0)
    light, fad = LightNetwork().eval(), FrequencyAwareDepth().eval()
    fad.adopt(light)
    # strides and pooling see the same where the picture does not change
    frames = torch.randn(1, 1, 6, 1, 1).expand(-1, 3, -1, 96, 96)
    positions = torch.linspace(0, 1, 6)[None]
    with torch.inference_mode():
        ours, theirs = (net(frames, positions)[-1][0, :, 48, 48] for net in (fad, light))
    assert ours[1:-1].argmax() == theirs[1:-1].argmax()
    torch.testing.assert_close(ours.log().diff()[1:-2], theirs.log().diff()[1:-2], atol=0.1, rtol=0.1)


def test_unknown_network_names_those_that_exist() -> None:
    with pytest.raises(KeyError, match=r"light, fad, dffwild"):
        create_network("fda")


def test_depth_from_focus_in_the_wild_has_the_papers_parameters() -> None:
    depth = DepthNetwork()
    features = sum(parameters(part) for part in (depth.extract, depth.to_half, depth.to_quarter))
    assert features == 66_504  # paper: 0.067 M
    assert parameters(depth.aggregate) == 2_882_944  # paper: 2.883 M
    assert parameters(depth) - features - parameters(depth.aggregate) == 1_067_144  # paper: 1.067 M
    assert parameters(AlignmentNetwork()) == 195_593  # paper: 0.195 M
    assert parameters(depth) + parameters(AlignmentNetwork()) == 4_212_185  # paper: 4.212 M


def test_alignment_network_takes_any_number_of_slices_and_starts_from_the_lens_data() -> None:
    for slices in (4, 11):
        frames, _ = stack_of(slices, 32, 48, batch=2)
        field_of_view = torch.linspace(1, 1.1, slices).expand(2, -1)
        motion = AlignmentNetwork().eval()(frames, field_of_view)
        assert motion.scale.shape == (2, slices)
        # a slice that sees more shows everything smaller
        torch.testing.assert_close(motion.scale, 1 / field_of_view)


def test_warping_by_a_whole_pixel_shifts_the_picture() -> None:
    picture = torch.rand(1, 1, 2, 9, 12)
    motion = torch.tensor([[[1.0, 1.0], [1.0, 0.0], [0.0, 2.0]]])  # slice 0 one pixel in x, slice 1 two in y
    warped = warp(picture, motion_flow(motion, (9, 12)))
    torch.testing.assert_close(warped[0, 0, 0, :, :-1], picture[0, 0, 0, :, 1:])
    torch.testing.assert_close(warped[0, 0, 1, :-2], picture[0, 0, 1, 2:])


def test_scale_keeps_the_centre_and_moves_the_corner() -> None:
    flow = motion_flow(torch.tensor([[[1.1], [0.0], [0.0]]]), (11, 21))
    torch.testing.assert_close(flow[0, :, 0, 5, 10], torch.zeros(2))
    torch.testing.assert_close(flow[0, :, 0, 0, 0], torch.tensor([-1.0, -0.5]))


@pytest.mark.parametrize(("spatial", "frequency", "branches"), [(False, False, 0), (True, False, 1), (True, True, 2)])
def test_fad_can_leave_out_each_branch(spatial: bool, frequency: bool, branches: int) -> None:
    network = FrequencyAwareDepth(spatial=spatial, frequency=frequency)
    assert len(network.joint.branches) == branches
    assert network.eval()(*stack_of(4, 32, 32))[-1].shape == (1, 4, 32, 32)


def test_frequency_branch_is_the_identity_when_its_filter_shrinks_to_nothing() -> None:
    branch = FrequencyBranch(16, shrinkage=10.0)
    volume = torch.rand(1, 16, 3, 8, 10)
    torch.testing.assert_close(branch(volume), volume)


def test_focal_differences_look_forward_and_the_last_one_back() -> None:
    volume = torch.tensor([1.0, 4.0, 9.0]).view(1, 1, 3, 1, 1)
    assert focal_differences(volume).flatten().tolist() == [1, 4, 9, 3, 5, 5]


def test_surface_from_gradients_returns_the_surface_they_came_from() -> None:
    surface = torch.randn(2, 3, 13, 17)
    surface -= surface.mean((-2, -1), keepdim=True)
    gx, gy = torch.zeros_like(surface), torch.zeros_like(surface)
    gx[..., :-1] = surface[..., 1:] - surface[..., :-1]
    gy[..., :-1, :] = surface[..., 1:, :] - surface[..., :-1, :]
    torch.testing.assert_close(surface_from_gradients(gx, gy), surface, atol=2e-5, rtol=0)


def test_surface_from_gradients_equals_dense_least_squares() -> None:
    h, w = 5, 6
    gx, gy = torch.randn(h, w), torch.randn(h, w)
    rows, right = [], []
    for i in range(h):
        for j in range(w):
            for inside, k, value in ((j < w - 1, i * w + j + 1, gx[i, j]), (i < h - 1, (i + 1) * w + j, gy[i, j])):
                if inside:
                    row = torch.zeros(h * w)
                    row[k], row[i * w + j] = 1, -1
                    rows.append(row)
                    right.append(value)
    dense = torch.linalg.lstsq(torch.stack(rows), torch.stack(right)[:, None], driver="gelsd").solution.view(h, w)
    torch.testing.assert_close(surface_from_gradients(gx, gy), dense - dense.mean(), atol=1e-5, rtol=0)


def test_focdepthformer_has_about_the_papers_transformer_and_lstm() -> None:
    with torch.device("meta"):
        network = FocDepthFormer("paper")
    assert parameters(network.blocks) == pytest.approx(42.065e6, rel=0.02)
    assert parameters(network.lstm) == pytest.approx(15.247e6, rel=0.08)
