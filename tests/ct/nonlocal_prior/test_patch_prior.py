import numpy as np
import torch

import ct
from ct.nonlocal_prior import patch_prior
from ct.nonlocal_prior.blocks import blocks_of, match_blocks
from ct.nonlocal_prior.collaborative_filter import wiener
from ct.nonlocal_prior.data_step import DataStep
from ct.nonlocal_prior.patch_prior import PatchPrior
from tests.ct.nonlocal_prior.test_bm3d import GRID, SCAN, _rays
from tests.reference import block_matching as naive


def test_cleaning_is_a_threshold_and_then_a_wiener_filter_with_its_result():
    image = torch.randn(
        12, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).cumsum(0)
    std = 0.8
    prior = PatchPrior(image[None], patch=4, group=4, reach=4, stride=2)
    found = prior.clean(image[None], torch.tensor([std]), match=True)[0]
    blocks = blocks_of((12, 10), side=4, group=4, reach=4, stride=2)
    groups = [
        [divmod(n, blocks.places[1]) for n in one] for one in match_blocks(image, blocks).tolist()
    ]
    window = np.outer(*2 * [np.kaiser(4, 2.0)])
    pilot = naive.clean(image.numpy(), groups, 4, naive.threshold(2.7 * std), window)
    expected = naive.clean(image.numpy(), groups, 4, naive.wiener(std), window, pilot)
    # the prior's single precision of std
    assert np.allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)
    assert np.abs(pilot - expected).max() > 1e-3


def test_a_group_of_nothing_counts_little():
    _, weight = wiener(1.0)(torch.zeros(4, 3, 16), torch.zeros(4, 3, 16))
    assert bool((weight <= 10).all())


def test_the_priors_weight_grows_and_groups_are_formed_anew(monkeypatch):
    weights, matchings = [], []
    step, match = DataStep.__call__, patch_prior.match_blocks

    def recorded(self, guess, weight, iterations):
        weights.append(float(weight[0] * self.pixel_std[0].square()))
        return step(self, guess, weight, iterations)

    def counted(image, blocks):
        matchings.append(1)
        return match(image, blocks)

    monkeypatch.setattr(DataStep, "__call__", recorded)
    monkeypatch.setattr(patch_prior, "match_blocks", counted)
    ct.reconstruct(_rays().sinograms[0] + 3.0, SCAN, GRID, method=ct.bm3d(steps=5), noise_std=0.1)
    assert np.allclose(weights, 0.6 * (80 / 0.6) ** (np.arange(5) / 4))
    assert len(matchings) == 2  # at the first step and the fourth
