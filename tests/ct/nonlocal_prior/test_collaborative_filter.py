import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ct.nonlocal_prior.blocks import blocks_of, match_blocks
from ct.nonlocal_prior.collaborative_filter import collaborative_filter, hard_threshold, wiener
from ct.nonlocal_prior.noise_levels import NoiseLevels, white_noise
from ct.nonlocal_prior.patch_bases import patch_transform
from tests.reference import block_matching as naive


def _image(rows, columns, seed):
    return torch.randn(
        rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def _white(std, blocks, image):
    return white_noise(std, places=blocks.places, side=blocks.side, like=image)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(3, 14),
    columns=st.integers(3, 14),
    side=st.integers(1, 5),
    stride=st.integers(1, 4),
    reach=st.integers(1, 6),
    size=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 99),
)
def test_groups_are_those_of_a_search_through_all_patches(
    rows, columns, side, stride, reach, size, seed
):
    image = _image(rows, columns, seed)
    blocks = blocks_of((rows, columns), side=side, stride=stride, reach=reach, group=size)
    found = match_blocks(image, blocks)
    expected = naive.groups(image.numpy(), blocks.side, stride, reach, blocks.group)
    width = blocks.places[1]
    assert found.shape == (len(expected), blocks.group)
    for one, group in zip(found.tolist(), expected, strict=True):
        assert one[0] == group[0][0] * width + group[0][1]
        assert sorted(one) == sorted(a * width + b for a, b in group)


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(6, 13),
    columns=st.integers(6, 13),
    side=st.integers(2, 5),
    level=st.floats(0.1, 3.0),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("kind", ["threshold", "wiener"])
def test_filtering_equals_the_definition(kind, rows, columns, side, level, seed, device):
    image, pilot = _image(rows, columns, seed), _image(rows, columns, seed + 1000)
    blocks = blocks_of((rows, columns), side=side, stride=2, reach=4, group=4)
    matches = match_blocks(image, blocks)
    groups = [[divmod(n, blocks.places[1]) for n in one] for one in matches.tolist()]
    window = np.outer(*2 * [np.kaiser(blocks.side, 2.0)])
    gain, reference = (
        (hard_threshold(2.7), naive.threshold(2.7))
        if kind == "threshold"
        else (wiener, naive.wiener)
    )
    # each patch has noise of its own
    n_patches = blocks.places[0] * blocks.places[1]
    variances = level**2 * (0.1 + _image(n_patches, blocks.side**2, seed + 2000).square())
    there = image.to(device)
    found = collaborative_filter(
        there,
        matches.to(device),
        gain,
        NoiseLevels(variances=variances.to(device), cell=torch.arange(n_patches, device=device)),
        blocks=blocks,
        transform=patch_transform(blocks, there),
        pilot=pilot.to(device) if kind == "wiener" else None,
    )
    levels = {
        divmod(n, blocks.places[1]): one.reshape(blocks.side, blocks.side)
        for n, one in enumerate(variances.numpy())
    }
    expected = naive.clean(
        image.numpy(), groups, blocks.side, reference, window, levels,
        pilot.numpy() if kind == "wiener" else None,
    )  # fmt: skip
    # a GPU adds in fixed point of 36 bits
    tolerance = 1e-9 if device == "cpu" else 1e-7
    assert np.allclose(found.cpu().numpy(), expected, rtol=tolerance, atol=tolerance)


def test_noise_on_a_flat_image_all_but_vanishes(device):
    noisy = 5.0 + _image(48, 40, 3).to(device)
    blocks = blocks_of((48, 40))
    clean = collaborative_filter(
        noisy,
        match_blocks(noisy, blocks),
        hard_threshold(2.7),
        _white(1.0, blocks, noisy),
        blocks=blocks,
        transform=patch_transform(blocks, noisy),
    )
    assert float((clean - 5.0).std()) < 0.2


def test_repeated_texture_survives_that_a_lone_patch_would_lose():
    # one period of texture a patch, at the height of the noise: groups of 16 raise it by 4
    tile = _image(8, 8, 1)
    truth = tile.repeat(6, 6)
    noisy = truth + _image(48, 48, 2)

    def error(group):
        blocks = blocks_of((48, 48), group=group, stride=4)
        groups = match_blocks(truth, blocks)
        clean = collaborative_filter(
            noisy,
            groups,
            hard_threshold(2.7),
            _white(1.0, blocks, noisy),
            blocks=blocks,
            transform=patch_transform(blocks, noisy),
        )
        return float((clean - truth).square().mean())

    assert error(16) < 0.3 * error(1)


def test_a_flat_image_stays_and_its_references_stay_in_their_groups():
    image = torch.full((20, 30), 7.0)
    blocks = blocks_of((20, 30), stride=8)
    groups = match_blocks(image, blocks)
    clean = collaborative_filter(
        image,
        groups,
        hard_threshold(2.7),
        _white(0.04, blocks, image),
        blocks=blocks,
        transform=patch_transform(blocks, image),
    )
    assert torch.allclose(clean, image)
