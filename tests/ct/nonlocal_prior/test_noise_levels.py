import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ct.nonlocal_prior.blocks import blocks_of
from ct.nonlocal_prior.noise_levels import measured_noise, white_noise
from ct.nonlocal_prior.patch_bases import patch_transform
from tests.reference import block_matching as naive


def _levels(drawn, side, at_once=None):
    blocks = blocks_of(tuple(drawn.shape[1:]), side=side)
    return measured_noise(drawn, blocks, patch_transform(blocks, drawn), at_once=at_once), blocks


def _drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(3, 20),
    columns=st.integers(3, 20),
    side=st.integers(1, 4),
    at_once=st.sampled_from([None, 1, 2]),
    seed=st.integers(0, 99),
)
def test_levels_are_averages_over_cells_of_patches(rows, columns, side, at_once, seed):
    drawn = _drawn(2, rows, columns, seed=seed) * torch.linspace(0.1, 3.0, columns)
    levels, blocks = _levels(drawn, side, at_once)
    expected = naive.local_variances(drawn.numpy(), blocks.side, 0.3)
    numbers = torch.arange(blocks.places[0] * blocks.places[1])[None]
    for n, found in enumerate(levels.of(numbers)[0].numpy()):
        place = divmod(n, blocks.places[1])
        assert np.allclose(found, expected[place].ravel(), rtol=1e-9)


def test_white_noise_has_about_its_variance_in_every_coefficient():
    levels, blocks = _levels(3.0 * _drawn(2, 96, 96, seed=1), 8)
    flat = white_noise(3.0, places=blocks.places, side=8, like=levels.variances)
    ratio = levels.variances / flat.variances
    assert 0.97 < float(ratio.mean()) < 1.03
    # some five hundred squares each, of which neighbours are not independent
    assert float(ratio.std()) < 0.3


def test_coarse_noise_lies_in_coarse_coefficients_and_strong_noise_where_it_is():
    drawn = torch.nn.functional.avg_pool2d(_drawn(2, 96, 96, seed=2), 5, 1, padding=2)
    drawn[:, :, 48:] *= 5
    levels, _ = _levels(drawn, 8)
    left, right = levels.of(torch.tensor([[40 * 89, 40 * 89 + 80]]))[0]
    assert float(left[1] / left[63]) > 20
    # the share of the whole image's level keeps the quiet half from being believed too much
    assert 2.0 < float((right / left).sqrt()[:8].mean()) < 4.0


def test_larger_noise_has_larger_levels():
    levels, _ = _levels(_drawn(2, 20, 20, seed=3), 4)
    assert torch.allclose(levels.scaled(3.0).variances, 9 * levels.variances)
